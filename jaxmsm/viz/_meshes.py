"""Pictures of fields on meshes: the plane, or the surface of a solid."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from ..space import Block, Mesh, facets_of
from ._figure import figure, save


def mesh_field(
    mesh: Mesh,
    values: Any,
    *,
    displacement: Any = None,
    scale: float = 1.0,
    label: str = "",
    title: str = "",
    path: str | Path | None = None,
) -> Any:
    """A field of one number a node (n,) or an element (e,) in color, with the edges of the elements.

    A solid shows its surface. The color ends at the 99.5th percentile.

    Args:
        displacement: of the nodes, (n, d); the body is drawn deformed, its undeformed outline in gray.
        scale: the displacement is drawn so many times as large.
        label: what the field is, with its unit.
        path: a PNG to write.
    """
    values = np.asarray(values, float)
    x = np.asarray(mesh.points, float)
    if values.shape not in ((len(x),), (mesh.count,)):
        raise ValueError(
            f"Argument `values` must hold one number a node ({len(x)}) or an element ({mesh.count}), but has shape {values.shape}."
        )
    moved = x if displacement is None else x + scale * np.asarray(displacement, float)
    faces, owners = _faces(mesh)
    nodal = values.shape == (len(x),)
    shown = np.array([values[f].mean() for f in faces]) if nodal else values[owners]
    seen = shown[np.isfinite(shown)]
    low, high = np.percentile(seen, (0.5, 99.5)) if seen.size else (0.0, 1.0)
    drawn = figure(6.5, 5.0)
    axes = drawn.add_subplot(projection="3d" if mesh.d == 3 else None)
    polygons = _collection(mesh.d, [moved[f] for f in faces])
    polygons.set(array=shown, cmap="viridis", clim=(low, max(high, low + 1e-300)), edgecolor=(0, 0, 0, 0.35), linewidth=0.3)
    if mesh.d == 2:
        axes.add_collection(polygons)
        if displacement is not None:
            for block in mesh.surface():
                for edge in np.asarray(block.nodes):
                    axes.plot(*x[_along(edge)].T, color="0.6", linewidth=0.6)
        axes.autoscale_view()
        axes.set_aspect("equal")
    else:
        axes.add_collection3d(polygons)
        low3, high3 = moved.min(0), moved.max(0)
        axes.set(xlim=(low3[0], high3[0]), ylim=(low3[1], high3[1]), zlim=(low3[2], high3[2]))
        axes.set_box_aspect(np.maximum(high3 - low3, 1e-3 * np.ptp(moved)))
    axes.set(xlabel="x", ylabel="y", title=title)
    drawn.colorbar(polygons, ax=axes, label=label, shrink=0.8, extend="both")
    return save(drawn, path)


def _collection(d: int, corners: list) -> Any:
    if d == 2:
        from matplotlib.collections import PolyCollection

        return PolyCollection(corners)
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    return Poly3DCollection(corners)


def _faces(mesh: Mesh) -> tuple[list[np.ndarray], np.ndarray]:
    """Node numbers around each face that is seen, and the elements the faces belong to."""
    if mesh.d == 2:
        faces = [ring for block in mesh.blocks for ring in np.asarray(block.nodes)[:, _ring(block)]]
        return faces, np.arange(mesh.count)
    blocks = mesh.surface()
    faces = [ring for block in blocks for ring in np.asarray(block.nodes)[:, _ring(block)]]
    owner: dict[frozenset, int] = {}
    start = 0
    wanted = {frozenset(nodes.tolist()) for block in blocks for nodes in np.asarray(block.nodes)}
    for block in mesh.blocks:
        for number, nodes in enumerate(np.asarray(block.nodes)):
            for corners in _facet_nodes(block):
                key = frozenset(nodes[corners].tolist())
                if key in wanted:
                    owner[key] = start + number
        start += len(block.nodes)
    return faces, np.array([owner[frozenset(nodes.tolist())] for block in blocks for nodes in np.asarray(block.nodes)])


def _facet_nodes(block: Block) -> Int[np.ndarray, "f k"]:
    return facets_of(block.element)[1]


def _ring(block: Block) -> Int[np.ndarray, " k"]:
    """The nodes of a plane element in the order in which they stand around it."""
    x = np.array(block.element.nodes)
    if block.element.order == 1:
        return np.arange(len(x))
    edge = np.flatnonzero(np.any(np.abs(x) > 0.999, 1) | np.any(np.abs(x) < 1e-9, 1) | (np.abs(x.sum(1) - 1) < 1e-9))
    inside = x[edge] - x[: len(block.element.corners)].mean(0)
    keep = edge[np.sum(inside**2, 1) > 1e-9]
    around = x[keep] - x[: len(block.element.corners)].mean(0)
    return keep[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]


def _along(edge: Shaped[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The nodes of an edge from end to end."""
    return edge if len(edge) == 2 else edge[[0, 2, 1]]
