"""Answers of a campaign in a Zarr store: one row a member."""

import os
import pathlib
from typing import Any

import numpy as np

from ._memory import FORMAT, empty, no_store, package, refuse
from ._summary import versions


class ZarrSink:
    """Answers in a Zarr store (version 3 of the format), readable by anything that reads Zarr.

    Layout, for a campaign of n members:

        PATH/                a group; its attributes hold `format`, `identity` (a hash of loads and scale), `members`,
                             `versions` and `about`
        PATH/value           (n, ...) the answers; `value/NAME` where the value is a tree
        PATH/stats/NAME      (n, ...) counts and residuals
        PATH/slope           (n, ...) if it was asked for
        PATH/code            (n,) strings, the names of the codes; `not_run` for a member that is not there yet
        PATH/tries           (n,) uint8, the number of scales a member has been through; 0: its row is not there yet

    Rows that are not there yet hold NaN, or zero where there is no NaN. Every array is cut into pieces of `rows` members, a
    file each, and a file is replaced as a whole. `tries` is written after everything else, so a process may be killed at
    any moment: a row whose `tries` is not zero is complete. (A power cut may lose more: files are not flushed to the disk.)
    One process writes at a time.
    """

    def __init__(self, path: str | os.PathLike, *, rows: int = 256):
        """Nothing is touched before `open`.

        Args:
            path: a folder, made if it is not there; one that holds anything but a campaign is refused.
            rows: members a file.
        """
        self.path, self.piece = pathlib.Path(path), rows

    def open(self, size: int, identity: str, about: dict[str, Any]) -> None:
        zarr = package("zarr")
        if self.path.exists() and any(self.path.iterdir()):
            self.group = _group(self.path, "r+")
            refuse(f"The store {self.path}", self.group.attrs["identity"], identity)
        else:
            attributes = {"format": FORMAT, "identity": identity, "members": size, "versions": versions(), "about": about}
            self.group = zarr.open_group(self.path, mode="a", zarr_format=3, attributes=attributes)
        self.size = size
        # A kill between the group and its arrays leaves a store without them.
        self._array("code", (), str, "not_run")
        self._array("tries", (), np.uint8, 0)

    def tries(self) -> np.ndarray:
        return self.group["tries"][:]

    def codes(self) -> np.ndarray:
        return self.group["code"][:].astype(object)

    def write(self, members: np.ndarray, values: dict[str, np.ndarray], codes: np.ndarray, tries: int) -> None:
        # Sorted rows touch each piece once.
        turn = np.argsort(members)
        for name, rows in values.items():
            kind = str if rows.dtype.kind in "UTO" else rows.dtype
            self._array(name, rows.shape[1:], kind, "" if kind is str else empty(rows.dtype))[members[turn]] = rows[turn]
        self.group["code"][members[turn]] = np.asarray(codes)[turn].astype("T")
        self.group["tries"][members[turn]] = np.full(len(members), tries, np.uint8)

    def _array(self, name: str, shape: tuple[int, ...], dtype, fill):
        if name in self.group:
            return self.group[name]
        piece = (min(self.piece, self.size), *shape)
        return self.group.create_array(name, shape=(self.size, *shape), chunks=piece, dtype=dtype, fill_value=fill)


def read_zarr(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of a store, in memory."""
    group = _group(path, "r")
    return {name: array[:].astype(object).astype(str) if array.dtype.kind == "T" else array[:] for name, array in _arrays(group)}


def _arrays(group, prefix: str = ""):
    for name, node in sorted(group.members()):
        if hasattr(node, "shape"):
            yield prefix + name, node
        else:
            yield from _arrays(node, f"{prefix}{name}/")


def _group(path: pathlib.Path, mode: str):
    zarr = package("zarr")
    try:
        group = zarr.open_group(path, mode=mode)
    except (FileNotFoundError, ValueError):
        group = None
    if group is None or group.attrs.get("format") != FORMAT:
        raise no_store(path)
    return group
