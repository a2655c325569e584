"""From an image to an effective law: `jaxmsm homogenize IMAGE`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
import tyro

from .. import viz
from .._results import names
from ..bridges import PeriodicCell
from ..io import InputError, LoadPath, Materials, image_spacing, phases, read_image, read_materials, read_path, write_vti
from ..solve import march
from ._console import Console, Report
from ._effective import Brackets, bracketed, tabulate
from ._fields import voxel_fields
from ._load_path import axis_names, curves, follow, refuse_mechanism, write_curve
from ._materials import flag_materials, make_laws
from ._options import RULES, Common


@dataclass(kw_only=True)
class Options(Common):
    """Effective stiffness or conductivity of an image of phases, with bounds and non-periodic brackets beside it.

    Moduli and stresses have one unit of your choice, strains none, angles are in degrees. Where one phase alone conducts, the
    tortuosity (factor) is its fraction times its conductivity over the effective one, by axis. HS: the bounds of Hashin and
    Shtrikman, which hold for isotropic arrangements of isotropic phases. A class of symmetry is named where the nearest law of
    the class is within 1 % of the norm.
    """

    image: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IMAGE")]
    """PNG, TIFF, NPY, NPZ, HDF5 or VTI file, 2D or 3D; `file.h5:name` chooses one of several arrays. On a picture axis 1 runs down,
    axis 2 across."""
    materials: Path | None = None
    """TOML file with one [[phase]] each: name, label, law and its numbers (in your unit of stress); every key: docs/formats.md."""
    E: tuple[float, ...] = ()
    """Young's modulus of each phase, in your unit of stress; 0 is a pore (in place of --materials, with --nu)."""
    nu: tuple[float, ...] = ()
    """Poisson's ratio of each phase, or one for all, without unit."""
    k: tuple[float, ...] = ()
    """Conductivity of each phase, in your unit; 0 is an insulator (in place of --materials)."""
    labels: tuple[float, ...] = ()
    """Value in the image of each phase (default: those in the materials, else all values in ascending order)."""
    thresholds: tuple[float, ...] = ()
    """Ascending gray levels between the phases, in the image's own values (in place of --labels)."""
    spacing: tuple[float, ...] = ()
    """Edge lengths of a voxel, one an axis, in any unit: only their ratios matter (default: all equal, or the VTI file's)."""
    plane_stress: bool = False
    """2D: plane stress in place of plane strain."""
    rule: Literal["full", "reduced", "mean-dilatation"] = "full"
    """Integration in a voxel: all Gauss points, the middle one, or without volumetric locking."""
    brackets: bool = True
    """Also solve with uniform tractions and with linear displacements on the faces, for images that are not periodic (the first is
    slow where there are pores); C11, C22, C66 are ordered between them, C12 and nu need not be."""
    load: tuple[float, ...] = ()
    """Mean strain of the fields and the picture, without unit: 11 22 12 in 2D, 11 22 33 23 13 12 in 3D (tensor components;
    default: 0.01 in 11); for conduction the mean gradient, one number an axis (default: 1 along the first)."""
    path: Path | None = None
    """CSV of a load path: columns F11, F12, ... or e11, e12, ... (mean deformation, no unit), P11, ... (mean stress), or g1, ...
    for conduction (mean gradient); see docs/formats.md. Its last step is drawn as well (path_fields.vti, path_stress.png)."""
    rtol: float | None = None
    """Relative residual at which a solve stops, without unit (default: 1e-8, in float32 1e-5)."""


@dataclass
class _Case:
    """What the options say, read and checked."""

    image: np.ndarray
    materials: Materials
    laws: list[Any]
    spacing: tuple[float, ...]
    load: np.ndarray
    path: LoadPath | None
    cell: PeriodicCell = field(init=False)

    @property
    def scalar(self) -> bool:
        return self.laws[0].scalar


def run(options: Options, out: Path, console: Console) -> Report:
    """The effective law, its fields at a load and, where a path is given, its curve."""
    case = _read(options)
    report = Report(f"{options.image}: {' x '.join(map(str, case.image.shape))} voxels, {len(case.laws)} phases")
    fractions = np.bincount(case.image.ravel(), minlength=len(case.laws)) / case.image.size
    phase_names = _distinct([phase.name for phase in case.materials.phases])
    viz.phases(case.image, names=phase_names, spacing=case.spacing, path=out / "phases.png")
    report.numbers["units"] = {
        "conductivities" if case.scalar else "moduli and stresses": "that of the materials",
        "strains": "none",
    }
    report.numbers |= {"shape": case.image.shape, "phases": dict(zip(phase_names, fractions, strict=True))}
    with console.progress("periodic cell", 3 if options.brackets else 1) as moved:
        found = bracketed(case.cell, _rest(case), moved, console.note, brackets=options.brackets)
    if case.path is not None:
        refuse_mechanism(case.path, found.tensors["periodic"], found.noise)
    tabulate(report, found, case.laws, fractions)
    if report.failure() is None:
        with console.progress("fields", 1) as moved:
            _draw_fields(case, found, out, report)
            moved()
    if case.path is not None:
        _walk(case, case.path, out, report, console)
    return report


def _read(options: Options) -> _Case:
    if options.materials is not None and (options.E or options.nu or options.k):
        raise InputError("Give the materials as --materials FILE or as flags (--E, --nu, --k), but not both.")
    materials = flag_materials(options.E, options.nu, options.k) if options.materials is None else read_materials(options.materials)
    image = read_image(options.image)
    count, d = len(materials.phases), image.ndim
    laws = make_laws(materials, d, plane_stress=options.plane_stress)
    labeled = _segmented(image, materials, options)
    if labeled.max() + 1 != count:
        raise InputError(
            f"There must be one material a phase, but the image has {labeled.max() + 1} phases and the materials {count}."
        )
    spacing = options.spacing or image_spacing(options.image) or (1.0,) * d
    if len(spacing) != d or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(f"Flag --spacing must be {d} positive lengths, one an axis of the image, but is {spacing}.")
    if min(image.shape) < 2:
        raise InputError(f"The image must have at least 2 voxels along every axis, but its shape is {image.shape}.")
    path = None if options.path is None else read_path(options.path, d, scalar=laws[0].scalar)
    case = _Case(labeled, materials, laws, tuple(spacing), _load(options.load, d, laws), path)
    case.cell = PeriodicCell(labeled, laws, spacing=spacing, rule=RULES[options.rule], solver=options.solver(options.rtol))
    return case


def _segmented(image, materials: Materials, options: Options) -> np.ndarray:
    if options.labels or options.thresholds:
        return phases(image, labels=options.labels or None, thresholds=options.thresholds or None)
    if materials.thresholds is not None:
        return phases(image, thresholds=materials.thresholds)
    return phases(image, labels=materials.labels)


def _load(given: tuple[float, ...], d: int, laws) -> np.ndarray:
    """The load at which fields are drawn: a mean gradient, or a deformation gradient I + e."""
    if not np.all(np.isfinite(given)):
        raise InputError(f"Flag --load must be finite, but is {given}.")
    count = d if laws[0].scalar else d * (d + 1) // 2
    if len(given) not in (0, count):
        raise InputError(f"Flag --load must have {count} numbers for this image, but has {len(given)}.")
    if laws[0].scalar:
        return np.array(given or (1.0, *(0.0,) * (d - 1)))
    pairs = ((0, 0), (1, 1), (0, 1)) if d == 2 else ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    F = np.eye(d)
    for (i, j), value in zip(pairs, given or (0.01, *(0.0,) * (count - 1)), strict=True):
        F[i, j] += value
        if i != j:
            F[j, i] += value
    if np.linalg.det(F) <= 0:
        raise InputError(f"Flag --load must keep the volume positive, but {given} does not.")
    return F


def _rest(case: _Case):
    """Where the effective law is taken: at rest, or for linear laws at the load of the fields, which saves a solve."""
    if case.cell.kernel.linear:
        return jnp.asarray(case.load)
    return jnp.eye(case.image.ndim)


def _draw_fields(case: _Case, found: Brackets, out: Path, report: Report) -> None:
    load = jnp.asarray(case.load)
    guess = found.solution.guess
    if not case.cell.kernel.linear:
        # A march of one step, whose program serves the load path as well.
        _, solution, _ = march(case.cell, load[None])
        report.codes["fields"] = str(names(solution.result)[0])
        if report.failure() is not None:
            return
        guess = solution.guess
    report.numbers["load"] = case.load
    fields = voxel_fields(case.cell, case.image, case.laws, load, guess)
    report.numbers["peak"] = _write_fields(case, out, "", fields, _load_name(case))


def _load_name(case: _Case) -> str:
    """The load of the fields: what is not zero of it."""
    strain = case.load if case.scalar else case.load - np.eye(len(case.load))
    places = [p for p in np.ndindex(strain.shape) if strain[p] != 0 and list(p) == sorted(p)]
    named = ", ".join(f"{strain[p]:g} in {''.join(str(i + 1) for i in p)}" for p in places)
    return f"at a mean {'gradient' if case.scalar else 'strain'} of {named or 'zero'}"


def _write_fields(case: _Case, out: Path, prefix: str, fields: dict[str, np.ndarray], when: str) -> dict[str, float]:
    """Fields as VTK and the size of their stress as a picture, which says when it is; returns its peak."""
    write_vti(out / f"{prefix}fields.vti", fields, spacing=case.spacing)
    if case.scalar:
        name, shown, label = "flux", np.sqrt(np.sum(fields["flux"] ** 2, 0)), "magnitude of the flux"
    else:
        name, shown, label = "stress", fields["von_mises"], "von Mises stress"
    viz.stress_field(shown, label=f"{label} (your unit)", title=when, spacing=case.spacing, path=out / f"{prefix}{name}.png")
    return {label: float(shown.max())}


def _walk(case: _Case, path: LoadPath, out: Path, report: Report, console: Console) -> None:
    with console.progress("load path", len(path)) as moved:
        walked, end = follow(case.cell, path, moved)
    write_curve(out / "path.csv", walked)
    _draw_curve(path, walked, out)
    # The first row is the unloaded state.
    done = int(np.sum(np.all(np.isfinite(walked["stress"]), tuple(range(1, walked["stress"].ndim))))) - 1
    report.numbers["path"] = {"steps": len(path), "done": max(done, 0), "last_stress": walked["stress"][max(done, 0)]}
    report.codes["path"] = walked["codes"].tolist()
    if done < len(path):
        report.codes[f"step {done + 1} of {len(path)} of the path"] = str(walked["codes"][done + 1])
    if end is not None:
        fields = voxel_fields(case.cell, case.image, case.laws, end.load, end.guess, end.state)
        when = "at the end of the path" if done == len(path) else f"after step {done} of {len(path)} of the path"
        report.numbers["path"]["peak"] = _write_fields(case, out, "path_", fields, when)


def _draw_curve(path: LoadPath, walked: dict[str, np.ndarray], out: Path) -> None:
    """Stress against deformation, both by the names of their components."""
    said, series = axis_names(path), curves(path, walked)
    x, y = (", ".join(dict.fromkeys(pair[k] for pair in said.values())) for k in (0, 1))
    deformation, answer = ("mean gradient", "mean flux") if path.F.ndim == 2 else ("mean deformation", "mean stress")
    named = {f"{said[key][1]} over {said[key][0]}": values for key, values in series.items()}
    viz.curve(named, xlabel=f"{deformation} {x}", ylabel=f"{answer} {y} (your unit)", path=out / "curve.png")


def _distinct(given: list[str]) -> list[str]:
    return [name if given.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(given)]
