"""One load step of a body: the search for equilibrium, and the answer as a differentiable function of all it depends on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._model import Span
from .._results import RESULTS
from .._scale import Solution, choose, hold
from .._typing import Tree, is_number
from ..solve import Incremental, Inverse, Report, implicit, incremental, norm, refined
from ..space import Coarse, Elementwise, Points, gathered, integration, rigid_motions
from ._conditions import amplitude, external, facet_answers, facet_stiffness
from ._observe import Fields, observed
from ._part import Answer, Part

type Body = Any
"""A `Body`, which stands above this file."""


class Guess(eqx.Module):
    """Where a body may start: displacements, and the guesses of the scales at its points."""

    u: Float[Array, "n d"]
    points: tuple[Tree, ...]


class Given(eqx.Module):
    """What one solve is given, all of it arrays and what holds them."""

    body: Body
    load: Tree
    state: Tree

    @property
    def time(self) -> Span | None:
        """The span of the load, if it has one."""
        return self.load if isinstance(self.load, Span) else None

    @property
    def dtype(self):
        """Of the solve."""
        return self.body.mesh.points.dtype

    def points(self) -> list[tuple[Part, Points]]:
        """The parts with their integration points, weights times the thickness."""
        body, found = self.body, []
        for part in body.parts:
            at = integration(body.mesh.points, part.block)
            found.append((part, eqx.tree_at(lambda p: p.weights, at, at.weights * body.thickness.astype(self.dtype))))
        return found


class Verdict(eqx.Module):
    """How the points fared: the number of the first that failed (-1: none) and its code."""

    point: Int[Array, ""]
    result: RESULTS


class Balance(eqx.Module):
    """Internal forces less external ones, and what they are made of."""

    f: Float[Array, "n d"]
    scale: Float[Array, ""]
    F: tuple[Array, ...]
    answers: tuple[Answer, ...]
    verdict: Verdict

    @property
    def guesses(self) -> tuple[Tree, ...]:
        """Of the points."""
        return tuple(a.guess for a in self.answers)


def balance(given: Given, u: Float[Array, "n d"], guesses: tuple[Tree, ...]) -> Balance:
    """The nodal forces at a displacement."""
    body = given.body
    rows, square, F, answers = [], jnp.zeros((), u.dtype), [], []
    for (part, at), past, guess in zip(given.points(), given.state, guesses, strict=True):
        local = part.local(u)
        seen = part.deformation(local, at)
        answer = part.material(seen, past, guess, given.time)
        forces = part.forces(local, answer.P, at)
        rows.append(_rows(forces))
        square = square + jnp.sum(forces**2)
        F.append(seen)
        answers.append(answer)
    for follower, block, size in _followers(given):
        rows.append(facet_answers(follower, block, body.mesh.points, u, size).reshape(-1, u.shape[1]))
        square = square + jnp.sum(rows[-1] ** 2)
    outside = external(body.forces, body.mesh.points, given.load, body.thickness.astype(u.dtype))
    f = gathered(jnp.concatenate(rows), body.table) - outside
    return Balance(f, jnp.sqrt(square) + norm(outside), tuple(F), tuple(answers), _verdict(answers))


def _rows(forces: Float[Array, "d k e"]) -> Float[Array, "m d"]:
    return jnp.transpose(forces, (2, 1, 0)).reshape(-1, forces.shape[0])


def _followers(given: Given):
    thickness = given.body.thickness.astype(given.dtype)
    return [(f, b, amplitude(given.load, f.by).astype(given.dtype) * thickness) for f, b in given.body.followers]


def _verdict(answers: list[Answer]) -> Verdict:
    """The first point that failed."""
    codes = jnp.concatenate([jnp.ravel(a.result._value) for a in answers])
    bad = jnp.concatenate([jnp.ravel(~_fine(a.result)) for a in answers])
    first = jnp.argmax(bad)
    code = eqx.tree_at(lambda r: r._value, RESULTS.successful, codes[first])
    failed = jnp.any(bad)
    return Verdict(jnp.where(failed, first, -1), RESULTS.where(failed, code, RESULTS.successful))


def _fine(result: RESULTS) -> Array:
    return Solution(None, None, None, result, {}).ok


COUNTS = ("newton", "linear", "cost")


def _work(answers: tuple[Answer, ...], before: tuple[Tree, ...] | None) -> tuple[Tree, ...]:
    """What the scales at the points have done in all."""
    counts = tuple({name: a.stats[name].astype(jnp.int32) for name in COUNTS if name in a.stats} for a in answers)
    return counts if before is None else jax.tree.map(jnp.add, before, counts)


class Stiffness(eqx.Module):
    """The tangent of the balance.

    Attributes:
        matrices: element matrices of the parts and of follower forces.
        answers: of the points, their guesses with what the slopes have taught.
        noise: what the round-off of a deformation makes of the balance.
    """

    matrices: tuple[Float[Array, "_ _ _"], ...]
    answers: tuple[Answer, ...]
    noise: Float[Array, ""]

    @property
    def guesses(self) -> tuple[Tree, ...]:
        """Of the points."""
        return tuple(a.guess for a in self.answers)

    def product(self, given: Given, u: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The change of the forces by a change of displacement."""
        rows = [
            jnp.einsum("eab,eb->ea", K, u[nodes].reshape(len(K), -1)).reshape(-1, u.shape[1])
            for K, nodes in zip(self.matrices, _nodes(given.body), strict=True)
        ]
        return gathered(jnp.concatenate(rows), given.body.table)

    def reduced(self, given: Given) -> Any:
        """The matrix in the unknowns."""
        held, nodes, matrices = given.body.held, _nodes(given.body), self.matrices
        if held.frames is not None:
            matrices = tuple(_turned(K, held.frames.astype(K.dtype)[x]) for K, x in zip(matrices, nodes, strict=True))
        if held.source is not None:
            nodes = tuple(held.source[x] for x in nodes)
        table = given.body.table if given.body.mapped is None else given.body.mapped
        plain = Elementwise(_nodes(given.body), self.matrices, given.body.table, jnp.ones_like(held.free))
        return held.reduced(Elementwise(tuple(nodes), matrices, table, held.free), plain)


def _nodes(body: Body) -> tuple[Array, ...]:
    return (*(p.block.nodes for p in body.parts), *(b.nodes for _, b in body.followers))


def _turned(K: Float[Array, "e m m"], Q: Float[Array, "e k d d"]) -> Float[Array, "e m m"]:
    e, k, d, _ = Q.shape
    blocks = K.reshape(e, k, d, k, d)
    return jnp.einsum("eaij,eaibl,eblm->eajbm", Q, blocks, Q).reshape(e, k * d, k * d)


def stiffness(given: Given, u: Float[Array, "n d"], guesses: tuple[Tree, ...], slack: Array | None = None) -> Stiffness:
    """The consistent tangent at a displacement; to `slack` of its size."""
    matrices, answers, square = [], [], jnp.zeros((), u.dtype)
    for (part, at), past, guess in zip(given.points(), given.state, guesses, strict=True):
        local = part.local(u)
        answer, A = part.material.linearize(part.deformation(local, at), past, guess, given.time, slack)
        matrices.append(part.stiffness(local, answer.P, A, at))
        answers.append(answer)
        stiff = jnp.sqrt(jnp.sum(A**2, (0, 1, 2, 3))) * at.weights
        square = square + jnp.sum(jnp.sum(stiff[:, None] * jnp.sqrt(jnp.sum(at.slopes**2, 2)), 0) ** 2)
    for follower, block, size in _followers(given):
        matrices.append(facet_stiffness(follower, block, given.body.mesh.points, u, size))
    return Stiffness(tuple(matrices), tuple(answers), jnp.finfo(u.dtype).eps * jnp.sqrt(square))


def inverse(given: Given, matrix: Any, dtype) -> Inverse:
    """The inverse of the tangent in the unknowns, in a precision."""
    body = given.body
    modes = rigid_motions(body.mesh.points, body.group, body.count)
    if body.held.frames is not None:
        modes = jnp.einsum("nij,nim->njm", body.held.frames.astype(modes.dtype), modes)
    coarse = Coarse(body.group, modes.astype(dtype), body.count)
    system = body.system
    if body.solver.linear is not None:
        system = system.with_krylov(body.solver.linear)
    return system.inverse(matrix.astype(dtype), coarse, symmetric=body.symmetric)


class Sought(eqx.Module):
    """What the search carries along: the guesses of the points, how they fared, and their work so far."""

    guesses: tuple[Tree, ...]
    verdict: Verdict
    work: tuple[Tree, ...] | None


def _search(given: Given, guess: Guess) -> tuple[Array, Sought, Report, Array, Array]:
    """Equilibrium without derivatives."""
    body, held = given.body, given.body.held
    inner = body.solver.inner or given.dtype

    def evaluate(u, so_far):
        found = balance(given, u, so_far.guesses)
        r = held.collect(found.f)
        admissible = found.verdict.point < 0
        guesses = choose(admissible, found.guesses, so_far.guesses)
        return r, found.scale, admissible, Sought(guesses, found.verdict, _work(found.answers, so_far.work))

    def gap(u):
        return held.spread(held.unknowns(u, given.load)) + held.given(given.load, u) - u

    def missing(u):
        return norm(gap(u)) > 8 * jnp.finfo(u.dtype).eps * (norm(u) + norm(held.given(given.load, u)))

    def direction(u, r, so_far, eta):
        K = stiffness(given, u, so_far.guesses, eta)
        jump = gap(u)
        rhs = -(r + held.collect(K.product(given, jump)))
        size = jnp.where(norm(rhs) > 0, norm(rhs), 1)
        solve = inverse(given, K.reduced(given), inner)
        dq, report = solve((rhs / size).astype(inner), eta.astype(inner))
        dq = size * dq.astype(u.dtype)
        return dq, held.spread(dq) + jump, K.noise, report, Sought(K.guesses, so_far.verdict, _work(K.answers, so_far.work))

    problem = Incremental(evaluate, direction, missing, body.linear)
    start = Sought(guess.points, Verdict(jnp.asarray(-1), RESULTS.successful), None)
    u, found, report, scale, trail = incremental(problem, guess.u, start, body.solver)
    verdict = found.verdict
    result = RESULTS.where((verdict.point >= 0) & (report.result != RESULTS.successful), verdict.result, report.result)
    known = jnp.isfinite(norm(held.given(given.load, u)))
    for x in jax.tree.leaves((given.load, given.state, body)):
        if is_number(x):
            known &= ~jnp.any(jnp.isnan(x))
    for part in body.parts:
        known = part.material.agreed(known)
    result = RESULTS.where(known, result, RESULTS.nonfinite_input)
    return u, found, eqx.tree_at(lambda r: r.result, report, result), scale, trail


def residual(q: Float[Array, "n d"], given: Given, guesses: tuple[Tree, ...]) -> Float[Array, "n d"]:
    """Zero at equilibrium; what is idle among the unknowns stands for itself."""
    held = given.body.held
    u = held.spread(q) + held.given(given.load, q)
    return held.collect(balance(given, u, guesses).f) + held.idle(q)


def solve(body: Body, load: Tree, state: Tree, guess: Guess) -> tuple[Solution, Fields]:
    """The solution of a load step, and the fields."""
    given = Given(body, load, state)
    u, sought, report, scale, trail = hold(_search(hold(given), hold(guess)))
    guesses = sought.guesses
    ok = report.result == RESULTS.successful
    arrays, rest = eqx.partition((given, guesses), eqx.is_array)
    q = body.held.unknowns(u, hold(load))

    def missing_force(q, arrays):
        return residual(q, *eqx.combine(arrays, rest))

    def solver(transposed: bool):
        return lambda K, rhs, q, arrays: _adjoint(K, rhs, eqx.combine(arrays, rest)[0], transposed=transposed)

    def tangent(q, arrays):
        given, guesses = eqx.combine(arrays, rest)
        u = given.body.held.spread(q) + given.body.held.given(given.load, q)
        return stiffness(given, u, guesses).reduced(given)

    symmetric = body.symmetric
    q = implicit(missing_force, solver(False), q, arrays, symmetric=symmetric, solve_transposed=solver(True), tangent=tangent)
    u = body.held.spread(q) + body.held.given(load, q)
    found = balance(given, u, guesses)
    following = tuple(a.following for a in found.answers)
    # What is left at the free unknowns is no reaction.
    reaction = found.f - _left(body, found.f)
    weights = tuple(at.weights for _, at in given.points())
    numbers = tuple(p.numbers for p in body.parts)
    fields = Fields(u, reaction, found.f, found.F, tuple(a.P for a in found.answers), weights, numbers, following)
    value = observed(body.observe, body.places, fields)
    value = jax.tree.map(lambda x: jnp.where(ok, x, jnp.nan), value)
    stats: dict[str, Any] = {
        "newton": report.newton,
        "linear": report.linear,
        "cost": report.newton,
        "residual": report.residual / jnp.where(scale > 0, scale, 1),
        "point": jnp.where(ok, -1, sought.verdict.point),
        "trail": trail,
    }
    nested = [a.stats | work for a, work in zip(found.answers, _work(found.answers, sought.work), strict=True) if a.stats]
    if nested:
        stats["law"] = tuple(nested)
    found_guess = choose(ok, Guess(hold(u), guesses), hold(guess))
    return Solution(value, choose(ok, following, state), found_guess, report.result, hold(stats)), fields


def _left(body: Body, f: Array) -> Array:
    """The part of nodal forces that works on the unknowns, where these are the nodes' own."""
    return body.held.spread(body.held.collect(f)) if body.held.source is None else jnp.where(body.held.free, f, 0)


def _adjoint(matrix: Any, rhs: Array, given: Given, *, transposed: bool) -> Array:
    """The linear solve of derivatives, to the tolerance of the body; NaN where it is missed."""
    dtype = given.dtype
    inner = given.body.solver.inner or dtype
    matrix = matrix.transposed() if transposed and not given.body.symmetric else matrix
    solve = inverse(given, matrix, inner)
    apply = lambda b, target: solve(b.astype(inner), target.astype(inner))
    return refined(apply, matrix.matvec, rhs, given.body.solver.tolerance(dtype), jnp.zeros((), dtype))[0]
