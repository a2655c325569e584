"""From the values of an image to the labels of its phases."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped

from ._input import InputError

_MOST = 16
"""More distinct values than this are gray levels, not labels."""


def phases(
    image: Shaped[np.ndarray, "..."],
    *,
    labels: Sequence[float | Sequence[float]] | None = None,
    thresholds: Sequence[float] | None = None,
) -> Int[np.ndarray, "..."]:
    """Phase labels 0 to n - 1 of every voxel.

    Args:
        labels: the value in the image (or the several values) of each phase, in the order of the phases.
        thresholds: ascending gray levels; phase k holds the values from thresholds[k - 1] up to, without, thresholds[k].
            Without either, the values of the image in ascending order are the phases.
    """
    if labels is not None and thresholds is not None:
        raise InputError("Phases are chosen by labels or by thresholds, but both were given.")
    if thresholds is not None:
        return _by_threshold(image, thresholds)
    return _by_label(image, _found(image) if labels is None else labels)


def _found(image) -> list[float]:
    values = np.unique(image)
    if len(values) > _MOST:
        raise InputError(
            f"The image holds {len(values)} distinct values, gray levels rather than labels: give thresholds, "
            "or the label of each phase."
        )
    return values.tolist()


def _by_threshold(image, thresholds) -> Int[np.ndarray, "..."]:
    edges = np.asarray(thresholds, float).ravel()
    if len(edges) == 0 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise InputError(f"Thresholds must be finite and ascending, but are {_listed(edges)}.")
    out = np.digitize(image, edges).astype(np.int32)
    for phase in range(len(edges) + 1):
        if not np.any(out == phase):
            raise InputError(
                f"Phase {phase} is absent: no voxel lies {_range(edges, phase)} "
                f"(the image runs from {np.min(image):g} to {np.max(image):g})."
            )
    return out


def _range(edges, phase: int) -> str:
    if phase == 0:
        return f"below the threshold {edges[0]:g}"
    if phase == len(edges):
        return f"at or above the threshold {edges[-1]:g}"
    return f"from {edges[phase - 1]:g} to {edges[phase]:g}"


def _by_label(image, labels) -> Int[np.ndarray, "..."]:
    out = np.full(image.shape, -1, np.int32)
    for phase, label in enumerate(labels):
        own = np.isin(image, np.atleast_1d(label))
        if np.any(out[own] >= 0):
            raise InputError(f"Every label must belong to one phase, but {_listed(np.atleast_1d(label))} is given twice.")
        if not np.any(own):
            raise InputError(
                f"Phase {phase} is absent: the image has no voxel of label {_listed(np.atleast_1d(label))}; "
                f"it has {_listed(np.unique(image))}."
            )
        out[own] = phase
    if np.any(out < 0):
        rest = np.unique(image[out < 0])
        raise InputError(f"Every voxel must belong to a phase, but no phase has the label {_listed(rest)}.")
    return out


def _listed(values) -> str:
    return ", ".join(f"{v:g}" for v in values[:10]) + (", ..." if len(values) > 10 else "")
