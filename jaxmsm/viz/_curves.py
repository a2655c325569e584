"""Pictures of curves and scatter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._figure import figure, save


def curve(
    series: Mapping[str, tuple[Any, Any]],
    *,
    xlabel: str = "strain",
    ylabel: str = "stress",
    title: str = "",
    path: str | Path | None = None,
) -> Any:
    """Curves through points, one a name: `{name: (x, y)}`; a point that is no number is a gap.

    Args:
        path: a PNG to write.
    """
    drawn = figure(6.0, 4.5)
    axes = drawn.add_subplot()
    for name, (x, y) in series.items():
        axes.plot(np.asarray(x), np.asarray(y), ".-", label=name)
    _finish(axes, xlabel, ylabel, title, len(series) > 1)
    return save(drawn, path)


def scatter_by_size(
    sizes: Any,
    values: Mapping[str, Any],
    *,
    xlabel: str = "edge of the window (voxels)",
    ylabel: str = "stiffness",
    title: str = "",
    path: str | Path | None = None,
) -> Any:
    """Members against their size, with the mean and one standard deviation at each size.

    Args:
        sizes: one a member, shape (members,).
        values: by name, one number a member; failed members (not finite) are left out.
        path: a PNG to write.
    """
    drawn = figure(6.0, 4.5)
    axes = drawn.add_subplot()
    sizes = np.asarray(sizes, float)
    for k, (name, given) in enumerate(values.items()):
        given = np.asarray(given, float)
        good = np.isfinite(given)
        levels = np.unique(sizes[good])
        groups = [given[good & (sizes == level)] for level in levels]
        axes.plot(sizes[good], given[good], ".", color=f"C{k}", alpha=0.3)
        spread = [g.std(ddof=1) if len(g) > 1 else 0.0 for g in groups]
        axes.errorbar(levels, [g.mean() for g in groups], spread, fmt="o-", color=f"C{k}", capsize=3, label=name)
    _finish(axes, xlabel, ylabel, title, len(values) > 1)
    return save(drawn, path)


def _finish(axes, xlabel: str, ylabel: str, title: str, legend: bool) -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend()
