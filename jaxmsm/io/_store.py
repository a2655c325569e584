"""Answers of a campaign on disk, in the format that their path names."""

import os
import pathlib

import numpy as np

from ._hdf5 import HDF5Sink, read_hdf5
from ._zarr import ZarrSink, read_zarr

_HDF5 = (".h5", ".hdf5")


def is_hdf5(path: str | os.PathLike) -> bool:
    """The path names an HDF5 file: it ends in `.h5` or `.hdf5`."""
    return pathlib.Path(path).suffix in _HDF5


def sink_for(path: str | os.PathLike) -> HDF5Sink | ZarrSink:
    """The sink of a path, HDF5 or Zarr."""
    return HDF5Sink(path) if is_hdf5(path) else ZarrSink(path)


def read_store(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """A store's answers by name (`value`, `stats/newton`, `code`, `tries`, ...), one row a member, in memory.

    `tries` is zero for members that are not there (yet). Large stores are better opened with `zarr.open_group` or `h5py.File`.
    """
    path = pathlib.Path(path)
    return read_hdf5(path) if path.is_file() else read_zarr(path)
