"""What a run leaves behind to be read by people and programs: `summary.json`."""

import dataclasses
import json
import math
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np


def write_summary(out: str | Path, content: Mapping[str, Any]) -> Path:
    """`summary.json` in a folder: what is given and the versions it was made with, in place at once or not at all.

    Arrays become lists and numbers that are none become null. Codes belong there by name (`names`).
    """
    path = Path(out) / "summary.json"
    text = json.dumps(plain({**content, "versions": versions()}), indent=2, allow_nan=False)
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n")
    os.replace(part, path)
    return path


def versions() -> dict[str, str]:
    """What the numbers were made with: packages, Python, device."""
    return {
        **{name: _version(name) for name in ("jaxmsm", "jax", "jaxlib", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def plain(value: Any) -> Any:
    """The value as JSON knows it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (np.ndarray, jax.Array, np.generic)):
        value = np.asarray(value).tolist()
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
