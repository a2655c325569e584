"""Bodies in uniform and in linear states of stress, which every element holds exactly whatever its shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import KINDS, at, irregular, name, solve, surface

from jaxmsm.solids import (
    Body,
    BodyForce,
    Displacement,
    Elastic,
    Fixed,
    MeanStress,
    Moved,
    NeoHookean,
    PlaneStress,
    Stress,
    Traction,
    lame,
)
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import HEX20, HEX27, QUAD4, QUAD8, QUAD9, TET10, TRI3, TRI6, Full, MeanDilatation

TIGHT = NewtonKrylov(rtol=1e-12)
# Stretches everywhere, so that dead loads hold a stable state; shears and a rotation.
H = np.array([[0.1, 0.05, 0.02], [-0.03, 0.08, 0.04], [0.06, -0.02, 0.12]])
LAWS = [Elastic(lam=2.0, mu=1.0), NeoHookean(lam=2.0, mu=1.0)]
SIDES = {"left": (0, -1), "right": (0, 1), "bottom": (1, -1), "top": (1, 1), "back": (2, -1), "front": (2, 1)}
ROUND_OFF = 1e-12  # some hundred unknowns of order 1e-1, residuals of 1e-12


def affine(d):
    return jnp.asarray(H[:d, :d])


def stress(law, h):
    return law(jnp.eye(len(h)) + h, ())[0]


def imposed(mesh, where, field, axes=None):
    """A displacement field imposed on nodes."""
    nodes, d = mesh.nodes(where), mesh.d
    axes = tuple(range(d)) if axes is None else axes
    return Moved(nodes, axes, field(np.asarray(mesh.points)[nodes])[:, list(axes)])


def just_held(mesh, field):
    """Three or six supports that hold rigid motions alone, moved as a field is."""
    if mesh.d == 2:
        return [imposed(mesh, at(0, 0), field), imposed(mesh, at(1, 0), field, (1,))]
    corners = [((0, 0, 0), (0, 1, 2)), ((1, 0, 0), (1, 2)), ((0, 1, 0), (2,))]
    return [imposed(mesh, at(*place), field, axes) for place, axes in corners]


@pytest.mark.parametrize("law", LAWS, ids=name)
@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_a_homogeneous_displacement_of_the_surface_is_one_inside(kind, law):
    mesh, h = irregular((2,) * kind.dim, kind), affine(kind.dim)
    body = Body(mesh, law, [imposed(mesh, surface, lambda x: x @ h.T)], observe=(Displacement(), Stress()), solver=TIGHT)
    u, (P,) = solve(body).value
    np.testing.assert_allclose(u, mesh.points @ h.T, rtol=0, atol=ROUND_OFF)
    expected = stress(law, h)
    np.testing.assert_allclose(P, np.broadcast_to(expected[:, :, None, None], P.shape), rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("law", LAWS, ids=name)
@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_the_tractions_of_a_uniform_stress_make_it(kind, law):
    mesh, h = irregular((2,) * kind.dim, kind), affine(kind.dim) / 4  # one step of Newton's method from rest must find it
    P = stress(law, h)
    tractions = [Traction(side, sign * P[:, axis]) for side, (axis, sign) in SIDES.items() if axis < kind.dim]
    supports = just_held(mesh, lambda x: x @ h.T)
    observe = (Displacement(), MeanStress())
    u, mean = solve(Body(mesh, law, [*supports, *tractions], observe=observe, rule=MeanDilatation(), solver=TIGHT)).value
    np.testing.assert_allclose(u, mesh.points @ h.T, rtol=0, atol=1e2 * ROUND_OFF)  # the condition of a body that is just held
    np.testing.assert_allclose(mean, P, rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("rule", [Full(), MeanDilatation()], ids=name)
@pytest.mark.parametrize("kind", [TRI3, QUAD4, QUAD9], ids=name)
def test_plane_stress_of_a_rubber_sheet(kind, rule):
    # Uniaxial tension: lam ln J + mu (l3^2 - 1) = 0 out of the plane and across, so that both thin alike.
    law = NeoHookean(lam=2.0, mu=1.0)
    stretch, thin = 1.3, _thinning(1.3)
    mesh = irregular((2, 2), kind)
    h = jnp.diag(jnp.array([stretch, thin])) - jnp.eye(2)
    force = law(jnp.diag(jnp.array([stretch, thin, thin])), ())[0][0, 0]
    conditions = [*just_held(mesh, lambda x: x @ h.T), Traction("right", (force, 0.0)), Traction("left", (-force, 0.0))]
    u = solve(Body(mesh, PlaneStress(law), conditions, rule=rule, solver=TIGHT)).value
    np.testing.assert_allclose(u, mesh.points @ h.T, rtol=0, atol=1e2 * ROUND_OFF)  # as above


def _thinning(stretch):
    from scipy.optimize import brentq

    return brentq(lambda t: 2.0 * np.log(stretch * t * t) + t * t - 1, 0.5, 1.0, xtol=1e-15)


def quadratic(x):
    """A displacement of second degree with no symmetry."""
    a = [x[:, i] for i in range(x.shape[1])]
    first = [0.3 * a[0] ** 2 - 0.2 * a[0] * a[1] + 0.1 * a[-1] ** 2, 0.2 * a[1] ** 2 + 0.15 * a[0] * a[-1] - 0.25 * a[0] ** 2]
    return jnp.stack([*first, 0.1 * a[-1] ** 2 + 0.3 * a[0] * a[1]][: x.shape[1]], 1)


def force_of(field, law, d):
    """Minus the divergence of the stress of a displacement field, by differentiation."""

    def grad(fn):
        return jax.jacfwd(fn)

    def P(x):
        return law(jnp.eye(d) + grad(lambda y: field(y[None])[0])(x), ())[0]

    return lambda x: -jnp.trace(grad(P)(x), axis1=1, axis2=2)


@pytest.mark.parametrize("kind", [TRI6, QUAD8, QUAD9, TET10, HEX20, HEX27], ids=name)
def test_quadratic_elements_bend_exactly(kind):
    # Elements of second degree hold a field of second degree where their map is affine: regular meshes.
    d, law = kind.dim, Elastic.from_young(1.0, 0.3)
    mesh = irregular((2,) * d, kind, amount=0)
    b = force_of(quadratic, law, d)(jnp.zeros(d))
    assert np.linalg.norm(b) > 0.1
    body = Body(mesh, law, [imposed(mesh, surface, quadratic), BodyForce(b)], observe=Displacement(), solver=TIGHT)
    np.testing.assert_allclose(solve(body).value, quadratic(mesh.points), rtol=0, atol=ROUND_OFF)


def test_pure_bending_of_a_beam():
    # Plane stress: u = M/EI (x y), v = -M/(2EI) (x^2 + nu y^2) about the middle of the height.
    E, nu, curvature = 2.0, 0.3, 0.1
    mesh = irregular((3, 2), QUAD9, (3.0, 1.0), amount=0)
    law = PlaneStress(Elastic.from_young(E, nu))
    field = lambda x: curvature * jnp.stack([x[:, 0] * (x[:, 1] - 0.5), -0.5 * (x[:, 0] ** 2 + nu * (x[:, 1] - 0.5) ** 2)], 1)
    conditions = [imposed(mesh, "left", field), imposed(mesh, lambda x: x[:, 0] > 3 - 1e-9, field)]
    found = solve(Body(mesh, law, conditions, observe=(Displacement(), Stress()), solver=TIGHT)).value
    np.testing.assert_allclose(found[0], field(mesh.points), rtol=0, atol=ROUND_OFF)
    # Free sides carry no traction, and the fibers' stress is that of beam theory: at most E curvature / 2 at a point.
    P = np.asarray(found[1][0])
    assert abs(P[1, 1]).max() < ROUND_OFF and abs(P[0, 1]).max() < ROUND_OFF
    middle = 0.5 * (1 + np.sqrt(0.6)) * 0.5
    np.testing.assert_allclose(P[0, 0].max(), E * curvature * middle, rtol=1e-10)  # round-off


def test_moduli_of_a_plane_are_those_of_space():
    lam, mu = lame(2.0, 0.3)
    law = Elastic(lam=lam, mu=mu)
    mesh = irregular((2, 2), QUAD4)
    supports = [Fixed("left", (0,)), Fixed(at(0, 0), (1,))]
    for thin, young in ((law, 2.0 / (1 - 0.3**2)), (PlaneStress(law), 2.0)):
        u = solve(Body(mesh, thin, [*supports, Traction("right", (1.0, 0.0))], observe=Displacement("right"))).value
        np.testing.assert_allclose(u[0], 1 / young, rtol=1e-9)  # Newton stops at 1e-8, which is beyond a direct solve
