"""Pictures of fields and phases on voxels: the plane, or three middle slices of a volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ._figure import figure, save

_PAIRS = ((0, 1), (0, 2), (1, 2))


def stress_field(
    field: Any,
    *,
    label: str = "stress",
    spacing: Sequence[float] | None = None,
    title: str = "",
    path: str | Path | None = None,
) -> Any:
    """A field of one number a voxel in color, blank where it is no number; the color ends at the 99.5th percentile.

    Args:
        field: shape (n1, n2) or (n1, n2, n3).
        label: what it is, with its unit.
        spacing: edge lengths of a voxel.
        path: a PNG to write.
    """
    field = np.asarray(field, float)
    seen = field[np.isfinite(field)]
    low, high = np.percentile(seen, (0.5, 99.5)) if seen.size else (0.0, 1.0)
    drawn, panels = _panels(field, title)
    for axes, drawing in zip(panels, _slices(field, spacing)):
        shown = _show(axes, *drawing, vmin=low, vmax=max(high, low + 1e-300), cmap="viridis")
    drawn.colorbar(shown, ax=panels, label=label, shrink=0.85, extend="both")
    return save(drawn, path)


def phases(
    image: Any,
    *,
    names: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    title: str = "",
    path: str | Path | None = None,
) -> Any:
    """The phases of an image, one color each, with their names.

    Args:
        image: labels 0 to n - 1, shape (n1, n2) or (n1, n2, n3).
        path: a PNG to write.
    """
    image = np.asarray(image)
    count = max(int(image.max()) + 1, len(names or ()))
    names = names or [f"phase {k}" for k in range(count)]
    drawn, panels = _panels(image, title)
    for axes, drawing in zip(panels, _slices(image, spacing)):
        shown = _show(axes, *drawing, vmin=-0.5, vmax=count - 0.5, cmap=_colors(count))
    bar = drawn.colorbar(shown, ax=panels, ticks=range(count), shrink=0.85)
    bar.ax.set_yticklabels(names[:count])
    return save(drawn, path)


def _colors(count: int):
    from matplotlib import colormaps

    return colormaps["viridis"].resampled(count)


def _panels(field: Shaped[np.ndarray, "..."], title: str):
    if field.ndim not in (2, 3):
        raise ValueError(f"Argument `field` must have 2 or 3 axes, but its shape is {field.shape}.")
    count = 1 if field.ndim == 2 else 3
    drawn = figure(6.0 if count == 1 else 12.0, 4.8 if count == 1 else 4.0)
    panels = [drawn.add_subplot(1, count, k + 1) for k in range(count)]
    if title:
        drawn.suptitle(title)
    return drawn, panels


def _slices(field, spacing):
    """Planes with the axes they show, their edge lengths and where they cut."""
    s = (1.0,) * field.ndim if spacing is None else tuple(spacing)
    n = field.shape
    pairs = _PAIRS[:1] if field.ndim == 2 else _PAIRS
    middle = [k // 2 for k in n]
    planes = []
    for pair in pairs:
        plane = field[tuple(slice(None) if axis in pair else middle[axis] for axis in range(field.ndim))]
        through = [f"x{axis + 1} = {(middle[axis] + 0.5) * s[axis]:g}" for axis in range(field.ndim) if axis not in pair]
        planes.append((plane, pair, tuple(n[axis] * s[axis] for axis in pair), "".join(through)))
    return planes


def _show(axes, plane, pair, sizes, through, **how):
    # As a photograph is stored: the first axis runs down, the second to the right.
    shown = axes.imshow(np.asarray(plane), extent=(0, sizes[1], sizes[0], 0), interpolation="nearest", **how)
    axes.set_xlabel(f"x{pair[1] + 1}")
    axes.set_ylabel(f"x{pair[0] + 1}")
    axes.set_title(through)
    return shown
