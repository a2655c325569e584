"""Damage at one point: the energy of a crack for any size of an element, measures, unloading, lag, slopes where strains repeat."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import Span, solids
from jaxmsm.solids._tensor_functions import positive_norm, positive_part

E, NU, FT, GF = 30.0, 0.2, 0.003, 1e-4
ONSET = FT / E
MEASURES = {"mazars": solids.Mazars(), "mises": solids.ModifiedMises(8.0), "energy": solids.EnergyNorm()}
CURVES = {
    "linear": solids.LinearSoftening(strength=FT, energy=GF),
    "exponential": solids.ExponentialSoftening(strength=FT, energy=GF),
}
EXACT = 2e-14  # round-off of a load of order one, times E
RNG = np.random.default_rng(0)
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]

quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


def law(curve="exponential", measure="mazars", **how):
    return solids.Damage.from_young(E, NU, CURVES[curve], measure=MEASURES[measure], **({"size": 0.1} | how))


@quickly
def step(law, F, past):
    return law.answer(F, past)


@quickly
def along(law, loads):
    return msm.rollout(msm.Closed(law), loads)[1]


def bars(strain):
    """Loads of a bar in tension or compression: damage leaves Poisson's ratio as it is."""
    return jnp.asarray(np.eye(3) + np.reshape(strain, (-1, 1, 1)) * np.diag([1, -NU, -NU]))


@pytest.mark.parametrize("size", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("curve", CURVES)
def test_a_crack_dissipates_its_energy_whatever_the_size(curve, measure, size):
    end = 2 * GF / size / FT
    # From the onset on by Gauss and Legendre (exact for a line), by Gauss and Laguerre for the exponential.
    if curve == "linear":
        x, w = np.polynomial.legendre.leggauss(4)
        x, w = ONSET + (end - ONSET) * 0.5 * (1 + x), (end - ONSET) * 0.5 * w
    else:
        x, w = np.polynomial.laguerre.laggauss(4)
        x, w = ONSET + (end - ONSET) / 2 * x, (end - ONSET) / 2 * w * np.exp(x)
    steps = along(law(curve, measure, size=size), bars([0.5 * ONSET, *x, 0.0]))
    assert np.all(steps.ok)
    stress = np.asarray(steps.value)
    np.testing.assert_allclose(stress[0], np.diag([0.5 * FT, 0, 0]), atol=EXACT)
    np.testing.assert_allclose(size * (0.5 * FT * ONSET + np.dot(w, stress[1:-1, 0, 0])), GF, rtol=1e-11)  # EXACT over FT
    assert np.abs(stress[:, 1:]).max() < EXACT and not np.any(stress[-1])


@pytest.mark.parametrize("measure, compression", [("mazars", FT / NU / 2**0.5), ("mises", 8 * FT), ("energy", FT)])
def test_strength_in_tension_and_compression(measure, compression):
    for strength, sign in ((FT, 1), (compression, -1)):
        below, above = (along(law(measure=measure), bars(sign * k * strength / E)) for k in (1 - 1e-9, 1 + 1e-6))
        assert below.state.damage[0] == 0 < above.state.damage[0]


def test_unloading_is_straight_and_damage_stays():
    steps = along(law(), bars([3 * ONSET, ONSET, -ONSET, 3 * ONSET, 2 * ONSET]))
    d = steps.state.damage
    assert d[0] > 0.3 and np.all(d == d[0])
    np.testing.assert_allclose(steps.value[:, 0, 0], (1 - d) * E * ONSET * np.array([3, 1, -1, 3, 2]), atol=EXACT)


@pytest.mark.parametrize(
    "values", [(1, 1, 1), (1, 1, -2), (-1, -1, 2), (0.3, -0.2, 1e-9), (-1, -2, -3), (0, 0, 0), (3e-5, 0, -1e-5)]
)
def test_the_positive_part_and_its_slopes(values):
    for turn in (np.eye(3), TURN):
        e = turn @ np.diag(values) @ turn.T
        e = jnp.asarray(0.5 * (e + e.T))
        both = quickly(lambda e: solids.whole(positive_part(solids.parts(e))))
        size = quickly(lambda e: positive_norm(solids.parts(e)))
        positive = np.maximum(values, 0)
        size_of = max(map(abs, values))
        np.testing.assert_allclose(both(e), turn @ np.diag(positive) @ turn.T, atol=1e-15 * size_of)
        np.testing.assert_allclose(size(e), np.linalg.norm(positive), atol=1e-15 * size_of)
        D = RNG.normal(size=(3, 3))
        D = jnp.asarray(D + D.T)
        slope, dpart = jax.jvp(size, (e,), (D,))[1], jax.jvp(both, (e,), (D,))[1]
        if size_of == 0:
            assert slope == 0
        elif min(map(abs, values)) > 1e-6:  # away from the kink at zero
            h = 1e-7
            np.testing.assert_allclose(dpart, (both(e + h * D) - both(e - h * D)) / (2 * h), atol=1e-8)  # eps / h
            np.testing.assert_allclose(slope, (size(e + h * D) - size(e - h * D)) / (2 * h), atol=1e-7)


def test_damage_that_lags():
    eta, kappa = 0.3, 4 * ONSET
    viscous = law(viscosity=eta)
    assert viscous.timed and not law().timed
    static = float(along(law(), bars(kappa)).state.damage[0])

    @quickly
    def path(ends):
        loads = jnp.broadcast_to(bars(kappa), (len(ends) - 1, 3, 3))
        return msm.rollout(msm.Closed(viscous), Span(ends[:-1], ends[1:], loads))[1]

    # Implicit Euler leaves 1 / (1 + dt / eta) of the lag at every step, and in the limit exp(-t / eta).
    steps = path(jnp.linspace(0, 1.0, 6))
    np.testing.assert_allclose(steps.state.damage, static * (1 - (1 + 0.2 / eta) ** -np.arange(1.0, 6)), rtol=1e-13)
    np.testing.assert_allclose(steps.value[:, 0, 0], (1 - steps.state.damage) * E * kappa, rtol=1e-13)
    error = [abs(path(jnp.linspace(0, 1.0, n + 1)).state.damage[-1] - static * (1 - np.exp(-1 / eta))) for n in (40, 80)]
    assert 1.9 < error[0] / error[1] < 2.1  # first order
    fast, slow = (path(jnp.asarray([0.0, t])) for t in (0.0, 1e9))
    assert fast.state.damage[0] == 0
    np.testing.assert_allclose(slow.state.damage[0], static, rtol=1e-9)
    assert not np.any(path(jnp.asarray([0.1, 0.0])).ok)
    # Without a size the energy is one per volume.
    one, other = solids.Damage.from_young(E, NU, CURVES["linear"], viscosity=eta), law("linear", viscosity=eta, size=1.0)
    np.testing.assert_array_equal(*(step(x.during(1e9), bars(kappa)[0], x.init())[0] for x in (one, other)))


@pytest.mark.parametrize("measure", MEASURES)
def test_slopes(measure):
    given, past = law(measure=measure), solids.Damaged(jnp.asarray(2 * ONSET), jnp.asarray(0.1))
    D = jnp.asarray(RNG.normal(size=(3, 3)) * ONSET)

    @quickly
    def slopes(law, F):
        value = lambda law, F: law(F, past)
        A = jax.jacfwd(lambda F: value(law, F)[0])(F)
        second = jax.jvp(lambda F: jax.jvp(lambda F: value(law, F)[0], (F,), (D,))[1], (F,), (D,))[1]
        return A, jax.jacrev(lambda F: value(law, F)[0])(F), second, jax.jvp(lambda F: value(law, F), (F,), (D,))[1]

    for values in ([5, 5, -3], [4, 1, 2], [5, 5, 5]):
        e = jnp.asarray(TURN @ np.diag(values) @ TURN.T) * ONSET
        F = jnp.eye(3) + 0.5 * (e + e.T)
        A, reverse, second, along = slopes(given, F)
        np.testing.assert_allclose(A, reverse, atol=1e-12)
        h = 1e-4
        (up, ahead), (down, behind) = ((step(given, F + k * h * D, past), slopes(given, F + k * h * D)) for k in (1, -1))
        for x, y, z in zip(jax.tree.leaves(along), jax.tree.leaves(up[:2]), jax.tree.leaves(down[:2]), strict=True):
            np.testing.assert_allclose(x, (y - z) / (2 * h), rtol=1e-6, atol=1e-9 * np.abs(y).max())  # h^2, eps / h
        rate = jnp.tensordot(ahead[0] - behind[0], D, 2) / (2 * h)
        np.testing.assert_allclose(second, rate, rtol=1e-5, atol=1e-7 * float(jnp.abs(second).max()))
    sound = jax.jacfwd(lambda F: given(F, given.init())[0])(jnp.eye(3))
    hooke = solids.Elastic.from_young(E, NU)
    np.testing.assert_allclose(sound, jax.jacfwd(lambda F: hooke(F, ())[0])(jnp.eye(3)), atol=1e-13)


def test_plane_strain_and_a_thin_bar():
    F = jnp.asarray([[1.0, 0.0], [0.0, 1.0]]) + ONSET * jnp.asarray([[3.0, 1.0], [0.5, -0.4]])
    P, past, _ = step(law(), F, law().init())
    full, same, _ = step(law(), jnp.eye(3).at[:2, :2].set(F), law().init())
    np.testing.assert_allclose(P, full[:2, :2], atol=1e-17)
    assert past.kappa == same.kappa > ONSET
    thin = solids.PlaneStress(law())
    assert thin.softening
    F = bars(3 * ONSET)[0]
    P, _, good = step(thin, F[:2, :2], law().init())
    np.testing.assert_allclose(P, step(law(), F, law().init())[0][:2, :2], atol=1e-15)  # the thickness is found to 16 eps
    assert good


def test_elastic_phases_and_failures():
    F = bars(3 * ONSET)[0]
    for curve in (solids.LinearSoftening, solids.ExponentialSoftening):
        for given in (
            solids.Damage.from_young(E, NU, curve(strength=jnp.inf, energy=GF), size=0.1),
            solids.Damage.from_young(0.0, NU, curve(strength=FT, energy=GF), size=0.1),
        ):
            hooke = solids.Elastic(lam=given.lam, mu=given.mu)
            P, past, good = step(given, F, given.init())
            np.testing.assert_allclose(P, hooke(F, ())[0], atol=1e-16)
            assert good and past.damage == 0
            slopes = quickly(jax.grad(lambda law: law(F, law.init())[0][0, 0]))(given)
            assert all(np.isfinite(x) for x in jax.tree.leaves(slopes))
    # The bar would snap back from 2 energy E / strength^2 on, but not before its peak.
    largest = 2 * GF * E / FT**2
    for k, fails in ((0.99, False), (1.01, True)):
        given = law(size=k * largest)
        assert step(given, F, given.init())[2] != fails
        assert step(given, bars(0.9 * ONSET)[0], given.init())[2]
    with pytest.raises(ValueError, match="Argument `size` must be the width of the band of a crack"):
        law(size=None)
    assert not step(law(), F * jnp.nan, law().init())[2]


def test_single_precision():
    given, past = jax.tree.map(lambda x: x.astype(jnp.float32), (law(), law().init()))
    F = jnp.eye(2) + 10 * ONSET * jnp.asarray([[3.0, 1.0], [0.5, -0.4]])
    P, after, good = step(given, F.astype(jnp.float32), past)
    assert good and {x.dtype for x in jax.tree.leaves((P, after))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(P, step(law(), F, law().init())[0], rtol=1e-3)  # float32 of a load of one, over its strain
