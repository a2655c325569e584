"""Matrices that are sums of element matrices, and what preconditions them: nodal blocks and a coarse space of rigid motions."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

_CHUNK = 512
"""Elements whose share of a coarse matrix is computed together."""


def incidence(nodes: Sequence[np.ndarray], n: int) -> np.ndarray:
    """For each of n nodes its rows in the concatenated element lists (e, k), filled up with the row beyond the last.

    Sums that gather by this table have a fixed order, on every device.
    """
    flat = np.concatenate([x.ravel() for x in nodes])
    order, count = np.argsort(flat, kind="stable"), np.bincount(flat, minlength=n)
    start = np.cumsum(count) - count
    table = np.full((n, max(1, int(count.max(initial=0)))), flat.size, np.int32)
    for v in range(table.shape[1]):
        own = count > v
        table[own, v] = order[start[own] + v]
    return table


def gathered(rows: Float[Array, "m c"], table: Int[Array, "n v"]) -> Float[Array, "n c"]:
    """The sum of the rows of each node."""
    rows = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])
    return reduce(add, (rows[table[:, v]] for v in range(table.shape[1])))


class Elementwise(eqx.Module):
    """A square matrix over nodal unknowns (n, c), the sum of element matrices; the identity on unknowns that are not free.

    Attributes:
        nodes: node numbers of the elements, one array (e, k) a block.
        matrices: element matrices (e, k c, k c), rows of the node's components together.
        table: `incidence` of the blocks.
        free: which unknowns there are.
    """

    nodes: tuple[Int[Array, "..."], ...]
    matrices: tuple[Float[Array, "..."], ...]
    table: Int[Array, "n v"]
    free: Bool[Array, "n c"]

    @property
    def dtype(self):
        """Of the numbers."""
        return self.matrices[0].dtype

    def astype(self, dtype) -> "Elementwise":
        """In another precision."""
        return Elementwise(self.nodes, tuple(m.astype(dtype) for m in self.matrices), self.table, self.free)

    def matvec(self, x: Float[Array, "n c"]) -> Float[Array, "n c"]:
        """The matrix times a vector."""
        c = x.shape[1]
        own = jnp.where(self.free, x, 0)
        rows = [
            jnp.einsum("eab,eb->ea", K, own[nodes].reshape(len(K), -1)).reshape(-1, c)
            for K, nodes in zip(self.matrices, self.nodes, strict=True)
        ]
        return jnp.where(self.free, gathered(jnp.concatenate(rows), self.table), x)

    def transposed(self) -> "Elementwise":
        """The transposed matrix."""
        return Elementwise(self.nodes, tuple(jnp.swapaxes(m, 1, 2) for m in self.matrices), self.table, self.free)

    def blocks(self) -> Float[Array, "n c c"]:
        """The diagonal blocks of the nodes."""
        c = self.free.shape[1]
        rows = []
        for K in self.matrices:
            k = K.shape[1] // c
            own = jnp.stack([K[:, a * c : (a + 1) * c, a * c : (a + 1) * c] for a in range(k)], 1)
            rows.append(own.reshape(-1, c * c))
        both = self.free[:, :, None] & self.free[:, None, :]
        return jnp.where(both, gathered(jnp.concatenate(rows), self.table).reshape(-1, c, c), jnp.eye(c, dtype=self.dtype))

    def dense(self) -> Float[Array, "m m"]:
        """All entries, (n c, n c)."""
        n, c = self.free.shape
        A = jnp.zeros((n, c, n, c), self.dtype)
        for K, nodes in zip(self.matrices, self.nodes, strict=True):
            k = nodes.shape[1]
            blocks = K.reshape(-1, k, c, k, c).transpose(0, 1, 3, 2, 4)
            A = A.at[nodes[:, :, None], :, nodes[:, None, :], :].add(blocks)
        A = jnp.where(self.free[:, :, None, None] & self.free[None, None], A, 0).reshape(n * c, n * c)
        return A + jnp.diag(jnp.where(self.free, 0, 1).astype(self.dtype).reshape(-1))

    def entries(self) -> tuple[Int[Array, " z"], Int[Array, " z"], Float[Array, " z"]]:
        """Rows, columns and values, to be summed where they meet; unknowns that are not free have zeros and a one."""
        n, c = self.free.shape
        axes, free = jnp.arange(c), self.free.reshape(-1)
        rows, columns, values = [jnp.arange(n * c)], [jnp.arange(n * c)], [jnp.where(free, 0, 1).astype(self.dtype)]
        for K, nodes in zip(self.matrices, self.nodes, strict=True):
            own = (nodes[:, :, None] * c + axes[None, None]).reshape(len(nodes), -1)
            row, column = jnp.broadcast_arrays(own[:, :, None], own[:, None, :])
            rows.append(row.reshape(-1))
            columns.append(column.reshape(-1))
            values.append(jnp.where(free[row] & free[column], K, 0).reshape(-1))
        return jnp.concatenate(rows), jnp.concatenate(columns), jnp.concatenate(values)


class Coarse(eqx.Module):
    """A coarse space: the rigid motions of groups of neighboring nodes.

    Attributes:
        group: number of the group of each node.
        modes: motions of the nodes, one column a mode.
        count: number of groups.
    """

    group: Int[Array, " n"]
    modes: Float[Array, "n c m"]
    count: int = eqx.field(static=True)

    def restrict(self, r: Float[Array, "n c"]) -> Float[Array, " z"]:
        """The work of a nodal force on every mode."""
        work = reduce(add, (self.modes[:, i] * r[:, i, None] for i in range(r.shape[1])))
        return jnp.zeros((self.count, work.shape[1]), work.dtype).at[self.group].add(work).reshape(-1)

    def prolong(self, y: Float[Array, " z"]) -> Float[Array, "n c"]:
        """The motion of the nodes by the modes."""
        own = y.reshape(self.count, -1)[self.group]
        return jnp.sum(self.modes * own[:, None, :], -1)

    def matrix(self, A: Any) -> Float[Array, "z z"]:
        """The matrix in the coarse space; modes without stiffness get some."""
        m = self.modes.shape[2]
        modes = jnp.where(A.free[:, :, None], self.modes.astype(A.dtype), 0)
        total = jnp.zeros((self.count, self.count, m, m), A.dtype)
        for K, nodes in zip(A.matrices, A.nodes, strict=True):
            total = self._added(total, K, nodes, modes)
        full = total.transpose(0, 2, 1, 3).reshape(self.count * m, self.count * m)
        size = jnp.abs(jnp.diagonal(full))
        least = 1e3 * jnp.finfo(A.dtype).eps
        return full + jnp.diag(jnp.where(size > 0, least * size, 1))

    def _added(self, total, K, nodes, modes):
        e, k = nodes.shape
        c, chunk = modes.shape[1], min(_CHUNK, len(nodes))
        fill = -e % chunk
        K = jnp.concatenate([K, jnp.zeros((fill, *K.shape[1:]), K.dtype)]).reshape(-1, chunk, k, c, k, c)
        nodes = jnp.concatenate([nodes, jnp.zeros((fill, k), nodes.dtype)]).reshape(-1, chunk, k)

        def add_chunk(total, part):
            K, nodes = part
            R = modes[nodes]
            share = jnp.einsum("eaik,eaibl->eabkl", R, jnp.einsum("eaibj,ebjl->eaibl", K, R))
            group = self.group[nodes]
            return total.at[group[:, :, None], group[:, None, :]].add(share), None

        return lax.scan(add_chunk, total, (K, nodes))[0]


def groups(points: np.ndarray, count: int) -> np.ndarray:
    """Numbers of groups of neighboring points of equal size, by halving along the longest side."""
    found = np.zeros(len(points), np.int32)
    todo = [(np.arange(len(points)), count, 0)]
    while todo:
        own, parts, first = todo.pop()
        if parts == 1:
            found[own] = first
            continue
        x = points[own]
        axis = int(np.argmax(np.ptp(x, axis=0)))
        own = own[np.argsort(x[:, axis], kind="stable")]
        less = parts // 2
        cut = len(own) * less // parts
        todo += [(own[:cut], less, first), (own[cut:], parts - less, first + less)]
    return found


def rigid_motions(points: Float[Array, "n d"], group: Int[Array, " n"], count: int) -> Float[Array, "n d m"]:
    """Translations and rotations of the nodes about the center of their group, (n, d, 3) in the plane and (n, d, 6) in space."""
    n, d = points.shape
    one = jnp.ones((n, 1), points.dtype)
    sums = jnp.zeros((count, d + 1), points.dtype).at[group].add(jnp.concatenate([points, one], 1))
    x = points - (sums[:, :d] / jnp.maximum(sums[:, d:], 1))[group]
    x = x / jnp.sqrt(jnp.mean(jnp.sum(x**2, 1)) + jnp.finfo(points.dtype).tiny)
    shifts = jnp.broadcast_to(jnp.eye(d, dtype=points.dtype), (n, d, d))
    zero = jnp.zeros_like(x[:, 0])
    if d == 2:
        turns = jnp.stack([-x[:, 1], x[:, 0]], 1)[:, :, None]
    else:
        a, b, c = x.T
        turns = jnp.stack([jnp.stack([zero, -c, b], 1), jnp.stack([c, zero, -a], 1), jnp.stack([-b, a, zero], 1)], 2)
    return jnp.concatenate([shifts, turns], 2)
