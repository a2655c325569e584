"""Genes, hormones and switches: published fixed points, folds in closed form, delays, oscillations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import Rate, Span, Steady, Stepped
from jaxmsm.biology import Delay, HillNetwork, Repressilator, RepressilatorState, Toggle, ToggleState, activated, repressed
from jaxmsm.solve import RungeKutta4, Steps, fold, follow, hopf

DOSE = jnp.asarray(0.0)


def at(u, v):
    return ToggleState(jnp.asarray(float(u)), jnp.asarray(float(v)))


@pytest.mark.parametrize(
    ("start", "expected", "stable"),
    [
        (at(150, 0.1), (155.763408, 0.099513), True),
        (at(1.3, 6.7), (1.316546, 6.734163), False),
        (at(0.3, 11.7), (0.332419, 11.708032), True),
    ],
    ids=["high u", "saddle", "high v"],
)
def test_points_of_rest_of_the_toggle(start, expected, stable):
    solution = Steady(Toggle(), start, stability=True)(DOSE)
    np.testing.assert_allclose(solution.unwrap(), expected, atol=6e-7)
    assert (solution.stats["growth"] < 0) == stable


def test_the_symmetric_toggle():
    scale = lambda u, v: Steady(Toggle.symmetric(3.0), at(u, v), stability=True)(DOSE)
    np.testing.assert_allclose(scale(2.6, 0.4).value, [(3 + 5**0.5) / 2, (3 - 5**0.5) / 2], rtol=1e-8)
    saddle = scale(1.2, 1.2)
    np.testing.assert_allclose(saddle.value.u, 1.2134117, atol=5e-8)
    np.testing.assert_allclose(saddle.stats["growth"], 0.1910589, atol=5e-8)


def test_folds_in_closed_form_and_their_slopes():
    # p + b x - x^3 folds at x = sqrt(b / 3), p = -2 (b / 3)^(3/2).
    place = lambda b: fold(lambda x, p, b: p + b * x - x**3, jnp.asarray(0.8), -0.3, b)
    found = place(1.2)
    np.testing.assert_allclose([found.y, found.p], [0.4**0.5, -2 * 0.4**1.5], rtol=1e-9)
    np.testing.assert_allclose(jax.grad(lambda b: place(b).p)(1.2), -(0.4**0.5), rtol=1e-8)
    np.testing.assert_allclose(jax.jvp(lambda b: place(b).y, (1.2,), (1.0,))[1], 0.5 / (1.2 * 3) ** 0.5, rtol=1e-8)


def test_the_toggle_is_set_by_inducer_where_its_state_folds():
    # The state of high u meets the saddle as the inducer becomes too little to keep it.
    def place(log_a2):
        rate = lambda y, log_I, log_a2: Toggle(a2=jnp.exp(log_a2))(0.0, y, jnp.exp(log_I))
        return fold(rate, at(115.0, 0.6), jnp.log(4e-5), log_a2)

    found = place(jnp.log(15.6))
    inducer = float(jnp.exp(found.p))
    assert 1e-5 < inducer < 1e-4  # the switch of figure 5 of the paper
    # Beyond it the high state is gone, before it is there, from the same start.
    go = lambda dose: (
        Stepped(Toggle(), at(155.0, 0.1), RungeKutta4(), 20_000)(Span(jnp.asarray(0.0), jnp.asarray(400.0), dose)).value.u
    )
    assert go(jnp.asarray(0.97 * inducer)) > 20 and go(jnp.asarray(1.03 * inducer)) < 5
    slope = jax.grad(lambda a: place(a).p)(jnp.log(15.6))
    difference = (place(jnp.log(15.6) + 1e-4).p - place(jnp.log(15.6) - 1e-4).p) / 2e-4
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_the_repressilator_swings_past_its_hopf_point():
    # The symmetric state p = m: unstable where (beta + 1)^2 / beta < 3 X^2 / (4 + 2 X), X = -alpha n p^(n-1) / (1 + p^n)^2.
    def swing(alpha):
        model = Repressilator(alpha=alpha, alpha_0=0.0, beta=1.0)
        start = RepressilatorState(jnp.array([1.0, 1.5, 2.0]), jnp.array([1.0, 1.2, 0.9]))
        advance = lambda t, y, dt: RungeKutta4()(model.driven(None), t, y, dt)
        return np.ptp(follow(advance, start, Steps(0.0, 0.02, 20_000), sample=lambda t, y: y.p[0], every=10).samples[-500:])

    def unstable(alpha):
        p = max(np.roots([1, 0, 1, -alpha]).real)
        X = -alpha * 2 * p / (1 + p**2) ** 2
        return 3 * X**2 / (4 + 2 * X) > 4

    # At beta 1 and n 2 the border is at X = -4/3, p^2 = 2, alpha = 3 sqrt(2).
    assert not unstable(4.2) and unstable(4.3)
    assert swing(3.6) < 1e-3 and swing(4.8) > 0.1


def repressilator_swings(beta):
    """Where the symmetric state of a repressilator begins to swing: alpha and the frequency in closed form, alpha_0 = 0, n = 2."""
    # 3 X^2 / (4 + 2 X) = (beta + 1)^2 / beta for the slope X < 0 of the transcription; X = -2 p^2 / (1 + p^2), alpha = p (1 + p^2).
    k = (beta + 1) ** 2 / beta
    X = (k - jnp.sqrt(k**2 + 12 * k)) / 3
    p = jnp.sqrt(-X / (2 + X))
    return p * (1 + p**2), -beta * X * jnp.sqrt(0.75) / (1 + beta)


def test_where_the_repressilator_begins_to_swing_and_its_slope():
    rate = lambda y, alpha, beta: Repressilator(alpha=alpha, alpha_0=0.0, beta=beta)(0.0, y, None)
    start = RepressilatorState(jnp.full(3, 1.3), jnp.full(3, 1.3))
    place = jax.jit(lambda beta: hopf(rate, start, 3.7, beta))
    for beta in (1.0, 2.0):
        found = place(beta)
        assert msm.names(found.result) == "successful"
        np.testing.assert_allclose([found.p, found.frequency], repressilator_swings(beta), rtol=1e-9)
        np.testing.assert_allclose(jnp.stack(found.y), found.y.m[0], rtol=1e-9)  # the symmetric state
    for differentiate in (jax.jacfwd, jax.jacrev):
        ours = differentiate(lambda beta: jnp.stack([place(beta).p, place(beta).frequency]))(2.0)
        np.testing.assert_allclose(ours, jax.jacfwd(lambda beta: jnp.stack(repressilator_swings(beta)))(2.0), rtol=1e-7)
    np.testing.assert_allclose(repressilator_swings(1.0)[0], 3 * 2**0.5)
    known = lambda beta: hopf(rate, start, 3.7, beta, frequency=0.7).p
    np.testing.assert_allclose(known(2.0), found.p, rtol=1e-9)
    assert set(jax.export.export(jax.jit(known), platforms=["cpu", "cuda"])(2.0).platforms) == {"cpu", "cuda"}
    # What cannot swing is told.
    nothing = hopf(lambda y, p, args: p - y, jnp.ones(3), 1.0)
    assert msm.names(nothing.result) == "nonfinite"


def test_a_delay_is_a_gamma_distribution():
    stages, tau = 5, 2.0
    step = lambda t, z, dt: RungeKutta4()(lambda t, z: Delay(tau)(z, jnp.ones(())), t, z, dt)
    z = follow(step, jnp.zeros(stages), Steps(0.0, 0.01, 300)).end
    # The last stage is the distribution function at t = 3.
    assert abs(z[-1] - jax.scipy.special.gammainc(5.0, 3.0 * stages / tau)) < 1e-8


def test_hill_functions_at_the_edges():
    x = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(repressed(x, jnp.asarray(2.0), jnp.asarray(3.0)), [1, 1, 0.5])
    np.testing.assert_allclose(activated(x, jnp.asarray(2.0), jnp.asarray(3.0)), [0, 0, 0.5])
    assert np.all(np.isfinite(jax.vmap(jax.grad(lambda x: activated(x, jnp.asarray(2.0), jnp.asarray(3.0))))(x)))


def test_a_network_of_hill_terms_is_the_toggle():
    one = jnp.ones(2)
    effect = np.array([[0, -1], [-1, 0]])
    network = HillNetwork(0 * one, 3.0 * one, one, jnp.ones((2, 2)), 2 * jnp.ones((2, 2)), effect, ("u", "v"))
    y = jnp.array([0.7, 1.9])
    np.testing.assert_allclose(network(0.0, y, None), jnp.stack(Toggle.symmetric(3.0)(0.0, at(*y), None)), rtol=1e-14)
    assert isinstance(Steady(Rate(lambda t, x, load: network(t, x, load)), y)(DOSE).value, jax.Array)
