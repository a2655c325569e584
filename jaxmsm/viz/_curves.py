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
    axes.ticklabel_format(scilimits=(-2, 4), useMathText=True)
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
    """Members against their size, with the mean, one standard deviation and the number of members at each size.

    Several names stand side by side at a size. The bars of what is nowhere negative end at zero.

    Args:
        sizes: one a member, shape (members,).
        values: by name, one number a member; failed members (not finite) are left out.
        path: a PNG to write.
    """
    drawn = figure(6.0, 4.5)
    axes = drawn.add_subplot()
    sizes = np.asarray(sizes, float)
    apart = np.diff(np.unique(sizes))
    width = 0.12 * (apart.min() if len(apart) else sizes.max(initial=1.0))
    for k, (name, given) in enumerate(values.items()):
        given = np.asarray(given, float)
        good = np.isfinite(given)
        levels = np.unique(sizes[good])
        groups = [given[good & (sizes == level)] for level in levels]
        mean = np.array([g.mean() for g in groups])
        spread = np.array([g.std(ddof=1) if len(g) > 1 else 0.0 for g in groups])
        below = np.minimum(spread, mean) if np.all(given[good] >= 0) else spread
        aside = width * (k - (len(values) - 1) / 2)
        axes.plot(sizes[good] + aside, given[good], ".", color=f"C{k}", alpha=0.3)
        axes.errorbar(levels + aside, mean, [below, spread], fmt="o-", color=f"C{k}", capsize=3, label=name)
        for level, y, group in zip(levels + aside, mean, groups, strict=True):
            axes.annotate(f"{len(group)}", (level, y), (3, 3), textcoords="offset points", color=f"C{k}", fontsize=7)
    axes.set_xticks(np.unique(sizes))
    _finish(axes, xlabel, ylabel, title, len(values) > 1)
    return save(drawn, path)


def _finish(axes, xlabel: str, ylabel: str, title: str, legend: bool) -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend()
