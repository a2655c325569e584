"""The voxel cell against exact solutions, published numbers and bounds."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import Laminate, PeriodicCell, rollout
from jaxmsm.solids import J2, Conductivity, Elastic, Linear, NeoHookean, hashin_shtrikman, reuss, to_voigt, voigt
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import LinearDisplacement, Periodic, UniformTraction

# Below every digit that is compared.
TIGHT = NewtonKrylov(rtol=1e-12)


@jax.jit
def answer(cell, load):
    solution = cell(load)
    return solution.value, solution.ok, solution.stats


@jax.jit
def tangent(cell, load):
    solution, slope = cell.linearize(load)
    return solution.value, slope, solution.ok


def rest(d):
    return jnp.eye(d)


def stiffness(cell):
    """The effective stiffness of a linear cell."""
    _, slope, ok = tangent(cell, rest(len(cell.grid)))
    assert ok
    return np.asarray(slope)


def sphere(n, fraction=None, radius=None):
    """A centered ball by voxel centers, by its volume or its radius."""
    radius = (0.75 * fraction / np.pi) ** (1 / 3) if radius is None else radius
    x = (np.arange(n) + 0.5) / n - 0.5
    square = x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2
    return (square < radius**2).astype(int)


def layers(shape, axis, thickness):
    """Label 0 in the first `thickness` voxels along an axis, label 1 in the others."""
    line = (np.arange(shape[axis]) >= thickness).astype(int)
    return np.broadcast_to(line.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)


# Laminates -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3), (6, 4)])
def test_laminate_in_plane_strain(shape):
    # Exact at any resolution: E = 1 and 10, nu = 0.3, halves, normal x.
    laws = [Elastic.from_young(1.0, 0.3), Elastic.from_young(10.0, 0.3)]
    C = stiffness(PeriodicCell(layers(shape, 0, shape[0] // 2), laws, solver=TIGHT))
    expected = {
        (0, 0, 0, 0): 2.447552447552,
        (0, 0, 1, 1): 1.048951048951,
        (1, 1, 1, 1): 6.493506493506,
        (0, 1, 0, 1): 0.699300699301,
    }
    for place, number in expected.items():
        # Half a unit of the last printed digit.
        assert abs(C[place] - number) < 6e-13, (place, C[place])


def test_plastic_laminate_in_shear():
    # 26 of 31 layers flow, the others are elastic: shear stress is uniform, and only mu, sy and H enter.
    laws = [
        J2.from_bulk(K=2.0, G=1.0, hardening=Linear(sy=0.01, H=0.05)),
        J2.from_bulk(K=7.0, G=1.0, hardening=Linear(sy=jnp.inf, H=0.05)),
    ]
    cell = PeriodicCell(layers((31, 2), 0, 26), laws, solver=TIGHT)
    load = rest(2).at[0, 1].add(0.05).at[1, 0].add(0.05)
    value, ok, _ = answer(cell, load)
    assert ok
    # Half a unit of the last printed digit.
    assert abs(value[0, 1] - 0.0076094684) < 6e-11


def _loads(key, small):
    noise = jax.random.normal(key, (4, 3, 3))
    return rest(3)[None] + (0.005 if small else 0.1) * noise * jnp.array([1.0, 2.0, 0.5, -1.0])[:, None, None]


_PAIRS = {
    "elastic": [Elastic(lam=1.3, mu=0.7), Elastic(lam=11.0, mu=6.0)],
    "rubber": [NeoHookean(mu=0.7, lam=1.3), NeoHookean(mu=6.0, lam=11.0)],
    "metal": [J2(lam=1.3, mu=0.7, hardening=Linear(sy=0.004, H=0.1)), J2(lam=4.0, mu=2.0, hardening=Linear(sy=0.02, H=0.3))],
}


@pytest.mark.parametrize("kind", _PAIRS)
def test_laminate_is_the_answer_for_layers(kind):
    # Along the axes of the grid a laminate of voxels is exact, for any load and any path.
    laws = _PAIRS[kind]

    @jax.jit
    def both(image, normal, fractions, loads):
        cell = PeriodicCell(image, laws, solver=TIGHT)
        exact = Laminate(laws, fractions, normal)
        return rollout(cell, loads)[1], rollout(exact, loads)[1]

    rng = np.random.default_rng(3)
    for axis in range(3):
        thickness = int(rng.integers(1, 4))
        fractions = jnp.array([thickness / 4, 1 - thickness / 4])
        image = jnp.asarray(layers((4, 4, 4), axis, thickness))
        loads = _loads(jax.random.key(axis), kind != "rubber")
        cell, exact = both(image, rest(3)[axis], fractions, loads)
        assert cell.ok.all() and exact.ok.all()
        # Both solvers stop far below; the stiffness spans a decade.
        np.testing.assert_allclose(cell.value, exact.value, rtol=0, atol=1e-9 * float(jnp.abs(exact.value).max()))


# Checkerboards -------------------------------------------------------------------------------------------------------------------


def checkerboard(tile, n=64):
    """Squares of half a tile, repeated over the grid (a repeated cell answers as one, and one program serves all tiles)."""
    x = np.arange(n) // (tile // 2) % 2
    return (x[:, None] + x[None, :]) % 2


def test_bulk_modulus_of_a_checkerboard():
    # NIST voxel finite element manual, Table 9; G = 2, K = 1 and 10, plane moduli (K = lam + mu); exact 2.8.
    laws = [Elastic(lam=1.0 - 2.0, mu=2.0), Elastic(lam=10.0 - 2.0, mu=2.0)]
    found = []
    for tile in (2, 4, 8, 16, 32, 64):
        C = stiffness(PeriodicCell(checkerboard(tile), laws, solver=TIGHT))
        found.append((C[0, 0, 0, 0] + C[0, 0, 1, 1]) / 2)
        # Hill: with one shear modulus everywhere the effective one is that, to round-off.
        assert abs(C[0, 1, 0, 1] - 2) < 1e-12 and abs((C[0, 0, 0, 0] - C[0, 0, 1, 1]) / 2 - 2) < 1e-11
    # Half a unit of the last printed digit.
    np.testing.assert_allclose(found, [5.500, 3.271, 2.937, 2.841, 2.812, 2.804], rtol=0, atol=5.1e-4)


def test_conductivity_of_a_checkerboard():
    # Dykhne: sqrt(k1 k2) = 2. Finite elements approach from above, and the two conditions on the faces of one tile bracket it.
    laws = [Conductivity(1.0), Conductivity(4.0)]

    def conductivity(boundary, tile=16, n=16):
        _, slope, ok = tangent(PeriodicCell(checkerboard(tile, n), laws, boundary=boundary, solver=TIGHT), jnp.zeros(2))
        assert ok
        # Square symmetry of the whole board; a window of it has that of its diagonals.
        assert abs(slope[0, 0] - slope[1, 1]) < 1e-10 and (abs(slope[0, 1]) < 1e-10 or not isinstance(boundary, Periodic))
        return float(slope[0, 0])

    errors = [conductivity(Periodic(), tile) - 2 for tile in (2, 4, 8, 16)]
    assert all(0 < fine < coarse for coarse, fine in pairwise(errors)), errors
    # At a corner the potential goes as r^a with a = 4/pi atan(sqrt(k1/k2)) = 0.590, so that energies converge as h^(2a).
    assert abs(np.log2(errors[-2] / errors[-1]) - 1.18) < 0.05
    assert conductivity(UniformTraction()) < 2 < 2 + errors[-1] < conductivity(LinearDisplacement())


# Spheres -------------------------------------------------------------------------------------------------------------------------


def _young(E, contrast_nu=(0.3, 0.3)):
    return [Elastic.from_young(1.0, contrast_nu[0]), Elastic.from_young(E, contrast_nu[1])]


def test_linear_sphere():
    # By scikit-fem (`peers.elastic` at 1e-13); FANS, muGrid and FElupe agree to the digits that their residual of 1e-8 leaves.
    C = stiffness(PeriodicCell(sphere(16, fraction=0.2), _young(10.0), solver=TIGHT))
    # Half a unit of the last printed digit.
    assert abs(C[0, 0, 0, 0] - 1.974521960457) < 6e-13
    assert abs(C[0, 0, 1, 1] - 0.731721370881) < 6e-13
    assert abs(C[0, 1, 0, 1] - 0.544369231681) < 6e-13


def test_rubber_sphere():
    # By FElupe (`oracles/felupe_rubber.json` at 1e-12); FANS and a prototype agree to the digits that a residual of 1e-8 leaves.
    laws = [NeoHookean.from_young(1.0, 0.3), NeoHookean.from_young(10.0, 0.3)]
    cell = PeriodicCell(sphere(16, fraction=0.2), laws, solver=NewtonKrylov(rtol=1e-11))
    P, A, ok = tangent(cell, rest(3).at[0, 1].set(0.1))
    assert ok
    # Half a unit of the last printed digit.
    assert abs(P[0, 0] + 2.47125308e-4) < 6e-13
    assert abs(P[0, 1] - 5.4520888864e-2) < 6e-13
    assert abs(A[0, 0, 0, 0] - 1.9756828099) < 6e-11
    assert abs(A[0, 1, 0, 1] - 0.5468568894) < 6e-11
    assert abs(A[0, 1, 1, 0] - 0.5453719764) < 6e-11


def test_centered_sphere_of_a_quarter():
    C = stiffness(PeriodicCell(sphere(16, radius=0.25), _young(10.0), solver=TIGHT))
    # Half a unit of the last printed digit.
    assert abs(C[0, 0, 0, 0] - 1.520248) < 6e-7
    assert abs(C[0, 0, 1, 1] - 0.627969) < 6e-7
    assert abs(C[0, 1, 0, 1] - 0.435341) < 6e-7


def test_sphere_within_hashin_and_shtrikman():
    image = sphere(16, fraction=0.2)
    laws = [Elastic.from_young(1.0, 0.35), Elastic.from_young(10.0, 0.25)]
    C = stiffness(PeriodicCell(image, laws, solver=TIGHT))
    c = jnp.array([1 - image.mean(), image.mean()])
    K = jnp.array([law.lam + 2 * law.mu / 3 for law in laws])
    G = jnp.array([law.mu for law in laws])
    (K_low, K_high), (G_low, G_high) = hashin_shtrikman(c, K, G)
    bulk = (C[0, 0, 0, 0] + 2 * C[0, 0, 1, 1]) / 3
    shear = (2 * (C[0, 0, 0, 0] - C[0, 0, 1, 1]) / 2 + 3 * C[0, 1, 0, 1]) / 5
    assert K_low < bulk < K_high
    assert G_low < shear < G_high


def _cases():
    for i in range(3):
        for j in range(i, 3):
            yield rest(3) + 0.005 * (jnp.outer(rest(3)[i], rest(3)[j]) + jnp.outer(rest(3)[j], rest(3)[i]))


@pytest.mark.parametrize("n", [24, 32])
def test_iterations_do_not_grow_with_the_grid(n):
    cell = PeriodicCell(sphere(n, radius=0.25), _young(10.0), solver=NewtonKrylov(rtol=1e-6))
    count = 0
    for load in _cases():
        _, ok, stats = answer(cell, load)
        assert ok
        count += int(stats["linear"])
    # muGrid publishes 102 to 105 at 24^3.
    assert count <= 105


# Order and invariance ------------------------------------------------------------------------------------------------------------


def _mandel(C):
    weight = np.where(np.arange(6) < 3, 1, 2**0.5)
    return np.asarray(to_voigt(jnp.asarray(C))) * weight[:, None] * weight[None, :]


def test_conditions_and_bounds_stand_in_order():
    # Each is a minimum of energy over fewer fields than the one before, so differences are positive semidefinite.
    image = np.random.default_rng(5).integers(0, 2, (5, 6, 5))
    laws = _young(10.0, (0.35, 0.25))
    c = jnp.array([1 - image.mean(), image.mean()])
    pure = jnp.stack([jax.jacfwd(lambda F, law=law: law(F, ())[0])(rest(3)) for law in laws])
    cells = [
        stiffness(PeriodicCell(image, laws, boundary=b, solver=TIGHT))
        for b in (UniformTraction(), Periodic(), LinearDisplacement())
    ]
    chain = [reuss(c, pure), *cells, voigt(c, pure)]
    for softer, stiffer in pairwise(chain):
        least = np.linalg.eigvalsh(_mandel(stiffer) - _mandel(softer))[0]
        # Strictly apart in a random image.
        assert least > 1e-4


def test_replication_translation_and_rotation_change_nothing():
    image = np.random.default_rng(6).integers(0, 2, (4, 4, 4))
    laws = _PAIRS["rubber"]
    F = _loads(jax.random.key(9), False)[0]

    def stress(image, F):
        value, ok, _ = answer(PeriodicCell(image, laws, solver=TIGHT), F)
        assert ok
        return np.asarray(value)

    P = stress(image, F)
    # Two searches to 1e-12 of the elastic residual.
    near = {"rtol": 0, "atol": 1e-10 * np.abs(P).max()}
    np.testing.assert_allclose(stress(np.roll(image, (1, 2, -1), (0, 1, 2)), F), P, **near)
    np.testing.assert_allclose(stress(np.tile(image, (2, 2, 2)), F), P, **near)
    # A quarter turn about z of the image and of the load.
    R = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(stress(np.rot90(image, 1, (0, 1)).copy(), jnp.asarray(R @ F @ R.T)), R @ P @ R.T, **near)
    # A rotation in front of the load turns the stress (objectivity), whatever the angle.
    c, s = np.cos(0.7), np.sin(0.7)
    Q = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    np.testing.assert_allclose(stress(image, jnp.asarray(Q @ F)), Q @ P, **near)


# Second derivatives --------------------------------------------------------------------------------------------------------------


def test_second_derivatives_are_differences_of_the_first():
    # In a modulus, in the load, and mixed: what a macro Newton with sensitivities, or an uncertainty, takes.
    image = np.random.default_rng(0).integers(0, 2, (4, 4))
    direction = jnp.array([[1.0, 0.5], [0.2, -0.3]])

    def weighed(p):
        laws = [NeoHookean(mu=p[0], lam=1.5), NeoHookean(mu=8.0, lam=10.0)]
        return jnp.sum(direction * PeriodicCell(image, laws, solver=TIGHT)(rest(2) + (0.05 + p[1]) * direction).value)

    gradient = jax.grad(weighed)
    p = jnp.array([1.0, 0.0])
    slope, hessian = jax.jit(lambda p: (gradient(p), jax.jacfwd(gradient)(p)))(p)
    gradient = jax.jit(gradient)
    np.testing.assert_allclose(gradient(p), slope, rtol=1e-10)  # Two programs, solved to 1e-12 each.
    h = 1e-5
    expected = [(gradient(p + h * e) - gradient(p - h * e)) / (2 * h) for e in rest(2)]
    # Central differences: 1e-12 of the solver over h.
    np.testing.assert_allclose(hessian, expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-10)
    assert np.abs(hessian).min() > 1e-3  # No entry is zero by accident.
