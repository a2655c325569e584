"""Bodies with known answers: Cook's membrane, a thick-walled cylinder by Lame and, in plasticity, by Hill, a bar that cracks."""

import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import at, quickly, solve

from jaxmsm import Closed, batched, rollout
from jaxmsm.solids import (
    J2,
    Body,
    Damage,
    Displacement,
    Elastic,
    ElementStress,
    Fixed,
    Linear,
    LinearSoftening,
    Moved,
    PlaneStress,
    Pressure,
    Reaction,
    Symmetry,
    Traction,
)
from jaxmsm.solve import Dense, Krylov
from jaxmsm.space import QUAD4, QUAD8, QUAD9, Full, MeanDilatation, box, cook, ring

INNER, OUTER, ANGLE = 1.0, 2.0, 0.02
"""A narrow sector of a cylinder: what its straight sides take off is of the order of the angle squared over 24."""


@pytest.mark.parametrize(("n", "published"), [(8, 23.9254), (16, 23.9494), (32, 23.9608), (64, 23.9650)])
def test_cooks_membrane(n, published):
    law = PlaneStress(Elastic.from_young(1.0, 1 / 3))
    end = Displacement(at(48, 52))
    body = Body(cook(n, QUAD9), law, [Fixed("left"), Traction("right", (0.0, 1 / 16))], observe=end, system=Krylov())
    np.testing.assert_allclose(solve(body).value[1], published, rtol=0, atol=5.1e-5)  # the digits printed


def sector(n, kind, law, rule):
    """A cylinder under inner pressure."""
    mirror = (-np.sin(ANGLE), np.cos(ANGLE))
    walls = (Displacement(at(INNER, 0)), Displacement(at(OUTER, 0)), ElementStress())
    conditions = [Symmetry("start", (0, -1)), Symmetry("end", mirror), Pressure("inner")]
    return Body(ring((n, 1), INNER, OUTER, kind, angle=ANGLE), law, conditions, observe=walls, rule=rule)


def lame_displacement(r, pressure, E, nu):
    """Timoshenko and Goodier, Theory of Elasticity (1970), section 28, in plane strain."""
    return pressure * INNER**2 / (OUTER**2 - INNER**2) * (1 + nu) / E * ((1 - 2 * nu) * r + OUTER**2 / r)


def wall_errors(n, kind, nu, rule):
    p = 1e-7  # so small that the wall does not move
    inner, outer, _ = solve(sector(n, kind, Elastic.from_young(1.0, nu), rule), p).value
    return np.array([inner[0] / lame_displacement(INNER, p, 1.0, nu), outer[0] / lame_displacement(OUTER, p, 1.0, nu)]) - 1


@pytest.mark.parametrize(
    ("kind", "nu", "rule", "order"), [(QUAD4, 0.4999, MeanDilatation(), 2), (QUAD8, 0.3, Full(), 4)], ids=["mean", "quadratic"]
)
def test_lames_cylinder(kind, nu, rule, order):
    # Displacements at nodes: of the order of the energy, twice the degree.
    few, many = (wall_errors(n, kind, nu, rule) for n in (3, 6))
    assert np.all(np.log2(few / many) > order - 0.2)
    assert np.all(abs(many) < 3e-3)


def test_full_integration_locks_where_the_mean_dilatation_does_not():
    assert np.all(wall_errors(6, QUAD4, 0.4999, Full()) < -0.8)
    assert np.all(abs(wall_errors(6, QUAD4, 0.4999, MeanDilatation())) < 3e-3)


def test_hills_cylinder_yields_to_the_known_radius():
    # Hill, The Mathematical Theory of Plasticity (1950), section V.2: von Mises, plane strain, no change of volume, and so a
    # displacement C / r. Yielded to c, the pressure is 2 k ln(c/a) + k (1 - c^2/b^2), and C = k c^2 / (2 mu).
    k, mu, nu = 1e-6, 1.0, 0.4999
    c = np.array([1.1, 1.3, 1.5, 1.7])
    p = 2 * k * np.log(c / INNER) + k * (1 - c**2 / OUTER**2)
    law = J2(lam=2 * mu * nu / (1 - 2 * nu), mu=mu, hardening=Linear(sy=k * np.sqrt(3), H=0.0))
    C = k * c**2 / (2 * mu)
    errors = []
    for n in (10, 20):
        body = sector(n, QUAD4, law, MeanDilatation())
        _, found = quickly(lambda loads, body=body: rollout(body, loads))(jnp.asarray(p))
        inner, outer, stress = found.unwrap()
        errors.append([inner[:, 0] / (C / INNER) - 1, outer[:, 0] / (C / OUTER) - 1])
    few, many = abs(np.array(errors))
    # The mesh sees a yielded radius within an element, an error of second order; 2e-4 of nu and of the angle remain.
    assert np.all(many < 1.2e-3)
    assert np.all(few[:, -1] / many[:, -1] > 3)
    # Radial and hoop stress by element, and which points have yielded.
    r = INNER + (np.arange(n) + 0.5) / n * (OUTER - INNER)
    alpha = np.asarray(found.state[0][0].alpha).mean(1)
    for step, radius in enumerate(c):
        inside = r < radius
        radial = np.where(inside, -p[step] + 2 * k * np.log(r / INNER), -k * radius**2 * (1 / r**2 - 1 / OUTER**2))
        hoop = radial + np.where(inside, 2 * k, 2 * k * radius**2 / r**2)
        np.testing.assert_allclose(stress[step, :, 0, 0] / k, radial / k, rtol=0, atol=0.01)  # the size of an element squared
        np.testing.assert_allclose(stress[step, :, 1, 1] / k, hoop / k, rtol=0, atol=0.04)  # that of the element that is cut
        sure = abs(r - radius) > 0.5 / n
        np.testing.assert_array_equal((alpha[step] > 0)[sure], inside[sure])


@pytest.mark.parametrize("system", [Dense(), Krylov()], ids=["dense", "krylov"])
@pytest.mark.parametrize("n", [3, 9])
def test_a_bar_cracks_at_its_weakest_element_whatever_its_size(n, system):
    # Hillerborg, Modeer and Petersson, Cem. Concr. Res. 6 (1976) 773: the stress falls linearly with the opening of the crack, the
    # rest of the bar unloads. Beyond the peak the tangent is indefinite: one element's stiffness is negative.
    length, E, strength, opening = 0.5, 30.0, 0.003, 1e-4
    energy = strength * opening / 2
    mesh = box((n, 1), (length, length / n), QUAD4)
    curve = LinearSoftening(strength=jnp.full(n, 1.2 * strength).at[n // 2].set(strength), energy=jnp.full(n, energy))
    law = Damage.from_young(E, 0.0, curve, size=mesh.sizes())
    ends = [Fixed("left", (0,)), Fixed("bottom", (1,)), Moved("right", 0)]
    body = Body(mesh, law, ends, observe=Reaction("right"), system=system)
    peak = strength * length / E
    u = np.concatenate([[0, peak / 2, peak], np.linspace(peak, opening, 11)[1:]])
    found = quickly(lambda u: rollout(body, u)[1])(jnp.asarray(u[1:]))
    assert np.all(found.ok)
    stress = np.concatenate([[0], found.value[:, 0] * n / length])
    exact = np.where(u <= peak, E * u / length, (opening - u) / (opening / strength - length / E))
    np.testing.assert_allclose(stress, exact, atol=1e-9 * strength)
    assert np.trapezoid(stress, u) == pytest.approx(energy, rel=1e-9)


def test_a_field_over_the_points_is_a_chain_of_springs():
    # A bar of linear elements without lateral strain: each is a spring of the mean modulus of its points, one behind the other.
    n, length, height = 5, 2.0, 0.1
    mesh = box((n, 1), (length, height), QUAD4)
    middles = np.asarray(mesh.points)[np.asarray(mesh.blocks[0].nodes)].mean(1)[:, 0]
    x = middles + length / n / 2 * QUAD4.quadrature()[0][:, :1]
    modulus = np.exp(x)
    points = batched(
        Closed(Elastic(lam=jnp.zeros(x.size), mu=jnp.asarray(modulus.ravel() / 2))), over=lambda s: [s.law.lam, s.law.mu]
    )
    walls = [Fixed("left"), Fixed("top", (1,)), Fixed("bottom", (1,)), Moved("right", 0)]
    body = Body(mesh, points, walls, observe=Reaction("right"))
    found = quickly(lambda u: body(u))(jnp.asarray(0.01))
    assert found.ok
    springs = modulus.mean(0) * height / (length / n)
    assert float(found.value[0]) == pytest.approx(0.01 / np.sum(1 / springs), rel=1e-9)
