"""A load path applied to a cell step by step, and the stress-strain curve it gives."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._results import fine, names
from ..io import LoadPath


@eqx.filter_jit
def _step(cell, load, state, guess):
    solution = cell(load, state, guess=guess)
    return solution.value, solution.stats["deformation"], solution.state, solution.guess, solution.result


def follow(cell: Any, path: LoadPath, moved: Callable[[], None]) -> dict[str, np.ndarray]:
    """The mean deformation, mean stress and code of every step; a failed step ends the path.

    Args:
        moved: called after every step.
    """
    loads = path.loads()
    first = jax.tree.map(lambda x: x[0], loads)
    state, guess = cell.init(first), cell.cold(first)
    F = np.full(path.F.shape, np.nan)
    P, codes = F.copy(), np.full(len(path), "not_run", object)
    for k in range(len(path)):
        value, deformation, state, guess, result = _step(cell, jax.tree.map(lambda x, k=k: x[k], loads), state, guess)
        P[k], F[k], codes[k] = value, deformation, str(names(result))
        if not bool(fine(result)):
            break
        moved()
    return {"deformation": F, "stress": P, "codes": codes.astype(str)}


def components(path: LoadPath) -> list[tuple[int, ...]]:
    """The components a path drives, each once, in the order of its columns."""
    found = [tuple(int(c) - 1 for c in name[1:]) for name in path.columns]
    moving = [c for c in found if np.ptp(path.F[(slice(None), *c)]) > 0 or np.ptp(path.P[(slice(None), *c)]) > 0]
    return moving or found


def curves(path: LoadPath, walked: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stress against deformation for the components that a path drives, step by step."""
    out = {}
    for c in components(path):
        at = (slice(None), *c)
        rest = 1.0 if len(c) == 2 and c[0] == c[1] else 0.0
        name = "".join(str(i + 1) for i in c)
        out[name] = (walked["deformation"][at] - rest, walked["stress"][at])
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
