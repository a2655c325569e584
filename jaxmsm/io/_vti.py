"""VTK ImageData (`.vti`) files: fields on voxels for ParaView and its kin, written and read.

Source: the VTK file formats, "XML file formats" (docs.vtk.org). Data of a voxel are CellData; x runs fastest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ._input import InputError
from ._vtk_xml import Appended, parse_xml, read_array


def write_vti(
    path: str | Path,
    fields: Mapping[str, Any],
    *,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
) -> Path:
    """Fields on voxels as a `.vti` file, compressed, in place of what was there at once or not at all.

    Args:
        fields: by name, one number a voxel (n1, ..., nd), a vector (d, n1, ..., nd) or a tensor (d, d, n1, ..., nd). The grid is
            that of the first one. In 2D vectors and tensors are filled up with zeros to three components, as VTK wants.
        spacing: edge lengths of a voxel, d of them.
    """
    arrays = {name: np.asarray(value) for name, value in fields.items()}
    grid = min((a.shape for a in arrays.values()), key=len)
    d = len(grid)
    if d not in (2, 3):
        raise ValueError(
            f"Argument `fields` must hold a field of one number a voxel in 2 or 3 dimensions, but the smallest is {grid}."
        )
    extent = " ".join(f"0 {n}" for n in grid) + (" 0 0" if d == 2 else "")
    appended = Appended()
    image = f'<ImageData WholeExtent="{extent}" Origin="{_three(origin, d, 0)}" Spacing="{_three(spacing, d, 1)}">'
    entries = [appended.entry(name, _flatten(name, array, grid)) for name, array in arrays.items()]
    content = [
        image,
        f'<Piece Extent="{extent}">',
        "<PointData/>",
        "<CellData>",
        *entries,
        "</CellData>",
        "</Piece>",
        "</ImageData>",
    ]
    return appended.write(path, "ImageData", content)


def _three(values, d: int, rest: float) -> str:
    values = (float(rest),) * d if values is None else tuple(float(v) for v in values)
    if len(values) != d:
        raise ValueError(f"Argument `spacing` must have {d} entries, one an axis, but has {len(values)}.")
    return " ".join(repr(v) for v in (*values, *(float(rest),) * (3 - d)))


def _flatten(name: str, array: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Rows in VTK's order of the cells (x fastest), components in columns."""
    d, lead = len(grid), array.shape[: array.ndim - len(grid)]
    if array.shape[len(lead) :] != grid or lead not in ((), (d,), (d, d)):
        raise ValueError(
            f"Argument `fields` must hold numbers, vectors or tensors on a grid {grid}, but `{name}` has shape {array.shape}."
        )
    if lead:
        full = np.zeros((3,) * len(lead) + grid, array.dtype)
        full[tuple(slice(0, d) for _ in lead)] = array
        array = full.reshape(-1, *grid)
    else:
        array = array[None]
    return array.transpose(*range(len(grid), 0, -1), 0).reshape(-1, len(array))


def read_vti(path: str | Path) -> tuple[dict[str, Shaped[np.ndarray, "..."]], tuple[float, ...]]:
    """The fields of a `.vti` file and the edge lengths of a voxel.

    Data of cells are read, or where there are none, data of points (one voxel a point). A grid one cell thick is 2D.

    Returns:
        Fields by name, shape (n1, ..., nd), (c, n1, ..., nd) or, for nine components, (3, 3, n1, ..., nd).
    """
    path = Path(path)
    root, appended = parse_xml(path)
    image = root.find("ImageData")
    pieces = [] if image is None else image.findall("Piece")
    if image is None or root.get("type") != "ImageData" or len(pieces) != 1:
        raise InputError(f"The file {path} must hold VTK ImageData in one piece, but holds {len(pieces)} of {root.get('type')}.")
    extent = np.array(pieces[0].get("Extent", "").split(), int).reshape(3, 2)
    cells = extent[:, 1] - extent[:, 0]
    arrays, shape = pieces[0].findall("CellData/DataArray"), np.maximum(cells, 1)
    if not arrays:
        arrays, shape = pieces[0].findall("PointData/DataArray"), cells + 1
    d = 2 if shape[2] == 1 else 3
    fields: dict[str, np.ndarray] = {}
    for entry in arrays:
        parts = int(entry.get("NumberOfComponents", "1"))
        values = read_array(entry, root, appended)
        if values.size != parts * np.prod(shape):
            raise InputError(
                f"The file {path} is truncated: `{entry.get('Name')}` has {values.size} of {parts * np.prod(shape)} numbers."
            )
        grid = values.reshape(-1, parts).T.reshape(parts, *shape[:d][::-1]).transpose(0, *range(d, 0, -1))
        lead = () if parts == 1 else (3, 3) if parts == 9 else (parts,)
        fields[entry.get("Name", f"field{len(fields)}")] = grid.reshape(*lead, *shape[:d])
    spacing = tuple(float(s) for s in image.get("Spacing", "1 1 1").split())
    return fields, spacing[:d]
