"""The faces of a cell of elements: where they are, and which displacements they leave."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._model import Span
from .._scale import hold
from .._typing import Tree
from ..solids import AbstractCondition, Fixed, Tied, cast, undeformed
from ..space import AbstractBoundary, Block, Elementwise, LinearDisplacement, Mesh, Periodic, UniformTraction, facet_normals

_NEAR = 1e-6
"""How far from its face a node may lie, as a fraction of the box."""

_OFF_LATTICE = 0.3
"""Nodes lie at simple fractions of the box; rounding must not cut there."""


class Box(eqx.Module):
    """The bounding box of a mesh.

    Attributes:
        ends: a node on the low and one on the high face of each axis.
        facets: the outer surface where it lies on the faces of the box.
        corners: nodes without a rigid motion: the nearest to one corner of the box and to those beside it.
    """

    ends: Int[Array, "2 d"]
    facets: tuple[Block, ...]
    corners: Int[Array, " d"]

    def size(self, points: Float[Array, "n d"]) -> Float[Array, " d"]:
        """The lengths of its edges."""
        low, high = self._ends(points)
        return high - low

    def centered(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Positions from its center."""
        low, high = self._ends(points)
        return points - (0.5 * (low + high))[None]

    def _ends(self, points):
        axes = np.arange(points.shape[1])
        return points[self.ends[0], axes], points[self.ends[1], axes]

    def flux(self, points: Float[Array, "n d"]) -> "Flux":
        """The mean gradient over the faces."""
        total = jnp.zeros_like(points)
        for block in self.facets:
            shape, normals = facet_normals(points[block.nodes], block.element)
            total = total.at[block.nodes].add(jnp.einsum("qk,qfj->fkj", shape, normals))
        used = jnp.zeros_like(points[:, :1]).at[jnp.concatenate([b.nodes.ravel() for b in self.facets])].set(1)
        seen = jnp.concatenate([total, used], 1)
        fields = jnp.concatenate([self.centered(points), jnp.ones_like(used)], 1).at[-points.shape[1] :].set(0)
        return Flux(seen, affine(fields, jnp.linalg.inv(products(seen, fields)).T))


class Flux(eqx.Module):
    """Functionals of a field over the nodes, and the homogeneous fields that each see one of them alone.

    Attributes:
        seen: the integrals of field times normal over the faces, one column an axis, and the sum over the nodes there.
        fields: their dual, of positions and one.
    """

    seen: Float[Array, "n m"]
    fields: Float[Array, "n m"]

    def mean(self, w: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The homogeneous part of a field, translation included; without it there is no mean gradient."""
        return affine(self.fields, products(w, self.seen))

    def mean_transposed(self, f: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The transpose."""
        return affine(self.seen, products(f, self.fields))


class Faces(eqx.Module):
    """What a body is held by: u = (F - I + E) x + a fluctuation, x from the center of the box.

    The last d nodes stand for E, the mean deformation where a stress is imposed: node j holds its column j times a length.

    Attributes:
        ties: what the boundary leaves of the fluctuation.
        x: positions of the nodes, zero for the last d.
        length: of the box.
        flux: the mean gradient that the fluctuation must not have; None where the ties see to that.
        corners: `Box.corners`.
        mask: where a deformation is imposed; None: everywhere.
    """

    ties: Any
    x: Float[Array, "n d"]
    length: Float[Array, ""]
    flux: Flux | None
    corners: Int[Array, " d"]
    mask: Bool[Array, "d d"] | None

    @property
    def free(self) -> Array:
        """Which unknowns there are."""
        d = self.x.shape[1]
        return self.ties.free if self.mask is None else self.ties.free.at[-d:].set(~self.mask.T)

    @property
    def source(self) -> Array | None:
        """The node whose unknowns move each node."""
        return self.ties.source

    @property
    def frames(self) -> None:
        """None are turned."""
        return None

    @property
    def imposed(self) -> tuple:
        """No condition but the load itself."""
        return ()

    def given(self, load: Tree, like: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The displacement where the unknowns are zero."""
        F = deformation(load).astype(like.dtype)
        return affine(self.x, F - undeformed(F))

    def mean(self, u: Float[Array, "n d"], load: Tree) -> Float[Array, "d d"]:
        """The mean deformation."""
        F = deformation(load).astype(u.dtype)
        return F if self.mask is None else F + self._project(_last(u).T) / self.length

    def spread(self, q: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The displacement by the unknowns alone."""
        w = self.ties.spread(q)
        u = w if self.flux is None else w - self.flux.mean(w)
        if self.mask is None:
            return u
        E = self._project(_last(q).T)
        return _added(u, E.T) + affine(self.x, E / self.length)

    def collect(self, f: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The work of nodal forces on the unknowns; the transpose of `spread`."""
        r = self.ties.collect(f if self.flux is None else f - self.flux.mean_transposed(f))
        if self.mask is None:
            return r
        return _added(r, self._project(_last(f).T + products(f, self.x) / self.length).T)

    def unknowns(self, u: Float[Array, "n d"], load: Tree) -> Float[Array, "n d"]:
        """The unknowns of a displacement."""
        w = u - self.given(load, u)
        if self.mask is None:
            return self._fluctuation(w)
        E = self._project(_last(u).T)
        return _added(self._fluctuation(w - affine(self.x, E / self.length)), E.T)

    def idle(self, q: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """What moves nothing, and stands for itself at equilibrium."""
        rest = self.ties.idle(q)
        if self.flux is not None:
            # As it is at this mesh: another choice for a changed one would be another name for the same displacement.
            flux = hold(self.flux)
            rest = rest + flux.mean_transposed(flux.mean(q))
        return rest if self.mask is None else _added(rest, -self._project(_last(q).T).T)

    def reduced(self, tied: Elementwise, plain: Elementwise) -> Any:
        """A tangent in the unknowns."""
        if self.flux is None and self.mask is None:
            return tied
        # What a homogeneous deformation costs, so that what is idle is no stiffer than what is not.
        d = self.x.shape[1]
        units = jnp.asarray(np.eye(d * d).reshape(-1, d, d), self.x.dtype)
        stretched = [affine(self.x, unit) for unit in units]
        work = reduce(add, (jnp.abs(jnp.sum(u * plain.matvec(u))) for u in stretched))
        return Mapped(tied, plain, self, hold(work / reduce(add, (jnp.sum(u * u) for u in stretched))))

    def _fluctuation(self, w):
        return jnp.where(self.ties.free, w if self.flux is None else w - self.flux.mean(w), 0)

    def _project(self, X: Float[Array, "d d"]) -> Float[Array, "d d"]:
        """The part in the free components; where a pair is free its symmetric part, for the rotation is fixed."""
        mask = jnp.asarray(self.mask)
        free = jnp.where(mask, 0, X)
        return jnp.where(~mask & ~mask.T, 0.5 * (free + free.T), free)


class Mapped(eqx.Module):
    """A tangent in the unknowns of faces that tie all nodes together; a number on what is idle.

    Attributes:
        tied, plain: the matrix in the unknowns of the nodes, and as it is.
        size: of that number.
    """

    tied: Elementwise
    plain: Elementwise
    faces: Faces
    size: Float[Array, ""]

    @property
    def dtype(self):
        """Of the numbers."""
        return self.plain.dtype

    @property
    def nodes(self):
        """Of the elements, for a coarse space."""
        return self.tied.nodes

    @property
    def matrices(self):
        """Of the elements, for a coarse space."""
        return self.tied.matrices

    @property
    def free(self) -> Array:
        """What a coarse space moves: the matrix as it is has rigid motions unless some nodes stay."""
        free = self.faces.ties.free
        return free if self.faces.flux is None else free.at[self.faces.corners].set(False)

    def astype(self, dtype) -> "Mapped":
        """In another precision."""
        return Mapped(self.tied.astype(dtype), self.plain.astype(dtype), cast(self.faces, dtype), self.size.astype(dtype))

    def transposed(self) -> "Mapped":
        """The transposed matrix."""
        return Mapped(self.tied.transposed(), self.plain.transposed(), self.faces, self.size)

    def matvec(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The matrix times a vector."""
        return self.faces.collect(self.plain.matvec(self.faces.spread(x))) + self.size * self.faces.idle(x)

    def blocks(self) -> Float[Array, "n d d"]:
        """The diagonal blocks of the nodes, as if these were tied no further than the elements tie them."""
        tied = eqx.tree_at(lambda m: m.free, self.tied, self.faces.ties.free).blocks()
        if self.faces.mask is None:
            return tied
        n, d = self.free.shape
        units = jnp.zeros((d, d, n, d), self.dtype).at[:, :, n - d :].set(jnp.eye(d * d, dtype=self.dtype).reshape(d, d, d, d))
        columns = jax.vmap(jax.vmap(self.matvec))(units)[:, :, n - d :]
        own = jnp.stack([columns[j, :, j] for j in range(d)])
        return tied.at[n - d :].set(jnp.swapaxes(own, 1, 2))

    def dense(self) -> Float[Array, "m m"]:
        """All entries."""
        n, d = self.free.shape
        flat = lambda fn: jax.vmap(lambda row: fn(row.reshape(n, d)).reshape(-1))
        collect = flat(self.faces.collect)
        idle = flat(self.faces.idle)(jnp.eye(n * d, dtype=self.dtype))
        return collect(collect(self.plain.dense()).T).T + self.size * idle.T

    def entries(self):
        """None: what ties all nodes of the faces fills the matrix."""
        raise ValueError(
            "Argument `system` must not be `SparseDirect()` for a `MeshCell` with uniform tractions or a `Mixed` load, whose "
            "matrix is full, but it is. Take `Krylov()`, `Dense()` or `Automatic()`."
        )


def deformation(load: Tree) -> Array:
    """What is imposed, in a `Span` or not."""
    return load.drive if isinstance(load, Span) else load


def affine(x: Float[Array, "n m"], H: Float[Array, "d m"]) -> Float[Array, "n d"]:
    """H x at every node."""
    return reduce(add, (x[:, j, None] * H[None, :, j] for j in range(x.shape[1])))


def products(a: Float[Array, "n p"], b: Float[Array, "n r"]) -> Float[Array, "p r"]:
    """Products of the columns; of nodal forces with positions the mean stress times the volume."""
    return jnp.sum(a[:, :, None] * b[:, None, :], 0)


def _last(q: Float[Array, "n d"]) -> Float[Array, "d d"]:
    return q[-q.shape[1] :]


def _added(q: Float[Array, "n d"], last: Float[Array, "d d"]) -> Float[Array, "n d"]:
    return q.at[-q.shape[1] :].add(last)


def bounding_box(mesh: Mesh) -> tuple[Box, list[tuple[np.ndarray, np.ndarray]]]:
    """The box of a mesh, and the nodes on the low and the high face of each axis."""
    x, used = np.asarray(mesh.points), np.unique(np.concatenate([np.asarray(b.nodes).ravel() for b in mesh.blocks]))
    low, high = x[used].min(0), x[used].max(0)
    near = lambda end, axis: used[np.abs(x[used, axis] - end[axis]) <= _NEAR * (high - low)[axis]]
    sides = [(near(low, axis), near(high, axis)) for axis in range(mesh.d)]
    ends = np.stack([used[x[used].argmin(0)], used[x[used].argmax(0)]])
    beside = [low, *(np.where(np.arange(mesh.d) == axis, high, low) for axis in range(mesh.d - 1))]
    corners = np.array([used[np.argmin(np.sum((x[used] - place) ** 2, 1))] for place in beside])
    return Box(jnp.asarray(ends), _outer(mesh, [side for pair in sides for side in pair]), jnp.asarray(corners)), sides


def _outer(mesh: Mesh, sides: Sequence[np.ndarray]) -> tuple[Block, ...]:
    """The facets of the surface that lie in one of the sides."""
    inside = np.stack([np.isin(np.arange(len(mesh.points)), side) for side in sides])
    blocks = [(np.asarray(b.nodes), b.element) for b in mesh.surface()]
    kept = [(nodes[np.any(np.all(inside[:, nodes], 2), 0)], element) for nodes, element in blocks]
    return tuple(Block(jnp.asarray(nodes), element) for nodes, element in kept if len(nodes))


def held_by(boundary: AbstractBoundary, mesh: Mesh, sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[AbstractCondition]:
    """What a boundary does to the fluctuation of a body."""
    if isinstance(boundary, LinearDisplacement):
        return [Fixed(np.unique(np.concatenate([side for pair in sides for side in pair])))]
    if isinstance(boundary, UniformTraction):
        return []
    if not isinstance(boundary, Periodic):
        raise TypeError(
            "Argument `boundary` must be `Periodic()`, `LinearDisplacement()` or `UniformTraction()`, but it is of type "
            f"{type(boundary).__name__}."
        )
    for axis, (low, high) in enumerate(sides):
        _refuse_unlike(np.asarray(mesh.points), low, high, axis)
    leading = np.setdiff1d(np.asarray(mesh.blocks[0].nodes), np.concatenate([high for _, high in sides]))
    # A translation of the whole would be left.
    return [*(Tied(high, low) for low, high in sides), Fixed(leading[:1])]


def _refuse_unlike(x: np.ndarray, low: np.ndarray, high: np.ndarray, axis: int) -> None:
    """Opposite faces must have the same nodes."""
    size = np.ptp(x, axis=0).max()
    across = np.delete(x, axis, 1)
    text = f"Argument `mesh` must have the same nodes on opposite faces of a periodic cell, but those of axis {axis} "
    hint = ". Mesh both faces alike, or take `LinearDisplacement()` or `UniformTraction()`."
    if len(low) != len(high):
        raise ValueError(f"{text}have {len(low)} and {len(high)}{hint}")
    ordered = lambda nodes: across[nodes[np.lexsort(np.round(across[nodes] / (_NEAR * size) + _OFF_LATTICE).T)]]
    gap = np.abs(ordered(low) - ordered(high)).max()
    if gap > 10 * _NEAR * size:
        raise ValueError(f"{text}are off by {gap:.3g}{hint}")
