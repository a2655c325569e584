"""The inputs of a training set on disk, beside the answers: what a run that goes on must be given again."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ._hdf5 import write_whole
from ._input import InputError
from ._store import is_hdf5


def keep_inputs(store: Path, answers: Path, arrays: dict[str, np.ndarray], about: dict[str, Any], form: str) -> None:
    """Arrays as `inputs/NAME` in a store, Zarr or (`.h5`) HDF5; those of an earlier run must be the same.

    Args:
        answers: where the answers go; in Zarr inside the store, in HDF5 a file beside it, to which the store has a link.
        about: anything that JSON can hold, an attribute of the store.
        form: the name of the store's layout, another attribute.
    """
    about = json.loads(json.dumps(about))
    hdf5 = is_hdf5(store)
    held = (_held_hdf5 if hdf5 else _held_zarr)(store, form)
    if held is None and hdf5:
        _write_hdf5(store, answers, arrays, about, form)
    elif held is None:
        _write_zarr(store, arrays, about, form)
    elif held[1] != about or any(not np.array_equal(held[0][name], x) for name, x in arrays.items()):
        raise InputError(f"The output {store} was begun with other options: repeat them, or give another --out.")


def _held_zarr(store: Path, form: str) -> tuple[dict[str, np.ndarray], Any] | None:
    import zarr

    group: Any = zarr.open_group(store, mode="a", zarr_format=3)
    if group.attrs.get("format") != form:
        return None
    return {name: array[:] for name, array in group["inputs"].members()}, group.attrs["about"]


def _write_zarr(store: Path, arrays: dict[str, np.ndarray], about: Any, form: str) -> None:
    import zarr

    group: Any = zarr.open_group(store, mode="a", zarr_format=3)
    inputs = group.require_group("inputs")
    for name, values in arrays.items():
        chunks = (min(len(values), 256), *values.shape[1:])
        inputs.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype, overwrite=True)[:] = values
    # Last, so that a store that has it is whole.
    group.attrs.update({"about": about, "format": form})


def _held_hdf5(store: Path, form: str) -> tuple[dict[str, np.ndarray], Any] | None:
    import h5py

    if not store.exists():
        return None
    try:
        with h5py.File(store) as file:
            if file.attrs.get("format") == form:
                return {name: array[:] for name, array in file["inputs"].items()}, json.loads(file.attrs["about"])
    except OSError:
        pass
    raise InputError(f"The output {store} is a file of something else: give another --out.")


def _write_hdf5(store: Path, answers: Path, arrays: dict[str, np.ndarray], about: Any, form: str) -> None:
    import h5py

    def fill(file) -> None:
        file.attrs.update({"about": json.dumps(about), "format": form})
        for name, values in arrays.items():
            file[f"inputs/{name}"] = values
        file["answers"] = h5py.ExternalLink(answers.name, "/")

    write_whole(store, fill)
