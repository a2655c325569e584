"""A fine scale followed through time in steps of one size, and what is seen on the way."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._typing import Tree
from ._noise import Noise


class Steps(eqx.Module):
    """Steps of one size: from `t0`, `count` steps of `dt`."""

    t0: Float[Array, ""]
    dt: Float[Array, ""]
    count: int = eqx.field(static=True)

    def __init__(self, t0: Any, dt: Any, count: int):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"Argument `count` must be a positive integer, the number of steps, but it is {count!r}.")
        self.t0, self.dt, self.count = _number(t0), _number(dt), count


def _number(x: Any) -> Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


class AbstractWatch(eqx.Module):
    """What is kept of a path while it is followed, without keeping the path."""

    @abc.abstractmethod
    def begin(self, t: Any, y: Any) -> Tree:
        """What is remembered at the start."""

    @abc.abstractmethod
    def after(self, seen: Tree, t: Any, old: Any, dt: Any, new: Any) -> Tree:
        """What is remembered after a step from `old` at t to `new` at t + dt."""

    @abc.abstractmethod
    def read(self, seen: Tree) -> Tree:
        """What is told at the end."""


class Crossing(AbstractWatch):
    """When a quantity first passes a level: the root of its parabola through three steps, inf if it never does.

    An array of quantities (the potentials of a tissue) has a time each. The time is a differentiable function of the path: its
    slope is that of the implicit-function rule, dt*/dp = -(dg/dp) / (dg/dt).

    Error: third order in the step for the time, second for its slope, where the quantity is smooth; first in the first step.

    Attributes:
        of: `of(y)`, the quantity or quantities.
        level: what is passed.
        after_time: crossings before this time do not count.
        falling: passed from above; else from below.
    """

    of: Callable[[Any], Array]
    level: Float[Array, "..."] | float = eqx.field(converter=lambda x: jnp.asarray(x, float))
    after_time: Float[Array, "..."] | float = eqx.field(default=0.0, converter=lambda x: jnp.asarray(x, float))
    falling: bool = eqx.field(static=True, default=False, kw_only=True)

    def begin(self, t, y):
        g = self._over(y)
        return jnp.full_like(g, jnp.inf), g, jnp.asarray(True)

    def after(self, seen, t, old, dt, new):
        time, last, first = seen
        g, behind = self._over(old), self._over(new)
        now = (g < 0) & (behind >= 0) & (time == jnp.inf) & (t + dt > self.after_time)
        last = jnp.where(first, 2 * g - behind, last)
        # g + b s + c s^2 through s = -1, 0, 1. What does not cross must hand no infinite slope to a gradient.
        b, c = 0.5 * (behind - last), 0.5 * (behind + last) - g
        root = jnp.sqrt(jnp.where(now, b**2 - 4 * c * g, 1.0))
        s = -2 * g / jnp.where(now, b + root, 1.0)
        return jnp.where(now, (t + dt * s).astype(time.dtype), time), g, jnp.asarray(False)

    def read(self, seen):
        return seen[0]

    def _over(self, y):
        g = self.of(y)
        over = g - jnp.asarray(self.level, g.dtype)
        return -over if self.falling else over


class Most(AbstractWatch):
    """The most that a quantity reaches, over the steps."""

    of: Callable[[Any], Array]

    def begin(self, t, y):
        del t
        return self.of(y)

    def after(self, seen, t, old, dt, new):
        del t, old, dt
        return jnp.maximum(seen, self.of(new))

    def read(self, seen):
        return seen


class Sum(AbstractWatch):
    """The integral of a quantity over time, by the trapezoidal rule."""

    of: Callable[[Any, Any], Array]

    def begin(self, t, y):
        return jnp.zeros_like(self.of(t, y))

    def after(self, seen, t, old, dt, new):
        return seen + (0.5 * dt * (self.of(t, old) + self.of(t + dt, new))).astype(seen.dtype)

    def read(self, seen):
        return seen


class Path(NamedTuple):
    """How a path ended, what its watches tell, its samples (leading axis the times, the first after `every` steps), and what the
    watches remember, for whoever goes on from here."""

    end: Any
    seen: tuple
    samples: Tree
    memory: tuple


def follow(
    advance: Callable[..., Any],
    y: Any,
    steps: Steps,
    *,
    watch: Sequence[AbstractWatch] = (),
    sample: Callable[[Any, Any], Tree] | None = None,
    every: int | None = None,
    noise: Noise | None = None,
    again: bool = False,
    memory: tuple | None = None,
) -> Path:
    """Follow `y` through the steps, in one compiled loop of fixed length: traced, differentiable, exportable.

    Args:
        advance: `advance(t, y, dt) -> y` at t + dt; with noise `advance(t, y, dt, dw)`.
        y: where the path begins, any tree of arrays.
        steps: when.
        watch: what is kept of every step.
        sample: `sample(t, y)`, kept after every `every` steps.
        every: steps between samples, which must divide their number; by default all of them are one block.
        noise: the increments that every step gets, the same whatever `every` is.
        again: reverse mode keeps the start of every block only, and takes its steps again on the way back: memory is that of one
            block and of the starts (least with `every` about the root of the number of steps), for one more forward run.
        memory: what the watches remember of an earlier part of the path; by default they begin here.
    """
    block = steps.count if every is None else every
    if block < 1 or steps.count % block:
        raise ValueError(f"Argument `every` must divide the number of steps ({steps.count}), but it is {every}.")
    for name, leaf in (("t0", steps.t0), ("dt", steps.dt)):
        if jnp.ndim(leaf):
            raise ValueError(f"Argument `steps` must have one {name}, but its shape is {jnp.shape(leaf)}; use `jax.vmap`.")

    def one(carry, given):
        y, seen = carry
        k, dw = given
        t = steps.t0 + k * steps.dt
        new = advance(t, y, steps.dt) if noise is None else advance(t, y, steps.dt, dw)
        return (new, tuple(w.after(s, t, y, steps.dt, new) for w, s in zip(watch, seen, strict=True))), None

    def run(carry, first):
        k = first + jnp.arange(block)
        dw = None if noise is None else noise.increments(first, block, steps.dt)
        carry, _ = lax.scan(one, carry, (k.astype(steps.dt.dtype), dw))
        if sample is None:
            return carry, None
        return carry, sample(steps.t0 + (first + block) * steps.dt, carry[0])

    carry = (y, tuple(w.begin(steps.t0, y) for w in watch) if memory is None else memory)
    (end, seen), samples = lax.scan(jax.checkpoint(run) if again else run, carry, jnp.arange(0, steps.count, block))
    return Path(end, tuple(w.read(s) for w, s in zip(watch, seen, strict=True)), samples, seen)
