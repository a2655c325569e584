"""The XML of VTK's files: arrays packed to be appended, and arrays in all their encodings read.

Source: the VTK file formats, "XML file formats" (docs.vtk.org). A binary array is `[bytes] data`, or, compressed, `[blocks, block
size, last block size, compressed sizes...] data`, in the header type of the file; inline arrays are base64 (where header and
compressed data are encoded apart), appended ones raw or base64. Written is base64: it is XML, and meshio (5.3.5) takes the one
array for the other in raw data that are compressed.
"""

import base64
import os
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

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


class Appended:
    """Arrays collected for the end of a file, and the file written: at once or not at all."""

    def __init__(self):
        self.blobs: list[bytes] = []
        self.offset = 0

    def entry(self, name: str, rows: Shaped[np.ndarray, "n c"], *, tuples: bool = False) -> str:
        """Takes an array in and answers its `DataArray` element; `tuples` counts the rows, which data of no node or cell need."""
        if rows.dtype == bool:
            rows = rows.astype(np.uint8)
        code = rows.dtype.str[1:]
        if code not in _NAMES:
            raise ValueError(f"Argument `{name}` must hold whole numbers or floats of 8 to 64 bits, but its dtype is {rows.dtype}.")
        blob = _pack(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")))
        count = f' NumberOfTuples="{len(rows)}"' if tuples else ""
        # One component is the default; said, it makes some readers keep an axis of one.
        components = f' NumberOfComponents="{rows.shape[1]}"' if rows.shape[1] > 1 else ""
        element = (
            f'<DataArray type="{_NAMES[code]}" Name={quoted(name)}{components}{count} format="appended" offset="{self.offset}"/>'
        )
        self.blobs.append(blob)
        self.offset += len(blob)
        return element

    def write(self, path: str | Path, kind: str, content: Iterable[str]) -> Path:
        """The file: `content` is what stands within the element `kind`, that element included."""
        head = (
            f'<?xml version="1.0"?>\n<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
            'compressor="vtkZLibDataCompressor">\n' + "\n".join(content) + '\n<AppendedData encoding="base64">\n_'
        )
        path = Path(path)
        part = path.with_name(path.name + ".part")
        part.write_bytes(head.encode() + b"".join(self.blobs) + b"\n</AppendedData>\n</VTKFile>\n")
        os.replace(part, path)
        return path


def quoted(text: str) -> str:
    """An attribute's value."""
    return '"' + text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;") + '"'


def _pack(flat: np.ndarray) -> bytes:
    data = flat.tobytes()
    blocks = [zlib.compress(data[i : i + _BLOCK]) for i in range(0, len(data), _BLOCK)]
    sizes = [len(blocks), _BLOCK, len(data) % _BLOCK, *map(len, blocks)]
    return base64.b64encode(np.array(sizes, "<u8").tobytes()) + base64.b64encode(b"".join(blocks))


def parse_xml(path: Path) -> tuple[ET.Element, bytes]:
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


def read_array(entry: ET.Element, root: ET.Element, appended: bytes) -> np.ndarray:
    """The numbers of a `DataArray`, flat, as native dtypes."""
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
        if block is not None and block.get("encoding") == "base64":
            data = _decoded(data[: _characters(data, header, compressed=compressor is not None)])
    else:
        data = _decoded((entry.text or "").encode())
    raw = _inflate(data, header) if compressor else _plain(data, header)
    return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))


def _decoded(text: bytes) -> bytes:
    """Base64 decoded; where header and data were encoded apart, the padding between them is passed over."""
    return b"".join(base64.b64decode(part) for part in re.findall(rb"[^=]+={0,2}", b"".join(text.split())))


def _characters(text: bytes, header: np.dtype, *, compressed: bool) -> int:
    """How long an array in base64 is at most, by its header."""
    encoded = lambda size: 4 * -(-size // 3)
    head = lambda items: _decoded(text[: encoded(items * header.itemsize)])
    first = int(np.frombuffer(head(1), header, 1)[0])
    items = 3 + first if compressed else 1
    size = int(np.sum(np.frombuffer(head(items), header, items)[3:])) if compressed else first
    return encoded(items * header.itemsize) + encoded(size)


def _plain(data: bytes, header: np.dtype) -> bytes:
    count = int(np.frombuffer(data, header, 1)[0])
    return data[header.itemsize : header.itemsize + count]


def _inflate(data: bytes, header: np.dtype) -> bytes:
    blocks = int(np.frombuffer(data, header, 1)[0])
    sizes = np.frombuffer(data, header, 3 + blocks)[3:]
    ends = (3 + blocks) * header.itemsize + np.cumsum(sizes).astype(int)
    return b"".join(zlib.decompress(data[end - int(size) : end]) for end, size in zip(ends, sizes))
