"""Training sets: images times random load paths, answered with stress, tangent and codes, in a Zarr or HDF5 store.

The layout and readers for JAX and PyTorch are in `docs/dataset.md`.
"""

import collections
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from ..bridges import PeriodicCell
from ..io import InputError, Materials, keep_inputs, make_phase, phases, read_image, read_materials
from ._campaigns import Walk, WalkLoad, need_store, stream
from ._console import Console, Report
from ._materials import make_laws
from ._options import RULES, Resuming

FORMAT = "jaxmsm dataset, version 1"
STORES = {"zarr": ("data.zarr", "data.zarr/answers"), "hdf5": ("data.h5", "answers.h5")}
"""The store and its answers, by format."""


@dataclass(kw_only=True)
class Options(Resuming):
    """A training set: every image under random load paths, with stress, tangent and code of every step.

    Given the same --out again, a run that was killed goes on where it was. Stresses have the unit of the materials.
    """

    images: tuple[str, ...] = ()
    """Image files of one shape, as `jaxmsm homogenize` reads them (default: two-phase images are generated)."""
    count: int = 16
    """Images to generate."""
    size: int = 16
    """Voxels along an edge of a generated image."""
    dimension: Literal[2, 3] = 2
    """Dimension of the generated images (2D: plane strain unless --plane-stress)."""
    structure: Literal["gaussian", "spheres"] = "gaussian"
    """Generated images: a thresholded random field, or overlapping disks or spheres; both are periodic."""
    grain: float = 3.0
    """Length of correlation of the field, or radius of the spheres, in voxels."""
    fraction: tuple[float, float] = (0.2, 0.5)
    """Least and greatest volume fraction of phase 1 in generated images, without unit."""
    loads: int = 16
    """Load paths for each image."""
    steps: int = 1
    """Steps of a path; for laws with history, more than one. Every step adds a random increment to the last one."""
    strain: float = 0.05
    """Largest norm of an increment of F - I (small strain: of the strain; conduction: of the gradient), without unit."""
    materials: Path | None = None
    """TOML file with one [[phase]] each, see docs/formats.md (default: neo-Hookean, mu = 1 and 10, lam = 1.5 and 15)."""
    plane_stress: bool = False
    """2D: plane stress in place of plane strain."""
    rule: Literal["full", "reduced", "mean-dilatation"] = "full"
    """Integration in a voxel: all Gauss points, the middle one, or without volumetric locking."""
    tangent: bool = True
    """Also store the tangent of every step."""
    format: Literal["zarr", "hdf5"] = "zarr"
    """Store to write: the folder data.zarr, or data.h5 with its rows in files beside it."""
    block: int = 32
    """Members computed between two writes, which is what a kill may lose."""
    rtol: float | None = None
    """Relative residual at which a solve stops, without unit (default: 1e-8, in float32 1e-5)."""
    seed: int = 0
    """Of images and loads."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Inputs first, then one campaign over all members."""
    _check(options)
    store, answers = (out / name for name in STORES[options.format])
    for form, (other, _) in STORES.items():
        if form != options.format and (out / other).exists():
            raise InputError(f"The output {out} holds a store of --format {form}: repeat that, or give another --out.")
    need_store(answers)
    materials = _materials(options)
    images = _images(options, materials)
    d = images.ndim - 1
    laws = make_laws(materials, d, plane_stress=options.plane_stress)
    if int(images.max()) >= len(laws):
        raise InputError(
            f"There must be one material a phase, but the images have {images.max() + 1} phases and the materials {len(laws)}."
        )
    cell = PeriodicCell(np.asarray(images[0], np.int32), laws, rule=RULES[options.rule], solver=options.solver(options.rtol))
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(float))
    paths = random_paths(options, len(images), d, scalar=laws[0].scalar, small=all(law.small for law in laws)).astype(dtype)
    member = np.repeat(np.arange(len(images), dtype=np.int32), options.loads)
    about = _about(options, materials, laws)
    keep_inputs(store, answers, {"image": images, "load": paths, "image_of": member}, about, FORMAT)
    rows = stream(
        console,
        f"{len(member)} members",
        Walk(jnp.asarray(images), cell),
        WalkLoad(member, paths),
        answers,
        _keep,
        about,
        slope=options.tangent,
        block=options.block,
    )
    viz.phases(images[0], names=[phase.name for phase in materials.phases], path=out / "image.png")
    return _report(options, images, paths, rows, out)


def _check(options: Options) -> None:
    for name in ("count", "loads", "steps", "block"):
        if getattr(options, name) < 1:
            raise InputError(f"Flag --{name} must be at least 1, but is {getattr(options, name)}.")
    if options.size < 2:
        raise InputError(f"Flag --size must be at least 2, but is {options.size}.")
    low, high = options.fraction
    if not 0 < low <= high < 1:
        raise InputError(f"Flag --fraction must be two numbers between 0 and 1 in ascending order, but is {low:g} {high:g}.")
    for name in ("strain", "grain"):
        value = getattr(options, name)
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"Flag --{name} must be positive, but is {value:g}.")


def _materials(options: Options) -> Materials:
    if options.materials is not None:
        return read_materials(options.materials)
    entries = ({"name": "matrix", "mu": 1.0, "lam": 1.5}, {"name": "inclusion", "mu": 10.0, "lam": 15.0})
    return Materials(tuple(make_phase({"law": "neo-hookean"} | e) for e in entries))


def _images(options: Options, materials: Materials) -> np.ndarray:
    """Phase labels, one image a row."""
    if not options.images:
        shape = (options.size,) * options.dimension
        keys = np.random.SeedSequence(options.seed).spawn(options.count)
        return np.stack([two_phase(np.random.default_rng(key), shape, options) for key in keys])
    found = []
    for file in options.images:
        image = read_image(file)
        if materials.thresholds is not None:
            labeled = phases(image, thresholds=materials.thresholds)
        else:
            labeled = phases(image, labels=materials.labels)
        found.append(labeled.astype(np.uint8))
        if found[-1].shape != found[0].shape:
            raise InputError(
                f"The images must have one shape, but {file} has {found[-1].shape} and {options.images[0]} {found[0].shape}."
            )
    return np.stack(found)


def two_phase(random: np.random.Generator, shape: tuple[int, ...], options: Options) -> np.ndarray:
    """A random periodic image of labels 0 and 1, its fraction of 1 drawn between the bounds (to a voxel for a Gaussian field)."""
    fraction = random.uniform(*options.fraction)
    field = (
        _waves(random, shape, options.grain)
        if options.structure == "gaussian"
        else _spheres(random, shape, options.grain, fraction)
    )
    # At least a voxel of each phase, whatever the size.
    most = min(max(round(fraction * field.size), 1), field.size - 1)
    image = np.zeros(field.size, np.uint8)
    image[np.argsort(-field, axis=None, kind="stable")[:most]] = 1
    return image.reshape(shape)


def _waves(random: np.random.Generator, shape: tuple[int, ...], length: float) -> np.ndarray:
    """White noise seen through a Gaussian of this length."""
    waves = np.fft.fftn(random.standard_normal(shape))
    q = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.real(np.fft.ifftn(waves * np.exp(-0.25 * length**2 * sum(k**2 for k in q))))


def _spheres(random: np.random.Generator, shape: tuple[int, ...], radius: float, fraction: float) -> np.ndarray:
    """How deep a voxel lies in the spheres that were dropped until they cover the fraction."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    size = np.array(shape)
    depth = np.full(shape, -np.inf)
    while np.mean(depth >= -radius) < fraction:
        away = np.abs(grid - random.uniform(0, size))
        distance = np.linalg.norm(np.minimum(away, size - away), axis=-1)
        depth = np.maximum(depth, -distance)
    return depth


def random_paths(options: Options, images: int, d: int, *, scalar: bool, small: bool) -> np.ndarray:
    """Loads (members, steps, d, d), or (members, steps, d) for conduction: sums of increments of random direction and size.

    An increment's norm is uniform up to the largest one; at small strain it is symmetric, at finite strain it may turn.
    """
    random = np.random.default_rng((options.seed, 1))
    shape = (images * options.loads, options.steps, *((d,) if scalar else (d, d)))
    axes = tuple(range(2, len(shape)))
    step = random.standard_normal(shape)
    if small and not scalar:
        step = 0.5 * (step + np.swapaxes(step, -1, -2))
    step /= np.sqrt(np.sum(step**2, axes, keepdims=True))
    step *= options.strain * random.uniform(0, 1, shape[:2]).reshape(*shape[:2], *(1 for _ in axes))
    return np.cumsum(step, 1) + (0 if scalar else np.eye(d))


def _about(options: Options, materials: Materials, laws) -> dict[str, Any]:
    entries = [{"name": p.name, "law": p.law, "numbers": dict(p.numbers)} for p in materials.phases]
    return {
        "format": FORMAT,
        "phases": entries,
        "load": "mean gradient" if laws[0].scalar else "mean deformation gradient F",
        "stress": "mean response" if laws[0].scalar else "mean first Piola stress P",
        "small_strain": all(law.small for law in laws),
        "plane_stress": options.plane_stress,
        "rule": options.rule,
    }


def _keep(solution, slope):
    kept = {"stress": solution.value, "step_code": solution.stats["step_code"]}
    kept["stats"] = {key: solution.stats[key] for key in ("newton", "linear", "residual")}
    return kept if slope is None else kept | {"tangent": slope}


def _report(options: Options, images: np.ndarray, paths: np.ndarray, rows: dict[str, np.ndarray], out: Path) -> Report:
    shape = " x ".join(map(str, images.shape[1:]))
    report = Report(
        f"{len(paths)} members: {len(images)} images of {shape} voxels, {options.loads} load paths of {options.steps} steps each"
    )
    counted = collections.Counter(rows["code"].tolist())
    report.head = ("array", "shape", "dtype")
    arrays = {f"answers/{name}": rows[name] for name in sorted(rows)} | {"inputs/image": images, "inputs/load": paths}
    report.rows += [(name, " x ".join(map(str, x.shape)), str(x.dtype)) for name, x in arrays.items()]
    report.rows += [(f"code {code}", str(count), "") for code, count in counted.items()]
    size = np.sqrt(np.sum(rows["stress"] ** 2, tuple(range(2, rows["stress"].ndim))))
    offset = 0 if paths.ndim == 3 else np.eye(paths.shape[-1])
    strain = np.sqrt(np.sum((paths - offset) ** 2, tuple(range(2, paths.ndim))))
    report.numbers |= {"members": len(paths), "images": len(images), "counts": counted, "fractions": _fractions(images)}
    report.numbers |= {
        "mean_stress_norm": float(np.nanmean(size)) if np.isfinite(size).any() else None,
        "store": STORES[options.format][0],
    }
    report.codes["members"] = counted
    shown = {"members": (strain.ravel()[:2000], size.ravel()[:2000])}
    drawn = viz.curve(shown, xlabel="norm of the load", ylabel="norm of the answer (your unit)", title="every step of every member")
    drawn.axes[0].lines[0].set_linestyle("none")
    drawn.savefig(out / "stress.png", dpi=150)
    return report


def _fractions(images: np.ndarray) -> np.ndarray:
    """Of each phase in each image."""
    flat = images.reshape(len(images), -1)
    return np.stack([np.mean(flat == k, 1) for k in range(int(images.max()) + 1)], 1)
