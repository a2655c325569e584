"""Equilibrium of a body under imposed displacements: Newton that carries along what the laws at its points last found."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._results import RESULTS
from .._typing import Tree
from ._equilibrium import SURE, NewtonKrylov, Report
from ._krylov import LinearReport, norm
from ._search import Point, search


class Incremental(eqx.Module):
    """What the solver is handed.

    Attributes:
        evaluate: `evaluate(u, carried) -> (r, scale, admissible, carried)`: the residual in the unknowns, and the size of the
            forces it is the balance of.
        direction: `direction(u, r, carried, eta) -> (dq, du, floor, LinearReport, carried)`: the Newton step in the unknowns and
            in the displacement (with what is imposed and not yet there), to a relative residual eta; and what round-off makes of r.
        missing: `missing(u)`: something imposed is not yet there.
        linear: the residual is affine.
    """

    evaluate: Callable
    direction: Callable
    missing: Callable
    linear: bool = eqx.field(static=True)


class _State(eqx.Module):
    at: Point
    scale: Float[Array, ""]
    floor: Float[Array, ""]
    missing: Bool[Array, ""]
    newton: Int[Array, ""]
    linear: Int[Array, ""]
    stuck: Bool[Array, ""]
    last: LinearReport
    trail: Float[Array, " m"]


def incremental(problem: Incremental, start: Array, carried: Tree, how: NewtonKrylov) -> tuple[Array, Tree, Report, Array, Array]:
    """Where the residual vanishes and all that is imposed is there, from `start`; no gradient passes.

    Fails: `out_of_range` (an inadmissible point that no smaller step avoids), `nonfinite`, `line_search_failed`,
        `nonlinear_max_steps_reached`, `stagnation`, `mechanism`, `indefinite`.

    Returns:
        The displacement, what the last evaluation carried, the report, the scale of the forces, and the relative residual
        before each iteration (`max_steps`, filled up with NaN).
    """
    dtype = start.dtype
    rtol = how.tolerance(dtype)
    r, scale, admissible, carried = problem.evaluate(start, carried)
    zero, none, false = 0 * scale, jnp.zeros_like(scale, jnp.int32), jnp.zeros_like(scale, bool)
    quiet = LinearReport(none, zero, false, false)
    point = Point(start, r, norm(r), admissible, carried)
    trail = jnp.full(how.max_steps, jnp.nan, dtype)
    first = _State(point, scale, zero, problem.missing(start), none, none, false, quiet, trail)

    def target(s: _State):
        return rtol * s.scale + s.floor / SURE

    def going(s: _State):
        wants = ((s.at.size > target(s)) | s.missing) & jnp.isfinite(s.at.size) & s.at.admissible
        return wants & (s.newton < how.max_steps) & ~s.stuck

    def step(s: _State) -> _State:
        at, scale = s.at, jnp.where(s.scale > 0, s.scale, 1)
        loosest = jnp.minimum(how.forcing, jnp.maximum(at.size / scale, rtol))
        eta = 0.5 * rtol * jnp.ones_like(scale) if problem.linear else loosest
        dq, du, floor, report, carried = problem.direction(at.z, at.r, at.carried, eta)
        report = eqx.tree_at(lambda found: found.residual, report, report.residual.astype(dtype))

        def evaluate(u, kept):
            r, scale, admissible, carried = problem.evaluate(u, kept[0])
            return r, admissible, (carried, scale)

        z, r, admissible, (carried, new), stuck = search(
            evaluate,
            Point(at.z, at.r, at.size, at.admissible, (carried, s.scale)),
            du,
            how.searches,
            toward=dq,
            anyway=s.missing,
        )
        size = norm(r)
        # What is carried belongs to the last trial, also where that was dropped; its forces may have been huge.
        new = jnp.where(stuck, s.scale, new)
        missing = problem.missing(z)
        # Within round-off a step that no longer gains is the end of what this precision can do.
        tired = ~(size < 0.5 * at.size) & ~s.missing
        stuck |= (size <= rtol * new + floor) & tired
        point = Point(z, r, size, admissible, carried)
        trail = s.trail.at[s.newton].set(at.size / scale)
        return _State(point, new, floor, missing, s.newton + 1, s.linear + report.steps, stuck, report, trail)

    end = lax.while_loop(going, step, first)
    report = Report(_result(end, rtol, problem.linear), end.newton, end.linear, end.at.size)
    return end.at.z, end.at.carried, report, end.scale, end.trail


def _result(end: _State, rtol: float, linear: bool) -> RESULTS:
    """What became of the search, the first reason that holds."""
    size = end.at.size
    done = (size <= rtol * end.scale + end.floor) & ~end.missing
    reasons = [
        (~end.at.admissible, RESULTS.out_of_range),
        (~jnp.isfinite(size), RESULTS.nonfinite),
        (done, RESULTS.successful),
        (end.last.flat, RESULTS.mechanism),
        (end.last.negative, RESULTS.indefinite),
        (end.stuck, RESULTS.stagnation if linear else RESULTS.line_search_failed),
    ]
    result = RESULTS.nonlinear_max_steps_reached
    for condition, code in reversed(reasons):
        result = RESULTS.where(condition, code, result)
    return result


def refined(inverse: Callable, matvec: Callable, rhs: Array, tolerance: float, floor: Array) -> tuple[Array, LinearReport]:
    """x with |K x - rhs| <= tolerance |rhs| + floor, in passes that gain; NaN where it is missed.

    Args:
        inverse: `inverse(rhs, target) -> (x, report)`, in whatever precision.
        matvec: the matrix in full precision.
    """
    size = norm(rhs)
    target = tolerance * size + floor

    def going(carry):
        _, _, left, gains, _ = carry
        return (left > target) & gains

    def step(carry):
        x, r, left, _, steps = carry
        dx, report = inverse(r, 0.7 * target)
        x = x + dx.astype(x.dtype)
        r = rhs - matvec(x)
        return x, r, norm(r), norm(r) < 0.5 * left, steps + report.steps

    none = jnp.zeros_like(size, jnp.int32)
    x, _, left, _, steps = lax.while_loop(going, step, (0 * rhs, rhs, size, size >= 0, none))
    false = jnp.zeros_like(size, bool)
    return jnp.where(left <= target, x, jnp.nan), LinearReport(steps, left, false, false)
