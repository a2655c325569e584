"""Evolution, growth and spread: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import Span, Stepped
from jaxmsm.biology import (
    Allee,
    Bertalanffy,
    Chemostat,
    ChemostatState,
    Gompertz,
    Logistic,
    MutationSelection,
    Recoding,
    Richards,
    Spread,
    WrightFisher,
    bramson,
    front_speed,
    front_speed_on_grid,
    stationary_moments,
)
from jaxmsm.solve import EulerMaruyama, RungeKutta4, Steps, follow
from jaxmsm.space import Diffusion


def span(t):
    return Span(jnp.asarray(0.0), jnp.asarray(float(t)), None)


def test_mutation_and_selection_balance():
    # Haploid and one way: q* = mu / s exactly.
    model = MutationSelection(mu=1e-3, s=0.05, weak=True)
    assert abs(model.equilibrium() - 0.02) < 1e-15
    end = Stepped(model, jnp.asarray(0.3), EulerMaruyama(), 1000)(span(1000)).value
    assert abs(end - 0.02) < 1e-12
    # With back mutation the root of a quadratic, and its slope.
    back = lambda mu: MutationSelection(mu=mu, nu=1e-4, s=0.05, weak=True)
    q = back(1e-3).equilibrium()
    assert abs(back(1e-3)(0.0, q, None)) < 1e-17
    slope = jax.grad(lambda mu: back(mu).equilibrium())(1e-3)
    assert abs(slope - (back(1.001e-3).equilibrium() - back(0.999e-3).equilibrium()) / 2e-6) < 1e-5
    assert float(MutationSelection(mu=1e-3, nu=1e-3, s=0.0, weak=True).equilibrium()) == pytest.approx(0.5)
    # Diploid and recessive: about sqrt(mu / s).
    recessive = Stepped(MutationSelection(mu=1e-6, s=0.1, h=0.0), jnp.asarray(0.01), EulerMaruyama(), 50_000)(span(50_000)).value
    assert abs(recessive / (1e-6 / 0.1) ** 0.5 - 1) < 1e-5


def test_moments_of_the_wright_fisher_diffusion():
    np.testing.assert_allclose(stationary_moments(1e-3, 1e-4, 0.05, 100.0), [0.023376, 0.057826], atol=1e-6)
    np.testing.assert_allclose(stationary_moments(1e-3, 1e-4, 0.05, 10_000.0), [0.0199796, 0.0044675], atol=1e-7)
    slope = jax.grad(lambda mu: stationary_moments(mu, 1e-4, 0.05, 100.0)[0])(1e-3)
    difference = stationary_moments(1.0001e-3, 1e-4, 0.05, 100.0)[0] - stationary_moments(0.9999e-3, 1e-4, 0.05, 100.0)[0]
    np.testing.assert_allclose(slope, difference / 2e-7, rtol=1e-6)
    # Without selection: a beta distribution of 2 N mu and 2 N nu.
    a, b = 2 * 100 * 2e-3, 2 * 100 * 3e-3
    mean, sd = stationary_moments(2e-3, 3e-3, 0.0, 100.0)
    np.testing.assert_allclose([mean, sd], [a / (a + b), (a * b / ((a + b) ** 2 * (a + b + 1))) ** 0.5], rtol=1e-10)


def test_jumps_and_diffusion_have_those_moments():
    mu, nu, s, N, members = 5e-3, 2e-3, 0.02, 200.0, 20_000
    model = WrightFisher(mu, nu, s, N)
    start = jnp.full(members, 0.2)
    advance = jax.jit(lambda q, key: jax.lax.scan(lambda q, k: (model(k, q), None), q, jax.random.split(key, 1500))[0])
    jumps = np.asarray(advance(start, jax.random.key(1)))
    rate = MutationSelection(mu=mu, nu=nu, s=s, N=N, weak=True)
    scale = Stepped(rate, jnp.full(members, 0.2), EulerMaruyama(), 3000)
    flown = np.asarray(jax.jit(lambda: scale(span(1500)).value)())
    mean, sd = (float(x) for x in stationary_moments(mu, nu, s, N))
    # The diffusion holds up to terms of the order of s and mu, which the jumps have besides; three standard errors of 20,000.
    for found in (jumps, flown):
        assert abs(found.mean() - mean) < 3 * sd / members**0.5 + 0.02 * mean
        assert abs(found.std() - sd) < 0.03 * sd


def test_the_chemostat():
    model = Chemostat()
    rest = model.rest(jnp.asarray(0.5))
    assert abs(model.washout() - 10 / 11) < 1e-15
    end = Stepped(model, ChemostatState(jnp.asarray(2.0), jnp.asarray(0.1)), RungeKutta4(), 4000)(
        Span(jnp.asarray(0.0), jnp.asarray(400.0), jnp.asarray(0.5))
    ).value
    np.testing.assert_allclose(end, rest, rtol=1e-10)


def test_codons_in_a_chemostat():
    recoding = Recoding(1.0, 0.01, 0.02)
    growth = recoding(jnp.asarray(10.0))
    assert abs(growth - 0.75365173) < 5e-9
    culture = Chemostat(mu_max=growth, K_s=0.2, S_0=2.0, Y=0.5)
    rest = culture.rest(jnp.asarray(0.5))
    np.testing.assert_allclose([rest.S, rest.X, culture.washout()], [0.39424135, 0.80287933, 0.68513794], atol=6e-9)
    washed = culture.rest(jnp.asarray(0.7))
    np.testing.assert_allclose([washed.S, washed.X], [2.0, 0.0])
    # The critical number: growth there is what washes out; its slope by differences.
    critical = lambda eps: Recoding(1.0, eps, 0.02).critical(0.55)
    n = critical(0.01)
    assert abs(Recoding(1.0, 0.01, 0.02)(n) - 0.55) < 1e-14
    np.testing.assert_allclose(jax.grad(critical)(0.01), (critical(0.01001) - critical(0.00999)) / 2e-5, rtol=1e-6)
    assert np.isnan(Recoding(0.5, 0.01, 0.02).critical(0.55))


@pytest.mark.parametrize(
    ("dx", "dt", "speed"), [(0.25, 0.0, 2.0051591), (0.5, 0.0, 2.0200893), (0.5, 0.01, 2.0004365), (0.5, 0.1, 1.8372959)]
)
def test_speeds_of_fronts_on_grids(dx, dt, speed):
    c, lam = front_speed_on_grid(1.0, 1.0, dx, dt)
    assert abs(c - speed) < 5e-8
    # The mode exp(-lambda x) grows as it must, to round-off, in a step of the operator itself.
    x = dx * jnp.arange(40)
    mode, motion = jnp.exp(-lam * x), Diffusion((40,), 1.0, dx)
    rate = (motion(mode) + mode)[1:-1] / mode[1:-1]
    grown = c * lam if dt == 0 else (jnp.exp(c * lam * dt) - 1) / dt
    np.testing.assert_allclose(rate, grown, rtol=1e-10)


def test_the_slope_of_a_front():
    slope = jax.grad(lambda r: front_speed_on_grid(r, 1.0, 0.25)[0])(1.0)
    difference = (front_speed_on_grid(1.0001, 1.0, 0.25)[0] - front_speed_on_grid(0.9999, 1.0, 0.25)[0]) / 2e-4
    np.testing.assert_allclose(slope, difference, rtol=1e-7)
    np.testing.assert_allclose(jax.grad(front_speed)(1.0, 1.0), 1.0)


def test_the_nonlinear_front():
    # From a step, as fast as Bramson says, to the next order in 1/t.
    dx, dt, n = 0.5, 0.1, 2400
    model = Spread(Diffusion((n,), 1.0, dx))
    start = jnp.where(jnp.arange(n) * dx < 10, 1.0, 0.0)
    place = lambda t, u: dx * (jnp.sum(u) - 0.5)
    path = follow(lambda t, u, h: u + h * model(t, u, None), start, Steps(0.0, dt, 5000), sample=place, every=500)
    x = np.asarray(path.samples)
    c, lam = front_speed_on_grid(1.0, 1.0, dx, dt)
    for k in (5, 9):
        measured = (x[k] - x[k - 1]) / 50
        t = 50 * (k + 0.5)
        assert abs(measured / bramson(c, lam, t) - 1) < 1e-3
        assert measured < c


GROWTH = {
    "logistic": (Logistic(r=1.3, K=2.0), lambda u, t: 2 / (1 + (2 / u - 1) * np.exp(-1.3 * t))),
    "Richards": (
        Richards(r=1.3, K=2.0, theta=2.5),
        lambda u, t: 2 * (1 + ((2 / u) ** 2.5 - 1) * np.exp(-1.3 * 2.5 * t)) ** (-1 / 2.5),
    ),
    "Gompertz": (Gompertz(r=0.9, K=2.0), lambda u, t: 2 * np.exp(np.log(u / 2) * np.exp(-0.9 * t))),
    "Bertalanffy": (Bertalanffy(a=1.4, b=0.8), lambda u, t: (1.75 - (1.75 - np.cbrt(u)) * np.exp(-0.8 * t / 3)) ** 3),
}


@pytest.mark.parametrize("name", GROWTH)
def test_growth_in_closed_form(name):
    law, exact = GROWTH[name]
    end = Stepped(law, jnp.array([0.05, 0.5, 2.5]), RungeKutta4(), 400)(span(2)).value
    np.testing.assert_allclose(end, exact(np.array([0.05, 0.5, 2.5]), 2.0), rtol=1e-9)
    # Nothing grows from nothing, and slopes at nothing are numbers.
    assert law(0.0, jnp.asarray(0.0), None) == 0
    assert np.isfinite(jax.grad(lambda u: law(0.0, u, None))(0.0))
    slopes = jax.grad(lambda law: law(0.0, jnp.asarray(0.0), None))(law)
    assert np.all(np.isfinite(jnp.stack(jax.tree.leaves(slopes))))


@pytest.mark.parametrize("A", [0.2, 0.7])
def test_fronts_of_few_that_die_out(A):
    dx, n = 0.1, 1000
    model = Spread(Diffusion((n,), 1.0, dx), Allee(r=0.5, K=1.0, A=A))
    start = jnp.where(jnp.arange(n) < n // 2, 1.0, 0.0)
    step = lambda t, u, h: RungeKutta4()(model.driven(None), t, u, h)
    x = follow(step, start, Steps(0.0, 0.006, 10_000), sample=lambda t, u: dx * jnp.sum(u), every=2500).samples
    speed = (x[-1] - x[-2]) / 15
    # Second differences make it slower by some dx^2.
    np.testing.assert_allclose(speed, model.growth.front_speed(1.0), rtol=5e-4)
    assert (speed > 0) == (A < 0.5)
