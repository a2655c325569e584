"""A body marched through its load steps: files, pictures and the words on the screen, for every system that has a structure."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from .._results import message, names
from .._scale import Solution
from ..bridges import Anchored, PeriodicCell, Skipping
from ..io import Checkpoint, InputError, Pvd, write_vti
from ..solids import Body, Deformation, Displacement, ElementDeformation, ElementStress, Reaction
from ..solve import Batched, CutBack, Step, batched, march
from ._console import Console, Report
from ._fields import von_mises, voxel_fields


def observers(where: str) -> dict[str, Any]:
    """What a structure answers at each step: the force on a set, and its fields."""
    return {
        "force": Reaction(where),
        "displacement": Displacement(),
        "moved": Displacement(where),
        "stress": ElementStress(),
        "strain": ElementDeformation(),
        "F": Deformation(),
    }


@dataclass
class Structure:
    """A body and the path it goes.

    Attributes:
        loads: the load of each step, numbers.
        where: the set whose force and displacement are the curve.
        axis: the component of both.
        micro: numbers of points whose cell is written at every step (those of the body, through its parts).
        unit: of stresses.
    """

    body: Body
    loads: np.ndarray
    where: str
    axis: int
    micro: tuple[int, ...] = ()
    unit: str = "your unit"
    failures: list[str] = field(default_factory=list)


def walk(structure: Structure, out: Path, console: Console, *, halvings: int = 4) -> Solution:
    """Every step of the path, with a checkpoint after each, a series of meshes and the fields of chosen points."""
    body, mesh = structure.body, structure.body.mesh
    for point in structure.micro:
        if not any(first <= point < last for first, last, *_ in cells(body)):
            held = " and ".join(f"{first} to {last - 1}" for first, last, *_ in cells(body)) or "none"
            raise InputError(f"The point {point} holds no cell whose fields could be written. Points that do: {held}.")
    # A run that goes on knows what failed before it was killed.
    told = out / "failures.txt"
    structure.failures = told.read_text().splitlines() if told.exists() else []
    series = Pvd(out / "macro.pvd")
    total = len(structure.loads)
    with console.progress("steps (the first one compiles)", total) as moved:

        def keep(step: Step, solution: Solution) -> None:
            k = step.number
            write_step(series, structure, k, solution)
            for point in structure.micro:
                micro_fields(structure, solution, point, out / f"micro_{point}_{k:04d}.vti")
            parts = f", in {len(step.accepted)} parts" if len(step.accepted) > 1 else ""
            said = f"step {k + 1}: {int(solution.stats['newton'])} Newton{_inner(solution)}{parts}"
            said += f", {len(structure.failures)} cut" if structure.failures else ""
            moved(1, said)

        def tell(k: int, solution: Solution) -> None:
            line = f"Step {k + 1}: {failure(body, solution)}"
            if line in structure.failures:
                return
            structure.failures.append(line)
            with told.open("a") as file:
                file.write(line + "\n")
            console.note(line)

        _, solution, _ = march(
            body,
            jnp.asarray(structure.loads, mesh.points.dtype),
            cut_back=CutBack(halvings, jnp.zeros((), mesh.points.dtype)),
            checkpoint=Checkpoint(out / "checkpoint.npz"),
            on_step=keep,
            on_failure=tell,
        )
    return solution


def _inner(solution: Solution) -> str:
    """The work of the points' own scales."""
    laws = solution.stats.get("law", ())
    if not laws:
        return ""
    count = lambda name: int(sum(np.sum(np.asarray(own[name])) for own in laws if name in own))
    elastic = count("skipped")
    return f", {count('newton') + count('linear')} iterations in the cells" + (f", {elastic} elastic" if elastic else "")


def failure(body: Body, solution: Solution) -> str:
    """Which point failed and why, or why the body did."""
    code = str(names(solution.result))
    point = int(solution.stats["point"])
    if point < 0:
        return f"the body failed with `{code}`: {message(code)}"
    element, x = body.locate(point)
    where = ", ".join(f"{c:.4g}" for c in x)
    return f"point {point} (element {element}, at {where}) failed with `{code}`: {message(code)}"


def write_step(series: Pvd, structure: Structure, k: int, solution: Solution) -> None:
    """The macroscopic fields of a step."""
    value = solution.value
    series.write(
        float(k + 1),
        structure.body.mesh,
        point_data={"displacement": np.asarray(value["displacement"])},
        element_data={
            "stress": np.asarray(value["stress"]),
            "deformation": np.asarray(value["strain"]),
            "von_mises": von_mises(np.moveaxis(np.asarray(value["stress"]), 0, -1)),
        },
    )


def every_point(cell: PeriodicCell) -> Batched:
    """The cell at every point, all in one batch; of small strain, those that stay elastic are not solved."""
    plain = cell.kernel.small and not cell.kernel.scalar and cell.substeps == 1
    return batched(Skipping(cell)) if plain else batched(cell)


def cells(body: Body) -> list[tuple[int, int, int, PeriodicCell]]:
    """The numbers of the first point and of the one after the last that hold a cell, their part, and the cell."""
    found, start = [], 0
    for which, part in enumerate(body.parts):
        size = len(part.block.nodes) * len(part.block.element.quadrature()[0])
        scale = getattr(part.material, "scale", None)
        inner = scale.scale if isinstance(scale, Batched) else None
        inner = inner.cell if isinstance(inner, Skipping) else inner
        if isinstance(inner, PeriodicCell) and inner.image is not None:
            found.append((start, start + size, which, inner))
        start += size
    return found


def micro_fields(structure: Structure, solution: Solution, point: int, path: Path | None = None) -> dict[str, np.ndarray] | None:
    """The voxel fields at a point of the body; None where it holds no cell."""
    held = next(((first, which, cell) for first, last, which, cell in cells(structure.body) if first <= point < last), None)
    if held is None:
        return None
    first, which, cell = held
    own = point - first
    past = solution.state[which]
    past = past.cell if isinstance(past, Anchored) else past
    state, guess = jax.tree.map(lambda x: x[own], (past, solution.guess.points[which]))
    F = np.asarray(solution.value["F"][which])
    load = jnp.asarray(F.reshape(*F.shape[:2], -1)[..., own])
    fields = voxel_fields(cell, np.asarray(cell.image), cell.laws, load, guess, state)
    if path is not None:
        write_vti(path, fields, spacing=cell.spacing)
    return fields


def hottest(structure: Structure, F: tuple[np.ndarray, ...]) -> int:
    """The point of the largest deviatoric strain."""
    sizes = []
    for own in F:
        H = np.asarray(own) - np.eye(len(own))[:, :, None, None]
        e = 0.5 * (H + np.swapaxes(H, 0, 1))
        e = e - np.eye(len(own))[:, :, None, None] * np.trace(e) / 3
        sizes.append(np.sum(e**2, (0, 1)).ravel())
    return int(np.argmax(np.concatenate(sizes)))


def tell(structure: Structure, solution: Solution, out: Path, report: Report) -> None:
    """The curve, the pictures and the numbers."""
    force, moved = (np.asarray(solution.value[name])[:, structure.axis] for name in ("force", "moved"))
    codes = names(solution.result)
    with (out / "curve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "load", "displacement", "force", "newton", "code"])
        for k, row in enumerate(zip(structure.loads, moved, force, np.asarray(solution.stats["newton"]), codes, strict=True)):
            writer.writerow([k + 1, *(x.item() for x in row[:4]), row[4]])
    viz.curve(
        {structure.where: (np.append(0, moved), np.append(0, force))},
        xlabel=f"displacement of `{structure.where}`",
        ylabel="force",
        path=out / "curve.png",
    )
    good = np.flatnonzero(np.isfinite(force))
    report.codes["steps"] = codes.tolist()
    report.numbers["failures"] = structure.failures
    report.head = ("step", "displacement", "force", "Newton")
    shown = np.unique(np.linspace(0, len(force) - 1, min(len(force), 8)).astype(int))
    report.rows = [
        (f"{k + 1}", f"{moved[k]:.5g}", f"{force[k]:.6g}", f"{int(np.asarray(solution.stats['newton'])[k])}") for k in shown
    ]
    report.numbers |= {"force": force, "displacement": moved, "newton": np.asarray(solution.stats["newton"])}
    if good.size:
        _draw(structure, solution, int(good[-1]), out, report)


def _draw(structure: Structure, solution: Solution, k: int, out: Path, report: Report) -> None:
    value = jax.tree.map(lambda x: np.asarray(x)[k], solution.value)
    stress = von_mises(np.moveaxis(value["stress"], 0, -1))
    label = f"von Mises stress, from the components in the mesh ({structure.unit})"
    viz.mesh_field(
        structure.body.mesh, stress, displacement=value["displacement"], label=label, title=f"step {k + 1}", path=out / "macro.png"
    )
    point = hottest(structure, value["F"])
    element, x = structure.body.locate(point)
    report.numbers["hottest"] = {"point": point, "element": element, "position": x}
    if k == len(structure.loads) - 1:
        last = Solution(value, solution.state, solution.guess, solution.result, {})
        fields = micro_fields(structure, last, point, out / "hottest.vti")
        if fields is not None:
            title = f"cell at point {point}, element {element}, step {k + 1}"
            viz.stress_field(
                fields["von_mises"], label=f"von Mises stress ({structure.unit})", title=title, path=out / "hottest.png"
            )
