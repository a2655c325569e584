"""Viscoelasticity at one point: relaxation, creep and dynamic moduli in closed form, finite strain, rotations, slopes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxmsm as msm
from jaxmsm import Mixed, Span, solids
from jaxmsm.solids._viscoelastic import mean_kept

K, G = 3.0, 1.0
BULK, SHEAR = ((0.5, 2.0),), ((0.8, 0.3), (0.4, 5.0))
LAW = solids.Viscoelastic.from_prony(K=K, G=G, bulk=BULK, shear=SHEAR)
RUBBER = solids.Viscoelastic(solids.NeoHookean(mu=1.0, lam=2.0), [solids.Maxwell(solids.NeoHookean(mu=0.7, lam=1.4), 0.3)])
RNG = np.random.default_rng(0)
STRAIN = 0.01 * RNG.normal(size=(3, 3))
STRAIN = 0.5 * (STRAIN + STRAIN.T)
VOLUME = np.trace(STRAIN)
DEVIATOR = STRAIN - VOLUME / 3 * np.eye(3)
EXACT = 1e-15  # stresses of order .01

quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


@quickly
def step(law, F, past, dt):
    return law.during(dt).answer(F, past)


@quickly
def along(law, loads, ends):
    return msm.rollout(msm.Closed(law), Span(ends[:-1], ends[1:], loads))[1]


def modulus(first, series, relaxed):
    return first + sum(m * relaxed(tau) for m, tau in series)


def stress(relaxed):
    """The stress under the strain, each relaxation time having left this part of its modulus."""
    return modulus(K, BULK, relaxed) * VOLUME * np.eye(3) + 2 * modulus(G, SHEAR, relaxed) * DEVIATOR


@pytest.mark.parametrize("x", [0.0, 1e-12, 0.1, 0.25 - 1e-9, 0.25, 3.0, 800.0])
def test_mean_of_the_exponential(x):
    x = jnp.asarray(x)
    exact = 1.0 if x == 0 else -np.expm1(-x) / x
    np.testing.assert_allclose(mean_kept(x), exact, rtol=1e-15)
    # f = (1 - e) / x has x f' = e - f and x f'' = -e - 2 f', where that says something.
    first, second = jax.grad(mean_kept)(x), jax.grad(jax.grad(mean_kept))(x)
    np.testing.assert_allclose(first, -0.5 + x / 3 if x < 1e-3 else (np.exp(-x) - exact) / x, rtol=1e-12)
    np.testing.assert_allclose(second, 1 / 3 - x / 4 if x < 1e-3 else (-np.exp(-x) - 2 * first) / x, rtol=1e-11)


def test_relaxation_after_a_ramp():
    ramp, past = 0.4, LAW.init()
    after = lambda t: lambda tau: tau / ramp * (np.exp(ramp / tau) - 1) * np.exp(-t / tau)
    during = lambda t: lambda tau: tau / ramp * (1 - np.exp(-t / tau))
    t = 0.0
    for dt in (0.1, 0.3, 0.05, 2.0, 30.0, 1000.0):
        t += dt
        strain = min(t / ramp, 1) * STRAIN
        P, past, good = step(LAW, np.eye(3) + strain, past, dt)
        if t <= ramp + 1e-12:
            exact = (modulus(K * t / ramp, BULK, during(t)) * VOLUME) * np.eye(3) + 2 * modulus(
                G * t / ramp, SHEAR, during(t)
            ) * DEVIATOR
        else:
            exact = stress(after(t))
        np.testing.assert_allclose(P, exact, atol=EXACT)
        assert good
    np.testing.assert_allclose(P, K * VOLUME * np.eye(3) + 2 * G * DEVIATOR, atol=EXACT)


def test_glass_and_rubber():
    F = jnp.asarray(np.eye(3) + STRAIN)
    np.testing.assert_allclose(step(LAW, F, LAW.init(), 0.0)[0], stress(lambda tau: 1.0), atol=EXACT)
    np.testing.assert_allclose(step(LAW, F, LAW.init(), jnp.inf)[0], stress(lambda tau: 0.0), atol=EXACT)


def test_creep_of_the_standard_solid():
    # Under constant stress s: e = s / G (1 - G1 / (G + G1) exp(-t / tau_c)), with tau_c = tau (G + G1) / G.
    G1, tau, shear = 2.0, 0.5, 0.01
    law = solids.Viscoelastic.from_prony(K=K, G=G, shear=[(G1, tau)])
    P, mask = shear * jnp.asarray([[0.0, 1.0], [1.0, 0.0]]), jnp.asarray([[True, False], [False, True]])

    def strains(steps):
        # The jump of the stress takes no time.
        ends = np.concatenate([[0.0], np.linspace(0, 1.0, steps + 1)])
        load = Mixed(jnp.eye(2), P, mask)
        many = jax.tree.map(lambda x: jnp.broadcast_to(x, (steps + 1, *x.shape)), load)
        found = along(law, many, jnp.asarray(ends))
        assert np.all(found.ok)
        return ends[1:], found.stats["deformation"][:, 0, 1]

    def error(steps):
        t, found = strains(steps)
        exact = shear / (2 * G) * (1 - G1 / (G + G1) * np.exp(-t / tau * G / (G + G1)))
        np.testing.assert_allclose(found[0], exact[0], rtol=1e-12)
        return np.abs(found / exact - 1).max()

    coarse, fine = error(20), error(40)
    assert 3.8 < coarse / fine < 4.2 and fine < 2e-5  # second order


def test_dynamic_moduli():
    def error(steps):
        """Of the complex shear modulus at a frequency, against the closed form."""
        w, periods = 2.0, 8
        t = np.linspace(0, 2 * np.pi / w * periods, steps * periods + 1)
        loads = np.eye(3) + 0.01 * np.sin(w * t[1:, None, None]) * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
        # Transients of tau = 5 fade by exp(-5) only: the mean over a period does not see them, but the first harmonic does.
        law = solids.Viscoelastic.from_prony(K=K, G=G, shear=[(0.8, 0.3), (0.4, 0.9)])
        s = np.asarray(along(law, jnp.asarray(loads), jnp.asarray(t)).value)[-steps:, 0, 1] / 0.02
        found = 2 * np.mean(s * np.sin(w * t[-steps:])) + 2j * np.mean(s * np.cos(w * t[-steps:]))
        exact = G + sum(g * 1j * w * tau / (1 + 1j * w * tau) for g, tau in ((0.8, 0.3), (0.4, 0.9)))
        return abs(found - exact)

    coarse, fine = error(20), error(40)
    assert 3.8 < coarse / fine < 4.2 and fine < 2e-3  # second order


def test_a_rubber_relaxes_while_it_turns():
    F = np.eye(3) + 0.3 * RNG.normal(size=(3, 3))
    rest = np.asarray(RUBBER.law(jnp.asarray(F), ())[0])
    _, past, _ = step(RUBBER, F, RUBBER.init(), 0.0)
    t = 0.0
    for dt in (0.1, 0.2, 1.0):
        t += dt
        R = scipy.linalg.expm(t * np.cross(np.eye(3), [0.3, -0.8, 0.5]))
        P, past, good = step(RUBBER, R @ F, past, dt)
        np.testing.assert_allclose(P, R @ rest * (1 + 0.7 * np.exp(-t / 0.3)), atol=2e-14)
        assert good


def test_small_strains_of_a_rubber():
    small = solids.Viscoelastic(solids.Elastic(mu=1.0, lam=2.0), [solids.Maxwell(solids.Elastic(mu=0.7, lam=1.4), 0.3)])
    D = RNG.normal(size=(3, 3))

    def difference(size):
        one, other = [], []
        past, same = RUBBER.init(), small.init()
        for t in (0.5, 1.0):
            P, past, _ = step(RUBBER, np.eye(3) + t * size * D, past, 0.2)
            Q, same, _ = step(small, np.eye(3) + t * size * D, same, 0.2)
            one, other = [*one, P], [*other, Q]
        return np.linalg.norm(np.stack(one) - np.stack(other)) / np.linalg.norm(np.stack(other))

    assert 9.5 < difference(1e-3) / difference(1e-4) < 10.5  # of the order of the strain


@pytest.mark.parametrize("law", [LAW, RUBBER], ids=["small", "finite"])
def test_slopes(law):
    F = jnp.asarray(np.eye(3) + 0.1 * RNG.normal(size=(3, 3)))
    past = step(law, np.eye(3) + 0.1 * STRAIN, law.init(), 0.1)[1]
    D = jnp.asarray(RNG.normal(size=(3, 3)))

    @quickly
    def slopes(F, dt):
        value = lambda F, dt: law.during(dt)(F, past)
        return jax.jacfwd(lambda F: value(F, dt)[0])(F), jax.jacrev(lambda F: value(F, dt)[0])(F), jax.jvp(value, (F, dt), (D, 1.0))

    h = 1e-5
    for dt in (0.0, 0.2):
        A, reverse, (_, slope) = slopes(F, dt)
        np.testing.assert_allclose(A, reverse, atol=1e-13)
        np.testing.assert_allclose(A, jnp.transpose(A, (2, 3, 0, 1)), atol=1e-13)
        # Fourth order; before zero there is no time, but the formula goes on.
        two, one, minus, minus_two = (step(law, F + k * h * D, past, dt + k * h)[:2] for k in (2, 1, -1, -2))
        difference = jax.tree.map(lambda a, b, c, d: (8 * (b - c) - (a - d)) / (12 * h), two, one, minus, minus_two)
        for x, y in zip(jax.tree.leaves(slope), jax.tree.leaves(difference), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-9)


@pytest.mark.parametrize("law", [LAW, RUBBER], ids=["small", "finite"])
def test_plane_strain_and_a_thin_sheet(law):
    F = jnp.asarray([[1.1, 0.05], [0.02, 0.97]])
    full = jnp.eye(3).at[:2, :2].set(F)
    plane, space = law.init(), law.init()
    for k in (1.0, 1.2):
        P, plane, _ = step(law, k * F, plane, 0.3)
        Q, space, _ = step(law, (k * full).at[2, 2].set(1.0), space, 0.3)
        np.testing.assert_allclose(P, Q[:2, :2], atol=2e-15)
    thin = solids.PlaneStress(law)
    assert thin.timed
    P, _, good = step(thin, F, law.init(), 0.3)
    loads = jax.tree.map(lambda x: x[None], Mixed(full, jnp.zeros((3, 3)), jnp.ones((3, 3), bool).at[2, 2].set(False)))
    free = along(law, loads, jnp.asarray([0.0, 0.3]))
    assert good and free.ok[0]
    np.testing.assert_allclose(P, free.value[0, :2, :2], atol=1e-12)  # where the thickness is found to 1e-12


def test_failures_refusals_and_single_precision():
    F = jnp.asarray(np.eye(3) + STRAIN)
    assert not step(LAW, F, LAW.init(), -0.1)[2]
    assert not step(RUBBER, jnp.diag(jnp.asarray([-1.0, 1, 1])), RUBBER.init(), 0.1)[2]
    with pytest.raises(ValueError, match=r"must hold laws of mechanics without history, but one is"):
        solids.Viscoelastic(solids.J2(lam=1.0, mu=1.0, hardening=solids.Linear(sy=1.0)), [])
    with pytest.raises(ValueError, match=r"must be of small strain all or of finite strain all"):
        solids.Viscoelastic(solids.Elastic(lam=1.0, mu=1.0), RUBBER.branches)
    with pytest.raises(ValueError, match="Argument `load` must be a `Span"):
        LAW(F, LAW.init())
    law, past = jax.tree.map(lambda x: x.astype(jnp.float32), (RUBBER, RUBBER.init()))
    P, after, good = step(law, F.astype(jnp.float32), past, jnp.float32(0.1))
    assert good and {x.dtype for x in jax.tree.leaves((P, after))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(P, step(RUBBER, F, RUBBER.init(), 0.1)[0], atol=2e-6)  # float32 of moduli of order one
