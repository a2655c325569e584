"""A crystal at one point: tension along known axes in closed form, Taylor's factor, rates, rotations, symmetry, slopes."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.transform import Rotation

import jaxmsm as msm
from jaxmsm import solids
from jaxmsm.solids._slip import SYSTEMS

COPPER = solids.CrystalPlasticity.copper()
ELASTIC = {"C11": 170e3, "C12": 124e3, "C44": 75e3}
RATE, M = 1e-3, 0.012
RNG = np.random.default_rng(0)

quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


def crystal(**changed):
    return solids.CrystalPlasticity(
        **(ELASTIC | {"rate": RATE, "m": M, "g0": 16.0, "g_inf": 148.0, "h0": 180.0, "a": 1.0} | changed)
    )


@quickly
def step(law, F, past, dt):
    return law.during(dt).answer(jnp.asarray(F, float), past)


def cold(inverse, hardening=None):
    return solids.Crystal(jnp.asarray(inverse), jnp.zeros(12) if hardening is None else jnp.asarray(hardening), jnp.zeros(6))


def second_piola(P, F, inverse):
    return np.linalg.solve(np.asarray(F) @ inverse, np.asarray(P)) @ np.linalg.inv(inverse).T


def lattice(T):
    """The symmetric Fe under a second Piola stress."""
    compliance = np.linalg.inv(
        np.kron(np.eye(2), np.zeros((3, 3))) + np.diag([46e3] * 3 + [75e3] * 3) + 124e3 * np.pad(np.ones((3, 3)), (0, 3))
    )
    e = compliance @ [T[0, 0], T[1, 1], T[2, 2], T[1, 2], T[0, 2], T[0, 1]]
    E = np.diag(e[:3]) + 0.5 * np.array([[0, e[5], e[4]], [e[5], 0, e[3]], [e[4], e[3], 0]])
    return scipy.linalg.sqrtm(np.eye(3) + 2 * E)


def schmid(axis):
    e = np.asarray(axis) / np.linalg.norm(axis)
    return np.einsum("i, aij, j -> a", e, SYSTEMS, e)


def test_schmid_factors():
    # Textbooks: .408 of eight systems along [001], .272 of six along [111], .467 of one along [123].
    for axis, count, value in (([0, 0, 1], 8, 0.408), ([1, 1, 1], 6, 0.272), ([1, 0, 1], 4, 0.408), ([1, 2, 3], 1, 0.467)):
        found = np.sort(np.abs(schmid(axis)))[::-1]
        np.testing.assert_allclose(found[:count], value, atol=5e-4)
        assert found[count] < 0.9 * value
    np.testing.assert_allclose(np.trace(SYSTEMS, axis1=1, axis2=2), 0, atol=1e-16)


def pulled(ratio):
    """The slip of each of eight systems in a step of [001] tension to a length of `ratio`."""
    k = ratio**-1.5
    return np.sqrt(6) / 8 * (1 - k) / (1 + k / 2)


@pytest.mark.parametrize("dt", [1e-4, 10.0, 1e4])
def test_tension_along_001(dt):
    # Eight systems with t = .408 sigma; no hardening.
    law, ratio = crystal(g0=148.0), 1.02
    t = 148.0 * (pulled(ratio) / (RATE * dt)) ** M
    T = np.diag([0, 0, np.sqrt(6) * t])
    Fp = np.diag([1.1**-0.5, 1.1**-0.5, 1.1])
    F = lattice(T) @ np.diag([ratio**-0.5, ratio**-0.5, ratio]) @ Fp
    P, after, good = step(law, F, cold(np.linalg.inv(Fp)), dt)
    assert good
    np.testing.assert_allclose(second_piola(P, F, after.inverse), T, atol=1e-9)  # round-off of C11
    np.testing.assert_allclose(np.linalg.det(after.inverse), 1, atol=1e-14)


def along(law, loads, times):
    """The steps of a path of deformations (n, 3, 3) that end at `times`."""
    spans = msm.Span(jnp.concatenate([jnp.zeros(1), times[:-1]]), times, loads)
    return _along(law, spans)


@quickly
def _along(law, spans):
    return msm.rollout(msm.Closed(law), spans)[1]


def sheared(amount, n):
    """A path of deformations along no axis of the crystal."""
    G = jnp.array([[0.6, 0.3, -0.1], [0.2, -0.4, 0.5], [0.0, -0.3, -0.2]])
    t = jnp.linspace(0, amount, n + 1)[1:]
    return jnp.eye(3)[None] + t[:, None, None] * G[None], t / RATE


TURN = jnp.asarray(Rotation.from_rotvec([0.4, -0.9, 0.7]).as_matrix())


def test_a_rotation_of_the_observer_turns_the_stress():
    F, times = sheared(0.05, 4)
    one, other = along(crystal(), F, times), along(crystal(), TURN @ F, times)
    assert one.ok.all() and other.ok.all()
    assert np.abs(one.value[-1]).max() > 10
    np.testing.assert_allclose(other.value, TURN @ one.value, atol=1e-8)  # round-off of C11 over 1e-9 of stress


def test_a_rotation_of_the_lattice_turns_with_the_load():
    # R F R^T on a turned crystal is the same crystal seen from elsewhere; a rotation of the cube is none of the crystal at all.
    F, times = sheared(0.05, 4)
    one = along(crystal(), F, times)
    turned = along(solids.Rotated(crystal(), TURN), TURN @ F @ TURN.T, times)
    np.testing.assert_allclose(turned.value, TURN @ one.value @ TURN.T, atol=1e-8)
    cube = jnp.asarray(Rotation.from_rotvec(2 * np.pi / 27**0.5 * np.ones(3)).as_matrix())
    other = along(solids.Rotated(crystal(), cube), F, times)
    np.testing.assert_allclose(other.value, one.value, atol=1e-8)
    assert np.abs(along(solids.Rotated(crystal(), TURN), F, times).value - one.value).max() > 1


@pytest.mark.parametrize("m", [0.012, 0.1])
def test_the_rate_sensitivity_is_that_of_two_rates(m):
    # Steady slip without hardening: stress to the rate^m.
    F, times = sheared(0.05, 10)
    law = crystal(m=m, h0=0.0)
    slow, fast = (along(law, F, times / speed).value[-1] @ F[-1].T for speed in (1.0, 10.0))
    size = lambda tau: np.linalg.norm(tau - np.trace(tau) / 3 * np.eye(3))
    found = np.log10(size(fast) / size(slow))
    assert found == pytest.approx(m, rel=0.02)  # elastic strains, some 1e-3 of the strain, change with the stress


def test_taylors_factor():
    # Bishop and Hill, Philos. Mag. 42 (1951) 1298: 3.067 for grains of all orientations that deform alike in uniaxial tension.
    grains = jnp.asarray(Rotation.random(1000, random_state=3).as_matrix())
    law, strain = crystal(m=0.004, h0=0.0, g0=0.16), 0.01
    F = jnp.diag(jnp.exp(strain * jnp.array([1.0, -0.5, -0.5])))

    @quickly
    def axial(turn):
        def one(turn):
            P, _, good = solids.Rotated(law, turn).during(strain / RATE).answer(F, law.init())
            tau = P @ F.T
            return tau[0, 0] - 0.5 * (tau[1, 1] + tau[2, 2]), good

        return jax.vmap(one)(turn)

    found, good = axial(grains)
    assert good.all()
    factor = np.asarray(found) / 0.16
    # A thousand grains err by .35 / 1000^.5.
    assert factor.mean() == pytest.approx(3.067, abs=0.025)


def test_resistances_grow_to_their_end():
    # Along [001] eight systems slip alike, two on each plane: each grows by h (2 + 6 q) |slip|, which for a = 1 is an exponential.
    law, n = crystal(q=1.4), 200
    ratio = jnp.exp(jnp.linspace(0, 0.3, n + 1)[1:])
    F = jnp.stack([jnp.diag(jnp.array([x**-0.5, x**-0.5, x])) for x in ratio])
    steps = along(law, F, jnp.log(ratio) / RATE)
    assert steps.ok.all()
    tau = (steps.value @ jnp.swapaxes(F, 1, 2))[:, 2, 2] - (steps.value @ jnp.swapaxes(F, 1, 2))[:, 0, 0]
    # Slip of each: 6^.5 / 8 of the axial strain less the elastic one; the resistance nears g_inf.
    young = 170e3 - 2 * 124e3**2 / (170e3 + 124e3)
    slip = 6**0.5 / 8 * (np.log(ratio) - tau / young)
    g = 148 - (148 - 16) * np.exp(-180 / 148 * (2 + 6 * 1.4) * slip)
    speed = (6**0.5 / 8) ** M  # of a slip, in units of `rate`, to the power m
    error = tau / (6**0.5 * g * speed) - 1
    assert np.abs(error[20:]).max() < 5e-3  # of first order in the step, here a fiftieth of the growth


def test_steps_are_of_first_order():
    ends = [along(crystal(), *sheared(0.08, n)).value[-1] for n in (4, 8, 16)]
    gaps = [np.linalg.norm(a - b) for a, b in pairwise(ends)]
    assert 0.8 < np.log2(gaps[0] / gaps[1]) < 1.3


@pytest.mark.parametrize(("F", "dt"), [(np.diag([-1.0, 1, 1]), 1.0), (np.eye(3), -1.0), (np.diag([np.nan, 1, 1]), 1.0)])
def test_what_has_no_answer_is_not_admissible(F, dt):
    assert not step(crystal(), F, cold(np.eye(3)), dt)[2]


def test_two_grains_in_a_cell_are_their_laminate():
    # Layers across the first axis: constant tractions there, constant deformation along, whoever solves for them.
    grains = [solids.Rotated(COPPER, Rotation.from_rotvec(turn).as_matrix()) for turn in ([0.1, 0.3, 0.2], [-0.4, 0.2, 0.5])]
    load = msm.Span(jnp.zeros(()), jnp.asarray(10.0), jnp.eye(3).at[0, 1].set(0.01).at[0, 0].set(1.002))
    quick = quickly(lambda scale, load: scale(load))
    expected = quick(msm.Laminate(grains, jnp.array([0.5, 0.5]), jnp.array([1.0, 0, 0])), load)
    found = quick(msm.PeriodicCell(np.arange(2).repeat(4).reshape(2, 2, 2), grains), load)
    assert expected.ok and found.ok
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-4)
