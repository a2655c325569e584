"""Load paths from tables."""

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._model import Mixed
from ._input import InputError

_HEADER = re.compile(r"([FePg])([1-3])([1-3]?)")
_MEANING = {"F": "deformation gradient", "e": "strain", "P": "stress", "g": "gradient"}


@dataclass(frozen=True)
class LoadPath:
    """The steps of a load path.

    Attributes:
        F: mean deformation gradients (steps, d, d), or mean gradients (steps, d) for conduction.
        P: mean stresses (steps, d, d), where `mask` is False.
        mask: True where the deformation is imposed.
        columns: the names of the columns, in order.
    """

    F: Float[np.ndarray, "n ..."]
    P: Float[np.ndarray, "n ..."]
    mask: Bool[np.ndarray, "..."]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.F)

    def loads(self) -> Mixed | Float[Array, "n ..."]:
        """What a scale takes, steps first: deformations, or `Mixed` where a stress is imposed."""
        if np.all(self.mask):
            return jnp.asarray(self.F)
        mask = jnp.broadcast_to(jnp.asarray(self.mask), self.F.shape)
        return jax.vmap(Mixed)(jnp.asarray(self.F), jnp.asarray(self.P), mask)


def read_path(path: str | Path, d: int, *, scalar: bool = False) -> LoadPath:
    """A load path from a CSV file: a header of named columns, one line a step.

    `F11, F12, ...`: components of the mean deformation gradient; or `e11, e12, ...`: of the mean strain, F = I + e, where `e12`
    sets both halves (it is the tensor's component, half the engineering shear). `P11, P12, ...`: the mean stress in a component
    whose deformation is then free (with `e` columns `P12` sets both halves). Components without a column keep their rest value.
    For conduction: `g1, g2, ...`, the mean gradient.

    Args:
        d: dimension of the image.
        scalar: the path is one of conduction.
    """
    path = Path(path)
    header, rows = _table(path)
    columns = [_column(name, path, d, scalar) for name in header]
    kinds = {kind for kind, *_ in columns}
    if {"F", "e"} <= kinds:
        raise InputError(f"The load path {path} must give the deformation as `F` or as `e`, but has columns of both.")
    numbers = np.array([[_number(path, n, name, cell) for name, cell in zip(header, row)] for n, row in enumerate(rows, 2)])
    steps = len(numbers)
    if scalar:
        g = np.zeros((steps, d))
        for (_, i, _), values in zip(columns, numbers.T):
            g[:, i] = values
        return LoadPath(g, np.zeros_like(g), np.ones(d, bool), tuple(header))
    return _mechanical(path, header, columns, numbers, d, both="F" not in kinds)


def _mechanical(path, header, columns, numbers, d: int, *, both: bool) -> LoadPath:
    F = np.tile(np.eye(d), (len(numbers), 1, 1))
    P, mask = np.zeros_like(F), np.ones((d, d), bool)
    seen: set[tuple[int, int]] = set()
    for name, (kind, i, j), values in zip(header, columns, numbers.T):
        halves = {(i, j), (j, i)} if both else {(i, j)}
        if seen & halves:
            raise InputError(f"The load path {path} imposes component {i + 1}{j + 1} twice (the second time as `{name}`).")
        seen |= halves
        for a, b in halves:
            if kind == "P":
                P[:, a, b], mask[a, b] = values, False
            else:
                F[:, a, b] = values + (kind == "e") * (a == b)
    if np.any(np.linalg.det(F) <= 0):
        step = int(np.argmax(np.linalg.det(F) <= 0))
        raise InputError(
            f"The load path {path} must keep the volume positive, but line {step + 2} does not (a diagonal of F is 1 at rest)."
        )
    return LoadPath(F, P, mask, tuple(header))


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.is_file():
        raise InputError(f"The load path {path} does not exist.")
    try:
        with path.open(newline="") as file:
            lines = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The load path {path} is not a table in CSV: {error}.") from error
    if len(lines) < 2:
        raise InputError(f"The load path {path} must hold a header and at least one step, but has {len(lines)} lines.")
    header, rows = lines[0], lines[1:]
    for n, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise InputError(f"The load path {path} must have {len(header)} cells a line, but line {n} has {len(row)}.")
    if len(set(header)) != len(header):
        raise InputError(f"The load path {path} must name every column once, but its header is {', '.join(header)}.")
    return header, rows


def _column(name: str, path: Path, d: int, scalar: bool) -> tuple[str, int, int]:
    found = _HEADER.fullmatch(name)
    if found is None or (found[1] == "g") != scalar or bool(found[3]) == scalar:
        examples = "`g1`, `g2`, ..." if scalar else "`F11`, `F12`, ..., `e11`, `e12`, ..., `P11`, `P12`, ..."
        raise InputError(f"The load path {path} has a column `{name}`, but columns are called {examples}.")
    i, j = int(found[2]) - 1, int(found[3] or 1) - 1
    if max(i, j) >= d:
        raise InputError(f"The load path {path} has a column `{name}` ({_MEANING[found[1]]}), but the image has {d} dimensions.")
    return found[1], i, j


def _number(path: Path, line: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"The load path {path} must hold numbers, but `{name}` in line {line} is {cell!r}.") from None
    if not math.isfinite(value):
        raise InputError(f"The load path {path} must be finite, but `{name}` in line {line} is {value}.")
    return value
