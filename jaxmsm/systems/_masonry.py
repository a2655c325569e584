"""Masonry from a photograph: the effective law of bricks and mortar, its scatter by window, and the joints past their yield."""

import collections
import importlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from .._results import names
from ..bridges import PeriodicCell
from ..io import InputError, LoadPath, needs, write_vti
from ..solids import J2, AbstractLaw, Elastic, Linear, PlaneStress, to_voigt
from ..solve import batched
from ..space import Full, LinearDisplacement, MeanDilatation, Periodic, UniformTraction
from ._console import Console, Report
from ._effective import Brackets, bracketed, tabulate
from ._fields import voxel_fields
from ._load_path import curves, follow, write_curve
from ._options import Common

PHASES = ("brick", "mortar")
_BOUNDARIES = {"traction": UniformTraction(), "periodic": Periodic(), "displacement": LinearDisplacement()}
_COMPONENTS = {"C11": (0, 0), "C22": (1, 1), "C66": (2, 2)}


@dataclass(kw_only=True)
class Options(Common):
    """Masonry: a photograph of a brick pavement (it comes with scikit-image), segmented and homogenized.

    Axis 1 runs down the photograph, along the bricks, axis 2 across the picture. Stresses and moduli are in MPa. The photograph is
    taken in perspective: bricks shrink towards its upper edge, so that its windows are not samples of one pattern.
    """

    brick: tuple[float, float] = (11000.0, 0.2)
    """Young's modulus (MPa) and Poisson's ratio of the bricks (default: typical of fired clay brick)."""
    mortar: tuple[float, float] = (2200.0, 0.25)
    """Young's modulus (MPa) and Poisson's ratio of the mortar (default: typical of a lime-cement mortar)."""
    cohesion: float = 0.35
    """Shear stress (MPa) at which the mortar yields (default: typical of the cohesion of a mortar joint)."""
    hardening: float = 22.0
    """Slope (MPa) of the mortar's yield stress against its plastic strain (default: a hundredth of its modulus)."""
    plane_stress: bool = False
    """Plane stress, for a thin layer, in place of plane strain; the plastic path then takes some three times as long."""
    grid: int = 128
    """Voxels along an edge of the whole, and by that the size of a voxel in the subwindows; below some 96 the joints, 5 to 8 of
    512 pixels wide, are not resolved."""
    windows: tuple[int, ...] = (64, 128, 256)
    """Edges of the subwindows, in pixels of the photograph (512 x 512; a brick is some 36 x 100)."""
    count: int = 24
    """Subwindows of each size."""
    shear: float = 0.002
    """Largest engineering shear strain of the path, without unit; the path unloads by a quarter of it."""
    steps: int = 8
    """Steps up to the largest shear, the first three eighths of them before the mortar yields as a whole; five more unload."""
    seed: int = 0
    """Where the subwindows lie."""


@dataclass
class _Wall:
    """The photograph, its mortar, and the whole on its grid."""

    photo: np.ndarray
    mortar: np.ndarray
    image: np.ndarray


def run(options: Options, out: Path, console: Console) -> Report:
    """From the photograph to the law, its scatter and its curve."""
    _check(options)
    with console.progress("segmentation", 1) as moved:
        photo = photograph()
        mortar = segment(photo)
        moved()
    wall = _Wall(photo, mortar, coarsen(mortar, options.grid))
    fraction = float(wall.image.mean())
    console.note(f"Segmentation: {mortar.mean():.1%} of the photograph is mortar ({fraction:.1%} on the grid).")
    viz.phases(wall.image, names=PHASES, path=out / "phases.png")
    report = Report(
        f"Masonry: {options.grid} x {options.grid} voxels, {fraction:.1%} mortar, moduli in MPa, axis 1 down the picture, 2 across"
    )
    report.numbers["units"] = {"moduli and stresses": "MPa", "strains": "none", "lengths": "pixels of the photograph, 512 an edge"}
    report.numbers |= {"mortar_fraction": {"photograph": float(mortar.mean()), "grid": fraction}, "sources": SOURCES}
    laws = elastic_laws(options)
    found = _whole(options, wall, laws, report, console)
    if report.failure() is not None:
        return report
    report.notes.append("The photograph is in perspective: part of the scatter of the windows is that of the size of the bricks.")
    _draw(options, wall, laws, found, out)
    _scatter(options, wall, laws, found, out, report, console)
    _shear(options, wall, found, out, report, console)
    return report


SOURCES = {
    "elasticity": "assumed: 11000 MPa, 0.2, typical of fired clay brick; 2200 MPa, 0.25, typical of a lime-cement mortar",
    "yield": "assumed: 0.35 MPa, typical of the cohesion of a joint, here the yield of J2 in shear (no friction, no softening)",
    "photograph": "scikit-image, data.brick(); in perspective: bricks shrink towards the upper edge",
}
"""Where the numbers come from; those of the materials are of the right order and measured on nothing here."""


def _check(options: Options) -> None:
    for name in ("brick", "mortar"):
        E, nu = getattr(options, name)
        if not (np.isfinite(E) and E > 0 and -1 < nu < 0.5):
            raise InputError(
                f"Flag --{name} must be a positive modulus and a Poisson's ratio between -1 and 0.5, but is {E:g} {nu:g}."
            )
    for name, least in (("grid", 8), ("count", 2), ("steps", 4)):
        if getattr(options, name) < least:
            raise InputError(f"Flag --{name} must be at least {least}, but is {getattr(options, name)}.")
    for name in ("cohesion", "shear"):
        value = getattr(options, name)
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"Flag --{name} must be positive, but is {value:g}.")
    if not (np.isfinite(options.hardening) and options.hardening >= 0):
        raise InputError(f"Flag --hardening must not be negative, but is {options.hardening:g}.")
    if options.grid > 512:
        raise InputError(f"Flag --grid must be at most the 512 pixels of the photograph, but is {options.grid}.")
    if not options.windows or min(_voxels(size, options) for size in options.windows) < 4 or max(options.windows) > 512:
        least = -(-4 * 512 // options.grid)
        raise InputError(
            f"Flag --windows must lie within the photograph and have 4 voxels an edge, {least} to 512 pixels, "
            f"but is {' '.join(map(str, options.windows))}."
        )


def _voxels(size: int, options: Options) -> int:
    """Voxels along an edge of a window, whose edge is in pixels: as large as those of the whole."""
    return round(size * options.grid / 512)


def photograph() -> np.ndarray:
    """The brick pavement that comes with scikit-image, gray levels between 0 and 1, 512 x 512."""
    return _skimage("data").brick() / 255


def segment(photo: np.ndarray) -> np.ndarray:
    """True where a photograph of bricks shows mortar, which is brighter than its surroundings.

    The noise is smoothed with its edges kept (total variation), what is brighter than the neighborhood of a brick's width is
    mortar, specks and gaps are cleaned away, and what remains of a brick must be larger than a speck.
    """
    filters, morphology, restoration = map(_skimage, ("filters", "morphology", "restoration"))
    # Bricks cut by the edge are seen whole in the mirror.
    edge = 16
    smooth = restoration.denoise_tv_chambolle(np.pad(photo, edge, mode="symmetric"), weight=0.05)
    mortar = smooth > filters.threshold_local(smooth, 91, method="gaussian", offset=-0.03)
    mortar = morphology.remove_small_objects(mortar, max_size=200)
    mortar = morphology.closing(mortar, morphology.disk(2))
    mortar = morphology.opening(mortar, morphology.disk(1.5))
    mortar = ~morphology.remove_small_objects(~mortar, max_size=60)
    return mortar[edge:-edge, edge:-edge]


def coarsen(mortar: np.ndarray, n: int) -> np.ndarray:
    """Labels (1 is mortar) on n x n voxels: those covered most by mortar, as many as keep its fraction."""
    cover = _skimage("transform").resize_local_mean(mortar.astype(float), (n, n))
    most = np.argsort(-cover, axis=None, kind="stable")[: round(float(mortar.mean()) * n * n)]
    image = np.zeros(n * n, np.int32)
    image[most] = 1
    return image.reshape(n, n)


def _skimage(module: str) -> Any:
    try:
        return importlib.import_module(f"skimage.{module}")
    except ModuleNotFoundError as error:
        raise needs("scikit-image") from error


def elastic_laws(options: Options) -> list[AbstractLaw]:
    """Brick and mortar before yield."""
    return _in_plane([Elastic.from_young(*options.brick), Elastic.from_young(*options.mortar)], options)


def _in_plane(laws: list[Any], options: Options) -> list[AbstractLaw]:
    return [PlaneStress(law) for law in laws] if options.plane_stress else laws


def _whole(options: Options, wall: _Wall, laws, report: Report, console: Console) -> Brackets:
    cell = PeriodicCell(wall.image, laws, solver=options.solver())
    with console.progress("whole: periodic", 3) as moved:
        found = bracketed(cell, jnp.eye(2).at[0, 0].add(1e-4), moved, console.note, brackets=True)
    fraction = wall.image.mean()
    tabulate(report, found, laws, np.array([1 - fraction, fraction]))
    return found


def _draw(options: Options, wall: _Wall, laws, found: Brackets, out: Path) -> None:
    """The photograph beside its mortar and the stress under a pull along the bricks."""
    cell = PeriodicCell(wall.image, laws, solver=options.solver())
    load = jnp.eye(2).at[0, 0].add(1e-4)
    fields = voxel_fields(cell, wall.image, laws, load, found.solution.guess)
    write_vti(out / "fields.vti", fields)
    viz.stress_field(fields["von_mises"], label="von Mises stress (MPa) at strain 1e-4 in 11", path=out / "stress.png")
    shown = wall.photo.copy()
    edges = wall.mortar ^ _skimage("morphology").erosion(wall.mortar)
    shown[edges] = np.nan
    viz.stress_field(shown, label="gray level; blank: where mortar ends", path=out / "segmentation.png")


@eqx.filter_jit
def _linearize(many, loads):
    solution, slope = many.linearize(loads)
    return slope, solution.result


def _scatter(options: Options, wall: _Wall, laws, found: Brackets, out: Path, report: Report, console: Console) -> None:
    """Every window between its two brackets, by size."""
    images, sizes, corners = windows(wall.mortar, options)
    rows: dict[str, Any] = {"size": sizes, "corner": corners} | {f"image_{size}": own for size, own in images.items()}
    tensors = {}
    with console.progress(f"{len(sizes)} windows", len(_BOUNDARIES) * len(images)) as moved:
        for name, boundary in _BOUNDARIES.items():
            answers = []
            for own in images.values():
                answers.append(_answered(own, laws, boundary, options))
                moved()
            tensors[name] = np.concatenate([C for C, _ in answers])
            report.codes[f"windows, {name} condition"] = collections.Counter(np.concatenate([c for _, c in answers]).tolist())
    rows |= {f"C_{name}": C for name, C in tensors.items()}
    np.savez(out / "windows.npz", **rows)
    report.numbers["windows"] = _spread(sizes, tensors)
    report.numbers["voxels_of_windows"] = {str(size): own.shape[1] for size, own in images.items()}
    _rows(report, sizes, tensors)
    everything = np.append(sizes, len(wall.mortar))
    for key, place in _COMPONENTS.items():
        whole = {name: np.asarray(to_voigt(jnp.asarray(found.tensors[name])))[place] for name in tensors}
        series = {name: np.append(C[:, *place], whole[name]) for name, C in tensors.items()}
        label = {
            "xlabel": "edge of the window (pixels)",
            "ylabel": f"{key} (MPa)",
            "title": "mean and standard deviation by window",
        }
        viz.scatter_by_size(everything, series, path=out / f"scatter_{key}.png", **label)


def _answered(images: np.ndarray, laws, boundary, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Stiffness matrices and codes of windows of one size."""
    one = PeriodicCell(images[0], laws, boundary=boundary, solver=options.solver())
    many = batched(eqx.tree_at(lambda c: c.image, one, jnp.asarray(images)), over=lambda c: c.image)
    slope, result = _linearize(many, jnp.tile(jnp.eye(2).at[0, 0].add(1e-4), (len(images), 1, 1)))
    return np.asarray(jax.vmap(to_voigt)(slope)), np.asarray(names(result))


def windows(mortar: np.ndarray, options: Options) -> tuple[dict[int, np.ndarray], np.ndarray, np.ndarray]:
    """The subwindows' images (count, g, g) by edge in pixels, and, of all in order, edges (n,) and corners (n, 2) in pixels."""
    random = np.random.default_rng(options.seed)
    images: dict[int, np.ndarray] = {}
    corners = []
    for size in dict.fromkeys(options.windows):
        starts = random.integers(0, np.array(mortar.shape) - size + 1, (options.count, 2))
        cut = [coarsen(mortar[i : i + size, j : j + size], _voxels(size, options)) for i, j in starts]
        images[size] = np.stack(cut)
        corners.append(starts)
    return images, np.repeat(list(images), options.count), np.concatenate(corners)


def _spread(sizes: np.ndarray, tensors: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Mean and standard deviation of the matrix components by size and condition."""
    out: list[dict[str, Any]] = []
    for size in np.unique(sizes):
        entry: dict[str, Any] = {"pixels": int(size), "count": int(np.sum(sizes == size))}
        for name, C in tensors.items():
            own = {key: C[sizes == size][:, *place] for key, place in _COMPONENTS.items()}
            entry[name] = {key: {"mean": float(v.mean()), "deviation": float(v.std(ddof=1))} for key, v in own.items()}
        out.append(entry)
    return out


def _rows(report: Report, sizes: np.ndarray, tensors: dict[str, np.ndarray]) -> None:
    for key, size in itertools.product(_COMPONENTS, np.unique(sizes)):
        own = {name: C[sizes == size][:, *_COMPONENTS[key]] for name, C in tensors.items()}
        # Two rows, since a row of both is too long for a screen of 80 letters.
        for label, say in (
            (f"{key}, windows {size} px", lambda v: f"{v.mean():.5g}"),
            ("  ± standard dev.", lambda v: f"{v.std(ddof=1):.2g}"),
        ):
            report.rows.append((label, *(say(own[name]) if name in own else "" for name in report.head[1:])))


def shear_path(options: Options, knee: float) -> LoadPath:
    """Engineering shear up to its largest value and back by a quarter.

    Args:
        knee: the shear where the mortar may be taken to yield as a whole; three eighths of the steps lie up to there.
    """
    early = max(2, 3 * options.steps // 8)
    knee = min(knee, options.shear * early / options.steps)
    up = np.append(np.linspace(0, knee, early + 1)[1:], np.linspace(knee, options.shear, options.steps - early + 1)[1:])
    # The first of them is small enough that little yields backwards: it shows the elastic slope.
    down = options.shear * np.array([0.95, 0.9, 0.85, 0.8, 0.75])
    F = np.eye(2) + np.append(up, down)[:, None, None] * np.array([[0.0, 0.5], [0.5, 0.0]])
    return LoadPath(F, np.zeros_like(F), np.ones((2, 2), bool), ("e12",))


def _shear(options: Options, wall: _Wall, found: Brackets, out: Path, report: Report, console: Console) -> None:
    """The mortar past its yield, and back."""
    G = float(np.asarray(to_voigt(jnp.asarray(found.tensors["periodic"])))[2, 2])
    path = shear_path(options, options.cohesion / G)
    mortar = J2.from_young(*options.mortar, Linear(sy=np.sqrt(3) * options.cohesion, H=options.hardening))
    laws = _in_plane([Elastic.from_young(*options.brick), mortar], options)
    # Plastic flow keeps the volume, against which plain elements lock in plane strain.
    rule = Full() if options.plane_stress else MeanDilatation()
    cell = PeriodicCell(wall.image, laws, rule=rule, solver=options.solver())
    with console.progress("mortar past its yield", len(path)) as moved:
        walked, end = follow(cell, path, moved)
    write_curve(out / "path.csv", walked)
    report.codes["path"] = walked["codes"].tolist()
    _say_curve(options, path, walked, G, out, report)
    if end is not None:
        fields = voxel_fields(cell, wall.image, laws, end.load, end.guess, end.state)
        _draw_end(options, wall, fields, out, report)


def _say_curve(options: Options, path: LoadPath, walked, G: float, out: Path, report: Report) -> None:
    strain, stress = curves(path, walked)["12"]
    top = np.nanmax(stress)
    shown = {"mortar with a yield stress": (2 * strain, stress), "elastic": (np.array([0, top / G]), np.array([0, top]))}
    viz.curve(shown, xlabel="engineering shear strain 2 e12", ylabel="shear stress P12 (MPa)", path=out / "curve.png")
    back = slice(options.steps, options.steps + 2)
    secant = float(np.diff(stress[back])[0] / np.diff(2 * strain[back])[0])
    report.numbers["path"] = {
        "shear": 2 * strain,
        "stress": stress,
        "largest_stress": top,
        "unloading_secant": secant,
        "elastic_slope": G,
    }
    report.rows.append(("largest shear stress", *(f"{top:.4g}" if n == "periodic" else "" for n in report.head[1:])))
    report.rows.append(("unloading, secant", *(f"{secant:.5g}" if n == "periodic" else "" for n in report.head[1:])))


def _draw_end(options: Options, wall: _Wall, fields: dict[str, np.ndarray], out: Path, report: Report) -> None:
    """Stress and strain at the end of the path, and where the stress beyond the cohesion comes from."""
    write_vti(out / "path_fields.vti", fields)
    viz.stress_field(fields["von_mises"], label="von Mises stress (MPa) at the end of the path", path=out / "path_stress.png")
    shear = 2 * fields["strain"][0, 1]
    viz.stress_field(shear, label="engineering shear strain at the end of the path", path=out / "path_strain.png")
    own = shear[wall.image == 1]
    mean, most = float(own.mean()), float(np.percentile(own, 99))
    report.numbers["path"]["mortar_shear"] = {"mean": mean, "percentile_99": most}
    if report.numbers["path"]["largest_stress"] > 1.01 * options.cohesion:
        report.notes.append(
            f"Beyond the cohesion of {options.cohesion:g} MPa the wall bears by the mortar's hardening and by bricks that no joint "
            f"passes on the grid. At the end of the path the mortar is sheared by {mean:.2g} on the mean, {most:.2g} at its 99th "
            "percentile. At all defaults but --hardening 0 the stress ends at the cohesion."
        )
