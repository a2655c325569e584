"""VTK ImageData (`.vti`) files: fields on voxels for ParaView and its kin, written and read.

Source: the VTK file formats, "XML file formats" (docs.vtk.org). Data of a voxel are CellData; x runs fastest. A binary array
is `[bytes] data`, or, compressed, `[blocks, block size, last block size, compressed sizes...] data`, in the header type of the
file; inline arrays are base64 (where header and compressed data are encoded apart), appended ones raw or base64.
"""

import base64
import os
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from ._input import InputError

_TYPES = {
    "Int8": "i1",
    "UInt8": "u1",
    "Int16": "i2",
    "UInt16": "u2",
    "Int32": "i4",
    "UInt32": "u4",
    "Int64": "i8",
    "UInt64": "u8",
    "Float32": "f4",
    "Float64": "f8",
}
_NAMES = {code: name for name, code in _TYPES.items()}
_BLOCK = 1 << 18


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
    headers, blobs, offset = [], [], 0
    for name, array in arrays.items():
        flat = _flatten(name, array, grid)
        blob = _pack(flat)
        headers.append(
            f'<DataArray type="{_NAMES[flat.dtype.str[1:]]}" Name={_quoted(name)} NumberOfComponents="{flat.shape[1]}" '
            f'format="appended" offset="{offset}"/>'
        )
        blobs.append(blob)
        offset += len(blob)
    head = (
        '<?xml version="1.0"?>\n<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
        f'compressor="vtkZLibDataCompressor">\n<ImageData WholeExtent="{extent}" Origin="{_three(origin, d, 0)}" '
        f'Spacing="{_three(spacing, d, 1)}">\n<Piece Extent="{extent}">\n<PointData/>\n<CellData>\n'
        + "\n".join(headers)
        + '\n</CellData>\n</Piece>\n</ImageData>\n<AppendedData encoding="raw">\n_'
    )
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_bytes(head.encode() + b"".join(blobs) + b"\n</AppendedData>\n</VTKFile>\n")
    os.replace(part, path)
    return path


def _quoted(text: str) -> str:
    return '"' + text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;") + '"'


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
    if array.dtype == bool:
        array = array.astype(np.uint8)
    rows = array.transpose(*range(len(grid), 0, -1), 0).reshape(-1, len(array))
    return np.ascontiguousarray(rows, array.dtype.newbyteorder("<"))


def _pack(flat: np.ndarray) -> bytes:
    data = flat.tobytes()
    blocks = [zlib.compress(data[i : i + _BLOCK]) for i in range(0, len(data), _BLOCK)]
    sizes = [len(blocks), _BLOCK, len(data) % _BLOCK, *map(len, blocks)]
    return np.array(sizes, "<u8").tobytes() + b"".join(blocks)


def read_vti(path: str | Path) -> tuple[dict[str, Shaped[np.ndarray, "..."]], tuple[float, ...]]:
    """The fields of a `.vti` file and the edge lengths of a voxel.

    Data of cells are read, or where there are none, data of points (one voxel a point). A grid one cell thick is 2D.

    Returns:
        Fields by name, shape (n1, ..., nd), (c, n1, ..., nd) or, for nine components, (3, 3, n1, ..., nd).
    """
    path = Path(path)
    root, appended = _parse(path)
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
        values = _values(entry, root, appended)
        if values.size != parts * np.prod(shape):
            raise InputError(
                f"The file {path} is truncated: `{entry.get('Name')}` has {values.size} of {parts * np.prod(shape)} numbers."
            )
        grid = values.reshape(-1, parts).T.reshape(parts, *shape[:d][::-1]).transpose(0, *range(d, 0, -1))
        lead = () if parts == 1 else (3, 3) if parts == 9 else (parts,)
        fields[entry.get("Name", f"field{len(fields)}")] = grid.reshape(*lead, *shape[:d])
    spacing = tuple(float(s) for s in image.get("Spacing", "1 1 1").split())
    return fields, spacing[:d]


def _parse(path: Path) -> tuple[ET.Element, bytes]:
    """The tree, and the bytes after the underscore of the appended data (raw bytes are no XML)."""
    text = path.read_bytes()
    found = re.search(rb"<AppendedData[^>]*>\s*_", text)
    appended = b""
    if found:
        end = text.rfind(b"</AppendedData>")
        appended = text[found.end() : end if end >= 0 else len(text)]
        text = text[: found.end() - 1] + (text[end:] if end >= 0 else b"")
    try:
        return ET.fromstring(text), appended
    except ET.ParseError as error:
        raise InputError(f"The file {path} is truncated or not a VTK XML file ({error}).") from error


def _values(entry: ET.Element, root: ET.Element, appended: bytes) -> np.ndarray:
    order: Literal["<", ">"] = "<" if root.get("byte_order", "LittleEndian") == "LittleEndian" else ">"
    dtype = np.dtype(_TYPES[entry.get("type", "")]).newbyteorder(order)
    form = entry.get("format", "ascii")
    if form == "ascii":
        return np.array((entry.text or "").split(), dtype).astype(dtype.newbyteorder("="))
    header = np.dtype(_TYPES[root.get("header_type", "UInt32")]).newbyteorder(order)
    compressor = root.get("compressor")
    if compressor not in (None, "vtkZLibDataCompressor"):
        raise InputError(f"A VTK file must be uncompressed or compressed by zlib, but this one uses `{compressor}`.")
    if form == "appended":
        data = appended[int(entry.get("offset", "0")) :]
        block = root.find("AppendedData")
        data = _decoded(data) if block is not None and block.get("encoding") == "base64" else data
    else:
        data = _decoded((entry.text or "").encode())
    raw = _inflate(data, header) if compressor else _plain(data, header)
    return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))


def _decoded(text: bytes) -> bytes:
    """Base64 decoded; where header and data were encoded apart, the padding between them is passed over."""
    return b"".join(base64.b64decode(part) for part in re.findall(rb"[^=]+={0,2}", b"".join(text.split())))


def _plain(data: bytes, header: np.dtype) -> bytes:
    count = int(np.frombuffer(data, header, 1)[0])
    return data[header.itemsize : header.itemsize + count]


def _inflate(data: bytes, header: np.dtype) -> bytes:
    blocks = int(np.frombuffer(data, header, 1)[0])
    sizes = np.frombuffer(data, header, 3 + blocks)[3:]
    ends = (3 + blocks) * header.itemsize + np.cumsum(sizes).astype(int)
    return b"".join(zlib.decompress(data[end - int(size) : end]) for end, size in zip(ends, sizes))
