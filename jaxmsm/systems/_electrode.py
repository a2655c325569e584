"""A battery electrode from its tomography: elastic moduli and ionic tortuosity of hundreds of subvolumes, by volume."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from ..bridges import PeriodicCell
from ..io import InputError, phases, read_image
from ..solids import AbstractLaw, Conductivity, Elastic
from ..space import AbstractBoundary, LinearDisplacement, Periodic, UniformTraction
from ._campaigns import Window, WindowLoad, need_store, stream
from ._console import Console, Report
from ._fields import voxel_fields
from ._options import Resuming

PHASES = ("pore", "particle", "binder")
_BOUNDARIES: dict[str, AbstractBoundary] = {
    "periodic": Periodic(),
    "mirror": Periodic(),
    "displacement": LinearDisplacement(),
    "traction": UniformTraction(),
}


@dataclass(kw_only=True)
class Options(Resuming):
    """Electrode: elastic moduli (GPa) and ionic tortuosity of subvolumes of a tomography, mean and scatter by volume.

    The tortuosity of an axis is the tortuosity factor, porosity times the electrolyte's conductivity over the effective one (not a
    ratio of lengths). Subvolumes without a path have none and are left out of its mean, but count with zero in that of k / k0;
    mean porosity over that mean is the factor of all together. Given the same --out again, a run that was killed goes on.
    """

    image: str
    """Tomography, 3D: TIFF, NPY, NPZ, HDF5 or VTI file; `file.h5:name` chooses one of several arrays."""
    labels: tuple[float, ...] = (0, 1, 2)
    """Value in the image of the pores, the particles and the binder (two values: there is no binder)."""
    sizes: tuple[int, ...] = (16, 32, 64)
    """Edges of the subvolumes, in voxels."""
    counts: tuple[int, ...] = (200, 12, 1)
    """Subvolumes of each size."""
    particle: tuple[float, float] = (140.0, 0.3)
    """Young's modulus (GPa) and Poisson's ratio of the particles (default: typical of NMC by nanoindentation)."""
    binder: tuple[float, float] = (2.0, 0.3)
    """Young's modulus (GPa) and Poisson's ratio of carbon and binder (default: of the order of dry PVDF)."""
    binder_conductivity: float = 0.0
    """Ionic conductivity of the binder over that of the electrolyte, without unit; 0 blocks the ions."""
    boundary: Literal["periodic", "mirror", "displacement", "traction"] = "periodic"
    """Faces of a subvolume: as if repeated, as if repeated with its mirror images (8 times the voxels), moved with the mean
    deformation (stiff side), or under uniform traction (soft side). No image is periodic: the first cuts paths at the faces."""
    rtol: float = 1e-4
    """Relative residual at which a solve stops, without unit; the moduli are good to about this."""
    seed: int = 0
    """Where the subvolumes lie."""


SOURCES = {
    "particle": "assumed: 140 GPa, 0.3, typical of NMC by nanoindentation",
    "binder": "assumed: 2 GPa, 0.3, of the order of dry PVDF",
    "image": "see the reference beside the image, e.g. Usseglio-Viretta et al., SoftwareX 17 (2022) 100915",
    "tortuosity": "porosity times conductivity of the electrolyte over effective conductivity, by axis",
}
"""Where the numbers come from; those of the materials are of the right order and measured on nothing here."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Two campaigns for each size, and what they say."""
    volume = _read(options)
    need_store(out / "elasticity.zarr")
    names = PHASES[: len(options.labels)]
    fractions = dict(zip(names, np.bincount(volume.ravel(), minlength=len(names)) / volume.size, strict=True))
    viz.phases(volume, names=names, path=out / "phases.png")
    console.note("Fractions: " + ", ".join(f"{name} {value:.1%}" for name, value in fractions.items()))
    shape = " x ".join(map(str, volume.shape))
    report = Report(f"{options.image}: {shape} voxels; moduli in GPa, {options.boundary} subvolumes")
    report.numbers["units"] = {"moduli": "GPa", "k / k0, tortuosity": "none", "lengths": "voxels"}
    report.numbers |= {"shape": volume.shape, "fractions": fractions, "sources": SOURCES}
    found: list[dict[str, Any]] = []
    shared = jnp.asarray(volume)
    for size, count in zip(options.sizes, options.counts, strict=True):
        corners = _corners(volume.shape, size, count, options.seed)
        solid = _solid(options, shared, size, corners, out, console)
        ionic = _ionic(options, shared, size, corners, out, console)
        found.append(_entry(size, corners, solid, ionic))
        report.codes[f"elasticity of {size}^3"] = found[-1]["codes"]["elasticity"]
        report.codes[f"conduction in {size}^3"] = collections.Counter(ionic["code"].tolist())
        console.note(f"{size}^3: " + ", ".join(f"{key} {_text(v, count)}" for key, v in _said(found[-1]).items()))
    _conclude(options, found, volume, out, report)
    return report


def _read(options: Options) -> np.ndarray:
    """The volume as labels 0 to 2, after the options are checked."""
    if len(options.sizes) != len(options.counts) or not options.sizes or min(options.counts) < 1:
        raise InputError(
            f"Flags --sizes and --counts must go together, but are {_listed(options.sizes)} and {_listed(options.counts)}."
        )
    if len(set(options.sizes)) != len(options.sizes):
        raise InputError(f"Flag --sizes must hold every size once, but is {_listed(options.sizes)}.")
    if len(options.labels) not in (2, 3):
        raise InputError(f"Flag --labels must be 2 or 3 values (pores, particles, binder), but is {_listed(options.labels)}.")
    for name in ("particle", "binder"):
        E, nu = getattr(options, name)
        if not (np.isfinite(E) and E >= 0 and -1 < nu < 0.5):
            raise InputError(f"Flag --{name} must be a modulus and a Poisson's ratio between -1 and 0.5, but is {E:g} {nu:g}.")
    if not (np.isfinite(options.binder_conductivity) and options.binder_conductivity >= 0):
        raise InputError(f"Flag --binder-conductivity must not be negative, but is {options.binder_conductivity:g}.")
    image = read_image(options.image)
    if image.ndim != 3:
        raise InputError(f"The image {options.image} must have 3 axes, but its shape is {image.shape}.")
    if min(options.sizes) < 2 or max(options.sizes) > min(image.shape):
        raise InputError(
            f"Flag --sizes must lie between 2 and the shortest edge of the image ({min(image.shape)}), "
            f"but is {_listed(options.sizes)}."
        )
    return phases(image, labels=options.labels).astype(np.uint8)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values) or "nothing"


def _corners(shape: tuple[int, ...], size: int, count: int, seed: int) -> np.ndarray:
    """Where the subvolumes of a size begin; the first ones do not depend on how many there are."""
    random = np.random.default_rng((seed, size))
    return random.integers(0, np.array(shape) - size + 1, (count, 3)).astype(np.int32)


def _windows(options: Options, volume, size: int, laws: Sequence[AbstractLaw]) -> Window:
    mirror = options.boundary == "mirror"
    empty = np.zeros((2 * size if mirror else size,) * 3, np.int32)
    cell = PeriodicCell(empty, laws, boundary=_BOUNDARIES[options.boundary], solver=options.solver(options.rtol))
    return Window(volume, cell, mirror)


def _solid(options: Options, volume, size: int, corners, out: Path, console: Console) -> dict[str, np.ndarray]:
    """The stiffness of every subvolume; the load that shows whether it bears anything strains it in all components."""
    laws = solid_laws(options)
    F = np.tile(np.eye(3) + 0.01, (len(corners), 1, 1))
    label = f"{size}^3: elasticity"
    about = {"corners": corners.tolist(), "size": size}
    scale = _windows(options, volume, size, laws)
    path = out / f"elasticity_{size}.zarr"
    return stream(
        console, label, scale, WindowLoad(corners, _float(F)), path, _keep_stiffness, about, slope=True, block=_block(size)
    )


def _ionic(options: Options, volume, size: int, corners, out: Path, console: Console) -> dict[str, np.ndarray]:
    """The flux under a gradient along each axis, three members a subvolume, each with its own code."""
    laws = [Conductivity(1.0), Conductivity(0.0), Conductivity(options.binder_conductivity)][: len(options.labels)]
    loads = WindowLoad(np.repeat(corners, 3, 0), _float(np.tile(np.eye(3), (len(corners), 1))))
    label = f"{size}^3: conduction"
    about = {"corners": corners.tolist(), "size": size, "members": "subvolume by subvolume, gradient along axis 1, 2, 3"}
    scale = _windows(options, volume, size, laws)
    return stream(console, label, scale, loads, out / f"conduction_{size}.zarr", _keep_flux, about, block=3 * _block(size))


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(jax.dtypes.canonicalize_dtype(float))


def _block(size: int) -> int:
    """Members a block, which is what a kill may lose: some seconds of work."""
    return max(1, 16**4 // size**3)


def _keep_stiffness(solution, slope):
    return {"stiffness": slope, "fractions": solution.stats["fractions"], "stats": _counts(solution)}


def _keep_flux(solution, slope):
    del slope
    return {"flux": solution.value, "fractions": solution.stats["fractions"], "stats": _counts(solution)}


def _counts(solution):
    return {key: solution.stats[key] for key in ("newton", "linear", "residual")}


def solid_laws(options: Options) -> Sequence[AbstractLaw]:
    """Pores of zero stiffness, particles, binder."""
    return [Elastic.from_young(*numbers) for numbers in ((0.0, 0.3), options.particle, options.binder)][: len(options.labels)]


def moduli(C: np.ndarray) -> dict[str, np.ndarray]:
    """The moduli of the isotropic stiffness nearest to each, C of shape (n, 3, 3, 3, 3)."""
    K = np.einsum("niijj->n", C) / 9
    G = (np.einsum("nijij->n", C) - 3 * K) / 10
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"K": K, "G": G, "E": 9 * K * G / (3 * K + G), "nu": (3 * K - 2 * G) / (6 * K + 2 * G)}


def _entry(size: int, corners, solid, ionic) -> dict[str, Any]:
    """The members of one size; NaN where there is no number."""
    bears = solid["code"] == "successful"
    values = {key: np.where(bears, v, np.nan) for key, v in moduli(solid["stiffness"]).items()}
    porosity = solid["fractions"][:, 0]
    along = ionic["flux"].reshape(-1, 3, 3)[:, range(3), range(3)]
    conducts = ionic["code"].reshape(-1, 3) == "successful"
    with np.errstate(invalid="ignore", divide="ignore"):
        tortuosity = np.where(conducts, porosity[:, None] / along, np.nan)
    values |= {"porosity": porosity} | {f"tortuosity {k + 1}": tortuosity[:, k] for k in range(3)}
    # Unlike a tortuosity, the conductivity of a subvolume without a path is a number: zero.
    blocked = ionic["code"].reshape(-1, 3) == "no_load_path"
    conductivity = np.where(blocked, 0, np.where(conducts, along, np.nan))
    values |= {f"k{k + 1} / k0": conductivity[:, k] for k in range(3)}
    codes = {"elasticity": collections.Counter(solid["code"].tolist())}
    codes |= {f"conduction {k + 1}": collections.Counter(ionic["code"].reshape(-1, 3)[:, k].tolist()) for k in range(3)}
    return {"size": size, "count": len(corners), "values": values, "codes": codes}


def _said(entry: dict[str, Any]) -> dict[str, tuple[float, float, int]]:
    """Mean, standard deviation and how many, of each quantity."""
    out = {}
    for key, v in entry["values"].items():
        good = v[np.isfinite(v)]
        deviation = float(good.std(ddof=1)) if len(good) > 1 else np.nan
        out[key] = (float(good.mean()) if len(good) else np.nan, deviation, len(good))
    return out


def _text(found: tuple[float, float, int], of: int) -> str:
    """Mean and deviation, and of how many where not of all."""
    mean, deviation, count = found
    several = f" ± {deviation:.2g}" if count > 1 else ""
    return "-" if count == 0 else f"{mean:.4g}{several}" + (f" (n = {count})" if count < of else "")


def _of_means(said: dict[str, tuple[float, float, int]], axis: int) -> float:
    """The tortuosity of the mean conductivity, to which subvolumes without a path belong with zero."""
    conductivity = said[f"k{axis} / k0"][0]
    return said["porosity"][0] / conductivity if conductivity > 0 else float("inf")


def _number(value: float) -> str:
    return "no path" if np.isinf(value) else f"{value:.4g}"


def _conclude(options: Options, found: list[dict[str, Any]], volume: np.ndarray, out: Path, report: Report) -> None:
    """Table, summary and pictures."""
    report.head = ("mean ± deviation", *(f"{e['count']} x {e['size']}^3" for e in found))
    said = [_said(entry) for entry in found]
    report.rows += [(key, *(_text(s[key], e["count"]) for s, e in zip(said, found, strict=True))) for key in said[0]]
    for k in (1, 2, 3):
        report.rows.append((f"mean porosity / mean (k{k} / k0)", *(_number(_of_means(s, k)) for s in said)))
    for part in found[0]["codes"]:
        report.rows.append((f"no path: {part}", *(str(e["codes"][part]["no_load_path"]) for e in found)))
        report.rows.append((f"failed: {part}", *(str(_failures(e["codes"][part])) for e in found)))
    report.numbers["by_size"] = [
        {
            "size": entry["size"],
            "count": entry["count"],
            "codes": entry["codes"],
            "numbers": {key: dict(zip(("mean", "deviation", "count"), v, strict=True)) for key, v in own.items()},
            "tortuosity_of_means": [_of_means(own, k) for k in (1, 2, 3)],
        }
        for entry, own in zip(found, said, strict=True)
    ]
    sizes = np.concatenate([np.full(e["count"], e["size"]) for e in found])
    for name, keys, label in (
        ("moduli", ("E", "G"), "GPa"),
        ("tortuosity", [f"tortuosity {k}" for k in (1, 2, 3)], "tortuosity factor"),
    ):
        series = {key: np.concatenate([e["values"][key] for e in found]) for key in keys}
        viz.scatter_by_size(sizes, series, xlabel="edge of the subvolume (voxels)", ylabel=label, path=out / f"{name}.png")
    _draw(options, found[0], volume, out)


def _failures(codes: collections.Counter) -> int:
    return sum(count for code, count in codes.items() if code not in ("successful", "no_load_path"))


def _draw(options: Options, entry: dict[str, Any], volume: np.ndarray, out: Path) -> None:
    """The stress in the first subvolume that bears a load, pulled along axis 1."""
    bears = np.flatnonzero(np.isfinite(entry["values"]["E"]))
    if not len(bears):
        return
    size = entry["size"]
    corner = _corners(volume.shape, size, entry["count"], options.seed)[bears[0]]
    image = volume[tuple(slice(c, c + size) for c in corner)].astype(np.int32)
    load = jnp.asarray(_float(np.eye(3) + 1e-3 * np.diag([1.0, 0, 0])))
    window = _windows(options, jnp.asarray(image), size, solid_laws(options))
    solution = eqx.filter_jit(lambda w, x: w(x))(window, WindowLoad(np.zeros(3, np.int32), load))
    cell = eqx.tree_at(lambda c: c.image, window.cell, jnp.asarray(_whole(image, window.mirror)))
    fields = voxel_fields(cell, np.asarray(cell.image), solid_laws(options), load, solution.guess)
    shown = np.where(np.asarray(cell.image) == 0, np.nan, fields["von_mises"])
    viz.stress_field(shown, label="von Mises stress (GPa) at strain 1e-3 in 11", path=out / "stress.png")


def _whole(image: np.ndarray, mirror: bool) -> np.ndarray:
    for axis in range(image.ndim if mirror else 0):
        image = np.concatenate([image, np.flip(image, axis)], axis)
    return image
