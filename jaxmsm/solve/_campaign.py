"""Thousands of members of one scale, driven from the host: streamed to a sink, resumed after a kill."""

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh

from .._results import RESULTS, fine, from_names, names
from .._scale import AbstractScale, Solution
from .._typing import Tree
from ._batched import Batched, batched
from ._identity import fingerprint, program
from ._spread import is_array, size


@runtime_checkable
class Sink(Protocol):
    """Where a campaign's answers go; `jaxmsm.io.ZarrSink` is one, `jaxmsm.io.MemorySink` another."""

    def open(self, size: int, identity: str, about: dict[str, Any]) -> None:
        """Make room for `size` members, or go on where a campaign of the same identity was; refuse any other."""

    def tries(self) -> np.ndarray:
        """How many scales each member has been through, shape (size,); 0 for a member that is not there yet."""

    def codes(self) -> np.ndarray:
        """The names of the members' codes, shape (size,)."""

    def write(self, members: np.ndarray, values: dict[str, np.ndarray], codes: np.ndarray, tries: int) -> None:
        """Store rows of answers. A member's `tries` must become visible last."""


class Tally(NamedTuple):
    """How a campaign went.

    Attributes:
        total: members.
        codes: how many members ended with which code.
        solved: members computed in this run, those of every pass counted.
    """

    total: int
    codes: dict[str, int]
    solved: int

    @property
    def failed(self) -> int:
        """Members without a valid answer."""
        return sum(count for code, count in self.codes.items() if not bool(fine(from_names(code))))


def everything(solution: Solution, slope: Tree) -> dict[str, Tree]:
    """What a campaign keeps by default: value, stats, and the slope where it was asked for."""
    kept = {"value": solution.value, "stats": solution.stats}
    return kept if slope is None else kept | {"slope": slope}


def campaign(
    scale: AbstractScale,
    loads: Tree,
    sink: Sink,
    *,
    rescue: Sequence[AbstractScale] = (),
    over: Callable[[Any], Tree] | None = None,
    cost: np.ndarray | None = None,
    block: int = 32,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    slope: bool = False,
    keep: Callable[[Solution, Tree], dict[str, Tree]] = everything,
    about: dict[str, Any] | None = None,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> Tally:
    """Every member's answer, written to the sink block by block; a killed campaign goes on where it was.

    The members run in blocks through one compiled program. All of them meet `scale` first; those that fail are collected
    and meet the scales of `rescue` one after the other, so that a cheap first pass (few iterations allowed) need not wait
    for the hardest members. A block always consists of the same members, whether or not the campaign was interrupted, so a
    resumed campaign leaves the same bits as an undisturbed one.

    Args:
        scale: any scale; with `over`, its selected leaves carry the members as leading axis (as in `batched`; they may be
            memory-mapped NumPy arrays).
        loads: one row a member, NumPy arrays (memory-mapped ones are read block by block) or jax arrays.
        sink: where rows go, see `Sink`.
        rescue: scales of the same answer (and the same `over`) for members that failed. They may come later or change, and
            do not make another campaign: rows that they have answered stay.
        cost: expected costs, by which the members are ordered, cheap ones first, so that like runs with like.
        block: members a call of the compiled program, which is also what a kill can lose.
        chunk, mesh: how a block runs, see `batched`. On an accelerator let `chunk` be `block`, as `chunk_for` counts it.
        slope: also keep the slope of every answer in its load (`linearize`).
        keep: what to store, from a member's solution (and slope); a dictionary of trees of arrays, traced.
        about: anything that JSON can hold, stored beside the answers.
        on_progress: called as `on_progress(done, total, failed)` at the start and after each block.

    Raises:
        ValueError: the sink holds another campaign: other loads, numbers, functions (`keep` and the laws' own included), blocks
            or chunks, or answers of other versions of jaxmsm and JAX.
    """
    rows = eqx.filter(loads, is_array)
    total = size(rows)
    if not isinstance(block, int) or block < 1:
        raise ValueError(f"Argument `block` must be a positive integer, but it is {block!r}.")
    if cost is not None and np.shape(cost) != (total,):
        raise ValueError(f"Argument `cost` must hold one number a member ({total}), but its shape is {np.shape(cost)}.")
    identity = fingerprint(scale, loads, block, chunk, slope, _program(scale, rows, min(block, total), chunk, over, slope, keep))
    sink.open(total, identity, dict(about or {}))
    order = np.arange(total) if cost is None else np.argsort(np.asarray(cost), kind="stable")
    log = _Log(sink, total, 1 + len(rescue), on_progress)
    for trial, current in enumerate((scale, *rescue)):
        many = batched(current, chunk=chunk, mesh=mesh, over=over)
        # A member that this pass must see: it failed in all earlier ones, be it in this run or in one that was killed.
        members = order if trial == 0 else order[(log.tries[order] > trial) | ((log.tries[order] == trial) & log.failed[order])]
        _sweep(many, loads, members, trial, min(block, total), slope, keep, log)
    counts = collections.Counter(str(c) for c in log.codes)
    return Tally(total, dict(counts), log.solved)


def _program(scale: AbstractScale, rows: Tree, block: int, chunk: int | None, over, slope: bool, keep: Callable) -> str:
    """What a block goes through, on whatever devices: laws, closures, `keep` and `over` included."""
    one = np.zeros(block, int)
    return program(_block, _part(batched(scale, chunk=chunk, over=over), one), keep, slope, _chosen(rows, one))


class _Log:
    """What is known of each member, kept in step with the sink."""

    def __init__(self, sink: Sink, total: int, passes: int, on_progress):
        self.sink, self.total, self.passes, self.on_progress = sink, total, passes, on_progress
        self.tries = np.asarray(sink.tries()).copy()
        self.codes = np.asarray(sink.codes()).astype(object)
        self.failed = (self.tries > 0) & ~np.asarray(fine(from_names(self.codes)))
        self.solved = 0
        self.report()

    def write(self, trial: int, members: np.ndarray, values: dict[str, np.ndarray], codes: np.ndarray) -> None:
        self.sink.write(members, values, codes, trial + 1)
        self.tries[members], self.codes[members] = trial + 1, codes
        self.failed[members] = ~np.asarray(fine(from_names(codes)))
        self.solved += len(members)
        self.report()

    def report(self) -> None:
        if self.on_progress is not None:
            done = (self.tries > 0) & (~self.failed | (self.tries >= self.passes))
            self.on_progress(int(done.sum()), self.total, int((done & self.failed).sum()))


def _sweep(many: Batched, loads: Tree, members, trial: int, block: int, slope: bool, keep: Callable, log: _Log) -> None:
    """One pass over the members: the next block is under way while the last one is written."""
    waiting = None
    for full, new in _blocks(members, log.tries <= trial, block):
        found = _block(_part(many, full), keep, slope, _chosen(loads, full))
        if waiting is not None:
            log.write(trial, *_rows(*waiting))
        waiting = (found, full, new)
    if waiting is not None:
        log.write(trial, *_rows(*waiting))


def _blocks(members: np.ndarray, missing: np.ndarray, block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of constant length in which something is missing, and where; the last is filled up with its last member."""
    for start in range(0, len(members), block):
        part = members[start : start + block]
        new = missing[part]
        if new.any():
            yield np.concatenate([part, np.repeat(part[-1:], block - len(part))]), np.flatnonzero(new)


def _chosen(loads: Tree, members: np.ndarray) -> Tree:
    return jax.tree.map(lambda x: x[members] if is_array(x) else x, loads)


def _part(many: Batched, members: np.ndarray) -> Batched:
    """The batch for some members alone: their rows of the leaves that carry the batch."""
    leaves, structure = jax.tree.flatten(many.scale)
    leaves = [x[members] if mine else x for x, mine in zip(leaves, many.flags, strict=True)]
    return eqx.tree_at(lambda m: m.scale, many, jax.tree.unflatten(structure, leaves))


@eqx.filter_jit
def _block(many: Batched, keep: Callable, slope: bool, load: Tree) -> tuple[dict[str, Tree], RESULTS]:
    solution, tangent = many.linearize(load) if slope else (many(load), None)
    return keep(solution, tangent), solution.result


def _rows(found: tuple[dict[str, Tree], RESULTS], full: np.ndarray, new: np.ndarray):
    """The members that are new, their values by path, and their codes, on the host."""
    kept, result = jax.device_get(found)
    is_code = lambda x: isinstance(x, RESULTS)
    leaves = jax.tree_util.tree_flatten_with_path(kept, is_leaf=is_code)[0]
    values = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(names(x) if is_code(x) else x)[new] for path, x in leaves
    }
    return full[new], values, names(result)[new]
