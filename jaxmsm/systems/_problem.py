"""A structure of somebody's own, from a TOML file: `jaxmsm fe2 problem.toml`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ..bridges import PeriodicCell
from ..io import InputError, Material, Materials, Problem, phases, read_image, read_mesh, read_problem
from ..solids import (
    Body,
    BodyForce,
    Fixed,
    Force,
    Moved,
    Pressure,
    Springs,
    Symmetry,
    Tied,
    Traction,
)
from ..space import ELEMENTS, Mesh, beam, box, cook, l_shape, plate_with_hole, ring
from ._console import Console, Report
from ._materials import make_laws
from ._options import RULES, Resuming
from ._structure import Structure, every_point, observers, tell, walk


@dataclass(kw_only=True)
class Options(Resuming):
    """FE2 on a mesh of your own: every point of the body holds a law, or a cell of an image and its phases.

    Units are those of the file: any consistent set. Every key: docs/structures.md. Given the same --out again, a run that was
    killed goes on.
    """

    problem: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PROBLEM.toml")]
    """TOML file with [mesh], [[material]], [[condition]] and [path]."""
    rtol: float | None = None
    """Relative residual at which body and cells stop, without unit (default: 1e-8, in float32 1e-5)."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Through the path of the file."""
    problem = read_problem(options.problem)
    mesh = make_mesh(problem)
    body = make_body(problem, mesh, options)
    where, axis = problem.curve
    if axis not in range(mesh.d):
        raise InputError(f"In {problem.source}, [path]: `axis` must be one of 0 to {mesh.d - 1}, but is {axis}.")
    structure = Structure(body, np.array(problem.loads), where, axis, micro=problem.micro)
    size = sum(len(p.block.nodes) * len(p.block.element.quadrature()[0]) for p in body.parts)
    report = Report(f"{options.problem}: {mesh.count} elements, {size} points, {len(mesh.points) * mesh.d} unknowns")
    report.numbers |= {"elements": mesh.count, "points": size, "units": "those of the problem"}
    solution = walk(structure, out, console)
    tell(structure, solution, out, report)
    return report


def make_mesh(problem: Problem) -> Mesh:
    """The mesh of the file, or of the shape."""
    table = dict(problem.mesh)
    if "file" in table:
        return read_mesh(table["file"])
    name = table.get("element")
    known = [key for key, element in ELEMENTS.items() if element.dim > 1]
    if name is not None and name not in known:
        raise InputError(f"In {problem.source}, [mesh]: `element` must be one of {', '.join(known)}, but is {name!r}.")
    element = None if name is None else ELEMENTS[name]
    numbers = {k: v for k, v in table.items() if k not in ("shape", "parts", "element", "rule", "thickness", "plane_stress")}
    try:
        return _SHAPES[table["shape"]](table["parts"], element, numbers)
    except (TypeError, ValueError) as error:
        raise InputError(f"In {problem.source}, [mesh]: the shape cannot be made: {error}") from None


_SHAPES: dict[str, Callable[[Any, Any, dict], Mesh]] = {
    "box": lambda parts, element, n: box(parts, element=element, **n),
    "beam": lambda parts, element, n: beam(parts, n.get("lengths", [1.0] * len(parts)), element),
    "cook": lambda parts, element, n: cook(parts, element),
    "l-shape": lambda parts, element, n: l_shape(parts, element=element, **n),
    "ring": lambda parts, element, n: ring(parts, element=element, **n),
    "plate-with-hole": lambda parts, element, n: plate_with_hole(parts, element=element, **n),
}


def make_body(problem: Problem, mesh: Mesh, options: Options) -> Body:
    """The body of the file."""
    rule = RULES.get(problem.mesh.get("rule", "full"))
    if rule is None:
        raise InputError(f"In {problem.source}, [mesh]: `rule` must be one of {', '.join(RULES)}.")
    if any(m.where is None for m in problem.materials) and len(problem.materials) > 1:
        raise InputError(f"In {problem.source}, every material must say `where` it is, if there is more than one.")
    places = [m.where for m in problem.materials]
    if len(set(places)) < len(places):
        twice = next(x for x in places if places.count(x) > 1)
        raise InputError(f"In {problem.source}, two materials are `where` {twice!r}. Give it one.")
    laws: dict[Any, Any] = {m.where: _material(m, problem, mesh.d, options) for m in problem.materials}
    solver = options.solver(options.rtol)
    return Body(
        mesh,
        laws.get(None, laws),
        [_condition(c, problem) for c in problem.conditions],
        observe=observers(problem.curve[0]),
        rule=rule,
        solver=solver,
        thickness=problem.mesh.get("thickness"),
    )


def _material(material: Material, problem: Problem, d: int, options: Options) -> Any:
    """A law, or a cell in one batch over all points."""
    laws = make_laws(Materials(material.phases), d, plane_stress=bool(problem.mesh.get("plane_stress", False)))
    if material.image is None:
        return laws[0]
    image = read_image(material.image)
    known = [phase.labels for phase in material.phases if phase.labels is not None]
    labeled = phases(image, labels=known if len(known) == len(laws) else None)
    if image.ndim != d or labeled.max() + 1 != len(laws):
        raise InputError(
            f"The image {material.image} must have {d} axes and {len(laws)} phases, but has {image.ndim} and {labeled.max() + 1}."
        )
    return every_point(PeriodicCell(labeled, laws, solver=options.solver(options.rtol)))


def _condition(entry: Any, problem: Problem) -> Any:
    where, value = entry.get("where"), entry.get("value", 1.0)
    makers: dict[str, Callable[[], Any]] = {
        "fixed": lambda: Fixed(where, None if "axes" not in entry else tuple(entry["axes"])),
        "moved": lambda: Moved(where, tuple(entry["axes"]), value),
        "symmetry": lambda: Symmetry(where, tuple(entry["normal"])),
        "tied": lambda: Tied(where, entry["to"], entry.get("value", 0.0)),
        "traction": lambda: Traction(where, value),
        "force": lambda: Force(where, value),
        "body-force": lambda: BodyForce(np.asarray(value, float), where),
        "pressure": lambda: Pressure(where, value),
        "springs": lambda: Springs(where, value),
    }
    try:
        return makers[entry["kind"]]()
    except (TypeError, ValueError) as error:
        raise InputError(f"In {problem.source}, a condition `{entry['kind']}` cannot be made: {error}") from None
