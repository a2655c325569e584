"""A figure to draw on, without a display, and the file it ends in."""

import os
from pathlib import Path
from typing import Any


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure (inches), belonging to no window and no global state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Pictures need matplotlib: run `pip install 'jaxmsm[files]'`.") from error
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def save(drawn: Any, path: str | Path | None) -> Any:
    """The figure, written as PNG to a path where one is given, at once or not at all."""
    if path is not None:
        path = Path(path)
        part = path.with_name(path.name + ".part")
        drawn.savefig(part, dpi=150, format="png")
        os.replace(part, path)
    return drawn
