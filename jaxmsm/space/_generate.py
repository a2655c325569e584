"""Structured meshes of simple bodies, of any kind of element, with their sides as named sets."""

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from ._elements import HEX8, QUAD4, Element
from ._mesh import Block, Mesh, known

_SIDES = (("left", "right"), ("bottom", "top"), ("back", "front"))
"""Names of the sides by axis."""


def box(
    shape: Sequence[int],
    lengths: Sequence[float] | None = None,
    element: Element | None = None,
    *,
    mapping: Callable[[np.ndarray], np.ndarray] | None = None,
    keep: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Mesh:
    """A rectangle or a box from the origin, divided into equal parts; or what a mapping makes of it.

    The sides are sets of facets: left, right (first axis), bottom, top (second), back, front (third).

    Args:
        shape: parts an axis. Triangles divide a part in two, tetrahedra in six.
        lengths: of the sides (default: 1 each).
        element: any kind of the dimension of `shape` (default: `QUAD4` or `HEX8`).
        mapping: moves the nodes (n, d) where they belong; it must keep the orientation.
        keep: which parts stay, by their centers (m, d) before the mapping: bool (m,).
    """
    d = len(shape)
    if d not in (2, 3) or min(shape) < 1:
        raise ValueError(f"Argument `shape` must hold two or three positive numbers, but it is {tuple(shape)}.")
    element = element or (QUAD4 if d == 2 else HEX8)
    if element.dim != d:
        raise ValueError(f"Argument `element` must be of dimension {d}, that of `shape`, but `{element.name}` is not.")
    lengths = (1.0,) * d if lengths is None else tuple(lengths)
    if len(lengths) != d or min(lengths) <= 0:
        raise ValueError(f"Argument `lengths` must hold {d} positive lengths, but it is {lengths}.")
    size = np.array(lengths) / np.array(shape)
    parts = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, d)
    if keep is not None:
        parts = parts[np.asarray(keep((parts + 0.5) * size), bool)]
    lattice = np.array(shape) * element.order + 1
    corners = (parts[:, None, None] * element.order + _offsets(element)).reshape(-1, len(element.nodes), d)
    numbers = np.ravel_multi_index(np.moveaxis(corners, -1, 0), tuple(lattice))
    used, nodes = np.unique(numbers, return_inverse=True)
    where = np.stack(np.unravel_index(used, tuple(lattice)), -1)
    x = where / element.order * size
    x = x if mapping is None else np.asarray(mapping(x))
    mesh = Mesh(x, Block(known(nodes.reshape(numbers.shape)), element))
    sides = {}
    for axis in range(d):
        for name, end in zip(_SIDES[axis], (0, lattice[axis] - 1), strict=True):
            sides[name] = mesh.facets(np.flatnonzero(where[:, axis] == end))
    return Mesh(mesh.points, mesh.blocks, facet_sets=sides)


def _offsets(element: Element) -> np.ndarray:
    """Where the nodes of the elements of one part lie on the lattice: (elements, nodes, d)."""
    order, x = element.order, np.array(element.nodes)
    if not element.simplex:
        return np.rint((x + 1) / 2 * order).astype(int)[None]
    # Kuhn's division: a simplex for each order of the axes, whose corners lie on a path from the first corner to the last.
    d, found = element.dim, []
    for axes in permutations(range(d)):
        path = np.cumsum(np.vstack([np.zeros(d, int), np.eye(d, dtype=int)[list(axes)]]), 0)
        if np.linalg.det((path[1:] - path[0]).astype(float)) < 0:
            path[[1, 2]] = path[[2, 1]]
        found.append(np.rint((np.hstack([1 - x.sum(1, keepdims=True), x]) @ path) * order).astype(int))
    return np.stack(found)


def l_shape(n: int, length: float = 1.0, element: Element | None = None, *, depth: float | None = None, layers: int = 1) -> Mesh:
    """A square of edge `length` without its upper right quarter, `n` (even) parts an edge; a `depth` makes it a solid.

    The facets of the two sides at the reentrant corner are no set; name them by a condition.
    """
    if n % 2 or n < 2:
        raise ValueError(f"Argument `n` must be even and positive, but it is {n}.")
    shape, lengths = ((n, n), (length, length)) if depth is None else ((n, n, layers), (length, length, depth))
    return box(shape, lengths, element, keep=lambda x: ~((x[:, 0] > length / 2) & (x[:, 1] > length / 2)))


def cook(n: int, element: Element | None = None) -> Mesh:
    """Cook's membrane: corners (0, 0), (48, 44), (48, 60), (0, 44), `n` parts an edge."""

    def tapered(x):
        s, t = x[:, 0], x[:, 1]
        return np.stack([48 * s, 44 * s + t * (44 - 28 * s)], -1)

    return box((n, n), (1.0, 1.0), element, mapping=tapered)


def ring(
    shape: Sequence[int],
    inner: float,
    outer: float,
    element: Element | None = None,
    *,
    depth: float = 1.0,
    angle: float = np.pi / 2,
) -> Mesh:
    """A sector of a thick-walled cylinder about the origin, (radial, circumferential[, axial]) parts.

    Sets: "inner" and "outer" wall, "start" (along the first axis) and "end" of the sector, "back" and "front".
    """
    if not 0 < inner < outer:
        raise ValueError(f"Argument `inner` must lie between 0 and `outer` ({outer}), but it is {inner}.")

    def bent(x):
        r, a = inner + (outer - inner) * x[:, 0], angle * x[:, 1]
        return np.column_stack([r * np.cos(a), r * np.sin(a), *x.T[2:]])

    mesh = box(shape, (1.0, 1.0, depth)[: len(shape)], element, mapping=bent)
    return _renamed(mesh, {"left": "inner", "right": "outer", "bottom": "start", "top": "end"})


def plate_with_hole(
    shape: Sequence[int],
    radius: float,
    width: float = 1.0,
    height: float | None = None,
    element: Element | None = None,
    *,
    depth: float = 1.0,
    grading: float = 1.0,
) -> Mesh:
    """A quarter of a rectangular plate with a round hole at the origin.

    Sets: "hole", "right" and "top" (the outer sides), "bottom" and "left" (the planes of symmetry, y = 0 and x = 0), "back" and
    "front".

    Args:
        shape: (radial, circumferential[, through the thickness]) parts; the second must be even.
        radius: of the hole.
        width, height: of the quarter (default: square).
        grading: ratio of the last to the first radial division; more than 1 refines at the hole.
    """
    height = width if height is None else height
    if not 0 < radius < min(width, height):
        raise ValueError(f"Argument `radius` must lie between 0 and {min(width, height)}, but it is {radius}.")
    if shape[1] % 2:
        raise ValueError(f"Argument `shape` must hold an even number of parts around the hole, but it is {tuple(shape)}.")

    def bent(x):
        # The lattice runs round the hole in the sense that keeps the orientation: first axis outward, second counterclockwise.
        r, s = x[:, 0], x[:, 1]
        r = r if grading == 1 else np.expm1(r * np.log(grading)) / (grading - 1)
        a = s * np.pi / 2
        near = radius * np.stack([np.cos(a), np.sin(a)], -1)
        far = np.stack([width * np.minimum(1, 2 - 2 * s), height * np.minimum(1, 2 * s)], -1)
        return np.column_stack([near + r[:, None] * (far - near), *x.T[2:]])

    mesh = box(shape, (1.0, 1.0, depth)[: len(shape)], element, mapping=bent)
    edge = 1e-6 * max(width, height)
    sides = {"left": "hole", "bottom": "bottom", "top": "left", "back": "back", "front": "front"}
    outer = {"right": lambda x: x[:, 0] > width - edge, "top": lambda x: x[:, 1] > height - edge}
    facets = {new: mesh.facet_sets[old] for old, new in sides.items() if old in mesh.facet_sets}
    return Mesh(mesh.points, mesh.blocks, facet_sets=facets | {name: mesh.facets(where) for name, where in outer.items()})


def beam(shape: Sequence[int], lengths: Sequence[float], element: Element | None = None) -> Mesh:
    """A beam along the first axis; sets of nodes for three points: "supports" (both lower edges) and "middle" (of the top).

    The number of parts along the beam must be even.
    """
    if shape[0] % 2:
        raise ValueError(f"Argument `shape` must hold an even number of parts along the beam, but it is {tuple(shape)}.")
    mesh = box(shape, lengths, element)
    x = np.asarray(mesh.points)
    ends = np.isclose(x[:, 0], 0) | np.isclose(x[:, 0], lengths[0])
    low, high = np.isclose(x[:, 1], 0), np.isclose(x[:, 1], lengths[1])
    sets = {
        "supports": np.flatnonzero(ends & low),
        "middle": np.flatnonzero(np.isclose(x[:, 0], lengths[0] / 2) & high),
    }
    return Mesh(mesh.points, mesh.blocks, node_sets=sets, facet_sets=mesh.facet_sets)


def _renamed(mesh: Mesh, names: dict[str, str]) -> Mesh:
    sets: Any = {names.get(old, old): facets for old, facets in mesh.facet_sets.items()}
    return Mesh(mesh.points, mesh.blocks, facet_sets=sets)
