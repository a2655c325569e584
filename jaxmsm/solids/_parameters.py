"""What may stand as a parameter of a law: a number, of a sign and size with which the material is stable.

Signs are looked at once, where a law is made, and only where the numbers are known: what is traced is never looked at, NaN is a
code of the solve (`nonfinite_input`), and zero, a pore, is a stiffness like any other.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._typing import is_number
from ._kinematics import Number, array, number

_ROUND_OFF = 1e-5
"""Of the size of a stiffness: what float32 leaves of one that is just not negative."""


class Parametric(eqx.Module):
    """What has parameters: fields converted by `number` or `array`, which must be numbers."""

    def __check_init__(self):
        for f in dataclasses.fields(self):
            x = getattr(self, f.name)
            if x is None and f.default is None:
                continue
            if f.metadata.get("converter") in (number, array) and not _is_float(x):
                raise TypeError(f"Argument `{f.name}` must be a number or an array of numbers, but it is {x!r}.")


def leaf_ranks(tree: Any) -> list[int | None]:
    """How many axes every leaf of floats of a law has at a point; None where only its author knows (the parameters of `Law`).

    A field whose metadata say `uniform` (the weights of a network) is the same at all points: its leaves have the axes they have.
    """
    if isinstance(tree, tuple):
        return [rank for x in tree for rank in leaf_ranks(x)]
    if not isinstance(tree, eqx.Module):
        return [None for x in jax.tree.leaves(tree) if is_number(x)]
    found: list[int | None] = []
    for f in dataclasses.fields(tree):
        if not f.metadata.get("static", False):
            converter: Any = f.metadata.get("converter")
            rank, held = {number: 0, array: 2}.get(converter), getattr(tree, f.name)
            if f.metadata.get("uniform", False):
                found += [jnp.ndim(x) for x in jax.tree.leaves(held) if is_number(x)]
            elif rank is None:
                found += leaf_ranks(held)
            elif held is not None:
                found.append(rank)
    return found


def is_uniform(law: Any) -> bool:
    """No leaf of the law is a field over points."""
    leaves = [x for x in jax.tree.leaves(law) if is_number(x)]
    return all(jnp.ndim(x) == (rank or 0) for x, rank in zip(leaves, leaf_ranks(law), strict=True))


def _is_float(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)


def lame(E: Number, nu: Number) -> tuple[Number, Number]:
    """Lame's constants (lam, mu) from Young's modulus and Poisson's ratio of an isotropic solid."""
    not_negative(E=E)
    ratio = _known(nu)
    wrong = np.zeros(0) if ratio is None else ratio[(ratio >= 0.5) | (ratio <= -1)]
    if wrong.size:
        raise ValueError(f"Argument `nu` must be greater than -1 and less than 0.5, but it is {wrong.flat[0]:.6g}.")
    return E * nu / ((1 + nu) * (1 - 2 * nu)), E / (2 * (1 + nu))


def not_negative(**numbers: Any) -> None:
    """Refuse what is known to be negative."""
    for name, given in numbers.items():
        x = _known(given)
        if x is not None and np.any(x < 0):
            raise ValueError(f"Argument `{name}` must not be negative, but it is {np.nanmin(x):.6g}.")


def isotropic(lam: Any, mu: Any) -> None:
    """Refuse moduli of an isotropic solid that is not stable."""
    not_negative(mu=mu)
    numbers = [_known(x) for x in (lam, mu)]
    if any(x is None for x in numbers):
        return
    first, second = numbers
    bulk = first + 2 / 3 * second
    if np.any(bulk < -_ROUND_OFF * (abs(first) + second)):
        raise ValueError(f"Argument `lam` must not be less than -2/3 mu, but lam + 2/3 mu is {np.nanmin(bulk):.6g}.")


def positive(name: str, matrix: Any) -> None:
    """Refuse a matrix (..., n, n), or one as nested sequences, that is known not to be symmetric or not to be positive."""
    rows = [[_known(x) for x in row] for row in matrix] if isinstance(matrix, tuple) else _known(matrix)
    if rows is None or (isinstance(rows, list) and any(x is None for row in rows for x in row)):
        return
    M = _stacked(rows) if isinstance(rows, list) else rows
    if not np.all(np.isfinite(M)):
        return
    M = M.astype(float)
    size = _ROUND_OFF * abs(M).max(initial=0)
    if np.any(abs(M - np.swapaxes(M, -1, -2)) > size):
        raise ValueError(f"{name} must be symmetric, but it is not.")
    least = np.linalg.eigvalsh(M).min(initial=0)
    if least < -size:
        raise ValueError(f"{name} must not have a negative eigenvalue, but it has {least:.6g}.")


def _stacked(rows: list) -> np.ndarray:
    shape = np.broadcast_shapes(*(x.shape for row in rows for x in row))
    return np.stack([np.stack([np.broadcast_to(x, shape) for x in row], -1) for row in rows], -2)


def _known(x: Any) -> Any:
    """The numbers, where they are there to be looked at."""
    if isinstance(x, jax.core.Tracer) or not isinstance(x, int | float | np.number | np.ndarray | jax.Array):
        return None
    known = np.asarray(x)
    return known if known.dtype.kind in "biuf" else None
