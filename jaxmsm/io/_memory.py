"""Answers of a campaign in memory: one row a member; and what every sink shares."""

import importlib
from typing import Any

import numpy as np

FORMAT = "jaxmsm campaign, version 1"
"""What a store says it is."""


def refuse(where: str, held: str, given: str) -> None:
    """A sentence where a store is of another campaign."""
    if held != given:
        raise ValueError(
            f"{where} holds the answers of another campaign (other loads, scale or chunks). "
            "Give another path, or remove it to start anew."
        )


def empty(dtype: np.dtype):
    """What stands in a row that is not there yet."""
    return np.nan if dtype.kind in "fc" else np.zeros((), dtype)[()]


def no_store(path) -> ValueError:
    """The sentence for what is no store of answers."""
    return ValueError(f"Argument `path` must be a campaign's store, but {path} is none of this version.")


def package(name: str) -> Any:
    """The package that a format is written by."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"Stores on disk need the package {name}: install `jaxmsm[files]`.") from error


class MemorySink:
    """Answers in memory, for campaigns that need not survive their process.

    Attributes:
        rows: the answers by name, one row a member; also `code` and `tries`.
    """

    def __init__(self):
        self.rows: dict[str, np.ndarray] = {}
        self.identity: str | None = None
        self.about: dict[str, Any] = {}

    def open(self, size: int, identity: str, about: dict[str, Any]) -> None:
        if self.identity is not None:
            refuse("This sink", self.identity, identity)
            return
        self.identity, self.about = identity, about
        self.rows = {"code": np.full(size, "not_run", object), "tries": np.zeros(size, np.uint8)}

    def tries(self) -> np.ndarray:
        return self.rows["tries"]

    def codes(self) -> np.ndarray:
        return self.rows["code"]

    def write(self, members: np.ndarray, values: dict[str, np.ndarray], codes: np.ndarray, tries: int) -> None:
        for name, rows in values.items():
            if name not in self.rows:
                self.rows[name] = np.full((len(self.rows["tries"]), *rows.shape[1:]), empty(rows.dtype), rows.dtype)
            self.rows[name][members] = rows
        self.rows["code"][members] = codes
        self.rows["tries"][members] = tries
