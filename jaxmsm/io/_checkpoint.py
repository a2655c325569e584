"""A checkpoint: arrays and a header in one file that is either whole or not there."""

import io
import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

_HEADER = "__header__"


class Checkpoint:
    """The last state of a long run, in one NumPy archive (`.npz`) with a JSON header.

    `save` writes beside the file, flushes to the disk and renames, so that a kill leaves the last file or the new one. The folder
    is made where it is missing.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    def save(self, arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
        """Replace what was saved before."""
        content = io.BytesIO()
        whole: dict[str, Any] = arrays | {_HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8)}
        np.savez(content, **whole)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        with open(part, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What was saved last, or None where nothing was."""
        if not self.path.exists():
            return None
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            header = json.loads(arrays.pop(_HEADER).tobytes())
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"Argument `path` must be a checkpoint, but {self.path} cannot be read as one: {error}") from error
        return arrays, header
