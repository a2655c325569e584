"""A grid in runs of planes, each small enough to stay in a cache from the nodes to the forces.

Slabs share the plane of nodes between them: what is split overlaps by one plane, and the forces there are added up.
"""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Tree
from ._boundary import AbstractBoundary, widened
from ._voxels import Voxels


def slabs(grid: Voxels, most: int) -> int:
    """How many slabs of equally many planes hold `most` voxels each, or the one plane that holds more."""
    n, plane = grid.shape[0], prod(grid.shape[1:])
    return n // max(h for h in range(1, n + 1) if n % h == 0 and (h == 1 or h * plane <= most))


def slab(grid: Voxels, count: int) -> Voxels:
    """One of `count` slabs as a grid."""
    return Voxels((grid.shape[0] // count, *grid.shape[1:]), grid.spacing, grid.rule)


def split_corners(nodal: Float[Array, "..."], count: int) -> Float[Array, "..."]:
    """From all corners (c, n1 + 1, ...) to those of each slab, (count, c, n1 / count + 1, ...)."""
    c, n, *rest = nodal.shape
    own = nodal[:, :-1].reshape(c, count, -1, *rest)
    shared = nodal[:, (n - 1) // count :: (n - 1) // count]
    return jnp.moveaxis(jnp.concatenate([own, shared[:, :, None]], 2), 1, 0)


def split_voxels(tree: Tree, count: int) -> Tree:
    """Leaves (..., M) to (count, ..., M / count)."""
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], count, -1), -2, 0), tree)


def merge_voxels(tree: Tree) -> Tree:
    """The inverse of `split_voxels`."""

    def merge(x):
        x = jnp.moveaxis(x, 0, -2)
        return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])

    return jax.tree.map(merge, tree)


def joined(boundary: AbstractBoundary, d: int) -> Callable:
    """`join(low, high, axis)` of one slab: its first and last planes stay apart, other faces are joined as those of the grid."""

    def join(low, high, axis):
        return widened(low, high, axis) if low.ndim - axis == d else boundary.join(low, high, axis)

    return join


def merge_forces(forces: Float[Array, "..."], boundary: AbstractBoundary) -> Float[Array, "..."]:
    """Forces of slabs (count, c, n1 / count + 1, ...) as the whole grid's, joined along every axis."""
    count, c, planes = forces.shape[:3]
    rest = forces.shape[3:]
    first = boundary.join(jnp.moveaxis(forces[:, :, 0], 0, 1), jnp.moveaxis(forces[:, :, -1], 0, 1), 1)
    inner = jnp.moveaxis(forces[:, :, 1:-1], 0, 1)
    whole = jnp.concatenate([first[:, :count, None], inner], 2).reshape(c, count * (planes - 1), *rest)
    return jnp.concatenate([whole, first[:, count:]], 1) if first.shape[1] > count else whole
