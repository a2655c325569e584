"""The gradient of a voxel's field as modes that are orthogonal over its Gauss points.

Along each axis two neighbors make a half sum s and a difference g. At a point the field is s +- g / (2 sqrt 3) in every axis it is
not differentiated in, and products of such signs are orthogonal over the points. So a linear law that is the same at all points of
a voxel need not be asked at the points: with S the axes whose sign is carried, mode S of the gradient has the entries

    G_kj = (2 sqrt 3)^-|S| (g along j and S, s along the rest)_k / h_j   for j not in S,   0 for j in S,

and the energy is the sum over S. Full integration takes all S but that of all axes, reduced integration S = {} alone.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

type Axes = tuple[int, ...]
"""A set of axes, in ascending order."""

_SIGN = 12**-0.5


def modes(d: int, *, full: bool) -> list[Axes]:
    """The sets S of the modes."""
    return [S for size in range(d if full else 1) for S in combinations(range(d), size)]


def differences(nodal: Float[Array, "..."]) -> dict[Axes, Array]:
    """From corners (c, *(n + 1)) to g along each set of axes and s along the rest, (c, M) each; never s along all."""
    fields: dict[Axes, Any] = {(): lax.optimization_barrier(nodal)}
    for axis in range(nodal.ndim - 1, 0, -1):
        split = {}
        for T, x in fields.items():
            low = lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
            high = lax.slice_in_dim(x, 1, x.shape[axis], axis=axis)
            split[T] = 0.5 * (low + high)
            split[(axis - 1, *T)] = high - low
        # Not more than two axes at once: the CPU backend takes the first difference again in every later one.
        fields = lax.optimization_barrier(split) if axis == 2 else split
    del fields[()]
    # The barrier keeps the CPU backend from taking differences again in every product of the law.
    return lax.optimization_barrier({T: x.reshape(len(x), -1) for T, x in fields.items()})


def accumulate(fields: dict[Axes, Array], shape: tuple[int, ...], join: Callable) -> Float[Array, "..."]:
    """The transpose of `differences`: nodal values, joined along each axis by `join(low, high, axis)`."""
    fields = {T: x.reshape(len(x), *shape) for T, x in lax.optimization_barrier(fields).items()}
    for axis in range(1, len(shape) + 1):
        joined: dict[Axes, Any] = {}
        for rest in {tuple(a for a in T if a != axis - 1) for T in fields}:
            s, g = fields.get(rest, 0.0), fields.get((axis - 1, *rest), 0.0)
            joined[rest] = join(0.5 * s - g, 0.5 * s + g, axis)
        fields = lax.optimization_barrier(joined)
    return fields[()]


def gradient_of(S: Axes, fields: dict[Axes, Array], spacing: tuple[float, ...]) -> tuple[tuple[Array, ...], ...]:
    """Mode S of the gradient by components, (1, M) each."""
    one = next(iter(fields.values()))
    none = jnp.zeros_like(one[:1])
    factor = _SIGN ** len(S)

    def entry(k, j, h):
        return none if j in S else (factor / h) * lax.slice_in_dim(fields[tuple(sorted((*S, j)))], k, k + 1)

    return tuple(tuple(entry(k, j, h) for j, h in enumerate(spacing)) for k in range(len(one)))


def add_stress(
    S: Axes, P: tuple[tuple[Array, ...], ...], fields: dict[Axes, Array], spacing: tuple[float, ...]
) -> dict[Axes, Array]:
    """The transpose of `gradient_of`, added to `fields`."""
    fields = dict(fields)
    for j, h in enumerate(spacing):
        if j not in S:
            T = tuple(sorted((*S, j)))
            part = (_SIGN ** len(S) / h) * jnp.concatenate([row[j] for row in P])
            fields[T] = fields[T] + part if T in fields else part
    return fields
