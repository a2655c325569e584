"""Answers of a campaign in HDF5: one row a member."""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ._memory import FORMAT, empty, no_store, package, refuse
from ._summary import versions

_MOST = 512
"""Files beside the one that is opened; a process may hold some thousand files open, and reading an array opens all of them."""
_TEXT = np.dtype("S64")
"""Names of codes; the longest has 27 letters."""


class HDF5Sink:
    """Answers in HDF5, readable by anything that reads HDF5 (1.10 or later), in the layout of `ZarrSink`.

    An HDF5 file that is killed in the middle of a write may never open again, so no file is written in place: each piece of
    `rows` members is a file of its own, which a new one replaces by renaming. For a campaign of n members:

        NAME.h5              what one opens: every array, (n, ...), a virtual dataset over the pieces; its attributes hold
                             `format`, `identity`, `members`, and as JSON `versions` and `about`
        NAME.pieces/*.h5     the pieces, each with the number of its first member for a name; they move along with NAME.h5

    Strings are of fixed length (h5py: `[...].asstr()[:]`). Rows that are not there yet hold NaN, or zero where there is no
    NaN. A process may be killed at any moment: a row whose `tries` is not zero is complete, and what is lost is the
    block that was being written. (A power cut may lose more: files are not flushed to the disk.) One process writes at a time.
    """

    def __init__(self, path: str | os.PathLike, *, rows: int = 256):
        """Nothing is touched before `open`.

        Args:
            path: a file, made if it is not there; one that is anything but a campaign is refused.
            rows: members a piece, more where there would be over 512 pieces.
        """
        self.path, self.rows = pathlib.Path(path), rows
        self.pieces = self.path.with_suffix(".pieces")

    def open(self, size: int, identity: str, about: dict[str, Any]) -> None:
        self.size = size
        if self.path.exists():
            self._go_on(identity)
        else:
            self._begin(identity, about)
        self._grow({"code": ((), _TEXT), "tries": ((), np.dtype(np.uint8))})

    def _go_on(self, identity: str) -> None:
        with _store(self.path) as file:
            refuse(f"The store {self.path}", file.attrs["identity"], identity)
            self.attributes = dict(file.attrs)
            self.arrays = {name: (node.shape[1:], node.dtype) for name, node in _nodes(file)}
        # The pieces are cut as they were in the beginning.
        self.piece = int(self.attributes["rows"])

    def _begin(self, identity: str, about: dict[str, Any]) -> None:
        if self.pieces.exists() and any(self.pieces.iterdir()):
            raise ValueError(
                f"Argument `path` must be free, but {self.pieces} holds the pieces of a store that is gone: remove it."
            )
        self.piece = max(self.rows, -(-self.size // _MOST))
        self.attributes = {"format": FORMAT, "identity": identity, "members": self.size, "rows": self.piece}
        self.attributes |= {"versions": json.dumps(versions()), "about": json.dumps(about)}
        self.arrays = {}
        self.pieces.mkdir(parents=True, exist_ok=True)
        self._declare()

    def tries(self) -> np.ndarray:
        with _store(self.path) as file:
            return file["tries"][:]

    def codes(self) -> np.ndarray:
        with _store(self.path) as file:
            return file["code"].asstr()[:]

    def write(self, members: np.ndarray, values: dict[str, np.ndarray], codes: np.ndarray, tries: int) -> None:
        given = values | {"code": codes, "tries": np.full(len(members), tries, np.uint8)}
        rows = {name: np.asarray(x).astype(_TEXT) if x.dtype.kind in "UTO" else x for name, x in given.items()}
        self._grow({name: (x.shape[1:], x.dtype) for name, x in rows.items()})
        for start in np.unique(members // self.piece * self.piece):
            own = members // self.piece * self.piece == start
            self._replace(int(start), members[own] - start, {name: x[own] for name, x in rows.items()})

    def _at(self, start: int) -> pathlib.Path:
        return self.pieces / f"{start:09d}.h5"

    def _grow(self, arrays: dict[str, tuple[tuple[int, ...], np.dtype]]) -> None:
        """Room for arrays of these shapes and dtypes: first in every piece, then in the file that is opened."""
        if arrays.keys() <= self.arrays.keys():
            return
        self.arrays = arrays | self.arrays
        for start in range(0, self.size, self.piece):
            self._replace(start, np.zeros(0, int), {})
        self._declare()

    def _declare(self) -> None:
        """The file that is opened, with every array that is known."""
        h5py = package("h5py")

        def fill(file) -> None:
            file.attrs.update(self.attributes)
            for name, (shape, dtype) in self.arrays.items():
                layout = h5py.VirtualLayout((self.size, *shape), dtype)
                for start in range(0, self.size, self.piece):
                    count = min(self.piece, self.size - start)
                    where = f"{self.pieces.name}/{self._at(start).name}"
                    layout[start : start + count] = h5py.VirtualSource(where, name, (count, *shape), dtype)
                file.create_virtual_dataset(name, layout)

        write_whole(self.path, fill)

    def _replace(self, start: int, at: np.ndarray, rows: dict[str, np.ndarray]) -> None:
        """The piece from `start` on, with some of its rows new."""
        path, count = self._at(start), min(self.piece, self.size - start)
        held: dict[str, np.ndarray] = {}
        if path.exists():
            with package("h5py").File(path) as file:
                held = {name: node[:] for name, node in _nodes(file)}
        for name, (shape, dtype) in self.arrays.items():
            if name not in held:
                held[name] = np.full((count, *shape), "not_run" if name == "code" else empty(dtype), dtype)
        for name, values in rows.items():
            held[name][at] = values

        def fill(file) -> None:
            for name, values in held.items():
                file.create_dataset(name, data=values)

        write_whole(path, fill)


def read_hdf5(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of a store, in memory."""
    with _store(path) as file:
        return {name: node.asstr()[:].astype(str) if node.dtype.kind == "S" else node[:] for name, node in _nodes(file)}


def _nodes(file) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    file.visititems(lambda name, node: found.append((name, node)) if hasattr(node, "shape") else None)
    return found


def _store(path: pathlib.Path):
    """The file that is opened, for reading."""
    h5py = package("h5py")
    try:
        file = h5py.File(path)
    except OSError as error:
        raise no_store(path) from error
    if file.attrs.get("format") != FORMAT:
        file.close()
        raise no_store(path)
    return file


def write_whole(path: pathlib.Path, fill: Callable[[Any], None]) -> None:
    """A file that is there at once or not at all."""
    part = path.with_name(path.name + ".part")
    # The format of HDF5 1.10, which has virtual datasets and attributes of more than 64 kB.
    with package("h5py").File(part, "w", libver=("v110", "v110")) as file:
        fill(file)
    os.replace(part, path)
