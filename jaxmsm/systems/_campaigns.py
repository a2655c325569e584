"""Campaigns of the systems: windows of a volume and walks along load paths as scales, streamed to disk under a bar of progress."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Integer

from .._results import RESULTS, fine
from .._scale import AbstractScale, Solution
from .._typing import Tree
from ..bridges import PeriodicCell
from ..io import InputError, is_hdf5, needs, read_store, sink_for
from ..solve import campaign
from ._console import Console


class WindowLoad(eqx.Module):
    """Where a window begins, and what it bears."""

    corner: Int[Array | np.ndarray, "..."]
    load: Float[Array | np.ndarray, "..."]


class Window(AbstractScale):
    """A window of a volume as a scale: the cell with the voxels from the load's `corner` on.

    `stats["fractions"]` holds the volume fractions of the phases.

    Attributes:
        volume: phase labels, shared by all windows.
        cell: what the window is solved as; its own image only says how large a window is.
        mirror: the window is continued by its mirror images along every axis, which makes it periodic.
    """

    volume: Integer[Array, "..."]
    cell: PeriodicCell
    mirror: bool = eqx.field(static=True, default=False)

    def init(self, load, *, key=None):
        return self._at(load).init(load.load, key=key)

    def __call__(self, load, state=None, *, guess=None):
        cell = self._at(load)
        return _known(cell, cell(load.load, state, guess=guess))

    def linearize(self, load, state=None, *, guess=None):
        cell = self._at(load)
        solution, slope = cell.linearize(load.load, state, guess=guess)
        return _known(cell, solution), slope

    def _at(self, load: WindowLoad) -> PeriodicCell:
        size = tuple(n // 2 if self.mirror else n for n in self.cell.grid)
        image = lax.dynamic_slice(self.volume, load.corner, size).astype(jnp.int32)
        for axis in range(image.ndim if self.mirror else 0):
            image = jnp.concatenate([image, jnp.flip(image, axis)], axis)
        return eqx.tree_at(lambda c: c.image, self.cell, image)


def _known(cell: PeriodicCell, solution: Solution) -> Solution:
    """The solution with the volume fractions of its phases."""
    fractions = cell.medium(solution.value.dtype).fractions
    return Solution(solution.value, solution.state, solution.guess, solution.result, solution.stats | {"fractions": fractions})


class WalkLoad(eqx.Module):
    """Which image, and the loads of its path, steps first."""

    image: Int[Array | np.ndarray, "..."]
    path: Float[Array | np.ndarray, "..."]


class Walk(AbstractScale):
    """A path of loads through a cell as one scale: the value is the stress of every step, from virgin material.

    The slope of a step is that in its own load, with its past held. `stats["step_code"]` holds the code of every step; a member's
    code is that of the first step that failed.

    Attributes:
        images: phase labels, one image a row, shared by all members.
        cell: what an image is solved as; its own image only says how large.
    """

    images: Integer[Array, "..."]
    cell: PeriodicCell

    def init(self, load, *, key=None):
        return self._of(load).init(load.path[0], key=key)

    def __call__(self, load, state=None, *, guess=None):
        return self._walk(load, state, guess, slope=False)[0]

    def linearize(self, load, state=None, *, guess=None):
        return self._walk(load, state, guess, slope=True)

    def _of(self, load: WalkLoad) -> PeriodicCell:
        return eqx.tree_at(lambda c: c.image, self.cell, self.images[load.image].astype(jnp.int32))

    def _walk(self, load: WalkLoad, state: Tree, guess: Tree, *, slope: bool) -> tuple[Solution, Tree]:
        cell = self._of(load)
        state = cell.init(load.path[0]) if state is None else state
        guess = cell.cold(load.path[0], columns=slope) if guess is None else guess

        def step(carry, F):
            state, guess = carry
            solution, tangent = cell.linearize(F, state, guess=guess) if slope else (cell(F, state, guess=guess), None)
            return (solution.state, solution.guess), (solution.value, tangent, solution.result, solution.stats)

        (state, guess), (value, tangent, codes, stats) = lax.scan(step, (state, guess), load.path)
        return Solution(value, state, guess, _overall(codes), stats | {"step_code": codes}), tangent


def _overall(codes: RESULTS) -> RESULTS:
    """The first failure; without one, the first code that is not plain success."""
    plain = codes == RESULTS.successful
    bad = ~fine(codes)
    at = jnp.where(jnp.any(bad), jnp.argmax(bad), jnp.argmax(~plain))
    return eqx.tree_at(lambda r: r._value, codes, codes._value[at])


def stream(
    console: Console, label: str, scale: AbstractScale, loads: Tree, path: Path, keep: Callable, about: dict[str, Any], **how: Any
) -> dict[str, np.ndarray]:
    """The rows of a campaign streamed to a store, which is taken up where an earlier run left it.

    Args:
        path: the store; HDF5 where it ends in `.h5`, else Zarr.
        how: options of `campaign`.
    """
    need_store(path)
    total = len(jax.tree.leaves(loads)[0])
    with console.progress(label, total) as step:
        last = 0

        def moved(done: int, total: int, failed: int) -> None:
            nonlocal last
            step(done - last, f"{label} ({failed} failed)" if failed else label)
            last = done

        try:
            campaign(scale, loads, sink_for(path), keep=keep, about=about, on_progress=moved, **how)
        except ValueError as error:
            if "another campaign" not in str(error):
                raise
            raise InputError(f"The output {path} was begun with other options: repeat them, or give another --out.") from error
    return read_store(path)


def need_store(path: Path) -> None:
    """A sentence where the package for a store is missing."""
    package = "h5py" if is_hdf5(path) else "zarr"
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise needs(package) from error
