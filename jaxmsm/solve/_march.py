"""A path of loads driven from the host: checkpoints, progress, and smaller steps where one fails."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._model import Span
from .._results import from_names, names
from .._scale import AbstractScale, Solution
from .._typing import Tree
from ._identity import fingerprint, program
from ._spread import is_array

_FORMAT = "jaxmsm march, version 1"


@runtime_checkable
class Keeper(Protocol):
    """Where a march keeps its last state; `jaxmsm.io.Checkpoint(path)` is one."""

    def save(self, arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
        """Replace what was saved before, at once or not at all."""

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What was saved last, or None."""


class Step(NamedTuple):
    """How one step of a march went.

    Attributes:
        number: which load of the path, from 0.
        accepted: the parts of the step that were accepted, ends of sub-steps between 0 and 1; (1.0,) for a whole step.
        codes: the names of the codes of every attempt, failed ones included, in order.
    """

    number: int
    accepted: tuple[float, ...]
    codes: tuple[tuple[str, ...], ...]


class CutBack(NamedTuple):
    """Halve a failed step, and grow again when it goes well.

    Attributes:
        halvings: the smallest part of a step is 1 / 2^halvings.
        start: the load that belongs to the first state, from which the first step can be divided; None never divides it.
    """

    halvings: int = 4
    start: Tree = None


def march(
    scale: AbstractScale,
    loads: Tree,
    state: Tree = None,
    *,
    guess: Tree = None,
    cut_back: CutBack | None = None,
    checkpoint: Keeper | None = None,
    mend: Callable[[AbstractScale, Solution], AbstractScale | None] | None = None,
    on_step: Callable[[Step, Solution], None] | None = None,
    on_failure: Callable[[int, Solution], None] | None = None,
) -> tuple[Tree, Solution, list[Step]]:
    """The steps of `rollout`, one call of one compiled step after the other: the same answers, under the eyes of the host.

    A failed step commits nothing and the march goes on from the last good state, as a rollout does. With `cut_back` a step
    in which any member fails is first divided: the load moves on a straight line from the last one to the next (a `Span`
    is divided in time). Where even the smallest part fails, the rest of the step is taken whole, so that a member that
    cannot go on fails alone while the others arrive.

    Args:
        scale: any scale; in a batch (`batched`) all members share the division of a step.
        loads: leading axis: steps.
        state, guess: where to start, as in `rollout`.
        checkpoint: called after every step and its `on_step`; where it already holds steps of this very march, they are not
            repeated.
        mend: called with the scale and the solution of a failed step; returns a scale to repeat the step with (a larger
            buffer, more iterations), or None. State and guess keep their shapes. A resumed march starts with `scale` again.
        on_step: called after every step with the report and the solution; once more for a step that was not saved because
            the process was killed meanwhile.
        on_failure: called after every attempt in which a member failed, with the number of the step and the solution.

    Returns:
        The last state; a `Solution` whose value, result and stats carry the steps as leading axis, while its state and
        guess are the last ones (a rollout keeps them all); and one report a step.

    Raises:
        ValueError: the checkpoint belongs to another march: other numbers or functions (`mend` aside), or other versions of
            jaxmsm and JAX.
    """
    count = len(jax.tree.leaves(eqx.filter(loads, is_array))[0])
    first = _row(loads, 0)
    given = (state, guess)
    state = scale.init(first) if state is None else state
    guess = scale.cold(first) if guess is None else guess
    identity = ""
    if checkpoint is not None:
        identity = fingerprint(scale, loads, *given, cut_back, program(_step, scale, first, state, guess))
    walk = _Walk(scale, state, guess, None if cut_back is None else cut_back.start)
    reports, answers = _resume(checkpoint, identity, walk, first)
    for index in range(len(reports), count):
        solution, report = _advance(walk, index, _row(loads, index), cut_back, mend, on_failure)
        reports.append(report)
        answers.append(jax.device_get((solution.value, names(solution.result), solution.stats)))
        # In this order: a process killed between the two tells a step again, and never leaves one untold.
        if on_step is not None:
            on_step(report, solution)
        if checkpoint is not None:
            checkpoint.save(*_pack(identity, walk, reports, answers))
    value, codes, stats = jax.tree.map(lambda *x: np.stack(x), *answers)
    value, stats = jax.tree.map(jnp.asarray, (value, stats))
    return walk.state, Solution(value, walk.state, walk.guess, from_names(codes), stats), reports


class _Walk:
    """Where a march stands."""

    def __init__(self, scale: AbstractScale, state: Tree, guess: Tree, load: Tree):
        self.scale, self.state, self.guess, self.load = scale, state, guess, load
        self.part = 1.0  # of a step, tried next


@eqx.filter_jit
def _step(scale: AbstractScale, load: Tree, state: Tree, guess: Tree) -> Solution:
    return scale(load, state, guess=guess)


def _advance(walk: _Walk, index: int, target: Tree, cut_back: CutBack | None, mend, on_failure) -> tuple[Solution, Step]:
    """One step, in parts if need be; leaves the walk at its end."""
    smallest = 1.0 if cut_back is None or walk.load is None else 0.5**cut_back.halvings
    reached, part = 0.0, max(walk.part, smallest) if smallest < 1 else 1.0
    accepted: list[float] = []
    codes: list[tuple[str, ...]] = []
    while reached < 1:
        end = min(1.0, reached + part)
        load = target if walk.load is None else between(walk.load, target, reached, end)
        solution, ok = _attempt(walk, load, mend, codes)
        if not ok and on_failure is not None:
            on_failure(index, solution)
        if not ok and part > smallest:
            part = part / 2
            continue
        if not ok and end < 1:
            # The smallest part fails: the rest at once, which the members that can will survive.
            end = 1.0
            solution, ok = _attempt(walk, between(walk.load, target, reached, end), mend, codes)
        walk.state, walk.guess, reached = solution.state, solution.guess, end
        if ok:
            accepted.append(end)
            part = min(1.0, 2 * part)
    walk.load, walk.part = target, part
    return solution, Step(index, tuple(accepted), tuple(codes))


def _attempt(walk: _Walk, load: Tree, mend, codes: list) -> tuple[Solution, bool]:
    """A solve from the walk's state, repeated while somebody mends the scale."""
    while True:
        solution = _step(walk.scale, load, walk.state, walk.guess)
        codes.append(tuple(str(c) for c in np.ravel(names(solution.result))))
        ok = bool(np.all(np.asarray(solution.ok)))
        better = None if ok or mend is None else mend(walk.scale, solution)
        if better is None:
            return solution, ok
        walk.scale = better


def between(last: Tree, target: Tree, begin: float, end: float) -> Tree:
    """The load at the part `end` of the way from one load to the next; a span is the time between `begin` and `end`."""
    if end == 1 and begin == 0:
        return target
    is_span = lambda x: isinstance(x, Span)

    def mix(a, b):
        if is_span(b):
            ends = [b.t0 + s * (b.t1 - b.t0) for s in (begin, end)]
            return Span(*ends, jax.tree.map(mix, a.drive if is_span(a) else a, b.drive))
        return a + end * (b - a) if eqx.is_inexact_array(b) and end < 1 else b

    return jax.tree.map(mix, last, target, is_leaf=is_span)


def _row(loads: Tree, i: int) -> Tree:
    return jax.tree.map(lambda x: jnp.asarray(x[i]) if is_array(x) else x, loads)


def _is_key(x) -> bool:
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _flat(tree: Tree, name: str) -> dict[str, np.ndarray]:
    """The arrays of a tree by path; random keys as their numbers."""
    raw = lambda x: jax.random.key_data(x) if _is_key(x) else x
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {name + jax.tree_util.keystr(path): np.asarray(raw(x)) for path, x in leaves}


def _filled(like: Tree, name: str, arrays: dict[str, np.ndarray]) -> Tree:
    """The tree `like` with the arrays that were saved under its paths; the inverse of `_flat`."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)

    def fill(path, x):
        held = arrays[name + jax.tree_util.keystr(path)]
        return jax.random.wrap_key_data(jnp.asarray(held), impl=jax.random.key_impl(x)) if _is_key(x) else held

    return jax.tree.unflatten(structure, [fill(path, x) for path, x in leaves])


def _pack(identity: str, walk: _Walk, reports: list[Step], answers: list) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = _flat((walk.state, walk.guess, walk.load), "at") | _flat(jax.tree.map(lambda *x: np.stack(x), *answers), "answers")
    return arrays, {"format": _FORMAT, "identity": identity, "part": walk.part, "steps": reports}


def _resume(checkpoint: Keeper | None, identity: str, walk: _Walk, load: Tree) -> tuple[list[Step], list]:
    """The steps that a checkpoint holds, with the walk put where they ended."""
    saved = None if checkpoint is None else checkpoint.load()
    if saved is None:
        return [], []
    arrays, header = saved
    if header.get("format") != _FORMAT or header["identity"] != identity:
        raise ValueError(
            "Argument `checkpoint` must be new or hold this very march, but it holds another (other loads, scale, start or "
            "cut-back). Give another path, or remove it to start anew."
        )
    at = _filled((walk.state, walk.guess, load), "at", arrays)
    walk.state, walk.guess, walk.load = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, at)
    walk.part = header["part"]
    like = eqx.filter_eval_shape(_step, walk.scale, load, walk.state, walk.guess)
    stacked = _filled((like.value, 0, like.stats), "answers", arrays)
    reports = [Step(i, tuple(parts), tuple(map(tuple, codes))) for i, parts, codes in header["steps"]]
    return reports, [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(len(reports))]
