"""A load step of a voxel cell in as many sub-steps as it takes, each member at its own pace."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .._model import Mixed
from .._results import RESULTS
from .._scale import Solution, choose, hold
from .._typing import Tree
from ..solids import Medium
from ..solve import Report, implicit
from ._cell_solve import Cell, Guess, adjoint, answer, as_mixed, reference, search, virgin
from ._kernel import Conditions, Kernel, Unknown


class _Course(eqx.Module):
    """How far a member has come: the last accepted load fraction, and what it found at each."""

    t: Float[Array, ""]
    dt: Float[Array, ""]
    z: Unknown
    past: Tree
    before: Tree
    """The history at the start of the last accepted sub-step."""
    accepted: Int[Array, ""]
    tries: Int[Array, ""]
    times: Float[Array, " n"]
    found: Unknown
    report: Report


def between(origin: tuple[Array, Array], load: Mixed, t: Float[Array, ""]) -> Mixed:
    """The load at the fraction t of a step that began at a mean deformation and stress."""
    F, P = origin
    return Mixed(F + t * (load.F - F), P + t * (load.P - P), load.mask)


def part(medium: Medium, dt: Array | None, share: Array) -> Medium:
    """The medium in a sub-step that is a share of the step."""
    return medium if dt is None else medium.during(share * dt)


def course(
    cell: Cell, kernel: Kernel, given: Conditions, origin: tuple[Array, Array], guess: Guess | None, span: Array | None
) -> _Course:
    """The search along a load step, without derivatives: a sub-step that fails is halved, one that succeeds doubles the next.

    Args:
        span: the length of the whole step (None: it has no times).

    Fails: the code of the last sub-step that failed; `substeps_exhausted` where all were accepted and the end is not reached.
    """
    dtype = given.load.F.dtype
    n = cell.substeps
    zero = kernel.zero(dtype)
    start = Guess(*zero, origin[0]) if guess is None else guess
    one, none = jnp.ones((), dtype), jnp.zeros((), jnp.int32)
    slots = jax.tree.map(lambda x: jnp.zeros((n, *x.shape), x.dtype), zero)
    first = _Course(
        0 * one,
        one,
        (start.u, start.e),
        given.past,
        given.past,
        none,
        none,
        jnp.zeros(n, dtype),
        slots,
        Report(RESULTS.substeps_exhausted, none, none, 0 * one),
    )

    def going(c: _Course):
        return (c.t < 1) & (c.accepted < n) & (c.tries < 2 * n + 2)

    def step(c: _Course) -> _Course:
        t = jnp.minimum(c.t + c.dt, 1)
        here = Conditions(part(given.medium, span, t - c.t), between(origin, given.load, t), c.past)
        # The predictor of the guess belongs to the whole step.
        at = (
            Guess(*c.z, here.load.F)
            if guess is None
            else choose(c.accepted == 0, _aim(guess, here.load.F), Guess(*c.z, here.load.F))
        )
        z, report = search(cell, kernel, reference(cell, kernel, here), here, at)
        ok = report.result == RESULTS.successful
        following = kernel.advance(z, here)
        write = lambda slot, x: jnp.where(ok, slot.at[c.accepted].set(x), slot)
        report = Report(report.result, c.report.newton + report.newton, c.report.linear + report.linear, report.residual)
        return _Course(
            jnp.where(ok, t, c.t),
            jnp.where(ok, 2 * (t - c.t), 0.5 * (t - c.t)),
            choose(ok, z, c.z),
            choose(ok, following, c.past),
            choose(ok, c.past, c.before),
            c.accepted + ok,
            c.tries + 1,
            write(c.times, t),
            jax.tree.map(write, c.found, z),
            report,
        )

    end = lax.while_loop(going, step, first)
    short = (end.t < 1) & (end.report.result == RESULTS.successful)
    return eqx.tree_at(lambda c: c.report.result, end, RESULTS.where(short, RESULTS.substeps_exhausted, end.report.result))


def _aim(guess: Guess, load: Array) -> Guess:
    u, e = guess.start(load)
    return Guess(u, e, load)


def replay(cell: Cell, kernel: Kernel, given: Conditions, origin: tuple[Array, Array], end: Any, span: Array | None) -> Tree:
    """The history at the start of the last accepted sub-step, as a differentiable function of all it depends on."""
    ok = end.report.result == RESULTS.successful

    def step(past, slot):
        index, t, share, z = slot
        here = Conditions(part(given.medium, span, share), between(origin, given.load, t), past)

        def advance(here):
            root = implicit(kernel.residual, adjoint(cell, kernel), z, here, symmetric=cell.symmetric)
            return kernel.advance(root, here)

        return lax.cond(ok & (index < end.accepted - 1), advance, lambda here: here.past, here), None

    slots = (jnp.arange(cell.substeps), end.times, shares(end.times), end.found)
    past, _ = lax.scan(step, given.past, hold(jax.tree.map(lambda x: x[:-1], slots)))
    return past


def shares(times: Float[Array, " n"]) -> Float[Array, " n"]:
    """How much of the step each sub-step took; those that were not taken mean nothing."""
    return times - jnp.concatenate([jnp.zeros_like(times[:1]), times[:-1]])


def solve(
    cell: Cell, load: Tree, state: Tree, guess: Guess | None, span: Array | None = None
) -> tuple[Solution, Unknown, Conditions]:
    """The solution, the unknowns at equilibrium, and what they are in equilibrium with (a safe load for a failed member)."""
    kernel, load = cell.kernel, as_mixed(load)
    state = virgin(cell, load) if state is None else state
    medium = cell.medium(load.F.dtype).during(span)
    if cell.substeps == 1:
        given = Conditions(medium, load, state)
        ref = reference(cell, kernel, hold(given))
        z, report = hold(search(cell, kernel, ref, hold(given), hold(guess)))
        return answer(cell, kernel, ref, given, z, report, guess)
    past, origin = state[0], (state[1], state[2])
    given = Conditions(medium, load, past)
    end = hold(course(cell, kernel, hold(given), hold(origin), hold(guess), hold(span)))
    last = jnp.take(shares(end.times), jnp.maximum(end.accepted - 1, 0))
    given = Conditions(part(medium, span, last), load, replay(cell, kernel, given, origin, end, span))
    ref = reference(cell, kernel, hold(given))
    solution, z, safe = answer(cell, kernel, ref, given, end.z, end.report, guess)
    reached = (kernel.mean(z, safe.load), solution.value)
    ok = solution.ok
    following = (choose(ok, solution.state, past), *choose(ok, reached, origin))
    stats = solution.stats | {"substeps": end.accepted, "times": end.times}
    return Solution(solution.value, following, solution.guess, solution.result, stats), z, safe
