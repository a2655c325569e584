"""VTK UnstructuredGrid (`.vtu`) files: meshes with fields and sets for ParaView and its kin, written and read.

Source: the VTK file formats, "XML file formats" (docs.vtk.org), and vtkCellType.h for the numbers of the kinds of cells. meshio
(5.3.5) keeps the last of several pieces and passes over what it does not know, so this is a reader of its own.

VTK has no sets. A set NAME of nodes or elements is a field `set:NAME` of zeros and ones on points or cells, a set of facets the
field data `facets:NAME`, pairs of an element and which of its facets (as `Element.corners` counts them).
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ..space import Mesh
from ._content import Content, facet_keys, numbered, owners
from ._input import InputError
from ._vtk_xml import Appended, parse_xml, read_array

_KINDS = {
    1: "vertex",
    3: "line",
    5: "triangle",
    9: "quad",
    10: "tetra",
    12: "hexahedron",
    21: "line3",
    22: "triangle6",
    23: "quad8",
    24: "tetra10",
    25: "hexahedron20",
    28: "quad9",
    29: "hexahedron27",
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def write_mesh(
    path: str | Path,
    mesh: Mesh,
    *,
    point_data: Mapping[str, Any] | None = None,
    element_data: Mapping[str, Any] | None = None,
) -> Path:
    """A mesh with fields as a `.vtu` file, compressed, in place of what was there at once or not at all.

    The sets are written too, so that `read_mesh` finds them again.

    Args:
        path: a file that ends in `.vtu`.
        point_data: by name, one number a node (n,), a vector (n, d) or a tensor (n, d, d). In 2D vectors and tensors are filled up
            with zeros to three components, as VTK wants.
        element_data: the same, one an element (e, ...), blocks in order.
    """
    path = Path(path)
    if path.suffix.lower() != ".vtu":
        raise InputError(f"The mesh {path} must be written to a file that ends in `.vtu`, but it ends in `{path.suffix}`.")
    points = np.asarray(mesh.points)
    fields = {"point_data": _fields("point_data", point_data, len(points), mesh.d)}
    fields["element_data"] = _fields("element_data", element_data, mesh.count, mesh.d)
    fields["point_data"] |= {f"set:{k}": _marks(np.asarray(v), len(points)) for k, v in mesh.node_sets.items()}
    fields["element_data"] |= {f"set:{k}": _marks(np.asarray(v), mesh.count) for k, v in mesh.element_sets.items()}
    appended = Appended()
    whole = lambda name: [appended.entry(k, rows) for k, rows in fields[name].items()]
    nodes = [np.asarray(b.nodes) for b in mesh.blocks]
    counts = np.concatenate([np.full(len(n), n.shape[1]) for n in nodes])
    kinds = np.concatenate([np.full(len(b.nodes), _NUMBERS[b.element.name], np.uint8) for b in mesh.blocks])
    content = [
        "<UnstructuredGrid>",
        "<FieldData>",
        *(appended.entry(f"facets:{k}", rows, tuples=True) for k, rows in _facets(mesh).items()),
        "</FieldData>",
        f'<Piece NumberOfPoints="{len(points)}" NumberOfCells="{mesh.count}">',
        *("<PointData>", *whole("point_data"), "</PointData>"),
        *("<CellData>", *whole("element_data"), "</CellData>"),
        *("<Points>", appended.entry("Points", _three(points)), "</Points>"),
        "<Cells>",
        appended.entry("connectivity", np.concatenate([n.ravel() for n in nodes]).astype(np.int64)[:, None]),
        appended.entry("offsets", np.cumsum(counts).astype(np.int64)[:, None]),
        appended.entry("types", kinds[:, None]),
        "</Cells>",
        "</Piece>",
        "</UnstructuredGrid>",
    ]
    return appended.write(path, "UnstructuredGrid", content)


def _three(vectors: Shaped[np.ndarray, "n d"]) -> np.ndarray:
    return np.pad(vectors, [(0, 0), (0, 3 - vectors.shape[1])])


def _marks(numbers: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros((count, 1), np.uint8)
    found[numbers] = 1
    return found


def _fields(argument: str, given: Mapping[str, Any] | None, count: int, d: int) -> dict[str, np.ndarray]:
    """Rows of one, three or nine components."""
    found = {}
    for name, value in (given or {}).items():
        rows = np.asarray(value)
        if rows.shape[:1] != (count,) or rows.shape[1:] not in ((), (d,), (d, d), (3, 3), (3,)):
            raise ValueError(
                f"Argument `{argument}` must hold numbers ({count},), vectors ({count}, {d}) or tensors ({count}, {d}, {d}), but "
                f"`{name}` has shape {rows.shape}."
            )
        pad = [(0, 0)] + [(0, 3 - n) for n in rows.shape[1:]]
        found[name] = np.pad(rows, pad).reshape(count, -1)
    return found


def _facets(mesh: Mesh) -> dict[str, np.ndarray]:
    """The facet sets as pairs of an element and its facet."""
    wanted = {name: facet_keys(blocks) for name, blocks in mesh.facet_sets.items()}
    found = owners([(b.element, np.asarray(b.nodes)) for b in mesh.blocks], wanted)
    for name, pairs in found.items():
        if np.any(pairs < 0):
            raise ValueError(f"Argument `mesh` must have facets that are sides of its elements, but in `{name}` one is not.")
    return found


def read_vtu(path: Path) -> Content:
    """What a `.vtu` file holds, in all its pieces; cells are sorted by their kind, in the order of appearance."""
    root, appended = parse_xml(path)
    grid = root.find("UnstructuredGrid")
    if grid is None:
        raise InputError(f"The mesh {path} must hold a VTK UnstructuredGrid, but holds {root.get('type')}.")
    read = lambda entry: read_array(entry, root, appended)
    pieces = [_piece(path, piece, read) for piece in grid.findall("Piece")]
    points, flat, sizes, kind = (np.concatenate(parts) for parts in zip(*pieces))
    shift = np.repeat(np.cumsum([0, *(len(p[0]) for p in pieces)])[:-1], [len(p[1]) for p in pieces])
    ends = np.cumsum(sizes)
    _, first, place = np.unique(kind, return_index=True, return_inverse=True)
    turn = np.argsort(first[place], kind="stable")
    number = np.argsort(turn)
    cells = []
    for code in kind[np.sort(first)].tolist():
        size, end = sizes[kind == code], ends[kind == code]
        # Kinds that are known have one number of nodes; the others are refused by their names.
        width = int(size.min())
        cells.append((_KINDS.get(code, f"VTK cell type {code}"), (flat + shift)[end[:, None] - np.arange(width, 0, -1)]))
    sets = _sets(grid, "CellData", read)
    sides = {
        name[7:]: read(e).reshape(-1, 2) for e in grid.findall("FieldData/DataArray") if (name := _name(e)).startswith("facets:")
    }
    return Content(
        points,
        cells,
        _sets(grid, "PointData", read, ours=True),
        {name: number[numbers] for name, numbers in sets.items()},
        {name: np.column_stack([number[pairs[:, 0]], pairs[:, 1]]) for name, pairs in sides.items()},
    )


def _name(entry: ET.Element) -> str:
    return entry.get("Name", "")


def _piece(path: Path, piece: ET.Element, read: Callable) -> tuple[np.ndarray, ...]:
    """Points, nodes of all cells in a row, numbers of nodes, and kinds."""
    entry = piece.find("Points/DataArray")
    x = np.zeros((0, 3)) if entry is None else read(entry).reshape(-1, 3)
    found = {_name(e): read(e) for e in piece.findall("Cells/DataArray")}
    try:
        flat, ends, kinds = (found[name].astype(int) for name in ("connectivity", "offsets", "types"))
    except KeyError as error:
        raise InputError(f"The mesh {path} must have an array {error} in its cells, but has none.") from error
    counts = (int(piece.get("NumberOfPoints", "-1")), int(piece.get("NumberOfCells", "-1")))
    if counts != (len(x), len(kinds)) or len(ends) != len(kinds) or len(flat) != (ends[-1] if len(ends) else 0):
        raise InputError(f"The mesh {path} is truncated: it has fewer points or cells than it says.")
    return x, flat, np.diff(ends, prepend=0), kinds


def _sets(grid: ET.Element, where: str, read: Callable, *, ours: bool = False) -> dict[str, np.ndarray]:
    """Numbers by name, from fields `set:NAME` and, unless these are all that is wanted, from other fields of whole numbers."""
    found: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(_name(e) for e in grid.findall(f"Piece/{where}/DataArray")):
        parts = [e for e in grid.findall(f"Piece/{where}/DataArray") if _name(e) == name]
        if name.startswith("set:"):
            found[name[4:]] = np.flatnonzero(np.concatenate([read(e) for e in parts]))
        elif not ours and "Int" in parts[0].get("type", "") and parts[0].get("NumberOfComponents", "1") == "1":
            found |= numbered(name, np.concatenate([read(e) for e in parts]))
    return found
