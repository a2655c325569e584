"""Cells designed by gradient: one that widens when it is pulled, and one as stiff against pressure as any of its weight."""

import csv
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from .. import viz
from .._results import fine, names
from ..io import Checkpoint, InputError
from ..solids import AbstractLaw, Elastic, PlaneStress, to_voigt
from ..space import ConeFilter
from ._console import Console, Report
from ._inverse import COLUMNS, SHARPNESS, Auxetic, Course, Layout, Moduli, Stiffest, bulk_bound, design, voxel_stiffness
from ._options import Resuming

DESIGNS = {"poisson": "least Poisson's ratio", "bulk": "greatest bulk modulus"}


@dataclass(kw_only=True)
class Options(Resuming):
    """Metamaterial: where to put a solid in a periodic cell, by the slope of the effective stiffness in the density of every voxel.

    Two designs, each with the symmetry of the square (the cube): the least Poisson's ratio at a given Young's modulus, and the
    greatest bulk modulus, which is held against Hashin and Shtrikman's bound. Densities are filtered and driven to 0 or 1; what is
    reported is of the cell of voxels that are full or empty, at the same and at doubled resolution. In 2D moduli and ratios are
    those of the plane. Given the same --out again, a run that was killed goes on.
    """

    designs: tuple[Literal["poisson", "bulk"], ...] = ("poisson", "bulk")
    """What to design."""
    size: int = 64
    """Voxels along an edge of the cell (3D: some 24)."""
    dimension: Literal[2, 3] = 2
    """Dimension of the cell (2D: plane strain unless --plane-stress)."""
    volume: float = 0.5
    """Greatest volume fraction of the solid, without unit."""
    stiffness: float = 0.05
    """Least Young's modulus of the design of least Poisson's ratio, over that of the solid, without unit."""
    solid: tuple[float, float] = (1.0, 0.3)
    """Young's modulus (any unit, that of all stiffnesses) and Poisson's ratio of the solid."""
    plane_stress: bool = False
    """2D: plane stress, for a thin sheet, in place of plane strain."""
    radius: float = 3.0
    """Radius of the filter, in voxels: bars and gaps much thinner do not form."""
    power: float = 3.0
    """The stiffness goes with this power of the density, without unit."""
    void: float = 1e-5
    """Stiffness of empty voxels over that of the solid while designing, without unit; in the final numbers it is zero."""
    steps: int = 30
    """Steps at each of the six sharpnesses (1, 2, 4, ..., 32) of the step that drives densities to 0 or 1."""
    rtol: float = 1e-4
    """Relative residual at which a solve stops, without unit; the stiffness is good to about its square."""
    seed: int = 0
    """Of the waves that a design starts from; another seed is another design."""


SOURCES = {
    "solid": "assumed: E = 1, nu = 0.3; linear, so that every stiffness goes with E",
    "bound": "Hashin and Shtrikman, J. Mech. Phys. Solids 11 (1963) 127, of the solid and pores at the volume of the final voxels",
    "method": "Sigmund, Int. J. Solids Struct. 31 (1994) 2313 (inverse homogenization); Svanberg (1987), moving asymptotes",
}
"""Where the numbers and the method come from."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Each design from its waves to its voxels, then what the voxels are worth."""
    _check(options)
    law = _law(options)
    shape = (options.size,) * options.dimension
    layout = Layout(law, ConeFilter(shape, options.radius), options.solver(options.rtol), options.power, options.void)
    kind = "3D" if options.dimension == 3 else "plane stress" if options.plane_stress else "plane strain"
    report = Report(f"Metamaterial: cell of {' x '.join(map(str, shape))} voxels, {kind}, at most {options.volume:.1%} solid")
    report.head = ("full and empty voxels", *options.designs)
    report.numbers |= {"units": {"stiffness": "that of --solid", "everything else": "none"}, "sources": SOURCES, "designs": {}}
    columns: list[dict[str, str]] = []
    for name in options.designs:
        course = _designed(name, options, layout, out, console)
        report.codes[f"{name}, design"] = course.code
        if course.code == "successful":
            columns.append(_judge(name, options, layout, course, out, report))
    if len(columns) == len(options.designs):
        report.rows += [(key, *(column[key] for column in columns)) for key in columns[0]]
    return report


def _check(options: Options) -> None:
    if not options.designs or len(set(options.designs)) < len(options.designs):
        raise InputError(f"Flag --designs must name each design once, but is {' '.join(options.designs) or 'nothing'}.")
    for name, least in (("size", 8), ("steps", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise InputError(f"Flag --{name} must be at least {least}, but is {getattr(options, name)}.")
    if not 0 < options.volume < 1:
        raise InputError(f"Flag --volume must lie between 0 and 1, but is {options.volume:g}.")
    if not 0 < options.stiffness < options.volume:
        raise InputError(
            f"Flag --stiffness must lie between 0 and the volume {options.volume:g}, beyond which no cell is so stiff, "
            f"but is {options.stiffness:g}."
        )
    E, nu = options.solid
    if not (np.isfinite(E) and E > 0 and -1 < nu < 0.5):
        raise InputError(f"Flag --solid must be a positive modulus and a Poisson's ratio between -1 and 0.5, but is {E:g} {nu:g}.")
    if options.plane_stress and options.dimension == 3:
        raise InputError("Flag --plane-stress is for --dimension 2, but that is 3.")
    if not 0 <= options.radius <= options.size / 2:
        raise InputError(f"Flag --radius must lie between 0 and half the size, {options.size / 2:g}, but is {options.radius:g}.")
    if not 1 <= options.power < np.inf:
        raise InputError(f"Flag --power must be at least 1, but is {options.power:g}.")
    for name in ("void", "rtol"):
        if not 0 < getattr(options, name) < 1:
            raise InputError(f"Flag --{name} must lie between 0 and 1, but is {getattr(options, name):g}.")


def _law(options: Options) -> AbstractLaw:
    law = Elastic.from_young(*options.solid)
    return PlaneStress(law) if options.plane_stress else law


def _designed(name: str, options: Options, layout: Layout, out: Path, console: Console) -> Course:
    """The course of a design, its history beside it."""
    solid = layout.solid
    volume = jnp.asarray(options.volume)
    target: Callable = Stiffest(volume, solid) if name == "bulk" else Auxetic(volume, jnp.asarray(options.stiffness), solid)
    about = {key: value for key, value in dataclasses.asdict(options).items() if key not in ("out", "quiet", "designs")}
    about = {key: list(value) if isinstance(value, tuple) else value for key, value in about.items()}
    store, start = Checkpoint(out / f"{name}.checkpoint.npz"), layout.start(options.volume, options.seed)
    with console.progress(f"{name}: {DESIGNS[name]}", options.steps * len(SHARPNESS)) as moved:
        done = 0

        def after(course: Course) -> None:
            nonlocal done
            moved(course.step - done, f"{name}: {_said(name, options, course.rows[-1], solid)}")
            done = course.step
            if course.step % options.steps == 0:
                console.note(f"{name}, step {course.step}: {_said(name, options, course.rows[-1], solid)}")

        course = design(layout, target, start, options.steps, store, about, after)
    _write_history(name, options, course, solid, out)
    return course


def _said(name: str, options: Options, row: list[float], solid: Moduli) -> str:
    """Where a design stands."""
    sharpness, volume, axial, cross, *_ = row
    now = Moduli(axial, cross, options.dimension)
    worth = f"nu {now.poisson:+.3f}, E / E0 {float(now.young / solid.young):.4f}"
    if name == "bulk":
        worth = f"K / bound {float(now.bulk / bulk_bound(options.volume, solid)):.4f}"
    return f"{worth}, volume {volume:.4f}, sharpness {sharpness:g}"


def _write_history(name: str, options: Options, course: Course, solid: Moduli, out: Path) -> None:
    """Table and curve of the steps."""
    rows = np.array(course.rows).reshape(-1, len(COLUMNS))
    now = Moduli(rows[:, 2], rows[:, 3], options.dimension)
    extra = {"nu": now.poisson, "E_over_solid": now.young / float(solid.young), "K_over_solid": now.bulk / float(solid.bulk)}
    with open(out / f"{name}_history.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", *COLUMNS, *extra))
        writer.writerows([k, *row, *more] for k, (row, more) in enumerate(zip(rows.tolist(), zip(*extra.values()))))
    k = np.arange(len(rows))
    key, label = ("K_over_solid", "K / K0") if name == "bulk" else ("nu", "Poisson's ratio")
    series = {label: (k, extra[key]), "volume": (k, rows[:, 1]), "grayness": (k, rows[:, 6])}
    viz.curve(series, xlabel="step", ylabel="without unit", title=DESIGNS[name], path=out / f"{name}_history.png")


def _judge(name: str, options: Options, layout: Layout, course: Course, out: Path, report: Report) -> dict[str, str]:
    """Files and pictures of a design, and its column of the table: of its voxels, full or empty, at one and at two resolutions."""
    density = np.asarray(layout.density(course.x if course.best is None else course.best, SHARPNESS[-1]))
    image = _voxels(density, options.volume)
    np.save(out / f"{name}_density.npy", density)
    np.save(out / f"{name}_image.npy", image)
    viz.stress_field(density, label="density", title=DESIGNS[name], path=out / f"{name}.png")
    viz.phases(
        np.tile(image, (3,) * image.ndim), names=("empty", "solid"), title="3 cells an axis", path=out / f"{name}_tiling.png"
    )
    labels = [f"step {k * 3}: {_short(name, options, course.rows[k * 3])}" for k in range(len(course.frames))]
    frames = [frame / 255 for frame in course.frames]
    viz.animation([*frames, image], labels=[*labels, "full or empty"], path=out / f"{name}.gif")
    found: dict[str, Any] = {"volume": float(image.mean()), "gray": float(np.mean(4 * density * (1 - density)))}
    for factor in (1, 2):
        fine_image = image.repeat(factor, 0).repeat(factor, 1)
        fine_image = fine_image.repeat(factor, 2) if image.ndim == 3 else fine_image
        C, result = voxel_stiffness(layout.law, jnp.asarray(fine_image, jnp.int32), options.solver())
        report.codes[f"{name}, voxels x {factor}"] = str(names(result))
        found[f"x{factor}"] = _worth(C, found["volume"], layout.solid) if bool(fine(result)) else None
        np.savetxt(out / f"{name}_stiffness_x{factor}.csv", np.asarray(to_voigt(C)), delimiter=",")
    report.numbers["designs"][name] = found
    return _column(found)


def _voxels(density: np.ndarray, volume: float) -> np.ndarray:
    """Full where the density is above one half or, where those would be too many, above the level that leaves the volume."""
    # Voxels that are mirror images differ by round-off alone, and go together.
    density = np.round(density, 6)
    levels = np.unique(density[density > 0.5])
    level = next((x for x in (0.5, *levels) if np.mean(density > x) <= volume), 0.5)
    return (density > level).astype(np.uint8)


def _short(name: str, options: Options, row: list[float]) -> str:
    now = Moduli(row[2], row[3], options.dimension)
    return f"K = {now.bulk:.4g}" if name == "bulk" else f"nu = {now.poisson:+.3f}"


def _worth(C, volume: float, solid: Moduli) -> dict[str, Any]:
    """The numbers of an effective stiffness."""
    now = Moduli.of(C)
    return {
        "stiffness": np.asarray(to_voigt(C)),
        "poisson": float(now.poisson),
        "young_over_solid": float(now.young / solid.young),
        "bulk_over_solid": float(now.bulk / solid.bulk),
        "bulk_over_bound": float(now.bulk / bulk_bound(volume, solid)),
        "zener": float(C[0, 1, 0, 1] / now.shear),
    }


def _column(found: dict[str, Any]) -> dict[str, str]:
    rows = {"volume of the solid": f"{found['volume']:.4f}"}
    labels = {
        "poisson": "Poisson's ratio",
        "young_over_solid": "E / E of the solid",
        "bulk_over_bound": "K / upper bound (HS)",
        "zener": "C44 / (C11 - C12) * 2",
    }
    for key, label in labels.items():
        for factor, where in ((1, ""), (2, ", resolution doubled")):
            own = found[f"x{factor}"]
            rows[label + where] = "-" if own is None else f"{own[key]:.4f}"
    return rows
