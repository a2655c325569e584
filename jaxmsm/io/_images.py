"""Images and tomographies from files, as arrays of one value a voxel."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ._input import InputError, needs
from ._vti import read_vti

_SUFFIXES = {
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".bmp": "picture",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "numpy",
    ".npz": "archive",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".vti": "vti",
}
_GRAY = np.array([0.2125, 0.7154, 0.0721])
"""Luminance of linear red, green and blue (ITU-R BT.709)."""


def read_image(path: str | Path) -> Shaped[np.ndarray, "..."]:
    """The image in a PNG, TIFF, NPY, NPZ, HDF5 or VTI file, 2D or 3D, axes of length one dropped.

    An image of n1 x n2 (x n3) voxels has its first index along axis 1 of the deformation gradient, and so on. Colors become
    their luminance, with a warning; a picture with a palette is read as the indices into it.

    Args:
        path: the file; `file.h5:name`, `file.npz:name` and `file.vti:name` choose one of several arrays.
    """
    file, name = split_path(path)
    if not file.is_file():
        raise InputError(f"The image {file} does not exist." if not file.exists() else f"The image {file} is a folder, not a file.")
    kind = _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise InputError(f"The image {file} must end in one of {', '.join(sorted(_SUFFIXES))}, but ends in `{file.suffix}`.")
    if name is not None and kind not in ("archive", "hdf5", "vti"):
        raise InputError(f"The image {file} holds one array, so `:{name}` chooses nothing; leave it out.")
    try:
        values = _READERS[kind](file, name)
    except (InputError, ModuleNotFoundError):
        raise
    # Decoders meet broken bytes with whatever they stumble over.
    except Exception as error:
        raise InputError(
            f"The image {file} cannot be read: it is truncated or not a {file.suffix} file ({_brief(error)})."
        ) from error
    return _checked(file, values, picture=kind in ("picture", "tiff"))


def split_path(path: str | Path) -> tuple[Path, str | None]:
    """`file:name` taken apart; the name is None where there is none."""
    if Path(path).exists():
        return Path(path), None
    head, colon, tail = str(path).rpartition(":")
    if colon and Path(head).suffix.lower() in _SUFFIXES:
        return Path(head), tail
    return Path(path), None


def _brief(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _checked(file: Path, values: np.ndarray, *, picture: bool) -> np.ndarray:
    values = np.asarray(values)
    if picture and values.ndim >= 3 and values.shape[-1] in (2, 3, 4):
        values = _gray(file, values)
    values = np.squeeze(values)
    if values.ndim not in (2, 3):
        raise InputError(f"The image {file} must have 2 or 3 axes, but its shape is {values.shape}.")
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise InputError(f"The image {file} must hold numbers, but its dtype is {values.dtype}.")
    bad = int(np.sum(~np.isfinite(values)))
    if bad:
        raise InputError(f"The image {file} must be finite, but {bad} of its {values.size} voxels are NaN or infinite.")
    return values


def _gray(file: Path, values: np.ndarray) -> np.ndarray:
    channels = values.shape[-1]
    if channels == 2:
        warnings.warn(f"The image {file} has an alpha channel, which was dropped.", stacklevel=4)
        return values[..., 0]
    warnings.warn(f"The image {file} is in color ({channels} channels) and was converted to gray.", stacklevel=4)
    return np.asarray(values[..., :3] @ _GRAY)


def _picture(file: Path, name: Any) -> np.ndarray:
    del name
    with _module("PIL.Image", "pillow").open(file) as picture:
        return np.asarray(picture)


def _tiff(file: Path, name: Any) -> np.ndarray:
    del name
    tifffile = _module("tifffile", "tifffile")
    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        if file.stat().st_size < max(o + n for p in series.pages for o, n in zip(p.dataoffsets, p.databytecounts)):
            raise InputError(f"The image {file} is truncated: its last bytes are missing.")
        values = series.asarray()
        first = series.pages[0]
        planar = getattr(first, "planarconfig", 1) == 2 and first.samplesperpixel in (3, 4)
        return np.moveaxis(values, -3, -1) if planar else _channels(values, first.samplesperpixel)


def _channels(values: np.ndarray, samples: int) -> np.ndarray:
    # A stack whose last axis happens to be 2, 3 or 4 long is not in color: an axis more keeps it from looking so.
    return values if samples > 1 else values[..., None]


def _numpy(file: Path, name: Any) -> np.ndarray:
    del name
    return np.load(file, allow_pickle=False)


def _archive(file: Path, name: str | None) -> np.ndarray:
    # A handle of our own, since numpy leaves that of a broken archive open.
    with file.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
        return archive[choose(file, name, archive.files)]


def _hdf5(file: Path, name: str | None) -> np.ndarray:
    h5py = _module("h5py", "h5py")
    with h5py.File(file) as data:
        found: list[str] = []
        data.visititems(lambda key, item: found.append(key) if isinstance(item, h5py.Dataset) else None)
        return data[choose(file, name and name.strip("/"), found)][()]


def _vti(file: Path, name: str | None) -> np.ndarray:
    fields, _ = read_vti(file)
    return fields[choose(file, name, list(fields))]


def choose(file: Path, name: str | None, found: list[str]) -> str:
    """The array asked for, or the only one there is."""
    listed = ", ".join(f"`{key}`" for key in found[:12]) or "none"
    if name is None:
        if len(found) != 1:
            raise InputError(f"The file {file} holds {len(found)} arrays ({listed}): choose one as `{file}:NAME`.")
        return found[0]
    if name not in found:
        raise InputError(f"The file {file} has no array `{name}`; it has {listed}.")
    return name


def _module(name: str, package: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise needs(package) from error


_READERS: dict[str, Callable[[Path, Any], np.ndarray]] = {
    "picture": _picture,
    "tiff": _tiff,
    "numpy": _numpy,
    "archive": _archive,
    "hdf5": _hdf5,
    "vti": _vti,
}


def image_spacing(path: str | Path) -> tuple[float, ...] | None:
    """The edge lengths of a voxel where the file knows them (VTI), else None."""
    file, _ = split_path(path)
    return read_vti(file)[1] if file.suffix.lower() == ".vti" else None
