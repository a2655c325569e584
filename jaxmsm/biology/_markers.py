"""What is read off a trace of the transmembrane potential: peaks, crossings, durations of action potentials."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

type Number = Float[Array, ""] | float


def peak(v: Float[Array, " n"], dt: Number) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """When and how high the highest of a trace is: the top of the parabola through the highest sample and its neighbors.

    Args:
        v: samples dt apart, the first at time zero.
        dt: their distance (ms).
    """
    k = jnp.clip(jnp.argmax(v), 1, v.shape[0] - 2)
    a, b, c = v[k - 1], v[k], v[k + 1]
    bend = a - 2 * b + c
    s = jnp.where(bend < 0, 0.5 * (a - c) / jnp.where(bend < 0, bend, -1.0), 0.0)
    return dt * (k + s), b - 0.25 * (a - c) * s


def crossing(
    v: Float[Array, " n"],
    dt: Number,
    level: Number,
    *,
    after: Number = 0.0,
    falling: bool,
) -> Float[Array, ""]:
    """When a trace first passes a level: the root of the cubic through the four samples around it, inf if it never does.

    Its slope in whatever the trace depends on is that of the implicit-function rule.

    Args:
        v, dt: as for `peak`.
        level: in the unit of v.
        after: samples before this time do not count.
        falling: passed from above; else from below.
    """
    g = (level - v) if falling else (v - level)
    late = dt * jnp.arange(1, v.shape[0]) > after
    hits = (g[:-1] < 0) & (g[1:] >= 0) & late
    k = jnp.clip(jnp.argmax(hits), 1, v.shape[0] - 3)
    p, a, b, q = lax.dynamic_slice_in_dim(g, k - 1, 4)
    # Lagrange's cubic through s = -1, 0, 1, 2.
    c1, c2, c3 = b - p / 3 - a / 2 - q / 6, (p + b) / 2 - a, (q - p) / 6 + (a - b) / 2
    value = lambda s: a + s * (c1 + s * (c2 + s * c3))
    slope = lambda s: c1 + s * (2 * c2 + 3 * s * c3)
    rising = b - a
    s = lax.stop_gradient(-a / jnp.where(rising > 0, rising, 1.0))
    for _ in range(4):
        s = jnp.clip(s - lax.stop_gradient(value(s) / _nonzero(slope(s))), 0.0, 1.0)
    # One more step, in which alone the samples' slopes count: ds = -dg / g'.
    s = s - value(s) / lax.stop_gradient(_nonzero(slope(s)))
    return jnp.where(jnp.any(hits), dt * (k + s), jnp.inf)


def duration(
    v: Float[Array, " n"],
    dt: Number,
    *,
    fraction: float = 0.9,
    onset: Number = 0.0,
    rest: Number | None = None,
) -> Float[Array, ""]:
    """The duration of an action potential: from its onset until a fraction of its height is lost again, by default APD90.

    Args:
        v, dt: as for `peak`.
        fraction: of the height over rest.
        onset: when it began, usually that of the stimulus (ms).
        rest: the potential from which the height counts; None: the first sample.

    Returns:
        Milliseconds; inf where the potential has not come back.
    """
    base = v[0] if rest is None else rest
    when, top = peak(v, dt)
    return crossing(v, dt, top - fraction * (top - base), after=lax.stop_gradient(when), falling=True) - onset


def _nonzero(x):
    return jnp.where(x == 0, 1.0, x)
