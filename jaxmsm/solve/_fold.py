"""Where a point of rest disappears: the fold, or saddle-node."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._results import RESULTS
from .._scale import hold
from .._typing import Tree
from ._adjoint import implicit
from ._newton import Newton, dense_solve, norm, root


class Fold(NamedTuple):
    """A fold: the point of rest, the parameter there, the direction in which it disappears, and how the search went."""

    y: Tree
    p: Float[Array, ""]
    way: Tree
    result: RESULTS


def fold(rate: Callable[[Any, Any, Any], Any], y: Tree, p: Any, args: Tree = None, *, solver: Newton | None = None) -> Fold:
    """Where two points of rest meet and vanish as a parameter moves: rate(y, p) = 0 with a singular tangent.

    Newton's iteration on rate(y, p, args) = 0, (d rate/dy) w = 0, c.w = 1, from a point near the fold; the point found is
    differentiable in `args`.

    Valid: a simple fold (a quadratic one); at a cusp the system is singular.
    Fails: `singular`, `line_search_failed`, `nonlinear_max_steps_reached`, `nonfinite`.
    Source: G. Moore, A. Spence, SIAM J. Numer. Anal. 17 (1980) 567.

    Args:
        rate: `rate(y, p, args) -> dy/dt`, a tree like y.
        y, p: where to begin: a point of rest near the fold, and its parameter.
        args: whatever else the rate depends on, arrays.
        solver: of the iteration.
    """
    begin, unravel = ravel_pytree(hold(y))
    n = begin.size
    flat = lambda x, p, args: ravel_pytree(rate(unravel(x), p, args))[0]
    p = jnp.asarray(p, begin.dtype)
    tangent = jax.jacfwd(flat)(begin, hold(p), hold(args))
    # The direction that the tangent shrinks most.
    guess = hold(jnp.linalg.svd(tangent)[2][-1])

    def system(z, args):
        x, w, p = z[:n], z[n : 2 * n], z[2 * n]
        r, moved = jax.jvp(lambda x: flat(x, p, args), (x,), (w,))
        return jnp.concatenate([r, moved, (guess @ w - 1)[None]])

    def residual(z):
        r = system(z, hold(args))
        return r, jnp.ones_like(r[0], bool)

    first = jnp.concatenate([begin, guess, hold(p)[None]])
    size = norm(residual(first)[0]) + 1e-3 * norm(first)
    z, report = root(residual, first, Newton() if solver is None else solver, scale=size)
    z = implicit(lambda z, args: system(z, args), dense_solve, z, args)
    return Fold(unravel(z[:n]), z[2 * n], unravel(z[n : 2 * n]), report.result)
