"""Moving pictures of a field on voxels that changes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._fields import _panels, _show, _slices


def animation(
    frames: Sequence[Any],
    *,
    path: str | Path,
    labels: Sequence[str] = (),
    limits: tuple[float, float] = (0.0, 1.0),
    fps: float = 10.0,
) -> Path:
    """A field of one number a voxel as it changes, in shades of gray: a GIF that stands still for a second at its end.

    Args:
        frames: fields of one shape, (n1, n2), or (n1, n2, n3) of which the three middle slices are shown.
        path: a GIF to write, at once or not at all.
        labels: a line above each frame.
        limits: what is white and what is black.
        fps: frames a second.
    """
    from matplotlib.animation import PillowWriter

    first = np.asarray(frames[0], float)
    drawn, panels = _panels(first, " ")
    if first.ndim == 2:
        drawn.set_size_inches(4.0, 4.2)
    how: dict[str, Any] = {"vmin": limits[0], "vmax": limits[1], "cmap": "gray_r"}
    shown = [_show(axes, *drawing, **how) for axes, drawing in zip(panels, _slices(first, None))]
    path = Path(path)
    part = path.with_name(f".{path.stem}.part.gif")
    writer = PillowWriter(fps=int(fps))
    with writer.saving(drawn, part, dpi=80):
        for k, frame in enumerate([*frames, *[frames[-1]] * round(fps)]):
            for image, (plane, *_) in zip(shown, _slices(np.asarray(frame, float), None)):
                image.set_data(plane)
            if labels:
                drawn.suptitle(labels[min(k, len(frames) - 1)])
            writer.grab_frame()
    os.replace(part, path)
    return path
