"""Cells of finite elements: against cells of voxels, laminates in closed form, the order of bounds, and used in a body."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import irregular, name, quickly
from scipy.spatial import Delaunay

from jaxmsm import MeshCell, Mixed, PeriodicCell, batched, rollout
from jaxmsm.solids import J2, Body, Elastic, Fixed, Linear, Moved, NeoHookean, Reaction
from jaxmsm.solve import Krylov, NewtonKrylov
from jaxmsm.space import HEX8, QUAD4, QUAD8, TRI3, TRI6, Block, LinearDisplacement, Mesh, Periodic, UniformTraction, box

BOUNDARIES = [UniformTraction(), Periodic(), LinearDisplacement()]
TIGHT = NewtonKrylov(rtol=1e-11)
SAME = 1e-9  # two solvers to 1e-11 of the forces, tangents of order ten
RNG = np.random.default_rng(2)
IMAGE = {2: (RNG.random((4, 4)) < 0.4).astype(int), 3: (RNG.random((3, 3, 3)) < 0.4).astype(int)}
LAWS = {
    "elastic": (Elastic(lam=1.5, mu=1.0), Elastic(lam=10.0, mu=5.0)),
    "neo-Hookean": (NeoHookean(lam=1.5, mu=1.0), NeoHookean(lam=10.0, mu=5.0)),
    "J2": (J2(lam=1.5, mu=1.0, hardening=Linear(sy=0.01, H=0.1)), Elastic(lam=10.0, mu=5.0)),
}
F2 = jnp.array([[1.04, 0.03], [0.01, 0.97]])
F3 = jnp.array([[1.04, 0.03, 0.02], [0.01, 0.97, -0.01], [0.0, 0.02, 1.01]])


def sorted_by(mesh, label):
    """The mesh with a set of elements for each label of their centers."""
    (block,) = mesh.blocks
    corners = np.asarray(block.nodes)[:, : len(block.element.corners)]
    found = label(np.asarray(mesh.points)[corners].mean(1))
    sets = {str(k): np.flatnonzero(found == k) for k in np.unique(found)}
    return Mesh(mesh.points, mesh.blocks, facet_sets=mesh.facet_sets, element_sets=sets)


def meshed(image, laws, kind=None, **how):
    """The voxels of an image as elements."""
    n = np.array(image.shape)
    mesh = box(image.shape, None, kind or (QUAD4 if image.ndim == 2 else HEX8))
    mesh = sorted_by(mesh, lambda x: image[tuple(np.floor(x * n).astype(int).T)])
    return MeshCell(mesh, {str(k): law for k, law in enumerate(laws)}, solver=TIGHT, **how)


def voxels(image, laws, boundary):
    return PeriodicCell(image, list(laws), boundary=boundary, solver=TIGHT)


@quickly
def linearized(cell, load):
    return cell.linearize(load)


@quickly
def path(cell, loads):
    return rollout(cell, loads)[1]


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
@pytest.mark.parametrize(("laws", "d"), [("elastic", 2), ("neo-Hookean", 2), ("neo-Hookean", 3)])
def test_elements_that_are_voxels_give_their_answer_and_tangent(boundary, laws, d):
    load, system = (F2 if d == 2 else F3), (Krylov() if d == 3 else None)
    one, slope = linearized(meshed(IMAGE[d], LAWS[laws], boundary=boundary, system=system), load)
    other, expected = linearized(voxels(IMAGE[d], LAWS[laws], boundary), load)
    assert one.ok and other.ok
    np.testing.assert_allclose(one.value, other.value, rtol=0, atol=SAME)
    np.testing.assert_allclose(slope, expected, rtol=0, atol=10 * SAME)
    assert one.stats["hill_mandel"] < SAME


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
def test_elements_that_are_voxels_yield_and_unload_as_they(boundary):
    loads = jnp.eye(2)[None] + jnp.array([0.01, 0.03, 0.02, -0.01])[:, None, None] * jnp.array([[[1.0, 0.5], [0.5, -0.3]]])
    one = path(meshed(IMAGE[2], LAWS["J2"], boundary=boundary), loads)
    other = path(voxels(IMAGE[2], LAWS["J2"], boundary), loads)
    assert one.ok.all() and other.ok.all()
    np.testing.assert_allclose(one.value, other.value, rtol=0, atol=SAME)
    elastic = path(meshed(IMAGE[2], LAWS["elastic"], boundary=boundary), loads)
    assert np.abs(elastic.value - one.value).max() > 1e-2


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
def test_a_stress_imposed(boundary):
    # Stretched along the first axis, free to thin across it, sheared by a stress.
    mask = jnp.array([[True, False], [True, False]])
    load = Mixed(jnp.array([[1.05, 0.0], [0.0, 1.0]]), jnp.array([[0.0, 0.02], [0.0, 0.0]]), mask)
    one = quickly(lambda cell: cell(load))(meshed(IMAGE[2], LAWS["neo-Hookean"], boundary=boundary))
    other = quickly(lambda cell: cell(load))(voxels(IMAGE[2], LAWS["neo-Hookean"], boundary))
    assert one.ok and other.ok
    np.testing.assert_allclose(one.value, other.value, rtol=0, atol=SAME)
    np.testing.assert_allclose(one.stats["deformation"], other.stats["deformation"], rtol=0, atol=SAME)
    np.testing.assert_allclose(one.value[:, 1], [0.02, 0], rtol=0, atol=SAME)


@pytest.mark.parametrize("kind", [TRI3, QUAD8], ids=name)
def test_layers_are_the_laminate(kind):
    # Constant traction and constant strain along: Backus, J. Geophys. Res. 67 (1962) 4427, in the plane.
    soft, hard, part = (1.5, 1.0), (10.0, 5.0), 0.5
    mesh = sorted_by(irregular((4, 3), kind, amount=0), lambda x: (x[:, 0] > 0.5).astype(int))
    cell = MeshCell(mesh, {str(k): Elastic(lam=lam, mu=mu) for k, (lam, mu) in enumerate((soft, hard))}, solver=TIGHT)
    mean = lambda f: part * f(*soft) + (1 - part) * f(*hard)
    across = 1 / mean(lambda lam, mu: 1 / (lam + 2 * mu))
    shared = mean(lambda lam, mu: lam / (lam + 2 * mu)) * across
    along = mean(lambda lam, mu: lam + 2 * mu - lam**2 / (lam + 2 * mu)) + shared**2 / across
    shear = 1 / mean(lambda lam, mu: 1 / mu)
    slope = linearized(cell, jnp.eye(2))[1]
    found = [slope[0, 0, 0, 0], slope[0, 0, 1, 1], slope[1, 1, 1, 1], slope[0, 1, 0, 1]]
    np.testing.assert_allclose(found, [across, shared, along, shear], rtol=1e-9)


def test_the_order_of_bounds():
    # Huet, J. Mech. Phys. Solids 38 (1990) 813: uniform tractions below periodic faces below linear displacements.
    C = [linearized(meshed(IMAGE[2], LAWS["elastic"], boundary=b), jnp.eye(2))[1] for b in BOUNDARIES]
    pairs = [(0, 0), (1, 1), (0, 1)]
    E = np.stack([np.eye(2)[[i]].T @ np.eye(2)[[j]] for i, j in pairs])
    C = [np.einsum("aij,ijkl,bkl->ab", E, c, E) for c in C]
    for low, high in itertools.pairwise(C):
        assert np.linalg.eigvalsh(high - low).min() > 1e-3


def unstructured(n, radius=0.3):
    """Quadratic triangles by Delaunay: a round inclusion whose edge they follow, faces with the same nodes."""
    t = np.arange(n) / n
    edge = np.concatenate(
        [np.stack([t, 0 * t], 1), np.stack([1 + 0 * t, t], 1), np.stack([1 - t, 1 + 0 * t], 1), np.stack([0 * t, 1 - t], 1)]
    )
    rings = [np.array([[0.5, 0.5]])]
    count = max(8, round(2 * np.pi * radius * n / 8) * 8)
    angle = 2 * np.pi * np.arange(count) / count
    round_ = lambda r: 0.5 + r * np.stack([np.cos(angle), np.sin(angle)], 1)
    rings += [round_(radius * k / round(radius * n)) for k in range(1, round(radius * n) + 1)]
    grid = np.stack(np.meshgrid(t[1:], t[1:], indexing="ij"), -1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid - 0.5, axis=1) > radius + 0.7 / n]
    x = np.concatenate([edge, *rings, grid])
    corners = Delaunay(x).simplices
    ends = x[corners]
    area = np.linalg.det(ends[:, 1:] - ends[:, :1])
    corners = corners[area > 1e-9]
    pairs = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    edges, where = np.unique(pairs, axis=0, return_inverse=True)
    middle = x[edges].mean(1)
    # Edges along the inclusion are bent onto it.
    r = np.linalg.norm(x - 0.5, axis=1)
    bent = np.all(np.abs(r[edges] - radius) < 1e-9, 1)
    away = middle[bent] - 0.5
    middle[bent] = 0.5 + radius * away / np.linalg.norm(away, axis=1)[:, None]
    nodes = np.concatenate([corners, len(x) + where.reshape(-1, 3)], 1)
    return sorted_by(
        Mesh(np.concatenate([x, middle]), Block(nodes, TRI6)), lambda c: (np.linalg.norm(c - 0.5, axis=1) < radius).astype(int)
    )


def voxel_disk(n, radius):
    """The voxels nearest to the middle, as many as have the area."""
    centers = (np.arange(n) + 0.5) / n - 0.5
    r = np.add.outer(centers**2, centers**2).ravel()
    image = np.zeros(n * n, int)
    image[np.argsort(r, kind="stable")[: round(np.pi * radius**2 * n * n)]] = 1
    return image.reshape(n, n)


def test_a_round_inclusion_is_where_fine_voxels_lead():
    laws, radius = LAWS["elastic"], 0.3
    stiffness = lambda cell: float(linearized(cell, jnp.eye(2))[1][0, 0, 0, 0])
    found = stiffness(MeshCell(unstructured(16, radius), {"0": laws[0], "1": laws[1]}, system=Krylov()))
    coarse, fine = (stiffness(PeriodicCell(voxel_disk(n, radius), list(laws))) for n in (64, 128))
    assert fine / found - 1 > 1e-3
    # Steps of voxels are of first order: the error halves, and twice the second less the first has none of that order.
    assert (coarse - found) / (fine - found) == pytest.approx(2, abs=0.1)
    assert 2 * fine - coarse == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
def test_pores(boundary):
    n = 4
    mesh = box((n, n))
    (block,) = mesh.blocks
    centers = np.asarray(mesh.points)[np.asarray(block.nodes)].mean(1)
    keep = np.any(np.abs(centers - 0.5) > 0.25, 1)
    cell = MeshCell(
        Mesh(mesh.points, Block(np.asarray(block.nodes)[keep], QUAD4)), Elastic(lam=1.5, mu=1.0), boundary=boundary, solver=TIGHT
    )
    image = np.zeros((n, n), int)
    image[1:-1, 1:-1] = 1
    other = voxels(image, (Elastic(lam=1.5, mu=1.0), Elastic(lam=0.0, mu=0.0)), boundary)
    one, slope = linearized(cell, F2)
    expected = linearized(other, F2)
    np.testing.assert_allclose(one.value, expected[0].value, rtol=0, atol=SAME)
    np.testing.assert_allclose(slope, expected[1], rtol=0, atol=10 * SAME)


def test_meshes_that_will_not_do():
    mesh = irregular((3, 3), QUAD4)
    x = np.array(mesh.points)
    x[np.isclose(x[:, 0], 1) & np.isclose(x[:, 1], 1 / 3), 1] += 0.1
    law = LAWS["elastic"][0]
    with pytest.raises(ValueError, match=r"same nodes on opposite faces of a periodic cell, but those of axis 0 are off by 0\.1"):
        MeshCell(Mesh(x, mesh.blocks), law)
    nodes = np.asarray(mesh.blocks[0].nodes)
    centers = np.asarray(mesh.points)[nodes].mean(1)
    at_left = np.argmin(np.linalg.norm(centers - [1 / 6, 1 / 2], axis=1))
    open_ = Mesh(mesh.points, Block(np.delete(nodes, at_left, 0), QUAD4))
    with pytest.raises(ValueError, match=r"where their tractions are uniform, but it fills 83\.3 % of a pair"):
        MeshCell(open_, law, boundary=UniformTraction())


def test_the_law_of_a_body():
    image, laws = IMAGE[2], LAWS["J2"]
    ends = [Fixed("left"), Fixed("right", (1,)), Moved("right", 0)]
    made = lambda cell: Body(box((2, 1)), batched(cell), ends, observe=Reaction("right"), solver=TIGHT)
    loads = jnp.array([0.02, 0.05, 0.03])
    one, other = (path(made(cell), loads) for cell in (meshed(image, laws), voxels(image, laws, Periodic())))
    assert one.ok.all() and other.ok.all()
    np.testing.assert_allclose(one.value, other.value, rtol=0, atol=SAME)
