"""Networks in the place of cells in a structure, one elastic and one plastic, which fall back to them: `jaxmsm run surrogate`."""

import collections
import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from .._results import fine, from_names, names
from .._scale import Solution
from ..bridges import Fallback, Nearest, PeriodicCell
from ..io import InputError
from ..solids import J2, AbstractLaw, Body, Deformation, Displacement, Linear, Moved, NeoHookean, Reaction, Stress, Symmetry, lame
from ..solve import CutBack, batched, march
from ..space import QUAD4, MeanDilatation, Mesh, plate_with_hole
from ._campaigns import Walk, WalkLoad, stream
from ._console import Console, Report
from ._fe2 import round_inclusion
from ._options import Resuming
from ._training import (
    elastic_network,
    green,
    indicator,
    misfit,
    plastic_network,
    rays,
    strain_and_stress,
    stresses,
    train,
    turned,
    walks,
)


@dataclass(kw_only=True)
class Options(Resuming):
    """Surrogate: networks that learn what a cell answers, and stand in its place in a perforated plate.

    An elastic cell at finite strain becomes a polyconvex network, a plastic one a network whose units flow; both are trained on
    paths of a campaign, then compared with the living cells in the same plate, alone and falling back to the cell where the
    distance to what they were trained on is too large. Plane strain; stresses in the unit of the moduli (GPa for the metal).
    """

    kinds: tuple[Literal["elastic", "plastic"], ...] = ("elastic", "plastic")
    """Which cells."""
    voxels: int = 12
    """Edge of the cell."""
    fraction: float = 0.25
    """Area of the round inclusion in the cell."""
    rubber: tuple[float, float, float, float] = (1.0, 2.0, 10.0, 20.0)
    """Elastic: mu and lambda of the matrix, then of the inclusion."""
    metal: tuple[float, float, float, float] = (70.0, 0.33, 0.1, 1.0)
    """Plastic: Young's modulus, Poisson's ratio, yield stress and slope of the yield stress of the matrix (typical of aluminum)."""
    ceramic: tuple[float, float] = (400.0, 0.2)
    """Plastic: Young's modulus and Poisson's ratio of the inclusion (typical of alumina)."""
    members: tuple[int, int] = (96, 128)
    """Paths of the elastic and of the plastic training set; a quarter of them is held out."""
    steps: tuple[int, int] = (4, 40)
    """Steps of a path, elastic and plastic."""
    strains: tuple[float, float] = (0.3, 0.02)
    """Largest strain (its norm) of the paths, elastic (logarithmic) and plastic."""
    units: tuple[int, int] = (16, 12)
    """Units of the elastic network's layer, and of the plastic one's."""
    training: tuple[int, int] = (2000, 800)
    """Steps of the training, elastic and plastic."""
    parts: tuple[int, int] = (4, 6)
    """Elements of the plate from the hole to the edge, and around the quarter of the hole (even); 4 points each."""
    stretch: tuple[float, float] = (0.2, 0.006)
    """Largest displacement of the edge, elastic and plastic, in widths; the plastic plate is then pushed back."""
    path: tuple[int, int] = (5, 10)
    """Load steps of the plate, elastic and plastic."""
    tolerance: float = 1.0
    """Of the indicator; 1 is what 99 of 100 points of the paths held out are nearer to those trained on than."""
    band: float = 0.25
    """Width of the passage from network to cell, over the tolerance."""
    seed: int = 0
    """Of paths, weights and batches."""


class Case(NamedTuple):
    """A cell, and its own of the options."""

    kind: str
    which: int
    cell: PeriodicCell
    loads: np.ndarray


def run(options: Options, out: Path, console: Console) -> Report:
    """Campaign, training and plates, for each kind of cell."""
    _check(options)
    report = Report(
        f"Surrogates of a cell of {options.voxels} x {options.voxels} voxels, "
        f"in a plate of {4 * options.parts[0] * options.parts[1]} points",
        ("", *options.kinds),
    )
    columns = [_one(_case(options, kind), options, out, console, report) for kind in options.kinds]
    report.rows = [(name, *(column.get(name, "-") for column in columns)) for name in dict.fromkeys(n for c in columns for n in c)]
    report.notes.append(
        "Errors are norms over those of the plate of cells, all points and steps together (worst: of one point, over the root mean "
        "square). Speed-ups leave out the first step, which compiles. Indicator 1: nearer to the training paths than all but a "
        "hundredth of the points of the paths held out."
    )
    return report


def _check(options: Options) -> None:
    if not options.kinds or len(set(options.kinds)) < len(options.kinds):
        raise InputError("Flag --kinds must name each kind of cell once.")
    for name in ("members", "steps", "units", "training", "path"):
        least = 8 if name == "members" else 2
        if min(getattr(options, name)) < least:
            raise InputError(f"Flag --{name} must hold two numbers of at least {least}, but is {getattr(options, name)}.")
    for name in ("strains", "stretch", "rubber", "metal", "ceramic", "tolerance"):
        given = np.atleast_1d(getattr(options, name))
        if not (np.isfinite(given).all() and (given > 0).all()):
            raise InputError(f"Flag --{name} must be positive, but is {getattr(options, name)}.")
    if options.voxels < 4 or not 0 < options.fraction < 0.6:
        raise InputError("Flag --voxels must be at least 4, and --fraction between 0 and 0.6.")
    if min(options.parts) < 1 or options.parts[1] % 2:
        raise InputError(f"Flag --parts must be two positive numbers, the second even, but is {options.parts}.")
    if not (np.isfinite(options.band) and options.band >= 0):
        raise InputError(f"Flag --band must not be negative, but is {options.band:g}.")


def _case(options: Options, kind: str) -> Case:
    which = int(kind == "plastic")
    laws: list[AbstractLaw] = [NeoHookean(mu=options.rubber[0], lam=options.rubber[1])]
    laws.append(NeoHookean(mu=options.rubber[2], lam=options.rubber[3]))
    if which:
        E, nu, sy, H = options.metal
        soft, hard = lame(E, nu), lame(*options.ceramic)
        laws = [
            J2(lam=soft[0], mu=soft[1], hardening=Linear(sy=sy, H=H)),
            J2(lam=hard[0], mu=hard[1], hardening=Linear(sy=jnp.inf, H=0.0)),
        ]
    cell = PeriodicCell(round_inclusion(options.voxels, 2, options.fraction), laws, rule=MeanDilatation(), solver=options.solver())
    random = np.random.default_rng((options.seed, which))
    draw = walks if which else rays
    return Case(kind, which, cell, draw(random, options.members[which], options.steps[which], options.strains[which]))


def _one(case: Case, options: Options, out: Path, console: Console, report: Report) -> dict[str, str]:
    """The story of one kind of cell; its column of the table."""
    loads, stress, codes = _campaign(case, options, out, console)
    report.codes[f"{case.kind} paths"] = codes
    own = report.numbers[case.kind] = {"paths": len(case.loads), "kept": len(loads)}
    if len(loads) < 8:
        report.notes.append(f"{case.kind}: {len(loads)} paths are too few to train on; the others failed.")
        return {"paths kept": f"{len(loads)} of {len(case.loads)}"}
    split = len(loads) - len(loads) // 4
    law = _trained(case, options, loads[:split], stress[:split], console)
    eqx.tree_serialise_leaves(out / f"{case.kind}_network.eqx", law)
    held = jnp.asarray(loads[split:]), jnp.asarray(stress[split:])
    judge = eqx.filter_jit(misfit)
    own |= {"misfit_trained": float(judge(law, jnp.asarray(loads[:split]), jnp.asarray(stress[:split])))}
    own |= {"misfit_held_out": float(judge(law, *held))}
    _parity(case, law, *held, out)
    features = strain_and_stress if case.which else green
    near = indicator(law, features, loads[:split], loads[split:], options.seed)
    found = _plates(case, options, law, near, out, console, report)
    own |= found
    return _column(len(case.loads), own)


def _campaign(case: Case, options: Options, out: Path, console: Console) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """The paths whose every step the cell could answer, its answers, and how many paths ended with which code."""
    image = jnp.asarray(np.asarray(case.cell.image)[None])
    loads = case.loads.astype(jax.dtypes.canonicalize_dtype(float))
    member = np.zeros(len(loads), np.int32)
    keep = lambda solution, slope: {"stress": solution.value, "step_code": solution.stats["step_code"]}
    label = f"{case.kind}: {len(loads)} paths of {loads.shape[1]} steps through the cell"
    path = out / f"{case.kind}_set.zarr"
    about = {"load": "mean deformation gradient F", "stress": "mean first Piola stress P", "seed": options.seed}
    rows = stream(console, label, Walk(image, case.cell), WalkLoad(member, loads), path, keep, about)
    good = np.asarray(fine(from_names(rows["code"])))
    np.savez(out / f"{case.kind}_set.npz", load=loads, stress=rows["stress"], code=rows["code"].astype(str))
    return loads[good], rows["stress"][good], dict(collections.Counter(rows["code"].tolist()))


def _trained(case: Case, options: Options, loads: np.ndarray, stress: np.ndarray, console: Console) -> AbstractLaw:
    data = jnp.asarray(loads), jnp.asarray(stress)
    if case.which:
        stiffness = case.cell.linearize(jnp.eye(2, dtype=data[0].dtype))[1]
        # A polyconvex network has the symmetry of the cell built in; this one learns it.
        data = jnp.asarray(turned(loads)), jnp.asarray(turned(stress))
        make, start = plastic_network(data, stiffness, options.units[1], options.seed)
    else:
        make, start = elastic_network(data, options.units[0], options.seed)
    rate, batch = ((0.3, len(loads)), (0.1, 64))[case.which]
    label = f"{case.kind} network"
    steps = options.training[case.which]
    return train(make, start, data, console, label, steps=steps, rate=rate, batch=batch, seed=options.seed)[0]


def _parity(case: Case, law: AbstractLaw, loads, stress, out: Path) -> None:
    """The network's stress against the cell's on the paths held out, components 11, 22 and 12."""
    found = np.asarray(eqx.filter_jit(stresses)(law, loads))
    series = {}
    for name, (i, j) in {"P11": (0, 0), "P22": (1, 1), "P12": (0, 1)}.items():
        series[name] = np.asarray(stress)[..., i, j].ravel(), found[..., i, j].ravel()
    drawn = viz.curve(series, xlabel="stress of the cell", ylabel="stress of the network", title=f"{case.kind}, paths held out")
    for line in drawn.axes[0].lines:
        line.set_linestyle("none")
    drawn.savefig(out / f"{case.kind}_parity.png", dpi=150)


def plate(options: Options, law: Any) -> Body:
    """A quarter of a plate with a hole, pulled at its edge, of any law."""
    mesh: Mesh = plate_with_hole(options.parts, 0.4, element=QUAD4, grading=2.0)
    held = [Symmetry("bottom", (0, 1)), Symmetry("left", (1, 0)), Moved("right", (0,))]
    observe = {"force": Reaction("right"), "u": Displacement(), "P": Stress(), "F": Deformation()}
    return Body(mesh, law, held, observe=observe, solver=options.solver())


def path_of(options: Options, which: int) -> np.ndarray:
    """The displacement of the edge: up; the plastic plate is pushed back through zero, and pulled again."""
    n, top = options.path[which], options.stretch[which]
    corners = [0, 1, -0.5, 0.5] if which else [0, 1]
    travel = np.append(0, np.cumsum(np.abs(np.diff(corners))))
    return top * np.interp(np.linspace(0, travel[-1], n + 1)[1:], travel, corners)


class Course(NamedTuple):
    """A plate that went its path, and the seconds of each step but the first, which compiles."""

    solution: Solution
    seconds: np.ndarray


def _walk(options: Options, case: Case, law: Any, console: Console, label: str) -> Course:
    loads = jnp.asarray(path_of(options, case.which))
    body, times = plate(options, law), []
    with console.progress(f"{label} (the first step compiles)", len(loads)) as moved:

        def keep(step, solution):
            times.append(time.perf_counter())
            moved(1, f"{label}: step {step.number + 1}, {int(solution.stats['newton'])} Newton")

        _, solution, _ = march(body, loads, cut_back=CutBack(4, jnp.zeros((), loads.dtype)), on_step=keep)
    return Course(solution, np.diff(times))


def _plates(
    case: Case, options: Options, law: AbstractLaw, near: Nearest, out: Path, console: Console, report: Report
) -> dict[str, Any]:
    """The same plate of cells, of the network and of the network that falls back: curves, errors, times."""
    safe = Fallback(law, case.cell, near, options.tolerance, band=options.band, memory=max(options.path))
    materials = {"cells": batched(case.cell), "network": law, "fallback": batched(safe)}
    courses = {name: _walk(options, case, x, console, f"{case.kind} plate, {name}") for name, x in materials.items()}
    for name, course in courses.items():
        report.codes[f"{case.kind} plate, {name}"] = names(course.solution.result).tolist()
    weight = np.asarray(courses["fallback"].solution.stats["law"][0]["weight"])
    distance = np.asarray(courses["fallback"].solution.stats["law"][0]["indicator"])
    found: dict[str, Any] = {
        "seconds_per_step": {name: float(np.mean(course.seconds)) for name, course in courses.items()},
        "newton": {name: np.asarray(course.solution.stats["newton"]) for name, course in courses.items()},
        "fell_back": float(np.mean(weight > 0)),
        "fell_back_by_step": np.mean(weight > 0, 1),
        "largest_indicator": float(distance.max()),
        "force": {name: np.asarray(course.solution.value["force"])[:, 0] for name, course in courses.items()},
    }
    true = courses["cells"]
    for name in ("network", "fallback"):
        found[name] = errors(courses[name].solution.value, true.solution.value)
        found[name]["speed_up"] = float(np.mean(true.seconds) / np.mean(courses[name].seconds))
    _write(case, options, courses, weight, out)
    return found


def errors(value: Any, true: Any) -> dict[str, Any]:
    """Of force, displacements and stress at the points: the norm of the difference over that of the truth, all steps together."""

    def apart(a, b):
        a, b = np.asarray(a), np.asarray(b)
        return float(np.linalg.norm(a - b) / np.linalg.norm(b))

    P, exact = np.asarray(value["P"][0]), np.asarray(true["P"][0])
    size = np.sqrt(np.mean(np.sum(exact**2, (1, 2))))
    return {
        "force": apart(value["force"][:, 0], true["force"][:, 0]),
        "displacement": apart(value["u"], true["u"]),
        "stress": apart(P, exact),
        "largest_stress": float(np.sqrt(np.max(np.sum((P - exact) ** 2, (1, 2)))) / size),
    }


def _write(case: Case, options: Options, courses: dict[str, Course], weight: np.ndarray, out: Path) -> None:
    moved = path_of(options, case.which)
    force = {name: np.asarray(course.solution.value["force"])[:, 0] for name, course in courses.items()}
    with (out / f"{case.kind}_curve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["displacement", *(f"force, {name}" for name in force), "fell back"])
        writer.writerows(zip(moved, *force.values(), np.mean(weight > 0, 1), strict=True))
    lines = {name: (np.append(0, moved), np.append(0, f)) for name, f in force.items()}
    viz.curve(lines, xlabel="displacement of the edge over the width", ylabel="force", path=out / f"{case.kind}_curve.png")
    mesh = courses["cells"].solution.value["u"]
    P = {name: np.asarray(course.solution.value["P"][0])[-1] for name, course in courses.items()}
    for name in ("network", "fallback"):
        apart = np.sqrt(np.sum((P[name] - P["cells"]) ** 2, (0, 1))).mean(0)
        viz.mesh_field(
            plate_with_hole(options.parts, 0.4, element=QUAD4, grading=2.0),
            apart,
            displacement=np.asarray(mesh)[-1],
            label="error of the stress, norm",
            title=f"{case.kind} plate, {name}, last step",
            path=out / f"{case.kind}_error_{name}.png",
        )


def _column(paths: int, own: dict[str, Any]) -> dict[str, str]:
    percent = lambda x: f"{100 * x:.2f} %"
    seconds = own["seconds_per_step"]
    column = {
        "paths kept": f"{own['kept']} of {paths}",
        "stress, trained": percent(own["misfit_trained"]),
        "stress, held out": percent(own["misfit_held_out"]),
        "seconds a step, cells": f"{seconds['cells']:.3g}",
        "largest indicator": f"{own['largest_indicator']:.2f}",
        "points that fell back": percent(own["fell_back"]),
    }
    for name in ("network", "fallback"):
        column |= {
            f"{name}: force": percent(own[name]["force"]),
            f"{name}: displacement": percent(own[name]["displacement"]),
            f"{name}: stress": percent(own[name]["stress"]),
            f"{name}: worst stress": percent(own[name]["largest_stress"]),
            f"{name}: speed-up": f"{own[name]['speed_up']:.3g}",
        }
    return column
