"""A cell that is not solved where it provably stays elastic."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from .._model import Mixed, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, Solution, choose, hold
from .._typing import Tree, is_number
from ..solids import undeformed
from ._cell_solve import as_mixed
from ._cell_tangent import directions
from ._kernel import Conditions, Kernel
from ._load import split_time
from ._periodic_cell import PeriodicCell


class Anchored(eqx.Module):
    """The state of a cell, and what is known around it.

    Attributes:
        cell: the state of the cell.
        F, P: a mean deformation and the mean stress there.
        radius: a change of sym F no larger than this (Frobenius norm) flows nowhere; negative where nothing is known.
    """

    cell: Tree
    F: Float[Array, "d d"]
    P: Float[Array, "d d"]
    radius: Float[Array, ""]


class Sensitivities(eqx.Module):
    """The elastic answer of a cell.

    Attributes:
        numbers: the numbers of the cell that it belongs to.
        C: mean stiffness.
        largest: the largest local strain by a mean strain of norm one, (points a voxel, voxels).
        good: it was found.
    """

    numbers: tuple[Array, ...]
    C: Float[Array, "d d d d"]
    largest: Float[Array, "Q M"]
    good: Bool[Array, ""]


class Skipping(AbstractScale):
    """A cell that skips its solve where it provably stays elastic: `Skipping(cell)(F)` answers as `cell(F)`.

    With small-strain laws that are affine until they flow, the answer to a load near one already solved is that one's plus the
    elastic stiffness times the change, as long as every point's strain changes by less than the law's `margin`. The largest
    strain at a point by a change of the mean is known from the elastic solution, found once, when the scale is made; so that a
    load within a radius is answered without a look at the voxels. Derivatives are always those of the cell.

    In a batch on a CPU, where members follow one another, what is skipped costs nothing; where members run side by side the
    solve is done for all of them.

    Valid: plain deformation loads of laws of small strain; other loads are solved. A cell whose numbers are no longer those that
        the scale was made with (`eqx.tree_at`) is solved always: make the scale anew, inside the program where they are traced.
    Fails: as the cell.
    Error: the solver tolerance of the cell, in the stress at the anchor and in the stiffness.
    Source: the superposition of elastic increments; Fritzen and Hodapp, Int. J. Numer. Meth. Eng. 106 (2016), reuse stiffness
        for members that stay elastic.

    Attributes:
        cell: a `PeriodicCell` with one sub-step.
        known: its elastic answer.
    """

    cell: PeriodicCell
    known: Sensitivities

    def __init__(self, cell: PeriodicCell):
        if not isinstance(cell, PeriodicCell):
            raise TypeError(f"Argument `cell` must be a `PeriodicCell`, but it is a {type(cell).__name__}.")
        kernel = cell.kernel
        if not kernel.small or kernel.scalar or cell.substeps > 1 or cell.acoustic:
            raise ValueError(
                "Argument `cell` must have mechanical laws of small strain, one sub-step and no `acoustic`, but it has not. Use "
                "the cell itself."
            )
        self.cell = cell
        self.known = _elastic(hold(cell))

    @property
    def symmetric(self) -> bool:
        """As the cell."""
        return self.cell.symmetric

    def init(self, load, *, key=None):
        F = jnp.asarray(_deformation(load))
        return Anchored(self.cell.init(load, key=key), undeformed(F), jnp.zeros_like(F), -jnp.ones((), F.dtype))

    def cold(self, load):
        return self.cell.cold(load)

    def primed(self, load):
        return self.cell.primed(load)

    def with_slack(self, slack):
        return eqx.tree_at(lambda scale: scale.cell, self, self.cell.with_slack(slack))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        return self._either(_solved, load, state, guess)

    @full_precision
    def linearize(self, load, state=None, *, guess=None):
        """The answer and its slope, as those of the cell."""
        return self._either(_linearized, load, state, guess)

    def _either(self, method, load, state, guess):
        state = self.init(load) if state is None else state
        guess = self.primed(load) if guess is None else guess
        if isinstance(split_time(load)[0], Mixed):
            return method(self, load, state, guess)
        change = split_time(load)[0] - state.F
        skip = jnp.sqrt(jnp.sum(jnp.square(0.5 * (change + change.T)))) <= state.radius
        skip &= self.known.good & _same(_numbers(self.cell), self.known.numbers)
        arrays, rest = eqx.partition((self, load, state, guess), eqx.is_array)
        like = eqx.filter_eval_shape(method, self, load, state, guess)
        shapes, fixed = eqx.partition(like, lambda x: isinstance(x, jax.ShapeDtypeStruct))

        def solved(arrays):
            return eqx.filter(method(*eqx.combine(arrays, rest)), eqx.is_array)

        def skipped(arrays):
            self, load, state, guess = eqx.combine(arrays, rest)
            found = _superposed(self, split_time(load)[0], state, guess, eqx.combine(shapes, fixed))
            return eqx.filter(found, eqx.is_array)

        return eqx.combine(_choose(skipped, solved, hold(skip), arrays), fixed)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _choose(skipped, solved, skip, arrays):
    return lax.cond(skip, skipped, solved, arrays)


@_choose.defjvp
@full_precision
def _choose_jvp(skipped, solved, primals, tangents):
    del skipped
    return jax.jvp(solved, primals[1:], tangents[1:])


def _deformation(load: Tree) -> Array:
    load = split_time(load)[0]
    return load.F if isinstance(load, Mixed) else load


def _numbers(cell: PeriodicCell) -> tuple[Array, ...]:
    cell = eqx.tree_at(lambda cell: cell.slack, cell, None, is_leaf=lambda x: x is None)
    return tuple(jnp.asarray(x) for x in jax.tree.leaves(hold(cell)) if is_number(x) or eqx.is_array(x))


def _same(a: tuple[Array, ...], b: tuple[Array, ...]) -> Bool[Array, ""]:
    same = jnp.asarray(len(a) == len(b))
    for x, y in zip(a, b, strict=False):
        same &= jnp.all(x == y)
    return same


@eqx.filter_jit
def _elastic(cell: PeriodicCell) -> Sensitivities:
    """The elastic answer of the virgin cell."""
    kernel = cell.kernel
    d = kernel.grid.d
    F = jnp.eye(d)
    solution, C = cell.linearize(F, guess=cell.primed(F))
    basis = jnp.asarray(directions((d, d), True), F.dtype)
    columns = jnp.tensordot(basis, solution.guess.columns[0], 2)
    strains = [_strain(kernel, u, e) for u, e in zip(columns, basis, strict=True)]
    products = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in strains] for a in strains]
    gram = jnp.stack([jnp.stack(row) for row in products])
    # The largest eigenvalue is at most the root of the fourth power's norm, and not much less.
    square = jnp.einsum("ij...,jk...->ik...", gram, gram)
    fourth = jnp.einsum("ij...,jk...->ik...", square, square)
    largest = jnp.sum(fourth**2, (0, 1)) ** (1 / 16)
    # The columns are as good as the root of the tolerance.
    slack = 1 + 10 * np.sqrt(cell.solver.tolerance(F.dtype))
    return hold(Sensitivities(_numbers(cell), C, slack * largest, solution.ok))


def _strain(kernel: Kernel, u: Array, e: Array) -> list[Array]:
    """The local strain of a fluctuation and a mean strain, components whose squares add up to the squared norm, (Q, M) each."""
    grid = kernel.grid
    H = grid.gradient(kernel.boundary.expand(u)) + e[:, :, None, None]
    H = grid.rule.strain(H, True) if grid.rule.coupled else H
    d = grid.d
    return [H[i, i] for i in range(d)] + [(H[i, j] + H[j, i]) / 2**0.5 for i in range(d) for j in range(i)]


def _solved(self: Skipping, load, state: Anchored, guess) -> Solution:
    return _anchored(self, load, state, self.cell(load, state.cell, guess=guess))


def _linearized(self: Skipping, load, state: Anchored, guess) -> tuple[Solution, Tree]:
    solution, slope = self.cell.linearize(load, state.cell, guess=guess)
    return _anchored(self, load, state, solution), slope


def _anchored(self: Skipping, load: Tree, state: Anchored, found: Solution) -> Solution:
    """The solution with the load as the new anchor of its state."""
    F = found.stats["deformation"]
    given = hold(Conditions(self.cell.medium(F.dtype), as_mixed(F), found.state))
    radius = self.cell.kernel.reach((found.guess.u, found.guess.e), given, self.known.largest.astype(F.dtype))
    new = choose(found.ok, Anchored(found.state, *hold((F, found.value, radius))), state)
    stats = found.stats | {"skipped": jnp.asarray(False)}
    return Solution(found.value, new, found.guess, found.result, stats)


def _superposed(self: Skipping, F: Array, state: Anchored, guess: Tree, like: Tree) -> Tree:
    """The answer by the elastic stiffness, as a tree like that of a solve."""
    C = self.known.C.astype(F.dtype)
    P = state.P + jnp.tensordot(C, F - state.F, 2)
    solution = like if isinstance(like, Solution) else like[0]
    nothing = {"newton": 0, "linear": 0, "cost": 0, "skipped": True, "deformation": F}
    stats = {k: jnp.broadcast_to(jnp.asarray(nothing.get(k, jnp.nan), x.dtype), x.shape) for k, x in solution.stats.items()}
    found = Solution(P, state, guess, RESULTS.successful, stats)
    if isinstance(like, Solution):
        return found
    slope = like[1]
    if isinstance(slope, Span):
        still = jnp.zeros_like(F)
        return found, Span(still, still, C)
    return found, C
