"""Equilibrium by Newton-Krylov with a line search, one member at a time, every outcome named.

The same loop is the residual refinement of a linear problem: each pass recomputes the residual at full precision, whatever
the precision of the linear solve inside.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._results import RESULTS
from .._typing import Tree
from ._krylov import CG, AbstractLinear, LinearReport, axpy, norm
from ._search import Point, better, search

SURE = 16
"""A residual this many times below the floor is certainly round-off: no search goes on from there."""


class NewtonKrylov(eqx.Module):
    """How equilibrium is found.

    Attributes:
        rtol: the residual is reduced to this fraction of the elastic residual of the whole load (default 1e-8 in float64
            and 1e-5 in float32).
        max_steps: Newton iterations, or refinement passes of a linear problem.
        linear: the Krylov solver; None takes CG where every law has a symmetric tangent and GMRES elsewhere.
        forcing: the loosest relative residual of an inner solve of a nonlinear problem.
        inner: dtype of the inner solves (`jnp.float32` is mixed precision); None is the dtype of the load.
        searches: trial steps of the line search.
    """

    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int = eqx.field(static=True, default=25)
    linear: AbstractLinear | None = None
    forcing: float = eqx.field(static=True, default=1e-2)
    inner: type | None = eqx.field(static=True, default=None)
    searches: int = eqx.field(static=True, default=8)

    def tolerance(self, dtype) -> float:
        """The relative residual asked for at this precision."""
        if self.rtol is not None:
            return self.rtol
        return 1e-8 if jnp.finfo(dtype).bits == 64 else 1e-5


class Problem(eqx.Module):
    """What the solver is handed.

    Attributes:
        residual: `residual(z) -> (r, admissible)`.
        operator: `operator(z, dtype) -> matvec`, the tangent at z in the precision asked for.
        precondition: `precondition(r) -> z`, in any precision.
        scale: norm that the residual is measured against.
        floor: the most that round-off may leave of the residual's norm. A search that no longer gains there has converged.
        linear: the residual is affine in z.
    """

    residual: Callable[[Tree], tuple[Tree, Array]]
    operator: Callable[[Tree, type], Callable[[Tree], Tree]]
    precondition: Callable[[Tree], Tree]
    scale: Float[Array, ""]
    floor: Float[Array, ""]
    linear: bool = eqx.field(static=True)


class Report(eqx.Module):
    """How a search for equilibrium went."""

    result: RESULTS
    newton: Int[Array, ""]
    linear: Int[Array, ""]
    residual: Float[Array, ""]


class _State(eqx.Module):
    z: Tree
    r: Tree
    size: Float[Array, ""]
    newton: Int[Array, ""]
    linear: Int[Array, ""]
    flat: Bool[Array, ""]
    negative: Bool[Array, ""]
    stuck: Bool[Array, ""]
    unfinished: Bool[Array, ""]
    admissible: Bool[Array, ""]


def equilibrium(problem: Problem, start: Tree, how: NewtonKrylov) -> tuple[Tree, Report]:
    """Where the problem's residual vanishes, from `start`; no gradient passes (the shared adjoint supplies it).

    Fails: `out_of_range` (no admissible start), `nonfinite`, `line_search_failed`, `nonlinear_max_steps_reached`,
        `stagnation` (the Krylov solver ran out of iterations), `mechanism` (no stiffness against the load), `indefinite`.
    """
    dtype = problem.scale.dtype
    rtol = how.tolerance(dtype)
    target = rtol * problem.scale + problem.floor / SURE
    accepted = rtol * problem.scale + problem.floor
    inner = how.inner or dtype
    solver = CG() if how.linear is None else how.linear

    r, admissible = problem.residual(start)
    false = jnp.zeros_like(target, bool)
    count = jnp.zeros_like(target, jnp.int32)
    first = _State(start, r, norm(r), count, count, false, false, false, false, admissible)

    def going(s: _State):
        wants = (s.size > target) & jnp.isfinite(s.size) & s.admissible
        return wants & (s.newton < how.max_steps) & ~s.stuck

    def step(s: _State) -> _State:
        # An inner solve goes at most a little beyond the target, so that a member at its end asks for no iterations.
        loosest = jnp.minimum(how.forcing, jnp.maximum(s.size / problem.scale, rtol))
        eta = 0.7 * target / s.size if problem.linear else jnp.maximum(0.1 * target / s.size, loosest)
        if jnp.finfo(inner).bits < jnp.finfo(dtype).bits:
            eta = jnp.maximum(eta, 1e-4)
        dz, report = _inner(problem, solver, s, jnp.minimum(eta, 0.5), inner)
        if problem.linear:
            z = axpy(jnp.ones((), dtype), dz, s.z)
            r, admissible = problem.residual(z)
            size = norm(r)
            # Refinement that no longer gains is at the end of what this precision can do.
            stuck = ~(size < 0.5 * s.size)
            z, r, size = better(size < s.size, (z, r, size), (s.z, s.r, s.size))
        else:
            z, r, admissible, _, stuck = search(
                lambda z, _: (*problem.residual(z), ()), Point(s.z, s.r, s.size, s.admissible, ()), dz, how.searches
            )
            size = norm(r)
            stuck |= (size <= accepted) & ~(size < 0.5 * s.size)
        return _State(
            z,
            r,
            size,
            s.newton + 1,
            s.linear + report.steps,
            report.flat,
            report.negative,
            stuck,
            report.steps >= getattr(solver, "max_steps", 0),
            admissible,
        )

    last = lax.while_loop(going, step, first)
    return last.z, Report(_outcome(last, accepted, problem.linear), last.newton, last.linear, last.size)


def _inner(problem, solver, s, eta, inner) -> tuple[Tree, LinearReport]:
    """The Newton direction, solved on a right-hand side of unit norm in the inner precision."""
    size = jnp.where(s.size > 0, s.size, 1)
    b = jax.tree.map(lambda r: (-r / size).astype(inner), s.r)
    matvec = problem.operator(s.z, inner)
    dz, report = solver(matvec, b, problem.precondition, eta.astype(inner))
    return jax.tree.map(lambda x, like: size * x.astype(like.dtype), dz, s.r), report


def _outcome(s: _State, accepted, linear: bool) -> RESULTS:
    """The code of the last state: the most specific reason comes first."""
    reasons = [
        (~s.admissible, RESULTS.out_of_range),
        (~jnp.isfinite(s.size), RESULTS.nonfinite),
        (s.size <= accepted, RESULTS.successful),
        (s.flat, RESULTS.mechanism),
        (s.negative, RESULTS.indefinite),
        (s.unfinished, RESULTS.stagnation),
        (s.stuck, RESULTS.stagnation if linear else RESULTS.line_search_failed),
    ]
    result = RESULTS.nonlinear_max_steps_reached
    for condition, code in reversed(reasons):
        result = RESULTS.where(condition, code, result)
    return result
