"""J2 at finite strain at one point: the logarithmic bar, shear, rotations, small strain, slopes; and its tensor functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxmsm import solids
from jaxmsm.solids._tensor_functions import exp_less_one, log_symmetric

E, NU = 2.0, 0.3
SY, H, S_INF, DELTA = 0.02, 0.1, 0.05, 20.0
LINEAR, VOCE = solids.Linear(sy=SY, H=H), solids.Voce(sy=SY, H=H, s_inf=S_INF, delta=DELTA)
LAW = solids.FiniteJ2.from_young(E, NU, VOCE)
RNG = np.random.default_rng(0)
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
TURN = TURN * np.linalg.det(TURN)


quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


@jax.jit
def step(law, F, past):
    return law.answer(F, past)


@jax.jit
def log(B):
    return solids.whole(log_symmetric(solids.parts(B)))


@jax.jit
def exp(X):
    return solids.whole(exp_less_one(solids.parts(X)))


@pytest.mark.parametrize("values", [(1, 1, 1), (1, 1 + 1e-9, 1), (2, 2, 0.3), (0.4, 1, 9), (0.05, 1, 10), (5e-8, 5e-8, 4e-7)])
def test_logarithm_against_eigenvalues(values):
    B = TURN @ np.diag(values) @ TURN.T
    exact = TURN @ np.diag(np.log(values)) @ TURN.T
    # eps times the spread of the eigenvalues
    np.testing.assert_allclose(log(jnp.asarray(0.5 * (B + B.T))), exact, atol=4e-16 * max(values) / min(values) + 2e-14)


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 8.0])
def test_exponential_against_another_code(size):
    X = RNG.normal(size=(3, 3))
    X *= size / np.linalg.norm(X)
    np.testing.assert_allclose(exp(jnp.asarray(X)) + jnp.eye(3), scipy.linalg.expm(X), rtol=1e-12, atol=1e-13)
    if size == 0:
        assert not np.any(exp(jnp.asarray(X)))


def test_derivatives_of_the_logarithm_where_eigenvalues_meet():
    D = jnp.asarray(RNG.normal(size=(3, 3)))
    D = D + D.T
    line = lambda t: log(jnp.eye(3) + t * D)
    # ln(1 + t D) = t D - t^2 D^2 / 2 + t^3 D^3 / 3
    slopes = [line]
    for _ in range(3):
        slopes.append(lambda t, f=slopes[-1]: jax.jvp(f, (t,), (jnp.ones_like(t),))[1])
    zero = jnp.zeros(())
    for slope, exact in zip(slopes[1:], (D, -D @ D, 2 * D @ D @ D), strict=True):
        np.testing.assert_allclose(quickly(slope)(zero), exact, atol=1e-12)
    # Two that meet: the first divided difference of ln there is 1 / 2, between 2 and 0.3 the difference of the logarithms by 1.7.
    B, dB = jnp.diag(jnp.array([2.0, 2.0, 0.3])), jnp.ones((3, 3))
    between = np.log(2 / 0.3) / 1.7
    exact = np.array([[0.5, 0.5, between], [0.5, 0.5, between], [between, between, 1 / 0.3]])
    np.testing.assert_allclose(jax.jvp(log, (B,), (dB,))[1], exact, atol=1e-13)


def bar(tau, alpha):
    """The stretches of a bar with this Kirchhoff stress along 1 and this plastic strain."""
    axial, lateral = tau / E + alpha, -NU * tau / E - alpha / 2
    return jnp.diag(jnp.exp(jnp.asarray([axial, lateral, lateral])))


@pytest.mark.parametrize("hardening", [LINEAR, VOCE])
def test_the_logarithmic_bar_and_its_unloading(hardening):
    law = solids.FiniteJ2.from_young(E, NU, hardening)
    past = law.init()
    for alpha in (0.0, 0.01, 0.1, 0.8):
        tau = SY + H * alpha + (0 if hardening is LINEAR else (S_INF - SY) * (1 - np.exp(-DELTA * alpha)))
        F = bar(tau, alpha)
        P, past, good = step(law, F, past)
        np.testing.assert_allclose(P, np.diag([tau / F[0, 0], 0, 0]), atol=1e-14)
        np.testing.assert_allclose(past.alpha, alpha, atol=1e-14)
        grown = np.exp(alpha * np.array([-2, 1, 1]))
        np.testing.assert_allclose(past.inverse, [*grown, 0, 0, 0], atol=1e-13)
        assert good
    # In one step: the exponential is exact where the axes stand still.
    np.testing.assert_allclose(step(law, F, law.init())[0], P, atol=1e-13)
    P, after, _ = step(law, bar(-0.9 * tau, alpha), past)
    np.testing.assert_allclose(P[0, 0] * bar(-0.9 * tau, alpha)[0, 0], -0.9 * tau, atol=1e-14)
    np.testing.assert_array_equal(after.inverse, past.inverse)


def test_elastic_shear_in_closed_form():
    law = solids.FiniteJ2.from_young(E, NU, solids.Linear(sy=jnp.inf))
    for gamma in (0.1, 1.0, 3.0):
        F = jnp.eye(3).at[0, 1].set(gamma)
        P = step(law, F, law.init())[0]
        tau = P @ F.T
        # Principal logarithmic stretches asinh(gamma / 2), at an angle with tan 2 phi = 2 / gamma.
        np.testing.assert_allclose(tau[0, 1], 4 * law.mu * np.arcsinh(gamma / 2) / np.sqrt(4 + gamma**2), atol=1e-13)
        np.testing.assert_allclose(tau, tau.T, atol=1e-13)


def path(law, turn):
    """The stress at the end of a path, every load turned by its own rotation."""
    rng = np.random.default_rng(3)
    past, stress = law.init(), []
    F = np.eye(3)
    for k in range(4):
        F = F + 0.1 * rng.normal(size=(3, 3))
        P, past, good = step(law, jnp.asarray(turn(k) @ F), past)
        assert good
        stress.append(turn(k).T @ P)
    return np.stack(stress), past


def test_rotations_change_nothing():
    still, past = path(LAW, lambda k: np.eye(3))
    turning, same = path(LAW, lambda k: scipy.linalg.expm((k + 1) * np.cross(np.eye(3), [0.3, -0.8, 0.5])))
    np.testing.assert_allclose(turning, still, atol=1e-14)
    np.testing.assert_allclose(same.inverse, past.inverse, atol=1e-13)
    assert past.alpha > 0.1
    Cp = np.asarray(past.inverse)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    np.testing.assert_allclose(np.linalg.det(Cp), 1, atol=1e-13)


def test_small_strains_are_those_of_j2():
    D = RNG.normal(size=(3, 3))

    def difference(size):
        hardening = solids.Linear(sy=size * SY, H=H)
        finite, small = (law.from_young(E, NU, hardening) for law in (solids.FiniteJ2, solids.J2))
        F = jnp.eye(3) + 0.1 * size * D
        P = step(finite, F, finite.init())[0]
        return np.linalg.norm(P - step(small, F, small.init())[0]) / np.linalg.norm(P)

    assert 9.5 < difference(1e-3) / difference(1e-4) < 10.5  # of the order of the strain
    assert difference(1e-4) < 1e-3


def stress(F, past):
    return LAW(F, past)[0]


@quickly
def slopes(F, past, D):
    """The tangent by both modes, its slope along a change of the load, and that of the history."""
    A = jax.jacfwd(stress)(F, past)
    second = jax.jvp(lambda F: jax.jvp(lambda F: stress(F, past), (F,), (D,))[1], (F,), (D,))[1]
    return A, jax.jacrev(stress)(F, past), second, jax.jvp(lambda F: LAW(F, past)[1].inverse, (F,), (D,))[1]


@pytest.mark.parametrize("F", [np.eye(3), np.diag([1.1, 1.1, 0.9]), np.eye(3) + 0.1 * RNG.normal(size=(3, 3))])
def test_tangent_and_second_slopes(F):
    F, D, h = jnp.asarray(F), jnp.asarray(np.random.default_rng(5).normal(size=(3, 3))), 1e-5
    past = step(LAW, bar(0.03, 0.05), LAW.init())[1]
    A, reverse, second, history = slopes(F, past, D)
    np.testing.assert_allclose(A, jnp.transpose(A, (2, 3, 0, 1)), atol=1e-13)
    np.testing.assert_allclose(A, reverse, atol=1e-13)
    along = [(step(LAW, F + s * D, past), slopes(F + s * D, past, D)[0]) for s in (h, -h)]
    differences = [
        (x - y) / (2 * h) for x, y in zip(*[(a[0], a[1].inverse, jnp.tensordot(B, D, 2)) for a, B in along], strict=True)
    ]
    # h^2 over the yield strain squared
    np.testing.assert_allclose(jnp.tensordot(A, D, 2), differences[0], atol=1e-7)
    np.testing.assert_allclose(history, differences[1], atol=1e-6)
    np.testing.assert_allclose(second, differences[2], rtol=1e-5, atol=1e-5)


def test_virgin_tangent_is_hookes():
    A = quickly(jax.jacfwd(lambda F: LAW(F, LAW.init())[0]))(jnp.eye(3))
    hooke = solids.Elastic.from_young(E, NU)
    np.testing.assert_allclose(A, jax.jacfwd(lambda F: hooke(F, ())[0])(jnp.eye(3)), atol=1e-14)


def test_plane_strain_and_a_thin_bar():
    F = jnp.asarray([[1.2, 0.1], [-0.05, 0.9]])
    P, past, _ = step(LAW, F, LAW.init())
    full, same, _ = step(LAW, jnp.eye(3).at[:2, :2].set(F), LAW.init())
    np.testing.assert_allclose(P, full[:2, :2], atol=1e-15)
    np.testing.assert_allclose(past.inverse, same.inverse, atol=1e-15)
    thin, past = solids.PlaneStress(LAW), LAW.init()
    for alpha in (0.01, 0.5):
        tau = SY + H * alpha + (S_INF - SY) * (1 - np.exp(-DELTA * alpha))
        F = bar(tau, alpha)[:2, :2]
        P, past, good = step(thin, F, past)
        np.testing.assert_allclose(P, np.diag([tau / F[0, 0], 0]), atol=1e-13)
        assert good


def test_failures_and_single_precision():
    assert not step(LAW, jnp.diag(jnp.asarray([-1.0, 1.0, 1.0])), LAW.init())[2]
    assert not step(LAW, jnp.eye(3) * jnp.nan, LAW.init())[2]
    F = jnp.asarray(np.eye(2) + 0.1 * RNG.normal(size=(2, 2)))
    past = jax.tree.map(lambda x: x.astype(jnp.float32), LAW.init())
    P, after, good = step(LAW, F.astype(jnp.float32), past)
    assert good and {x.dtype for x in jax.tree.leaves((P, after))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(P, step(LAW, F, LAW.init())[0], atol=4e-6)  # float32 of a load of order one
