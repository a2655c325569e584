"""Where a point of rest disappears, or begins to swing: the fold (saddle-node) and the Hopf point."""

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


class Hopf(NamedTuple):
    """A Hopf point: the point of rest, the parameter and the angular frequency there, and how the search went."""

    y: Tree
    p: Float[Array, ""]
    frequency: Float[Array, ""]
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
    flat, begin, unravel, p, tangent = _start(rate, y, p, args)
    n = begin.size
    # The direction that the tangent shrinks most.
    guess = hold(jnp.linalg.svd(tangent)[2][-1])

    def system(z, args):
        x, w, p = z[:n], z[n : 2 * n], z[2 * n]
        r, moved = jax.jvp(lambda x: flat(x, p, args), (x,), (w,))
        return jnp.concatenate([r, moved, (guess @ w - 1)[None]])

    z, result = _located(system, jnp.concatenate([begin, guess, p[None]]), args, solver)
    return Fold(unravel(z[:n]), z[2 * n], unravel(z[n : 2 * n]), result)


def hopf(
    rate: Callable[[Any, Any, Any], Any],
    y: Tree,
    p: Any,
    args: Tree = None,
    *,
    frequency: Any = None,
    solver: Newton | None = None,
) -> Hopf:
    """Where a pair of eigenvalues of a point of rest crosses the imaginary axis, and a cycle is born, as a parameter moves.

    Newton's iteration on rate(y, p, args) = 0, (d rate/dy) (a + i b) = i w (a + i b) with a + i b of a given size and phase, from
    a point near it. The point found is differentiable in `args`. For few unknowns: the tangent is dense.

    Valid: a simple pair that crosses at some speed, no eigenvalue zero beside it.
    Fails: `singular`, `line_search_failed`, `nonlinear_max_steps_reached`, and `nonfinite`, also where nothing swings at the start.
    Source: A. Griewank, G. Reddien, IMA J. Numer. Anal. 3 (1983) 295.

    Args:
        rate: `rate(y, p, args) -> dy/dt`, a tree like y.
        y, p: where to begin: a point of rest near the Hopf point, and its parameter.
        args: whatever else the rate depends on, arrays.
        frequency: the first w (1 / time). None: that of the eigenvalue not real that is nearest to the axis, whose search does not
            export for GPUs.
        solver: of the iteration.
    """
    flat, begin, unravel, p, tangent = _start(rate, y, p, args)
    n = begin.size
    w = _swinging(tangent) if frequency is None else hold(jnp.asarray(frequency, begin.dtype))
    # The shape that comes nearest to swinging so.
    shape = hold(jnp.conj(jnp.linalg.svd(tangent - 1j * w * jnp.eye(n))[2][-1]))
    c, d = shape.real, shape.imag

    def system(z, args):
        x, a, b, w, p = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n], z[3 * n + 1]
        still, along = jax.linearize(lambda x: flat(x, p, args), x)
        # The part along the first shape is one: its size and its phase.
        held = jnp.stack([c @ a + d @ b - 1, c @ b - d @ a])
        return jnp.concatenate([still, along(a) + w * b, along(b) - w * a, held])

    z, result = _located(system, jnp.concatenate([begin, c, d, w[None], p[None]]), args, solver)
    return Hopf(unravel(z[:n]), z[3 * n + 1], jnp.abs(z[3 * n]), result)


def _start(rate: Callable[[Any, Any, Any], Any], y: Tree, p: Any, args: Tree) -> tuple[Any, Array, Any, Array, Array]:
    """The rate of a flat state, that state, its way back, the parameter, and the tangent there; without slopes."""
    begin, unravel = ravel_pytree(hold(y))
    flat = lambda x, p, args: ravel_pytree(rate(unravel(x), p, args))[0]
    p = hold(jnp.asarray(p, begin.dtype))
    return flat, begin, unravel, p, jax.jacfwd(flat)(begin, p, hold(args))


def _located(system: Callable[[Any, Any], Any], first: Array, args: Tree, solver: Newton | None) -> tuple[Array, RESULTS]:
    """The root of an extended system, differentiable in `args`, and how the search went."""

    def residual(z):
        r = system(z, hold(args))
        return r, jnp.ones_like(r[0], bool)

    size = norm(residual(first)[0]) + 1e-3 * norm(first)
    z, report = root(residual, first, Newton() if solver is None else solver, scale=size)
    return implicit(system, dense_solve, z, args), report.result


def _swinging(tangent: Float[Array, "n n"]) -> Float[Array, ""]:
    """The frequency of the eigenvalue nearest to the imaginary axis, away from the real one."""
    values = jnp.linalg.eigvals(tangent)
    swings = values.imag > 1e-6 * jnp.max(jnp.abs(values))
    k = jnp.argmin(jnp.where(swings, jnp.abs(values.real), jnp.inf))
    return jnp.where(swings[k], values[k].imag, jnp.nan)
