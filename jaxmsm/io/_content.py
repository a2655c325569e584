"""What a file of a mesh holds, put together: elements of one dimension, sides turned outward, sets by name."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .. import space
from ._input import InputError

_CHUNK = 1 << 16
_MOST = 256
"""Numbers that data of the elements may take to make sets; data of more are no materials."""


class Content(NamedTuple):
    """What stands in a file: cells of every dimension, numbered through the groups in order.

    Attributes:
        points: coordinates, (n, 2) or (n, 3).
        cells: meshio's name of a kind and the nodes of each cell, in the order of VTK.
        node_sets: numbers of nodes by name.
        cell_sets: numbers of cells by name.
        sides: cells and which of their facets (as `Element.corners` counts them), by name: (m, 2).
    """

    points: Float[np.ndarray, "n d"]
    cells: Sequence[tuple[str, Int[np.ndarray, "m k"]]]
    node_sets: Mapping[str, np.ndarray]
    cell_sets: Mapping[str, np.ndarray]
    sides: Mapping[str, np.ndarray]


def numbered(name: str, numbers: np.ndarray, *, tag: bool = False) -> dict[str, np.ndarray]:
    """Cells by the number they have in data of this name: sets `name:number`; or for tags, where zero is none, `number`."""
    found = np.unique(numbers)
    if len(found) > _MOST or name.startswith("vtk"):
        return {}
    return {str(n) if tag else f"{name}:{n}": np.flatnonzero(numbers == n) for n in found if n or not tag}


def assembled(path: Path, content: Content) -> space.Mesh:
    """The mesh of the cells of the highest dimension; those of one less make facet sets, and of less than that node sets.

    Nodes of no element are dropped, elements that are inside out are renumbered with a warning, and facets are turned outward (out
    of the first element, between two).
    """
    dim = _dimension(path, content)
    numbers = _elements(content, dim)
    nodes = {e: np.concatenate([content.cells[g][1] for g in groups]) for e, groups in _groups(content, dim).items()}
    if not all(np.all((n >= 0) & (n < len(content.points))) for n in nodes.values()):
        raise InputError(f"The mesh {path} must name nodes that it holds, but an element has a node that is not there.")
    used = np.unique(np.concatenate([n.ravel() for n in nodes.values()]))
    renumbered = np.full(len(content.points), -1)
    renumbered[used] = np.arange(len(used))
    points = _flat(path, np.asarray(content.points, float)[used], dim)
    turned = _turned(path, points, {e: renumbered[n] for e, n in nodes.items()})
    facets = {name: renumbered[corners] for name, corners in _facets(content, dim).items()}
    found = {name: kept for name, n in _node_sets(content, dim).items() if len(kept := _kept(renumbered[n]))}
    elements = {name: kept for name, c in content.cell_sets.items() if len(kept := _kept(numbers[c]))}
    return space.Mesh(
        points,
        [space.Block(jnp.asarray(n), e) for e, n in turned.items()],
        node_sets=found,
        element_sets=elements,
        facet_sets=_matched(path, turned, facets),
    )


def _kept(numbers: np.ndarray) -> np.ndarray:
    return np.unique(numbers[numbers >= 0])


def dimension_of(kind: str) -> int:
    """Dimension of a kind of cell."""
    return 0 if kind == "vertex" else space.ELEMENTS[kind].dim


def _dimension(path: Path, content: Content) -> int:
    unknown = sorted({kind for kind, _ in content.cells if kind != "vertex" and kind not in space.ELEMENTS})
    if unknown:
        known = ", ".join(f"`{k}`" for k in space.ELEMENTS)
        raise InputError(f"The mesh {path} must consist of elements known here ({known}), but holds `{'`, `'.join(unknown)}`.")
    dim = max((dimension_of(kind) for kind, nodes in content.cells if len(nodes)), default=0)
    if dim < 2:
        raise InputError(f"The mesh {path} must hold triangles, quadrilaterals, tetrahedra or hexahedra, but holds none.")
    if not np.all(np.isfinite(content.points)):
        raise InputError(f"The mesh {path} must have finite coordinates, but some are NaN or infinite.")
    return dim


def _groups(content: Content, dim: int) -> dict[space.Element, list[int]]:
    """Where the elements of each kind stand among the groups of cells, by first appearance."""
    found: dict[space.Element, list[int]] = {}
    for g, (kind, nodes) in enumerate(content.cells):
        if len(nodes) and dimension_of(kind) == dim:
            found.setdefault(space.ELEMENTS[kind], []).append(g)
    return found


def _starts(content: Content) -> np.ndarray:
    return np.cumsum([0, *(len(nodes) for _, nodes in content.cells)])


def _elements(content: Content, dim: int) -> np.ndarray:
    """The element that each cell becomes, or -1."""
    starts = _starts(content)
    found, count = np.full(starts[-1], -1), 0
    for groups in _groups(content, dim).values():
        for g in groups:
            size = starts[g + 1] - starts[g]
            found[starts[g] : starts[g + 1]] = np.arange(count, count + size)
            count += size
    return found


def _flat(path: Path, points: np.ndarray, dim: int) -> np.ndarray:
    if dim == points.shape[1]:
        return points
    size = np.ptp(points, 0)
    if dim == 2 and size[2] <= 1e-9 * size.max():
        return points[:, :2]
    raise InputError(
        f"The mesh {path} must be solid or lie in a plane of constant third coordinate, but its elements of dimension {dim} are a "
        f"surface in space (the third coordinate spans {size[-1]:g})."
    )


def _turned(path: Path, points: np.ndarray, blocks: dict[space.Element, np.ndarray]) -> dict[space.Element, np.ndarray]:
    """The elements with a positive volume at every integration point."""
    found, inside_out, count = {}, 0, 0
    for element, nodes in blocks.items():
        low, high = _volumes(points, nodes, element)
        bad = (low <= 0) & (high >= 0)
        if np.any(bad):
            first = int(np.argmax(bad))
            raise InputError(
                f"The mesh {path} must have elements of positive volume, but {int(bad.sum())} have none or are folded; the first "
                f"is "
                f"element {count + first} (`{element.name}`, counted from 0), at "
                f"{np.round(points[nodes[first]].mean(0), 6).tolist()}."
            )
        found[element] = np.where((high < 0)[:, None], nodes[:, _mirror(element)], nodes)
        inside_out, count = inside_out + int(np.sum(high < 0)), count + len(nodes)
    if inside_out:
        warnings.warn(f"The mesh {path} had {inside_out} of {count} elements inside out; their nodes are renumbered.", stacklevel=4)
    return found


def _volumes(points: np.ndarray, nodes: np.ndarray, element: space.Element) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest Jacobian determinant of each element at its integration points; round-off counts as zero."""
    slopes = element.slopes(element.quadrature()[0])
    found = []
    for start in range(0, len(nodes), _CHUNK):
        corners = points[nodes[start : start + _CHUNK]]
        J = np.linalg.det(np.einsum("eki,qkj->eqij", corners, slopes))
        J[np.abs(J) <= 1e-12 * np.ptp(corners, 1).max(1)[:, None] ** element.dim] = 0
        found.append(np.stack([J.min(1), J.max(1)]))
    low, high = np.concatenate(found, 1)
    return low, high


def _mirror(element: space.Element) -> np.ndarray:
    """The order of the nodes after the first two reference coordinates have changed places."""
    nodes = np.array(element.nodes)
    other = nodes[:, [1, 0, *range(2, element.dim)]]
    return np.argmin(np.sum((nodes - other[:, None]) ** 2, -1), 1)


def _node_sets(content: Content, dim: int) -> dict[str, np.ndarray]:
    """Sets of nodes, and of cells whose dimension is too low for facets."""
    found = dict(content.node_sets)
    starts = _starts(content)
    for name, cells in content.cell_sets.items():
        own = [nodes[cells[(cells >= s) & (cells < s + len(nodes))] - s] for (kind, nodes), s in zip(content.cells, starts)
               if dimension_of(kind) < dim - 1]  # fmt: skip
        if any(len(n) for n in own):
            found[name] = np.concatenate([found.get(name, np.zeros(0, int)), *(n.ravel() for n in own)])
    return found


def _facets(content: Content, dim: int) -> dict[str, np.ndarray]:
    """Corners (m, 4) of the facets of each set, sorted, the lowest repeated where there are fewer."""
    starts, found = _starts(content), {}
    inside = np.zeros(starts[-1], bool)
    for cells in content.cell_sets.values():
        inside[cells] = True
    loose = np.flatnonzero(~inside)
    for name, cells in [*content.cell_sets.items(), *([("facets", loose)] if "facets" not in content.cell_sets else [])]:
        own = []
        for (kind, nodes), s in zip(content.cells, starts):
            chosen = cells[(cells >= s) & (cells < s + len(nodes))] - s
            if len(chosen) and dimension_of(kind) == dim - 1:
                own.append(_key(nodes[chosen], _corners(space.ELEMENTS[kind])))
        if own:
            found[name] = np.concatenate(own)
    for name, sides in content.sides.items():
        own = [found[name]] if name in found else []
        for (kind, nodes), s in zip(content.cells, starts):
            chosen = sides[(sides[:, 0] >= s) & (sides[:, 0] < s + len(nodes))]
            if len(chosen) and dimension_of(kind) == dim:
                corners = np.array(space.ELEMENTS[kind].corners)
                own.append(_key(nodes[chosen[:, 0, None] - s, corners[chosen[:, 1]]]))
        if own:
            found[name] = np.concatenate(own)
    return found


def _corners(facet: space.Element) -> int:
    """Number of corners of a facet; they come first among its nodes."""
    return {1: 2, 2: 3 if facet.simplex else 4}[facet.dim]


def _key(nodes: np.ndarray, corners: int | None = None) -> np.ndarray:
    first = np.sort(nodes[:, :corners], 1)
    return np.hstack([np.repeat(first[:, :1], 4 - first.shape[1], 1), first])


def facet_keys(blocks: Sequence[space.Block]) -> np.ndarray:
    """What tells facets apart: their corners, sorted, four columns."""
    return np.concatenate([_key(np.asarray(b.nodes), _corners(b.element)) for b in blocks])


def owners(blocks: Sequence[tuple[space.Element, np.ndarray]], wanted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first element of which each facet is a side, and which of its sides, by name: (m, 2), -1 where there is none.

    Args:
        wanted: corners of facets, sorted, the lowest repeated up to four.
    """
    if not wanted:
        return {}
    given = np.concatenate(list(wanted.values()))
    # Sorting every side of a large mesh would take a second; few have all their corners among the wanted ones.
    near = np.zeros(1 + max(int(n.max()) for _, n in blocks), bool)
    near[given[given >= 0]] = True
    keys, pairs, start = [np.zeros((0, 4), int)], [np.zeros((0, 2), int)], 0
    for element, nodes in blocks:
        corners = nodes[:, np.array(element.corners)]
        where, side = np.nonzero(np.all(near[corners], -1))
        keys.append(_key(corners[where, side]))
        pairs.append(np.column_stack([where + start, side]))
        start += len(nodes)
    own = np.concatenate(keys)
    _, first, place = np.unique(np.concatenate([own, given]), axis=0, return_index=True, return_inverse=True)
    found = first[place.ravel()[len(own) :]]
    rows = np.vstack([*pairs, [[-1, -1]]])[np.where(found < len(own), found, len(own))]
    return dict(zip(wanted, np.split(rows, np.cumsum([len(g) for g in wanted.values()])[:-1])))


def _matched(
    path: Path, blocks: dict[space.Element, np.ndarray], wanted: dict[str, np.ndarray]
) -> dict[str, tuple[space.Block, ...]]:
    """The facets of elements with these corners, turned outward, in the order of the elements."""
    lost, result = 0, {}
    for name, pairs in owners(list(blocks.items()), wanted).items():
        lost += int(np.sum(pairs[:, 0] < 0))
        own: dict[space.Element, list[np.ndarray]] = {}
        pairs, start = np.unique(pairs[pairs[:, 0] >= 0], axis=0), 0
        for element, nodes in blocks.items():
            chosen = pairs[(pairs[:, 0] >= start) & (pairs[:, 0] < start + len(nodes))]
            if len(chosen):
                facet, local = space.facets_of(element)
                own.setdefault(facet, []).append(nodes[chosen[:, 0, None] - start, local[chosen[:, 1]]])
            start += len(nodes)
        if own:
            result[name] = tuple(space.Block(jnp.asarray(np.concatenate(n)), facet) for facet, n in own.items())
    if lost:
        warnings.warn(f"The mesh {path} has {lost} facets that are no side of an element; they are left out.", stacklevel=4)
    return result
