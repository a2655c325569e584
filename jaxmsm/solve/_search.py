"""The line search of equilibrium: a step that takes away half of the work that the residual does along it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._typing import Tree
from ._krylov import axpy, dot, norm


class Point(eqx.Module):
    """Where a search stands: unknowns, residual and its norm, whether the laws admit it, and what is carried along."""

    z: Tree
    r: Tree
    size: Float[Array, ""]
    admissible: Bool[Array, ""]
    carried: Tree


class _Trial(eqx.Module):
    a: Float[Array, ""]
    z: Tree
    r: Tree
    carried: Tree
    good: Bool[Array, ""]
    low: Float[Array, ""]
    g_low: Float[Array, ""]
    high: Float[Array, ""]
    g_high: Float[Array, ""]
    tries: Int[Array, ""]
    admissible: Bool[Array, ""]


def better(gain, new, old):
    """The new tree where there is a gain, else the old one."""
    return jax.tree.map(lambda a, b: jnp.where(gain, a, b), new, old)


def search(
    evaluate: Callable[[Tree, Tree], tuple[Tree, Array, Tree]],
    s: Point,
    dz: Tree,
    searches: int,
    *,
    toward: Tree = None,
    anyway: Array | None = None,
) -> tuple[Tree, Tree, Array, Tree, Array]:
    """A step along dz that at least halves the slope g(a) = r(z + a dz).dz of the work done, or the residual.

    Illinois steps between a point before the root and one beyond it; a point that is not admissible counts as beyond.

    Args:
        evaluate: `evaluate(z, carried) -> (r, admissible, carried)`; each trial is handed what the last one carried.
        toward: the direction that the residual works along, where it is not dz itself.
        anyway: where true, the first admissible point is taken.

    Returns:
        z, r, whether it is admissible, what is carried, and whether no step was found.
    """
    dtype = s.size.dtype
    toward = dz if toward is None else toward
    one, zero = jnp.ones((), dtype) + 0 * s.size, 0 * s.size
    g0 = dot(s.r, toward)

    def attempt(t: _Trial) -> _Trial:
        a, low, g_low, high, g_high = t.a, t.low, t.g_low, t.high, t.g_high
        z = axpy(a, dz, s.z)
        r, admissible, carried = evaluate(z, t.carried)
        g, size = dot(r, toward), norm(r)
        admissible &= jnp.isfinite(size)
        good = admissible & ((jnp.abs(g) <= 0.5 * jnp.abs(g0)) | (size <= 0.5 * s.size))
        if anyway is not None:
            good |= admissible & anyway
        before = admissible & (g * g0 > 0)
        g = jnp.where(admissible, g, -g0)
        # Illinois: an end that stays twice loses half its weight, so that the secant does not creep.
        next_low, next_g_low = jnp.where(before, a, low), jnp.where(before, g, 0.5 * g_low)
        next_high, next_g_high = jnp.where(before, high, a), jnp.where(before, 0.5 * g_high, g)
        bounded = jnp.isfinite(next_high)
        span = jnp.where(bounded, next_high - next_low, 1)
        slope = next_g_low - next_g_high
        secant = next_low + span * next_g_low / jnp.where(slope == 0, 1, slope)
        middle = next_low + 0.5 * span
        inside = jnp.isfinite(secant) & (secant > next_low + 0.05 * span) & (secant < next_high - 0.05 * span)
        a_next = jnp.where(bounded, jnp.where(admissible & inside, secant, middle), 2 * a)
        a_next = jnp.where(good, a, a_next)
        return _Trial(a_next, z, r, carried, good, next_low, next_g_low, next_high, next_g_high, t.tries + 1, admissible)

    infinite = one * jnp.inf
    none = jnp.zeros_like(s.size, jnp.int32)
    start = _Trial(one, s.z, s.r, s.carried, jnp.zeros_like(s.size, bool), zero, g0, infinite, g0, none, jnp.asarray(s.admissible))
    end = lax.while_loop(lambda t: ~t.good & (t.tries < searches), attempt, start)
    # A last trial that is no worse is still progress; one that is worse is dropped.
    keep = end.good | (end.admissible & (norm(end.r) < s.size))
    z, r = better(keep, (end.z, end.r), (s.z, s.r))
    return z, r, jnp.where(keep, end.admissible, s.admissible), end.carried, ~keep
