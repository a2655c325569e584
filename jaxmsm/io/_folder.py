"""The folder a run writes: whole or not at all, or one that a killed run finds again."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ._input import InputError


def fresh_folder(name: str, *, under: str | Path = "results") -> Path:
    """A folder that is not there yet: `results/NAME-20260131-235959`, numbered where the second is taken."""
    stem = Path(under) / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, k = stem, 1
    while path.exists():
        path, k = stem.with_name(f"{stem.name}-{k}"), k + 1
    return path


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder to write into that becomes `path` at the end, and vanishes if the work is broken off."""
    path = Path(path)
    _free(path)
    made = _made(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.mkdir()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        _unmake(made)
        raise


@contextlib.contextmanager
def live_folder(path: str | Path) -> Iterator[Path]:
    """The folder itself, made if need be and kept whatever happens, so that a killed run can go on.

    One that this run made and left empty goes away again.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"The output `--out` must be a folder, but {path} is a file.")
    made = _made(path)
    try:
        yield path
    except BaseException:
        _unmake(made)
        raise


def _free(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"The output `--out` must be a folder, but {path} is a file.")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(
            f"The output `--out` must be a new or an empty folder, but {path} holds files: choose another or empty it."
        )


def _made(path: Path) -> list[Path]:
    """The folders that had to be made, the innermost first."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return missing


def _unmake(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"The output folder {path} cannot be made: {error.strerror or error}.")
