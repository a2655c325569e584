"""Elements, structured meshes and their sets: against scikit-fem, VTK's numbering, and integrals in closed form."""

import itertools
import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skfem
from _bodies import KINDS, PLANE, SPACE, irregular, name, quickly

from jaxmsm.space import (
    ELEMENTS,
    HEX8,
    HEX20,
    HEX27,
    LINE2,
    LINE3,
    QUAD4,
    QUAD8,
    QUAD9,
    TET4,
    TET10,
    TRI3,
    TRI6,
    Block,
    Mesh,
    beam,
    box,
    cook,
    facet_normals,
    facets_of,
    integration,
    l_shape,
    plate_with_hole,
    ring,
)

PEERS = {
    TRI3: skfem.ElementTriP1,
    TRI6: skfem.ElementTriP2,
    QUAD4: skfem.ElementQuad1,
    QUAD8: skfem.ElementQuadS2,
    QUAD9: skfem.ElementQuad2,
    TET4: skfem.ElementTetP1,
    TET10: skfem.ElementTetP2,
    HEX8: skfem.ElementHex1,
    HEX20: skfem.ElementHexS2,
    HEX27: skfem.ElementHex2,
}

_RING = [(0, 1), (1, 2), (2, 3), (3, 0)]
_HEXAHEDRON = [*_RING, (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
VTK = {
    LINE3: [(0, 1)],
    TRI6: [(0, 1), (1, 2), (2, 0)],
    QUAD8: _RING,
    QUAD9: [*_RING, (0, 1, 2, 3)],
    TET10: [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)],
    HEX20: _HEXAHEDRON,
    HEX27: [
        *_HEXAHEDRON,
        *[(0, 3, 7, 4), (1, 2, 6, 5), (0, 1, 5, 4), (3, 2, 6, 7), (0, 1, 2, 3), (4, 5, 6, 7)],
        tuple(range(8)),
    ],
}
"""The corners in whose middle each further node lies, from the drawings of VTK's quadratic cells."""


def inside(element, count=5):
    """Points in the reference element."""
    x = np.random.default_rng(7).dirichlet(np.ones(element.dim + 1), count)[:, 1:]
    return x if element.simplex else 2 * x - 1


# Elements


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=name)
def test_a_shape_function_is_one_at_its_node_and_all_make_one(element):
    x = inside(element)
    np.testing.assert_allclose(element.shape(np.array(element.nodes)), np.eye(len(element.nodes)), atol=1e-14)
    np.testing.assert_allclose(element.shape(x).sum(1), 1, rtol=1e-14)
    # In each axis they are quadratic at most, of which a central difference has no error but round-off over the step.
    h = 1e-3
    for axis, step in enumerate(h * np.eye(element.dim)):
        difference = (element.shape(x + step) - element.shape(x - step)) / (2 * h)
        np.testing.assert_allclose(element.slopes(x)[..., axis], difference, atol=1e-12)


@pytest.mark.parametrize("element", PEERS, ids=name)
def test_shape_functions_are_those_of_scikit_fem(element):
    peer = PEERS[element]()
    x = inside(element)
    theirs = np.array([peer.lbasis(x.T if element.simplex else (x.T + 1) / 2, k)[0] for k in range(len(element.nodes))])
    places = peer.doflocs if element.simplex else 2 * peer.doflocs - 1
    there = np.sum((places[:, None] - np.array(element.nodes)) ** 2, -1)
    np.testing.assert_allclose(element.shape(x), theirs[np.argmin(there, 0)].T, atol=1e-14)


@pytest.mark.parametrize("element", VTK, ids=name)
def test_nodes_stand_in_the_order_of_vtk(element):
    nodes = np.array(element.nodes)
    corners = len(nodes) - len(VTK[element])
    for node, of in zip(nodes[corners:], VTK[element], strict=True):
        np.testing.assert_array_equal(node, nodes[list(of)].mean(0))


def test_corners_stand_in_the_order_of_vtk():
    # Once around a face and the next one above; the tetrahedron's fourth corner sees the others counterclockwise.
    assert np.linalg.det(np.array(TET4.nodes)[1:] - np.array(TET4.nodes)[0]) > 0
    assert HEX8.nodes[:4] == tuple((x, y, -1.0) for x, y in QUAD4.nodes)
    assert HEX8.nodes[4:] == tuple((x, y, 1.0) for x, y in QUAD4.nodes)
    around = np.array(QUAD4.nodes)
    assert all(np.linalg.det(np.stack([around[k], around[(k + 1) % 4]])) > 0 for k in range(4))


def moment(element, powers):
    """The integral of a monomial over the reference element."""
    if element.simplex:
        return math.prod(map(math.factorial, powers)) / math.factorial(sum(powers) + element.dim)
    return math.prod(0 if p % 2 else 2 / (p + 1) for p in powers)


@pytest.mark.parametrize("degree", [None, 0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("element", ELEMENTS.values(), ids=name)
def test_quadrature_is_exact_to_its_degree(element, degree):
    x, w = element.quadrature(degree)
    degree = element.degree if degree is None else degree
    assert np.all(w > 0)
    assert np.all(x.sum(1) < 1) and np.all(x > 0) if element.simplex else np.all(np.abs(x) < 1)
    for powers in itertools.product(range(degree + 1), repeat=element.dim):
        if not element.simplex or sum(powers) <= degree:
            found = w @ np.prod(x ** np.array(powers), 1)
            assert abs(found - moment(element, powers)) < 1e-14 * 2**element.dim  # round-off
    # One degree beyond that of the rule a monomial is missed, so that the test above can fail: Gauss' rules are odd in degree.
    beyond = (2 * round(len(w) ** (1 / element.dim)),) + (0,) * (element.dim - 1)
    if not element.simplex:
        assert abs(w @ np.prod(x ** np.array(beyond), 1) - moment(element, beyond)) > 1e-6


# Meshes


def meshes():
    """Each generator with each kind of element of its dimensions."""
    for kind in PLANE:
        yield f"box-{kind.name}", box((2, 3), (2.0, 1.5), kind)
        yield f"irregular-{kind.name}", irregular((3, 3), kind, (2.0, 1.5))
        yield f"cook-{kind.name}", cook(2, kind)
        yield f"l-{kind.name}", l_shape(4, 2.0, kind)
        yield f"ring-{kind.name}", ring((2, 3), 1.0, 2.0, kind)
        yield f"hole-{kind.name}", plate_with_hole((2, 4), 0.4, 1.0, 1.5, kind, grading=2.0)
        yield f"beam-{kind.name}", beam((4, 2), (4.0, 1.0), kind)
    for kind in SPACE:
        yield f"box-{kind.name}", box((2, 1, 2), (2.0, 1.5, 1.0), kind)
        yield f"irregular-{kind.name}", irregular((2, 3, 2), kind, (2.0, 1.5, 1.0))
        yield f"l-{kind.name}", l_shape(2, 2.0, kind, depth=0.5, layers=2)
        yield f"ring-{kind.name}", ring((1, 2, 1), 1.0, 2.0, kind, depth=0.5, angle=2.0)
        yield f"hole-{kind.name}", plate_with_hole((1, 2, 1), 0.4, 1.0, 1.5, kind, depth=0.3)
        yield f"beam-{kind.name}", beam((2, 1, 1), (4.0, 1.0, 0.5), kind)


ALL = dict(meshes())

# Of a quadratic hexahedron the Jacobian has degree 5 an axis, a monomial of degree 2 gives 4 more.
DEGREE = 9


_MOST = 80
"""Elements or facets that a compiled program takes; fewer are filled up, so that each kind is compiled once."""


@cache
def _integrated(kind):
    def run(corners):
        rows = jnp.arange(corners.shape[0] * corners.shape[1]).reshape(corners.shape[:2])
        at = integration(corners.reshape(-1, kind.dim), Block(rows, kind), DEGREE)
        return jnp.einsum("qk,ekd->qed", at.shape, corners), at.weights

    return quickly(run)


@cache
def _normals(kind):
    def run(corners):
        shape, normals = facet_normals(corners, kind, DEGREE)
        return jnp.einsum("qk,fkd->qfd", shape, corners), normals

    return quickly(run)


def filled(program, mesh, block):
    """What a program makes of the corners of elements: places (q, e, d) and measures (q, e, ...)."""
    corners = np.asarray(mesh.points)[np.asarray(block.nodes)]
    rows = np.concatenate([corners, np.repeat(corners[:1], _MOST - len(corners), 0)])
    return [np.asarray(x)[:, : len(corners)] for x in program(block.element)(rows)]


def volume(mesh, fn=lambda x: 1.0):
    """The integral of a function of the place over a mesh."""
    found = [filled(_integrated, mesh, block) for block in mesh.blocks]
    return sum(np.sum(weights * fn(x)) for x, weights in found)


def flux(mesh, facets, fn):
    """The integral of v . n over facets."""
    found = [filled(_normals, mesh, block) for block in facets]
    return sum(np.sum(fn(x) * normals) for x, normals in found)


def area(mesh, facets):
    """The measure of facets."""
    return sum(np.sum(np.linalg.norm(filled(_normals, mesh, block)[1], axis=-1)) for block in facets)


@pytest.mark.parametrize("kind", [TRI6, QUAD4, TET4, HEX8], ids=name)
def test_sizes_of_elements(kind):
    mesh = irregular((2, 3, 2)[: kind.dim], kind, (1.0, 2.0, 0.5)[: kind.dim])
    assert np.sum(mesh.sizes() ** mesh.d) == pytest.approx(2.0 if kind.dim == 2 else 1.0, rel=1e-13)
    assert np.ptp(mesh.sizes()) > 1e-3
    cubes = box((3,) * kind.dim, None, kind)
    np.testing.assert_allclose(cubes.sizes() ** kind.dim * cubes.count, np.prod(np.ptp(cubes.points, 0)), rtol=1e-13)


@pytest.mark.parametrize("mesh", ALL.values(), ids=ALL)
def test_the_divergence_theorem(mesh):
    """Of (x^2, 0), (0, x y) and so on: facets close the surface and are turned outward, element by element and all together."""
    assert all(np.all(filled(_integrated, mesh, block)[1] > 0) for block in mesh.blocks)
    one = Mesh(mesh.points, Block(mesh.blocks[0].nodes[:1], mesh.blocks[0].element))
    for part in (mesh, one):
        for i in range(mesh.d):
            v = lambda x, i=i: np.eye(mesh.d)[i] * (x[..., :1] * x[..., i : i + 1])
            div = lambda x, i=i: (1 + (i == 0)) * x[..., 0]
            # Round-off of sums of some hundred terms.
            scale = volume(part) * np.abs(np.asarray(part.points)).max()
            assert abs(flux(part, part.surface(), v) - volume(part, div)) < 1e-12 * scale


@pytest.mark.parametrize("mesh", [m for k, m in ALL.items() if "box" in k or "beam" in k or "irregular" in k], ids=str)
def test_sides_of_a_box(mesh):
    x, size = np.asarray(mesh.points), np.asarray(mesh.points).max(0)
    assert volume(mesh) == pytest.approx(np.prod(size), rel=1e-13)  # round-off
    pairs = (("left", "right"), ("bottom", "top"), ("back", "front"))[: mesh.d]
    assert set(mesh.facet_sets) == {name for pair in pairs for name in pair}
    for axis, pair in enumerate(pairs):
        for face, end, sign in zip(pair, (0, size[axis]), (-1, 1), strict=True):
            assert np.all(x[mesh.nodes(face), axis] == end)
            assert area(mesh, mesh.facet_sets[face]) == pytest.approx(np.prod(size) / size[axis], rel=1e-13)
            for i, unit in enumerate(np.eye(mesh.d)):
                out = flux(mesh, mesh.facet_sets[face], lambda x, unit=unit: unit)
                assert out == pytest.approx(sign * (i == axis) * np.prod(size) / size[axis], abs=1e-13)


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_sizes_of_what_is_no_box(kind):
    curved = kind.order == 2
    quarter = np.pi / 2
    if kind in PLANE:
        assert volume(ALL[f"cook-{kind.name}"]) == pytest.approx(48 * (44 + 16) / 2, rel=1e-13)
        found = cook(1, kind)
        assert area(found, found.facet_sets["right"]) == pytest.approx(16, rel=1e-13)
        assert area(found, found.facet_sets["top"]) == pytest.approx(math.hypot(48, 16), rel=1e-13)
    depth = 0.5 if kind in SPACE else 1.0
    found = ALL[f"l-{kind.name}"]
    assert volume(found) == pytest.approx(3 * depth, rel=1e-13)
    assert area(found, found.surface()) == pytest.approx(8 if kind in PLANE else 8 * depth + 6, rel=1e-13)
    assert area(found, found.facet_sets["right"]) == pytest.approx(depth, rel=1e-13)

    def errors(make, exact):
        return [abs(volume(make(n)) / exact - 1) for n in (2, 4)]

    deep = (1,) if kind in SPACE else ()
    tube = lambda n: ring((1, n, *deep), 1.0, 2.0, kind, depth=0.5)
    plate = lambda n: plate_with_hole((1, n, *deep), 0.4, 1.0, 1.5, kind, depth=0.5)
    for make, exact in ((tube, 3 * quarter / 2 * depth), (plate, (1.5 - 0.16 * quarter / 2) * depth)):
        coarse, fine = errors(make, exact)
        # A chord's area errs by h^2; a parabola's through three points of a circle by h^4.
        assert coarse / fine == pytest.approx(16 if curved else 4, rel=0.1)
        assert fine < (1e-3 if curved else 0.03)
    if not curved:
        # The linear ring is a polygon: two quarters of an octagon.
        assert volume(tube(2)) == pytest.approx(3 * math.sin(np.pi / 4) * depth, rel=1e-13)


@pytest.mark.parametrize("kind", [QUAD9, TRI3, HEX20, TET10], ids=name)
def test_sides_of_rings_and_plates(kind):
    deep = (1,) if kind in SPACE else ()
    found = ring((2, 4, *deep), 1.0, 2.0, kind, depth=0.5, angle=1.0)
    x = np.asarray(found.points)
    on = {
        "inner": np.hypot(*x.T[:2]) - 1,
        "outer": np.hypot(*x.T[:2]) - 2,
        "start": x[:, 1],
        "end": np.arctan2(x[:, 1], x[:, 0]) - 1,
    }
    on |= {"back": x[:, 2], "front": x[:, 2] - 0.5} if deep else {}
    assert set(found.facet_sets) == set(on)
    for side, level in on.items():
        assert set(found.nodes(side)) == set(np.flatnonzero(np.abs(level) < 1e-12))
    found = plate_with_hole((2, 4, *deep), 0.4, 1.0, 1.5, kind, depth=0.5, grading=3.0)
    x = np.asarray(found.points)
    r = np.hypot(*x.T[:2])
    on = {"hole": r - 0.4, "right": x[:, 0] - 1, "top": x[:, 1] - 1.5, "bottom": x[:, 1], "left": x[:, 0]}
    on |= {"back": x[:, 2], "front": x[:, 2] - 0.5} if deep else {}
    assert set(found.facet_sets) == set(on)
    for side, level in on.items():
        assert set(found.nodes(side)) == set(np.flatnonzero(np.abs(level) < 1e-12))
    # The last radial division is longer than the first, as (e^(log g) - e^(log g / 2)) / (e^(log g / 2) - 1) = sqrt(g).
    ray = np.sort(x[(x[:, 1] == 0) & (x[:, 2:].sum(1) == 0), 0])[:: kind.order]
    assert (ray[2] - ray[1]) / (ray[1] - ray[0]) == pytest.approx(math.sqrt(3), rel=1e-12)


def test_supports_of_a_beam():
    found = beam((4, 2, 1), (4.0, 1.0, 0.5), HEX8)
    x = np.asarray(found.points)
    assert sorted(map(tuple, x[found.nodes("supports")])) == [(0, 0, 0), (0, 0, 0.5), (4, 0, 0), (4, 0, 0.5)]
    assert sorted(map(tuple, x[found.nodes("middle")])) == [(2, 1, 0), (2, 1, 0.5)]


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_slopes_in_space_are_those_of_a_field(kind):
    """Of u = a x the slope is a; their derivative in the points is that of differences."""
    mesh = irregular((2, 2, 2)[: kind.dim], kind)
    (block,) = mesh.blocks
    a = np.arange(1.0, 1 + kind.dim**2).reshape(kind.dim, kind.dim)
    u = mesh.points @ a.T
    slopes = quickly(lambda x: integration(x, block).slopes)(mesh.points)
    found = np.einsum("eki,qkje->qeij", np.asarray(u)[np.asarray(block.nodes)], slopes)
    np.testing.assert_allclose(found, np.broadcast_to(a, found.shape), rtol=1e-12, atol=1e-12)
    # Weights are of degree d at most in the points, so that central differences err by their step squared alone.
    way, h = np.random.default_rng(3).normal(size=mesh.points.shape), 1e-4
    weights = lambda x: integration(x, block).weights
    slope = quickly(lambda x: jax.jvp(weights, (x,), (way,))[1])(mesh.points)
    high, low = (quickly(weights)(mesh.points + s * h * way) for s in (1, -1))
    np.testing.assert_allclose(slope, (high - low) / (2 * h), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_facets_of_an_element_lie_on_it(kind):
    facet, nodes = facets_of(kind)
    x = np.array(kind.nodes)
    assert len(np.unique(nodes)) == len(x) - (kind in (QUAD9, HEX27))
    for row, corners in zip(nodes, kind.corners, strict=True):
        assert tuple(row[: len(corners)]) == corners
        flat = np.array(facet.nodes)
        linear = np.linalg.lstsq(np.column_stack([np.ones(len(flat)), flat]), x[row], rcond=None)[0]
        np.testing.assert_allclose(np.column_stack([np.ones(len(flat)), flat]) @ linear, x[row], atol=1e-14)


# Sets


@pytest.fixture
def mixed():
    """Two squares and two triangles beside them."""
    x = [[0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [1, 1], [2, 1], [3, 1]]
    blocks = [Block(np.array([[0, 1, 5, 4], [1, 2, 6, 5]]), QUAD4), Block(np.array([[2, 3, 7], [2, 7, 6]]), TRI3)]
    left = (Block(np.array([[4, 0]]), LINE2),)
    return Mesh(
        np.array(x, float), blocks, node_sets={"corner": [3, 3, 0]}, element_sets={"some": [3, 1]}, facet_sets={"left": left}
    )


def test_nodes_elements_and_facets_by_name_condition_and_number(mixed):
    assert (mixed.count, mixed.d) == (4, 2)
    assert mixed.nodes("corner").tolist() == [0, 3]
    assert mixed.nodes("left").tolist() == [0, 4]
    assert mixed.nodes("some").tolist() == [1, 2, 5, 6, 7]
    assert mixed.nodes(lambda x: x[:, 0] > 2.5).tolist() == [3, 7]
    assert mixed.nodes(np.array([7, 2, 7])).tolist() == [2, 7]
    assert mixed.elements("some").tolist() == [1, 3]
    assert [n.tolist() for n in mixed.element_nodes("some")] == [[[1, 2, 6, 5]], [[2, 7, 6]]]
    (right,) = mixed.facets(lambda x: x[:, 0] > 2.5)
    assert right.nodes.tolist() == [[3, 7]] and right.element == LINE2
    # Between the block of squares and that of triangles there is no surface.
    (surface,) = mixed.surface()
    assert sorted(map(sorted, surface.nodes.tolist())) == [[0, 1], [0, 4], [1, 2], [2, 3], [3, 7], [4, 5], [5, 6], [6, 7]]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda m: m.nodes("middle"), r"must name a set of the mesh, one of \['corner', 'left', 'some'\], but it is 'middle'"),
        (lambda m: m.nodes(lambda x: x[:, 0] > 9), "must select at least one node"),
        (lambda m: m.nodes(lambda x: x[0] > 9), r"must answer one bool a node, shape \(8,\), but it answered bool\[2\]"),
        (lambda m: m.nodes(np.array([8])), "`where` must hold numbers of nodes from 0 to 7"),
        (lambda m: m.nodes(np.array([1.5])), "`where` must hold numbers of nodes from 0 to 7"),
        (lambda m: m.elements("corner"), r"must name a set of elements, one of \['some'\], but it is 'corner'"),
        (lambda m: m.facets(np.array([0, 5])), "must select at least one facet of the surface"),
        (lambda m: Mesh(m.points, []), "`blocks` must hold at least one block"),
        (lambda m: Mesh(m.points[:, :1], m.blocks), r"`points` must have shape \(n, 2\) or \(n, 3\), but it is \(8, 1\)"),
        (lambda m: Mesh(m.points[:7], m.blocks), "`nodes` must hold numbers from 0 to 6, but it holds 2 to 7"),
        (lambda m: Mesh(m.points, m.facet_sets["left"]), "`line` is of another. Facets go into `facet_sets`"),
        (lambda m: Mesh(m.points, Block(m.blocks[1].nodes, QUAD4)), r"must have shape \(e, 4\) for `quad`, but it is \(2, 3\)"),
        (lambda m: box((2, 0)), r"`shape` must hold two or three positive numbers, but it is \(2, 0\)"),
        (lambda m: box((2,)), "`shape` must hold two or three positive numbers"),
        (lambda m: box((2, 2), element=HEX8), "`element` must be of dimension 2, that of `shape`, but `hexahedron` is not"),
        (lambda m: box((2, 2), (1.0, -1.0)), r"`lengths` must hold 2 positive lengths, but it is \(1.0, -1.0\)"),
        (lambda m: box((2, 2), (1.0, 1.0, 1.0)), "`lengths` must hold 2 positive lengths"),
        (lambda m: l_shape(3), "`n` must be even and positive, but it is 3"),
        (lambda m: ring((1, 1), 2.0, 1.0), r"`inner` must lie between 0 and `outer` \(1.0\), but it is 2.0"),
        (lambda m: plate_with_hole((1, 3), 0.4), "must hold an even number of parts around the hole"),
        (lambda m: plate_with_hole((1, 2), 1.4), "`radius` must lie between 0 and 1.0, but it is 1.4"),
        (lambda m: beam((3, 1), (3.0, 1.0)), "must hold an even number of parts along the beam"),
    ],
)
def test_what_is_no_mesh_or_set_gets_a_sentence(mixed, ask, sentence):
    with pytest.raises(ValueError, match=sentence):
        ask(mixed)
