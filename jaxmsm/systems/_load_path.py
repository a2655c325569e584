"""A load path applied to a cell step by step, and the stress-strain curve it gives."""

import contextlib
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._model import Mixed
from .._results import names
from .._scale import Solution
from ..io import InputError, LoadPath
from ..solve import CutBack, Step, march


class _Stop(Exception):
    """The path ends here."""


class End(NamedTuple):
    """Where a path ended: the mean deformation of the last step that worked, the history and the guess it left."""

    load: Any
    state: Any
    guess: Any


def follow(cell: Any, path: LoadPath, moved: Callable[[], None]) -> tuple[dict[str, np.ndarray], End | None]:
    """The mean deformation, mean stress and code of the unloaded state and of every step; a step that fails ends the path.

    Args:
        moved: called after every step.

    Returns:
        the rows by name, the first of them unloaded, and where the path ended (None if nothing worked).
    """
    end = None
    loads = path.loads()
    start = _unloaded(loads)
    # Without a load nothing is solved, unless a phase has an eigenstrain.
    loads = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, loads)
    F = np.full((len(path) + 1, *path.F.shape[1:]), np.nan)
    P, codes = F.copy(), np.full(len(path) + 1, "not_run", object)

    def keep(step: Step, solution: Solution) -> None:
        nonlocal end
        k = step.number
        P[k], F[k], codes[k] = solution.value, solution.stats["deformation"], str(names(solution.result))
        if not bool(solution.ok):
            raise _Stop
        end = End(solution.stats["deformation"], solution.state, solution.guess)
        if k:
            moved()

    with contextlib.suppress(_Stop):
        march(cell, loads, cut_back=CutBack(start=start), on_step=keep)
    return {"deformation": F, "stress": P, "codes": codes.astype(str)}, end


def _unloaded(loads: Any) -> Any:
    if isinstance(loads, Mixed):
        return Mixed(_unloaded(loads.F), jnp.zeros_like(loads.P[0]), loads.mask[0])
    return jnp.eye(loads.shape[-1], dtype=loads.dtype) if loads.ndim == 3 else jnp.zeros_like(loads[0])


def refuse_mechanism(path: LoadPath, tensor: np.ndarray, noise: float) -> None:
    """A sentence where the path imposes a stress that the image, of this effective stiffness, cannot carry.

    Args:
        noise: the size of a stiffness that is none.
    """
    if np.all(path.mask):
        return
    d = tensor.shape[0]
    free = [(i, j) for i in range(d) for j in range(d) if not path.mask[i, j] and (i <= j or path.mask[j, i])]
    directions = np.zeros((len(free), d, d))
    for k, (i, j) in enumerate(free):
        directions[k, i, j] = 1
        if not path.mask[j, i]:
            directions[k, j, i] = 1
    K = np.einsum("aij,ijkl,bkl->ab", directions, tensor, directions)
    if not np.isfinite(K).all():
        return
    values, vectors = np.linalg.eigh(0.5 * (K + K.T))
    if values[0] > max(noise, np.finfo(tensor.dtype).eps ** 0.5 * np.linalg.norm(tensor)):
        return
    worst = free[int(np.argmax(np.abs(vectors[:, 0])))]
    raise InputError(
        f"The load path imposes the stress P{worst[0] + 1}{worst[1] + 1}, against which the image has no stiffness "
        "(a mechanism): prescribe the deformation there."
    )


def components(path: LoadPath) -> list[tuple[int, ...]]:
    """The components a path drives, each once, in the order of its columns."""
    found = [tuple(int(c) - 1 for c in name[1:]) for name in path.columns]
    moving = [c for c in found if np.ptp(_along(path.F, c)) > 0 or np.ptp(_along(path.P, c)) > 0]
    return moving or found


def _along(values: np.ndarray, c: tuple[int, ...]) -> np.ndarray:
    """One component, step by step."""
    return values[:, c[0]] if len(c) == 1 else values[:, c[0], c[1]]


def curves(path: LoadPath, walked: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stress against deformation for the components that a path drives, from the unloaded state on."""
    out = {}
    for c in components(path):
        rest = 1.0 if len(c) == 2 and c[0] == c[1] else 0.0
        name = "".join(str(i + 1) for i in c)
        out[name] = (_along(walked["deformation"], c) - rest, _along(walked["stress"], c))
    return out


def axis_names(path: LoadPath) -> dict[str, tuple[str, str]]:
    """What `curves` draws of a component: the deformation's name as the columns have it, and that of the stress."""
    if path.F.ndim == 2:
        return {str(i + 1): (f"g{i + 1}", f"q{i + 1}") for (i,) in components(path)}
    small = not any(name.startswith("F") for name in path.columns)
    out = {}
    for i, j in components(path):
        name = f"{i + 1}{j + 1}"
        out[name] = (f"e{name}" if small else f"F{name}" + (" - 1" if i == j else ""), f"P{name}")
    return out


def write_curve(file: Path, walked: dict[str, np.ndarray]) -> None:
    """Every component and code of a walked path as CSV."""
    d, axes = walked["stress"].shape[1], walked["stress"].ndim - 1
    places = list(np.ndindex(*(d,) * axes))
    label = ["".join(str(i + 1) for i in place) for place in places]
    letters = ("F", "P") if axes == 2 else ("g", "q")
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["step", *(letters[0] + x for x in label), *(letters[1] + x for x in label), "code"])
        for k, code in enumerate(walked["codes"]):
            writer.writerow([k, *walked["deformation"][k].ravel().tolist(), *walked["stress"][k].ravel().tolist(), code])
