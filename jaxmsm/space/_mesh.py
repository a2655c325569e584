"""An unstructured mesh: points, blocks of elements of one kind, and named sets of nodes, elements and facets."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._elements import Element, facets_of

type Where = str | Callable[[np.ndarray], np.ndarray] | np.ndarray | Array
"""A name of a set, a condition on coordinates `x (n, d) -> bool (n,)`, or numbers of nodes."""


def known(x: Any, dtype: Any = None) -> Array:
    """An array that stays known where a mesh is made in a program that is traced, if it is known."""
    if isinstance(x, jax.core.Tracer):
        return jnp.asarray(x, dtype)
    with jax.ensure_compile_time_eval():
        return jnp.asarray(x, dtype)


class Block(eqx.Module):
    """Elements of one kind.

    Attributes:
        nodes: numbers of their nodes, in the order of the element.
        element: the kind.
    """

    nodes: Int[Array, "e k"] = eqx.field(converter=known)
    element: Element = eqx.field(static=True)


class Mesh(eqx.Module):
    """Points and elements.

    Elements are numbered through the blocks in order. Node numbers are data of the program, sets and kinds are known to it
    when it is compiled.

    Attributes:
        points: coordinates in the undeformed body; a leaf to differentiate in.
        blocks: elements of one kind each.
        node_sets: numbers of nodes by name.
        element_sets: numbers of elements by name.
        facet_sets: facets by name: blocks of elements of one dimension less.
    """

    points: Float[Array, "n d"]
    blocks: tuple[Block, ...]
    node_sets: dict[str, Int[Array, " m"]]
    element_sets: dict[str, Int[Array, " m"]]
    facet_sets: dict[str, tuple[Block, ...]]

    def __init__(
        self,
        points: Any,
        blocks: Sequence[Block] | Block,
        *,
        node_sets: Mapping[str, Any] | None = None,
        element_sets: Mapping[str, Any] | None = None,
        facet_sets: Mapping[str, Sequence[Block]] | None = None,
    ):
        self.points = known(points, jnp.result_type(float, points))
        self.blocks = (blocks,) if isinstance(blocks, Block) else tuple(blocks)
        self.node_sets = {k: known(v, jnp.int32) for k, v in (node_sets or {}).items()}
        self.element_sets = {k: known(v, jnp.int32) for k, v in (element_sets or {}).items()}
        self.facet_sets = {k: tuple(v) for k, v in (facet_sets or {}).items()}
        if self.points.ndim != 2 or self.d not in (2, 3):
            raise ValueError(f"Argument `points` must have shape (n, 2) or (n, 3), but it is {self.points.shape}.")
        if not self.blocks:
            raise ValueError("Argument `blocks` must hold at least one block of elements, but it is empty.")
        for block in self.blocks:
            if block.element.dim != self.d:
                raise ValueError(
                    f"Argument `blocks` must hold elements of dimension {self.d}, that of the points, but `{block.element.name}` "
                    "is of another. Facets go into `facet_sets`."
                )
            _refuse_nodes(block, len(self.points))

    @property
    def d(self) -> int:
        """Dimension."""
        return self.points.shape[1]

    @property
    def count(self) -> int:
        """Number of elements."""
        return sum(len(b.nodes) for b in self.blocks)

    def nodes(self, where: Where) -> np.ndarray:
        """Numbers of the nodes of a set (of nodes, of facets or of elements, in this order of search), sorted."""
        if isinstance(where, str):
            return self._named(where)
        if callable(where):
            chosen = np.asarray(where(_concrete(self.points)))
            if chosen.shape != (len(self.points),) or chosen.dtype != bool:
                raise ValueError(
                    f"Argument `where` must answer one bool a node, shape ({len(self.points)},), but it answered {chosen.dtype}"
                    f"{list(chosen.shape)}."
                )
            found = np.flatnonzero(chosen)
        else:
            found = np.unique(_concrete(where))
            if found.size and (found.dtype.kind not in "iu" or found[0] < 0 or found[-1] >= len(self.points)):
                raise ValueError(f"Argument `where` must hold numbers of nodes from 0 to {len(self.points) - 1}.")
        if not found.size:
            raise ValueError("Argument `where` must select at least one node, but it selects none.")
        return found

    def _named(self, name: str) -> np.ndarray:
        if name in self.node_sets:
            return np.unique(_concrete(self.node_sets[name]))
        if name in self.facet_sets:
            return np.unique(np.concatenate([_concrete(b.nodes).ravel() for b in self.facet_sets[name]]))
        if name in self.element_sets:
            return np.unique(np.concatenate([n.ravel() for n in self.element_nodes(name)]))
        known = sorted({*self.node_sets, *self.facet_sets, *self.element_sets})
        raise ValueError(f"Argument `where` must name a set of the mesh, one of {known}, but it is {name!r}.")

    def elements(self, where: str | np.ndarray | Array) -> np.ndarray:
        """Numbers of the elements of a set, sorted."""
        if isinstance(where, str) and where not in self.element_sets:
            raise ValueError(
                f"Argument `where` must name a set of elements, one of {sorted(self.element_sets)}, but it is {where!r}."
            )
        return np.unique(_concrete(self.element_sets[where] if isinstance(where, str) else where))

    def element_nodes(self, where: str | np.ndarray | Array) -> list[np.ndarray]:
        """Node numbers of the elements of a set, one array a block."""
        chosen, start, found = self.elements(where), 0, []
        for block in self.blocks:
            own = chosen[(chosen >= start) & (chosen < start + len(block.nodes))] - start
            found.append(_concrete(block.nodes)[own])
            start += len(block.nodes)
        return found

    def facets(self, where: Where) -> tuple[Block, ...]:
        """The facets of a set; of nodes, or where a condition holds, those facets of the surface whose nodes are all chosen."""
        if isinstance(where, str) and where in self.facet_sets:
            return self.facet_sets[where]
        chosen = np.zeros(len(self.points), bool)
        chosen[self.nodes(where)] = True
        whole = [(b.element, _concrete(b.nodes)) for b in self.surface()]
        found = [Block(known(n[keep]), e) for e, n in whole if np.any(keep := np.all(chosen[n], 1))]
        if not found:
            raise ValueError(f"Argument `where` must select at least one facet of the surface, but {where!r} selects none.")
        return tuple(found)

    def sizes(self) -> Float[Array, " e"]:
        """The edge of a square or a cube with the volume of each element, in the unit of length; differentiable in the points."""
        volumes = [jnp.sum(integration(self.points, block).weights, 0) for block in self.blocks]
        return jnp.concatenate(volumes) ** (1 / self.d)

    def surface(self) -> tuple[Block, ...]:
        """The facets that belong to one element alone, turned outward, a block for each kind of facet."""
        found: dict[Element, list[np.ndarray]] = {}
        for block in self.blocks:
            facet, local = facets_of(block.element)
            found.setdefault(facet, []).append(_concrete(block.nodes)[:, local].reshape(-1, local.shape[1]))
        result = []
        for facet, parts in found.items():
            nodes = np.concatenate(parts)
            _, first, count = np.unique(np.sort(nodes, 1), axis=0, return_index=True, return_counts=True)
            result.append(Block(known(nodes[np.sort(first[count == 1])]), facet))
        return tuple(result)


def _concrete(x: Any) -> np.ndarray:
    if isinstance(x, jax.core.Tracer):
        raise ValueError("Argument `mesh` must be known when a body is made: close over it instead of passing it through `jit`.")
    return np.asarray(x)


def _refuse_nodes(block: Block, n: int) -> None:
    if isinstance(block.nodes, jax.core.Tracer):
        return
    nodes, k = np.asarray(block.nodes), len(block.element.nodes)
    if nodes.ndim != 2 or nodes.shape[1] != k:
        raise ValueError(f"Argument `nodes` must have shape (e, {k}) for `{block.element.name}`, but it is {nodes.shape}.")
    if nodes.size and (nodes.min() < 0 or nodes.max() >= n):
        raise ValueError(f"Argument `nodes` must hold numbers from 0 to {n - 1}, but it holds {nodes.min()} to {nodes.max()}.")


class Points(eqx.Module):
    """The integration points of a block.

    Attributes:
        slopes: slopes of the shape functions in space, (q, k, d, e).
        weights: volumes that belong to the points, (q, e).
        shape: shape functions at the points, (q, k).
    """

    slopes: Float[Array, "q k d e"]
    weights: Float[Array, "q e"]
    shape: Float[Array, "q k"]


def integration(points: Float[Array, "n d"], block: Block, degree: int | None = None) -> Points:
    """Where a block of elements is integrated, and how its shape functions slope there; differentiable in the points."""
    element = block.element
    x, w = element.quadrature(degree)
    dtype = points.dtype
    local = jnp.asarray(element.slopes(x), dtype)
    corners = points[block.nodes]
    J = jnp.einsum("eki,qkj->qije", corners, local)
    inverse, det = _inverse(J)
    slopes = reduce(add, (local[:, :, j, None, None] * inverse[:, None, j] for j in range(element.dim)))
    return Points(slopes, jnp.asarray(w, dtype)[:, None] * det, jnp.asarray(element.shape(x), dtype))


def _inverse(J: Float[Array, "q d d e"]) -> tuple[Float[Array, "q d d e"], Float[Array, "q e"]]:
    """Inverse and determinant, elementwise."""
    if J.shape[1] == 2:
        det = J[:, 0, 0] * J[:, 1, 1] - J[:, 0, 1] * J[:, 1, 0]
        rows = [[J[:, 1, 1], -J[:, 0, 1]], [-J[:, 1, 0], J[:, 0, 0]]]
    else:

        def minor(i, j):
            a, b = (i + 1) % 3, (i + 2) % 3
            c, d = (j + 1) % 3, (j + 2) % 3
            return J[:, a, c] * J[:, b, d] - J[:, a, d] * J[:, b, c]

        det = sum(J[:, 0, j] * minor(0, j) for j in range(3))
        rows = [[minor(j, i) for j in range(3)] for i in range(3)]
    return jnp.stack([jnp.stack(row, 1) for row in rows], 1) / det[:, None, None], det


def facet_normals(x: Float[Array, "f k d"], facet: Element, degree: int | None = None) -> tuple[Array, Array]:
    """Shape functions (q, k) at the points of facets, and their outward normals times area and weight (q, f, d)."""
    points, w = facet.quadrature(degree)
    t = jnp.einsum("fki,qkj->qfij", x, jnp.asarray(facet.slopes(points), x.dtype))
    if facet.dim == 1:
        n = jnp.stack([t[..., 1, 0], -t[..., 0, 0]], -1)
    else:
        n = jnp.cross(t[..., 0], t[..., 1])
    return jnp.asarray(facet.shape(points), x.dtype), jnp.asarray(w, x.dtype)[:, None, None] * n
