"""Steps in time with noise and without: orders of convergence, noise that no division changes, times of events."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import NoisyRate, Rate, Span, Stepped
from jaxmsm.solve import (
    Crossing,
    EulerMaruyama,
    Milstein,
    Most,
    Noise,
    RungeKutta4,
    RushLarsenMidpoint,
    Steps,
    StochasticHeun,
    Sum,
    follow,
)

A, B = 0.3, 0.8
"""Drift and noise of dx = A x dt + B x dw."""


def slope(sizes, errors):
    """The order that a fit to the errors shows."""
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def deviations(step, ito: bool, n, members=20_000):
    """x - x exact at the end of unit time, along each member's own Wiener process."""
    # The second unknown is the Wiener process itself.
    noise = lambda t, y, load, dw: jnp.stack([B * y[0] * dw, dw])
    rate = NoisyRate(lambda t, y, load: jnp.stack([A * y[0], 0 * y[1]]), noise)

    def one(key):
        advance = lambda t, y, dt, dw: step(rate.driven(None), rate.shaken(None), t, y, dt, dw)
        path = follow(advance, jnp.array([1.0, 0.0]), Steps(0.0, 1 / n, n), noise=Noise(key, jnp.zeros(())))
        x, w = path.end
        return x - jnp.exp(A - ito * 0.5 * B**2 + B * w)

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(n), members)))


@pytest.mark.parametrize(
    ("step", "ito", "strong", "weak"),
    [(EulerMaruyama(), True, 0.5, 1), (Milstein(), True, 1, 1), (StochasticHeun(), False, 1, 1)],
    ids=["Euler-Maruyama", "Milstein", "Heun"],
)
def test_strong_and_weak_orders(step, ito, strong, weak):
    # Of geometric Brownian motion, whose path is known. The weak error is the mean along common paths, whose scatter is small.
    counts = np.array([16, 32, 64, 128])
    found = [deviations(step, ito, int(n), 20_000) for n in counts]
    assert abs(slope(1 / counts, [np.mean(np.abs(d)) for d in found]) - strong) < 0.1
    few = np.array([4, 8, 16])
    many = [deviations(step, ito, int(n), 400_000) for n in few]
    assert all(abs(np.mean(d)) > 8 * np.std(d) / np.sqrt(len(d)) for d in many)
    assert abs(slope(1 / few, [abs(np.mean(d)) for d in many]) - weak) < 0.1


@pytest.mark.parametrize("every", [1, 20, 50, 60, 100, 300])
def test_noise_does_not_depend_on_how_the_steps_are_divided(every):
    noise = Noise(jax.random.key(3), {"a": jnp.zeros(2), "b": jnp.zeros((), jnp.float32)})
    whole = noise.increments(jnp.asarray(0), 600, jnp.asarray(0.25))
    parts = [noise.increments(jnp.asarray(k), every, jnp.asarray(0.25)) for k in range(0, 600, every)]
    for key in whole:
        np.testing.assert_array_equal(np.concatenate([p[key] for p in parts]), whole[key])
    assert abs(np.var(whole["a"]) / 0.25 - 1) < 4 * np.sqrt(2 / 1200)
    assert whole["b"].dtype == jnp.float32


def test_the_state_of_a_noisy_scale_holds_its_future():
    rate = NoisyRate(lambda t, y, load: -y, lambda t, y, load, dw: load * dw)
    scale = Stepped(rate, jnp.ones(3), EulerMaruyama(), 40)
    load = Span(jnp.asarray(0.0), jnp.asarray(1.0), jnp.asarray(0.5))
    state = scale.init(load, key=jax.random.key(7))
    first, again = scale(load, state), scale(load, state)
    np.testing.assert_array_equal(first.value, again.value)
    later = scale(load, first.state)
    assert not np.allclose(later.value - first.value * np.exp(-1), first.value - np.exp(-1), atol=1e-2)


def test_a_step_without_noise_for_a_rate_with_it_is_refused():
    with pytest.raises(TypeError, match="EulerMaruyama"):
        Stepped(NoisyRate(lambda t, y, load: -y, lambda t, y, load, dw: dw), jnp.ones(2), RungeKutta4(), 10)


def test_orders_of_the_steps_without_noise():
    def error(step, n):
        y = follow(lambda t, y, dt: step(lambda t, y: y * jnp.cos(t), t, y, dt), jnp.asarray(1.0), Steps(0.0, 1 / n, n)).end
        return abs(float(y) - np.exp(np.sin(1)))

    for step, order in ((RungeKutta4(), 4), (RushLarsenMidpoint(), 2)):
        assert abs(slope([1 / 32, 1 / 64, 1 / 128], [error(step, n) for n in (32, 64, 128)]) - order) < 0.1


def swing(omega, n=4000, **more):
    """Of x'' = -omega^2 x from x = 1 at rest: when x first falls through 0.2, when it rises through it, the most |x'|, the mean."""
    scale = Stepped(
        Rate(lambda t, y, w: jnp.stack([y[1], -(w**2) * y[0]])),
        jnp.array([1.0, 0.0]),
        RungeKutta4(),
        n,
        (
            Crossing(lambda y: y[0], 0.2, falling=True),
            Crossing(lambda y: y[0], 0.2),
            Crossing(lambda y: y[0], 0.2, 7.0, falling=True),
            Crossing(lambda y: y[0], 2.0),
            Most(lambda y: y[1]),
            Sum(lambda t, y: y[0]),
        ),
    )
    return scale(Span(jnp.asarray(0.0), jnp.asarray(10.0), omega)).value


def test_events_and_their_slopes():
    omega, root = 1.3, np.arccos(0.2)
    exact = np.array([root, 2 * np.pi - root, 2 * np.pi + root]) / omega
    found, slopes = jax.jvp(swing, (jnp.asarray(omega),), (jnp.asarray(1.0),))
    np.testing.assert_allclose(found[:2], exact[:2], atol=1e-8)  # third order in the step of 1/400
    # From 7 on x falls at 10.72 only, beyond the end.
    assert found[2] == np.inf and found[3] == np.inf
    np.testing.assert_allclose(slopes[:2], -exact[:2] / omega, rtol=1e-5)  # second order
    assert slopes[2] == 0 and slopes[3] == 0
    np.testing.assert_allclose(found[4:], [omega, np.sin(10 * omega) / omega], atol=1e-5)
    reverse = jax.grad(lambda w: sum(swing(w)[:2]))(jnp.asarray(omega))
    assert abs(reverse - sum(slopes[:2])) < 1e-12


def test_reverse_mode_by_blocks_is_the_same():
    def end(y0, again):
        return follow(lambda t, y, dt: y - dt * y**3, y0, Steps(0.0, 1e-3, 1000), every=50, again=again).end

    slopes = [jax.grad(end)(jnp.asarray(1.0), again) for again in (False, True)]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-14)
    # y(t) = (1 + 2 t)^(-1/2) from 1, and dy/dy0 = (1 + 2 t)^(-3/2).
    assert abs(slopes[0] - 3**-1.5) < 4e-4  # an Euler step of 1e-3


def test_a_path_may_be_followed_on():
    watch = (Crossing(lambda y: y, 0.4, falling=True), Most(lambda y: y))
    part = lambda t0, y, count, memory: follow(lambda t, y, dt: y - dt * y, y, Steps(t0, 0.01, count), watch=watch, memory=memory)
    whole, half = part(0.0, jnp.asarray(1.0), 200, None), part(0.0, jnp.asarray(1.0), 100, None)
    rest = part(1.0, half.end, 100, half.memory)
    assert half.seen[0] < 1 and rest.seen == half.seen == whole.seen and rest.end == whole.end


def test_blocks_must_divide_the_steps():
    with pytest.raises(ValueError, match="divide"):
        follow(lambda t, y, dt: y, jnp.ones(()), Steps(0.0, 0.1, 10), every=3)
    with pytest.raises(ValueError, match="positive integer"):
        Steps(0.0, 0.1, 0)
