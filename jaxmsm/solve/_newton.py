"""Roots of small dense systems: Newton with the exact tangent and a line search, one member at a time, every outcome named."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._results import RESULTS
from ._equilibrium import Report
from ._krylov import norm


class Newton(eqx.Module):
    """How the root of a small dense system is found.

    Attributes:
        rtol: the residual is reduced to this fraction of its scale (default 1e-10 in float64 and 1e-5 in float32), and the
            correction to the square root of this fraction of the root; that correction is still made, which brings a smooth
            problem to round-off.
        max_steps: Newton iterations.
        searches: halvings of a step in the line search.
    """

    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int = eqx.field(static=True, default=50)
    searches: int = eqx.field(static=True, default=20)

    def tolerance(self, dtype) -> float:
        """The relative residual asked for at this precision."""
        if self.rtol is not None:
            return self.rtol
        return 1e-10 if jnp.finfo(dtype).bits == 64 else 1e-5


def lu_direction(J: Float[Array, "n n"], r: Float[Array, " n"]) -> Float[Array, " n"]:
    """The Newton direction; not a number where the tangent is singular."""
    return -jnp.linalg.solve(J, r)


def descent_direction(H: Float[Array, "n n"], g: Float[Array, " n"]) -> Float[Array, " n"]:
    """The Newton direction of a minimum: negative curvature is turned round, directions without curvature are left alone."""
    curvature, modes = jnp.linalg.eigh(H)
    size = jnp.abs(curvature)
    flat = size <= flatness(g.size, g.dtype) * jnp.max(size)
    return -modes @ (jnp.where(flat, 0, 1 / jnp.where(flat, 1, size)) * (modes.T @ g))


def flatness(n: int, dtype) -> float:
    """The fraction of the largest of n curvatures below which a curvature is round-off."""
    return 8 * n * float(jnp.finfo(dtype).eps)


class Trial(eqx.Module):
    """A step tried by the line search: its length, the point it starts from and the one it reaches, and their residuals."""

    a: Float[Array, ""]
    dx: Float[Array, " n"]
    x0: Float[Array, " n"]
    r0: Float[Array, " n"]
    x: Float[Array, " n"]
    r: Float[Array, " n"]


def less_residual(t: Trial) -> Bool[Array, ""]:
    """The residual falls: for systems without a potential."""
    return norm(t.r) <= (1 - 0.1 * t.a) * norm(t.r0)


def less_work(gradient: Callable) -> Callable[[Trial], Array]:
    """The slope of a potential along the step falls, or the residual halves: for systems that have a potential.

    Args:
        gradient: `gradient(residual)` is the gradient of the potential.
    """

    def accept(t: Trial):
        before, after = jnp.sum(gradient(t.r0) * t.dx), jnp.sum(gradient(t.r) * t.dx)
        return (jnp.abs(after) <= 0.9 * jnp.abs(before)) | (norm(t.r) <= 0.5 * norm(t.r0))

    return accept


def less_energy(energy: Callable) -> Callable[[Trial], Array]:
    """The energy falls (Armijo); where its differences are round-off, the residual has to halve."""

    def accept(t: Trial):
        before, after = energy(t.x0), energy(t.x)
        fine = 8 * jnp.finfo(before.dtype).eps * jnp.abs(before)
        falls = after <= before + 1e-4 * t.a * jnp.sum(t.r0 * t.dx)
        return falls | ((norm(t.r) <= 0.5 * norm(t.r0)) & (after <= before + fine))

    return accept


class _State(eqx.Module):
    x: Float[Array, " n"]
    r: Float[Array, " n"]
    target: Float[Array, ""]
    steps: Int[Array, ""]
    done: Bool[Array, ""]
    stuck: Bool[Array, ""]
    singular: Bool[Array, ""]


def root(
    residual: Callable,
    start: Float[Array, " n"],
    how: Newton,
    *,
    scale: Float[Array, ""],
    magnitude: Array | float = 0.0,
    direction: Callable = lu_direction,
    accept: Callable = less_residual,
) -> tuple[Float[Array, " n"], Report]:
    """Where `residual(x) -> (r, admissible)` vanishes, from `start`; no gradient passes (the shared adjoint supplies it).

    A full step is never trusted: it is halved until `accept` says so and the point is admissible.

    Fails: `out_of_range` (no admissible start), `nonfinite`, `singular`, `line_search_failed`, `nonlinear_max_steps_reached`.

    Args:
        scale: norm that the residual is measured against. It must not depend on the guess.
        magnitude: norm of what the unknowns are added to, for the residual that round-off alone makes.
        direction: `direction(tangent, r) -> dx`.
        accept: `accept(trial) -> bool`.
    """
    dtype = start.dtype
    eps = float(jnp.finfo(dtype).eps)
    r, admissible = residual(start)
    least = how.tolerance(dtype) * scale
    nearness = how.tolerance(dtype) ** 0.5
    false = jnp.zeros_like(scale, bool)
    first = _State(start, r, least, jnp.zeros_like(scale, jnp.int32), ~jnp.isfinite(norm(r)) | ~admissible, false, false)

    def step(s: _State) -> _State:
        J = jax.jacfwd(lambda x: residual(x)[0])(s.x)
        dx = direction(J, s.r)
        known = jnp.isfinite(norm(dx))
        x, r, good = _search(residual, s, jnp.where(known, dx, 0), accept, how.searches)
        target = least + 64 * eps * norm(J) * (norm(x) + magnitude)
        # A residual that is small beside a huge first one proves nothing: the correction has to be small too, beside the root
        # or, where the root is zero, beside what round-off leaves of the start.
        near = norm(dx) <= jnp.maximum(nearness * (norm(s.x) + magnitude), 64 * eps * norm(start))
        last = (norm(s.r) <= s.target) & near
        return _State(x, r, target, s.steps + 1, last, ~good & ~last, ~known & ~last)

    def going(s: _State):
        return ~s.done & ~s.stuck & (s.steps < how.max_steps) & (norm(s.r) > 0)

    end = lax.while_loop(going, step, first)
    size = norm(end.r)
    reasons = [
        (~admissible, RESULTS.out_of_range),
        (~jnp.isfinite(size) | ~jnp.isfinite(scale), RESULTS.nonfinite),
        ((size <= end.target) & (end.done | (size == 0)), RESULTS.successful),
        (end.singular, RESULTS.singular),
        (end.stuck, RESULTS.line_search_failed),
    ]
    result = RESULTS.nonlinear_max_steps_reached
    for condition, code in reversed(reasons):
        result = RESULTS.where(condition, code, result)
    return end.x, Report(result, end.steps, jnp.zeros_like(end.steps), size)


def _search(residual, s: _State, dx, accept, searches):
    """The first of the steps 1, 1/2, 1/4, ... along dx that is accepted, or none."""

    def going(carry):
        _, _, _, good, tries = carry
        return ~good & (tries < searches)

    def step(carry):
        a, _, _, _, tries = carry
        x = s.x + a * dx
        r, admissible = residual(x)
        good = admissible & jnp.isfinite(norm(r)) & accept(Trial(a, dx, s.x, s.r, x, r))
        return 0.5 * a, x, r, good, tries + 1

    one = jnp.ones_like(s.target)
    _, x, r, good, _ = lax.while_loop(going, step, (one, s.x, s.r, jnp.zeros_like(s.done), jnp.zeros_like(s.steps)))
    return jnp.where(good, x, s.x), jnp.where(good, r, s.r), good


def dense_solve(matvec: Callable, rhs: Float[Array, " n"], root: Array, params) -> Float[Array, " n"]:
    """The linear solve of the shared adjoint for a small dense system; NaN where the recomputed residual is not small."""
    del root, params
    K = _matrix(matvec, rhs)
    return _checked(K, jnp.linalg.solve(K, rhs), rhs)


def dense_solve_symmetric(matvec: Callable, rhs: Float[Array, " n"], root: Array, params) -> Float[Array, " n"]:
    """As `dense_solve`, for a symmetric system with directions that have no stiffness and no right-hand side."""
    del params
    K = _matrix(matvec, rhs)
    K = 0.5 * (K + K.T)
    curvature, modes = jnp.linalg.eigh(K)
    size = jnp.abs(curvature)
    flat = size <= flatness(rhs.size, rhs.dtype) * jnp.max(size)
    x = modes @ (jnp.where(flat, 0, 1 / jnp.where(flat, 1, curvature)) * (modes.T @ rhs))
    return _checked(K, x, rhs, flatness(rhs.size, rhs.dtype) * norm(K) * norm(root))


def _matrix(matvec, like):
    return jax.vmap(matvec, out_axes=1)(jnp.eye(like.size, dtype=like.dtype))


def _checked(K, x, rhs, roundoff=0.0):
    tolerance = float(jnp.finfo(rhs.dtype).eps) ** 0.5
    good = norm(K @ x - rhs) <= tolerance * norm(rhs) + roundoff
    return jnp.where(good, x, jnp.nan)
