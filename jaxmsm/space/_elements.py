"""Finite elements as data: where their nodes are, which monomials span them, where they are integrated."""

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np


class Element(NamedTuple):
    """A Lagrange or serendipity element, isoparametric; nodes in the order of VTK.

    Attributes:
        name: as meshio calls it.
        nodes: reference coordinates, one tuple a node: [-1, 1] an axis for lines, quadrilaterals and hexahedra, the unit
            simplex for triangles and tetrahedra.
        powers: the exponents of the monomials that span the shape functions, as many as nodes.
        degree: polynomial degree that the default quadrature integrates (an axis, where the element is a product of lines).
        corners: the corners of each facet, turned outward.
        simplex: it is a triangle or a tetrahedron.
    """

    name: str
    nodes: tuple[tuple[float, ...], ...]
    powers: tuple[tuple[int, ...], ...]
    degree: int
    corners: tuple[tuple[int, ...], ...]
    simplex: bool

    @property
    def dim(self) -> int:
        """Dimension of the reference element."""
        return len(self.nodes[0])

    @property
    def order(self) -> int:
        """1 for linear elements, 2 for quadratic ones."""
        return max(map(max, self.powers))

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Shape functions at reference points (q, dim): (q, nodes)."""
        return _monomials(self, np.asarray(x)) @ _coefficients(self)

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Their slopes in the reference coordinates: (q, nodes, dim)."""
        x = np.asarray(x)
        powers = np.array(self.powers)
        found = []
        for axis in range(self.dim):
            lower = powers.copy()
            lower[:, axis] = np.maximum(lower[:, axis] - 1, 0)
            found.append((powers[:, axis] * np.prod(x[:, None, :] ** lower, -1)) @ _coefficients(self))
        return np.stack(found, -1)

    def quadrature(self, degree: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Points (q, dim) and weights (q,) that integrate polynomials of a degree (an axis, for products of lines) exactly."""
        degree = self.degree if degree is None else degree
        return _simplex(self.dim, degree) if self.simplex else _gauss(self.dim, degree)


@cache
def _coefficients(element: Element) -> np.ndarray:
    return np.linalg.inv(_monomials(element, np.array(element.nodes)))


def _monomials(element: Element, x: np.ndarray) -> np.ndarray:
    return np.prod(x[:, None, :] ** np.array(element.powers), -1)


def _gauss(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(degree // 2 + 1)
    # The first axis runs fastest, as the nodes of a lattice do.
    points = np.array([p[::-1] for p in product(x, repeat=dim)])
    return points, np.array([np.prod(p) for p in product(w, repeat=dim)])


def _simplex(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """The classical symmetric rules of degrees 1 and 2, and Gauss points of a collapsed cube beyond."""
    volume = 1 / (2 if dim == 2 else 6)
    if degree <= 1:
        return np.full((1, dim), 1 / (dim + 1)), np.array([volume])
    if degree == 2:
        a = 1 / 6 if dim == 2 else (5 - 5**0.5) / 20
        points = np.full((dim + 1, dim), a)
        points[np.arange(1, dim + 1), np.arange(dim)] = 1 - dim * a
        return points, np.full(dim + 1, volume / (dim + 1))
    # x = a, y = (1 - a) b, z = (1 - a)(1 - b) c: the volume element raises the degree along the first axes.
    n = degree // 2 + 1
    lines = [_jacobi(n, dim - 1 - axis) for axis in range(dim)]
    found: list = []
    for index in product(range(n), repeat=dim):
        left, x, w = 1.0, [], 1.0
        for axis, i in enumerate(index):
            x.append(left * lines[axis][0][i])
            left *= 1 - lines[axis][0][i]
            w *= lines[axis][1][i]
        found.append([*x, w])
    rule = np.array(found)
    return rule[:, :dim], rule[:, dim]


def _jacobi(n: int, a: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss points and weights on [0, 1] for the weight (1 - x)^a, by the eigenvalues of the recurrence."""
    k = np.arange(n, dtype=float)
    middle = np.where(k == 0, -a / (a + 2), -(a**2) / np.where(k == 0, 1, (2 * k + a) * (2 * k + a + 2)))
    m = k[1:]
    side = np.sqrt(4 * m**2 * (m + a) ** 2 / ((2 * m + a) ** 2 * ((2 * m + a) ** 2 - 1)))
    x, modes = np.linalg.eigh(np.diag(middle) + np.diag(side, 1) + np.diag(side, -1))
    return 0.5 * (x + 1), modes[0] ** 2 / (a + 1)


def _complete(dim: int, order: int) -> tuple[tuple[int, ...], ...]:
    return tuple(p for p in product(range(order + 1), repeat=dim) if sum(p) <= order)


def _tensor(dim: int, order: int) -> tuple[tuple[int, ...], ...]:
    return tuple(product(range(order + 1), repeat=dim))


def _serendipity(dim: int) -> tuple[tuple[int, ...], ...]:
    return tuple(p for p in product(range(3), repeat=dim) if sum(x == 2 for x in p) <= 1)


def _middles(nodes, edges) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(0.5 * (a + b) for a, b in zip(nodes[i], nodes[j], strict=True)) for i, j in edges)


def _center(nodes, faces) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(np.mean([nodes[i][k] for i in face])) for k in range(len(nodes[0]))) for face in faces)


_LINE = ((-1.0,), (1.0,))
_TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
_QUAD = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
_TETRA = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_HEXA = tuple((*p, z) for z in (-1.0, 1.0) for p in _QUAD)
_POLYGON3 = ((0, 1), (1, 2), (2, 0))
_POLYGON4 = ((0, 1), (1, 2), (2, 3), (3, 0))
_TETRA_EDGES = (*_POLYGON3, (0, 3), (1, 3), (2, 3))
_HEXA_EDGES = (*_POLYGON4, (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_TETRA_FACES = ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2))
_HEXA_FACES = ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7))
_HEXA20 = _HEXA + _middles(_HEXA, _HEXA_EDGES)
_QUAD8 = _QUAD + _middles(_QUAD, _POLYGON4)

LINE2 = Element("line", _LINE, _tensor(1, 1), 2, ((0,), (1,)), False)
LINE3 = Element("line3", (*_LINE, (0.0,)), _tensor(1, 2), 4, ((0,), (1,)), False)
TRI3 = Element("triangle", _TRIANGLE, _complete(2, 1), 1, _POLYGON3, True)
TRI6 = Element("triangle6", _TRIANGLE + _middles(_TRIANGLE, _POLYGON3), _complete(2, 2), 2, _POLYGON3, True)
QUAD4 = Element("quad", _QUAD, _tensor(2, 1), 2, _POLYGON4, False)
QUAD8 = Element("quad8", _QUAD8, _serendipity(2), 4, _POLYGON4, False)
QUAD9 = Element("quad9", (*_QUAD8, (0.0, 0.0)), _tensor(2, 2), 4, _POLYGON4, False)
TET4 = Element("tetra", _TETRA, _complete(3, 1), 1, _TETRA_FACES, True)
TET10 = Element("tetra10", _TETRA + _middles(_TETRA, _TETRA_EDGES), _complete(3, 2), 2, _TETRA_FACES, True)
HEX8 = Element("hexahedron", _HEXA, _tensor(3, 1), 2, _HEXA_FACES, False)
HEX20 = Element("hexahedron20", _HEXA20, _serendipity(3), 4, _HEXA_FACES, False)
HEX27 = Element("hexahedron27", (*_HEXA20, *_center(_HEXA, _HEXA_FACES), (0.0, 0.0, 0.0)), _tensor(3, 2), 4, _HEXA_FACES, False)

ELEMENTS = {e.name: e for e in (LINE2, LINE3, TRI3, TRI6, QUAD4, QUAD8, QUAD9, TET4, TET10, HEX8, HEX20, HEX27)}
"""By the names of meshio."""

_FACETS = {
    "triangle": LINE2,
    "triangle6": LINE3,
    "quad": LINE2,
    "quad8": LINE3,
    "quad9": LINE3,
    "tetra": TRI3,
    "tetra10": TRI6,
    "hexahedron": QUAD4,
    "hexahedron20": QUAD8,
    "hexahedron27": QUAD9,
}


@cache
def facets_of(element: Element) -> tuple[Element, np.ndarray]:
    """The element of the facets, and the nodes of each facet in the order of that element, turned outward: (facets, nodes)."""
    facet = _FACETS[element.name]
    nodes = np.array(element.nodes)
    # A facet's nodes lie where its linear map sends their reference coordinates.
    linear = {"line3": LINE2, "triangle6": TRI3, "quad8": QUAD4, "quad9": QUAD4}.get(facet.name, facet)
    found = []
    for corners in element.corners:
        there = linear.shape(np.array(facet.nodes)) @ nodes[list(corners)]
        found.append([int(np.argmin(np.sum((nodes - x) ** 2, -1))) for x in there])
    return facet, np.array(found)
