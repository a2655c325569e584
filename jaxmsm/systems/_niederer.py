"""The benchmark of electrophysiology codes of 2011: `jaxmsm run niederer`."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import viz
from ..biology import Pacing, Region, TenTusscher, Tissue
from ..io import InputError, write_vti
from ..solve import Crossing, RushLarsenMidpoint
from ..space import Diffusion
from ._console import Console, Report
from ._options import Common
from ._waves import stable, travel

SIZE = (20.0, 7.0, 3.0)
"""Of the slab, mm; fibers along the first axis."""
CONDUCTIVITY = (0.0952984, 0.0125758, 0.0125758)
"""Along and across the fibers, mm2/ms: harmonic means of intra- and extracellular conductivities over chi C_m."""
POINTS = {
    "P1": (0, 0, 0), "P2": (0, 7, 0), "P3": (20, 0, 0), "P4": (20, 7, 0), "P5": (0, 0, 3), "P6": (0, 7, 3), "P7": (20, 0, 3),
    "P8": (20, 7, 3), "C": (10, 3.5, 1.5),
}  # fmt: skip
"""Where activation is told, mm: the corners and the middle."""
LONGEST = 200.0
"""No activation takes longer, ms."""


@dataclass(kw_only=True)
class Options(Common):
    """The 2011 benchmark: a slab of human epicardial cells, stimulated in a corner; when does it activate?

    20 x 7 x 3 mm, ten Tusscher-Panfilov 2006, second differences on nodes, Rush-Larsen midpoint steps. At 0.1 mm a run takes some
    twenty minutes of a core. Lengths are in mm, times in ms.
    """

    precision: Literal["float64", "float32"] = "float32"
    """Floating-point numbers; activation times differ by some 0.0003 ms."""
    spacings: tuple[float, ...] = (0.5, 0.2)
    """Between nodes; the benchmark has 0.5, 0.2 and 0.1."""
    steps: tuple[float, ...] = (0.05, 0.01)
    """The benchmark has 0.05, 0.01 and 0.005."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Every pair of spacing and step, and what they give."""
    for dx in options.spacings:
        if dx <= 0 or dx > 1.5:
            raise InputError(f"Flag --spacings must lie between 0 and 1.5 mm, the edge of the stimulated cube, but one is {dx:g}.")
        for dt in options.steps:
            if dt <= 0 or not stable(_tissue(dx).diffusion, dt):
                limit = 2 / float(_tissue(dx).diffusion.fastest())
                raise InputError(
                    f"Flag --steps must lie between 0 and {limit:.3g} ms at a spacing of {dx:g} mm, but one is {dt:g}."
                )
    report = Report("Activation (ms) of a slab of 20 x 7 x 3 mm", ("spacing, step", *POINTS))
    lines: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    with console.progress("5 ms of tissue") as tick:
        for dx in options.spacings:
            for dt in options.steps:
                times = activation(dx, dt, tick)
                found = {name: at(times, dx, point) for name, point in POINTS.items()}
                report.rows.append((f"{dx:g} mm, {dt:g} ms", *(f"{found[name]:.2f}" for name in POINTS)))
                report.numbers[f"{dx:g} mm, {dt:g} ms"] = found
                along = np.linspace(0, 1, 60)
                diagonal = [at(times, dx, tuple(s * np.array(SIZE))) for s in along]
                lines[f"{dx:g} mm, {dt:g} ms"] = (along * float(np.linalg.norm(SIZE)), np.array(diagonal))
    # Of the finest one.
    middle = tuple(slice(0, n - 1) for n in times.shape)
    write_vti(out / "activation.vti", {"activation": times[middle]}, spacing=(dx,) * 3, origin=(dx / 2,) * 3)
    viz.stress_field(times, label="activation (ms)", spacing=(dx,) * 3, path=out / "activation.png")
    viz.curve(lines, xlabel="from corner to corner (mm)", ylabel="activation (ms)", path=out / "diagonal.png")
    _table(out / "niederer.csv", report)
    report.notes.append("The limit of fine grids is the same for all codes; how far a code is from it at 0.2 mm is its own.")
    return report


def activation(dx: float, dt: float, tick=lambda *_: None) -> Float[np.ndarray, "nx ny nz"]:
    """When every node first passes 0 mV (ms)."""
    tissue = _tissue(dx)
    inside = [jnp.arange(n) * dx < 1.5 + 1e-6 for n in tissue.diffusion.shape]
    cube = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None]
    load = Region(Pacing(35.714, 0.0, 2.0, jnp.inf), jnp.where(cube, 1.0, 0.0))
    watch = (Crossing(_potential, 0.0),)
    finished = lambda seen: bool(jnp.all(jnp.isfinite(seen[0])))
    wave = travel(tissue, load, RushLarsenMidpoint(), dt, LONGEST, watch=watch, tick=tick, done=finished)
    return np.asarray(wave.seen[0])


def _potential(y: tuple) -> Array:
    return y[0]


def _tissue(dx: float) -> Tissue:
    shape = tuple(round(length / dx) + 1 for length in SIZE)
    return Tissue(TenTusscher(), Diffusion(shape, jnp.array(CONDUCTIVITY), dx))


def at(times: np.ndarray, dx: float, point: tuple) -> float:
    """The time at a point, linear between the nodes around it."""
    from scipy.ndimage import map_coordinates

    return float(map_coordinates(times, np.array(point)[:, None] / dx, order=1, mode="nearest")[0])


def _table(path: Path, report: Report) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(report.head)
        for name, found in report.numbers.items():
            writer.writerow((name, *(f"{found[point]:.4f}" for point in POINTS)))
