"""Meshes in files: the same strip written by hand in each format, files that meshio wrote, and files that are broken."""

import xml.etree.ElementTree as ET

import jax.numpy as jnp
import meshio
import numpy as np
import pytest

from jaxmsm import io, space

# Two squares side by side: the lower left corners of the first at the origin, the second one split into triangles.
#   4 - 5 - 6
#   |   | / |
#   1 - 2 - 3
GMSH2 = """$MeshFormat
2.2 0 8
$EndMeshFormat
$PhysicalNames
5
0 1 "corner"
1 2 "left"
1 3 "right"
2 4 "soft"
2 5 "hard"
$EndPhysicalNames
$Nodes
6
1 0 0 0
2 1 0 0
3 2 0 0
4 0 1 0
5 1 1 0
6 2 1 0
$EndNodes
$Elements
6
1 15 2 1 1 1
2 1 2 2 4 4 1
3 1 2 3 2 3 6
4 3 2 4 1 1 2 5 4
5 2 2 5 2 2 3 6
6 2 2 5 2 2 6 5
$EndElements
"""

GMSH4 = """$MeshFormat
4.1 0 8
$EndMeshFormat
$PhysicalNames
5
0 1 "corner"
1 2 "left"
1 3 "right"
2 4 "soft"
2 5 "hard"
$EndPhysicalNames
$Entities
1 2 2 0
1 0 0 0 1 1
1 0 0 0 0 1 0 1 2 0
2 2 0 0 2 1 0 1 3 0
1 0 0 0 1 1 0 1 4 0
2 1 0 0 2 1 0 1 5 0
$EndEntities
$Nodes
2 6 1 6
2 1 0 4
1
2
4
5
0 0 0
1 0 0
0 1 0
1 1 0
2 2 0 2
3
6
2 0 0
2 1 0
$EndNodes
$Elements
5 6 1 6
0 1 15 1
1 1
1 1 1 1
2 4 1
1 2 1 1
3 3 6
2 1 3 1
4 1 2 5 4
2 2 2 2
5 2 3 6
6 2 6 5
$EndElements
"""

ABAQUS = """*HEADING
 a strip
*NODE
 1, 0., 0.
 2, 1., 0.
 3, 2., 0.
** the upper row
*NODE
 4, 0., 1.
 5, 1., 1.
 6, 2., 1.
*ELEMENT, TYPE=CPE4, ELSET=soft
 4, 1, 2, 5, 4
*ELEMENT, TYPE=CPE3
 5, 2, 3, 6
 6, 2, 6, 5
*ELSET, ELSET=hard, GENERATE
 5, 6, 1
*NSET, NSET=corner
 1
*SURFACE, NAME=left, TYPE=ELEMENT
 Soft, S4
*SURFACE, NAME=right
 5, S2
*MATERIAL, NAME=steel
*ELASTIC
 210000., .3
*STEP
*STATIC
*NODE PRINT
 U
*END STEP
"""

FILES = {"gmsh2.msh": GMSH2, "gmsh4.msh": GMSH4, "abaqus.inp": ABAQUS}


def written(path, text):
    path.write_text(text)
    return path


def middles(mesh, facets=None):
    """The set of middles of elements or of facets, which holds whatever they are numbered."""
    points = np.asarray(mesh.points)
    if facets is None:
        rows = [nodes[: len(block.element.corners)] for block in mesh.blocks for nodes in np.asarray(block.nodes)]
        return [tuple(points[n].mean(0).round(6)) for n in rows]
    return {tuple(points[n].mean(0).round(6)) for n in np.asarray(facets)}


def check_strip(mesh):
    assert mesh.d == 2 and len(mesh.points) == 6 and mesh.count == 3
    assert {block.element.name: len(block.nodes) for block in mesh.blocks} == {"quad": 1, "triangle": 2}
    where = middles(mesh)
    assert {where[k] for k in mesh.element_sets["soft"]} == {(0.5, 0.5)}
    assert {where[k] for k in mesh.element_sets["hard"]} == {(1.666667, 0.333333), (1.333333, 0.666667)}
    ends = {name: np.asarray(mesh.points)[np.asarray(mesh.nodes(name))] for name in ("left", "right", "corner")}
    assert sorted(map(tuple, ends["left"])) == [(0, 0), (0, 1)] and sorted(map(tuple, ends["right"])) == [(2, 0), (2, 1)]
    assert ends["corner"].tolist() == [[0, 0]]
    # The area of the strip, by the quadrature of whatever holds it.
    assert sum(float(jnp.sum(space.integration(mesh.points, b).weights)) for b in mesh.blocks) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("name", FILES)
def test_a_strip_written_by_hand(tmp_path, name):
    check_strip(io.read_mesh(written(tmp_path / name, FILES[name])))


def test_facets_look_outward(tmp_path):
    for name, text in FILES.items():
        mesh = io.read_mesh(written(tmp_path / name, text))
        for side, sign in (("left", -1), ("right", 1)):
            (block,) = mesh.facet_sets[side]
            ends = np.asarray(mesh.points)[np.asarray(block.nodes)[0]]
            # To the right of the way along a side, for a body to the left of it.
            along = ends[1] - ends[0]
            assert np.sign(along[1]) == sign, (name, side)


@pytest.mark.parametrize("suffix", [".vtu", ".xdmf", ".msh"])
def test_meshes_that_meshio_wrote(tmp_path, suffix):
    strip = io.read_mesh(written(tmp_path / "strip.msh", GMSH2))
    cells = [(block.element.name, np.asarray(block.nodes)) for block in strip.blocks]
    points = np.column_stack([strip.points, np.zeros(6)])
    material = [np.array([7], np.int32), np.array([8, 8], np.int32)]
    key = "gmsh:physical" if suffix == ".msh" else "material"
    data = {key: material} | ({"gmsh:geometrical": material} if suffix == ".msh" else {})
    path = tmp_path / f"other{suffix}"
    more = {"file_format": "gmsh22", "binary": True} if suffix == ".msh" else {}
    meshio.Mesh(points, cells, cell_data=data).write(path, **more)
    mesh = io.read_mesh(path)
    where = middles(mesh)
    sets = {k.rpartition(":")[2]: {where[n] for n in v} for k, v in mesh.element_sets.items()}
    assert sets["7"] == {(0.5, 0.5)} and sets["8"] == {(1.666667, 0.333333), (1.333333, 0.666667)}
    np.testing.assert_array_equal(np.sort(np.asarray(mesh.points), 0), np.sort(np.asarray(strip.points), 0))


@pytest.mark.parametrize("name", list(space.ELEMENTS))
def test_meshio_reads_what_is_written(tmp_path, name):
    element = space.ELEMENTS[name]
    if element.dim < 2:
        pytest.skip("A line is no body.")
    mesh = space.box((2,) * element.dim, element=element)
    field = np.asarray(mesh.points)[:, 0] ** 2
    path = io.write_mesh(
        tmp_path / "box.vtu", mesh, point_data={"square": field, "x": mesh.points}, element_data={"k": np.arange(mesh.count)}
    )
    found = meshio.read(path)
    (block,) = found.cells
    assert block.type == name
    np.testing.assert_array_equal(block.data, np.asarray(mesh.blocks[0].nodes))
    np.testing.assert_array_equal(found.points[:, : element.dim], mesh.points)
    np.testing.assert_array_equal(found.point_data["square"], field)
    assert found.point_data["x"].shape == (len(field), 3)
    np.testing.assert_array_equal(found.cell_data["k"][0], np.arange(mesh.count))


def test_sets_survive_the_way_through_a_file(tmp_path):
    mesh = space.plate_with_hole((2, 4), 0.4)
    mesh = space.Mesh(
        mesh.points,
        mesh.blocks,
        node_sets={"one": np.array([3])},
        facet_sets=mesh.facet_sets,
        element_sets={"some": np.array([1, 5])},
    )
    again = io.read_mesh(io.write_mesh(tmp_path / "plate.vtu", mesh))
    np.testing.assert_array_equal(again.points, mesh.points)
    assert set(again.facet_sets) == set(mesh.facet_sets)
    for name in mesh.facet_sets:
        np.testing.assert_array_equal(np.sort(again.nodes(name)), np.sort(mesh.nodes(name)))
    assert again.node_sets["one"].tolist() == [3] and again.element_sets["some"].tolist() == [1, 5]


def test_a_cube_of_two_kinds_of_quadratic_elements(tmp_path):
    # Written by meshio in gmsh's own order of nodes, which differs from VTK's from ten nodes on.
    for name in ("tetra10", "hexahedron20", "hexahedron27"):
        cube = space.box((2, 1, 1), element=space.ELEMENTS[name])
        cells = [(name, np.asarray(cube.blocks[0].nodes))]
        tags = [np.ones(cube.count, np.int32)]
        meshio.Mesh(np.asarray(cube.points), cells, cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags}).write(
            tmp_path / "cube.msh", file_format="gmsh22", binary=False
        )
        mesh = io.read_mesh(tmp_path / "cube.msh")
        volume = float(jnp.sum(space.integration(mesh.points, mesh.blocks[0]).weights))
        np.testing.assert_array_equal(np.asarray(mesh.blocks[0].nodes), cells[0][1])
        assert volume == pytest.approx(1, rel=1e-12)


def test_elements_inside_out_are_turned(tmp_path):
    path = written(tmp_path / "strip.msh", GMSH2.replace("5 2 2 5 2 2 3 6", "5 2 2 5 2 2 6 3"))
    with pytest.warns(UserWarning, match="1 of 3 elements inside out"):
        check_strip(io.read_mesh(path))


def test_nodes_of_no_element_are_dropped(tmp_path):
    text = ABAQUS.replace("** the upper row", " 99, 50., 50.")
    check_strip(io.read_mesh(written(tmp_path / "strip.inp", text)))


def test_labels_and_includes(tmp_path):
    written(tmp_path / "nodes.inp", "".join(f" {10 * k}, {x}., {y}.\n" for k, x, y in ((1, 0, 0), (2, 1, 0), (3, 1, 1), (4, 0, 1))))
    text = "*NODE, NSET=ALL\n*INCLUDE, INPUT=nodes.inp\n*ELEMENT, TYPE=CPS4R\n7, 10, 20,\n 30, 40\n"
    with pytest.raises(io.InputError, match="must begin with a keyword"):
        io.read_mesh(written(tmp_path / "a.inp", text))
    written(tmp_path / "nodes.inp", "*NODE, NSET=ALL\n" + (tmp_path / "nodes.inp").read_text())
    mesh = io.read_mesh(written(tmp_path / "a.inp", text.replace("*NODE, NSET=ALL\n", "")))
    assert mesh.count == 1 and sorted(mesh.node_sets["ALL"].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.stl", "solid", "must end in one of"),
        ("a.msh", "hello", "cannot be read"),
        ("a.msh", GMSH2[: GMSH2.index("6 2 2 5")], "cannot be read|truncated|element"),
        ("a.msh", GMSH2.replace("4 3 2 4 1 1 2 5 4", "4 3 2 4 1 1 2 5 9"), "cannot be read|node that is not there"),
        ("a.msh", GMSH2.replace("6 2 1 0\n$EndNodes", "6 nan 1 0\n$EndNodes"), "finite coordinates"),
        ("a.msh", GMSH2.replace("6 2 1 0\n$EndNodes", "6 2 1 1\n$EndNodes"), "plane of constant third coordinate"),
        ("a.msh", GMSH2.replace("5 1 1 0\n", "5 .1 .1 0\n"), "positive volume"),
        ("a.inp", ABAQUS.replace("CPE4", "COH2D4"), "elements of type `COH2D4`"),
        ("a.inp", ABAQUS.replace(" 5, 2, 3, 6", " 5, 2, 3, 60"), "node 60 is not there"),
        ("a.inp", ABAQUS.replace(" 5, 2, 3, 6", " 5, 2, 3"), "must give 3 nodes"),
        ("a.inp", ABAQUS.replace("Soft, S4", "weak, S4"), "`weak`"),
        ("a.inp", ABAQUS.replace(" 5, S2", " 5, S4"), "a face S4 that is not there"),
        ("a.inp", "*ELEMENT, TYPE=CPE3\n1, 1, 2, 3\n", "must define nodes"),
        ("a.vtu", "<VTKFile type='PolyData'><PolyData/></VTKFile>", "UnstructuredGrid"),
        ("a.vtu", "<VTKFile", "cannot be read|XML"),
        ("a.xdmf", "<Xdmf></Xdmf>", "cannot be read|holds none"),
    ],
)
def test_a_broken_file_gets_a_sentence(tmp_path, name, text, sentence):
    with pytest.raises(io.InputError, match=sentence) as error:
        io.read_mesh(written(tmp_path / name, text))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(io.InputError, match="does not exist"):
        io.read_mesh(tmp_path / "a.msh")
    (tmp_path / "b.msh").mkdir()
    with pytest.raises(io.InputError, match="is a folder"):
        io.read_mesh(tmp_path / "b.msh")


def test_a_series_is_gone_on_with(tmp_path):
    mesh = space.box((1, 1))
    series = io.Pvd(tmp_path / "run.pvd")
    for k in range(3):
        series.write(float(k), mesh, point_data={"k": np.full(4, float(k))})
    # Another process, from the second step on.
    again = io.Pvd(tmp_path / "run.pvd")
    assert [t for t, _ in again.steps] == [0, 1, 2]
    again.write(1.0, mesh, point_data={"k": np.full(4, 10.0)})
    listed = ET.parse(tmp_path / "run.pvd").getroot().findall("Collection/DataSet")
    assert [(float(e.attrib["timestep"]), e.attrib["file"]) for e in listed] == [(0, "run_000000.vtu"), (1, "run_000001.vtu")]
    np.testing.assert_array_equal(meshio.read(tmp_path / "run_000001.vtu").point_data["k"], 10)
    written(tmp_path / "bad.pvd", "<a>")
    with pytest.raises(io.InputError, match=r"no `\.pvd` file"):
        io.Pvd(tmp_path / "bad.pvd")
