"""A structure from a TOML file: its mesh, materials, conditions and path; read, checked, and left to others to build."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._input import InputError, unknown
from ._materials import Phase, make_phase

SHAPES: dict[str, tuple[str, ...]] = {
    "box": ("parts", "lengths"),
    "beam": ("parts", "lengths"),
    "cook": ("parts",),
    "l-shape": ("parts", "length", "depth", "layers"),
    "ring": ("parts", "inner", "outer", "depth"),
    "plate-with-hole": ("parts", "radius", "width", "height", "depth", "grading"),
}
"""The meshes that need no file, and their numbers (`parts` always: how many elements an axis)."""

CONDITIONS: dict[str, tuple[str, ...]] = {
    "fixed": ("where", "axes"),
    "moved": ("where", "axes", "value"),
    "symmetry": ("where", "normal"),
    "tied": ("where", "to", "value"),
    "traction": ("where", "value"),
    "force": ("where", "value"),
    "body-force": ("where", "value"),
    "pressure": ("where", "value"),
    "springs": ("where", "value"),
}
"""What can be done to a body, and the keys that say how."""


@dataclass(frozen=True)
class Material:
    """What stands at the points of a set of elements: one law, or a cell of an image and its phases."""

    where: str | None
    phases: tuple[Phase, ...]
    image: Path | None = None


@dataclass(frozen=True)
class Problem:
    """A structure as its file says it.

    Attributes:
        mesh: `file`, or `shape` and its numbers; `element`, `rule`, `thickness`, `plane_stress`.
        conditions: kind and keys of each.
        loads: the path.
        curve: the set and the axis whose force and displacement are reported.
        micro: points whose cell is written.
    """

    mesh: Mapping[str, Any]
    materials: tuple[Material, ...]
    conditions: tuple[Mapping[str, Any], ...]
    loads: tuple[float, ...]
    curve: tuple[str, int]
    micro: tuple[int, ...] = ()
    source: Path = field(default=Path(), compare=False)


def read_problem(path: str | Path) -> Problem:
    """The structure in a TOML file, every key checked; paths in it are seen from its folder.

    [mesh]
    file = "part.msh"           # or shape = "plate-with-hole", parts = [6, 8], radius = 0.4

    [[material]]                # one a set of elements (where = "..."), or one for all
    image = "cell.png"          # left out: the one phase is the law of the body

    [[material.phase]]          # as in a file of materials
    label = 0
    law = "j2"
    E = 70.0
    nu = 0.33
    sy = 0.1

    [[condition]]
    kind = "fixed"              # one of `CONDITIONS`
    where = "left"

    [[condition]]
    kind = "moved"
    where = "right"
    axes = [0]
    value = 1.0                 # times the load

    [path]
    to = 0.01                   # or loads = [...]
    steps = 10
    curve = { where = "right", axis = 0 }
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The problem {path} does not exist.")
    try:
        table = tomllib.loads(path.read_text())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The problem {path} is not TOML: {error}.") from error
    where = f"In {path}, "
    _known(table, ("mesh", "material", "condition", "path"), where)
    for key in ("mesh", "material", "condition", "path"):
        if key not in table:
            shown = f"[{key}]" if key in ("mesh", "path") else f"[[{key}]]"
            raise InputError(f"The problem {path} must have `{shown}`, but has none.")
    loads, curve, micro = _path(table["path"], where)
    return Problem(
        _mesh(table["mesh"], path, where),
        tuple(_material(entry, k, path, where) for k, entry in enumerate(_list(table["material"], "material", where))),
        tuple(_condition(entry, k, where) for k, entry in enumerate(_list(table["condition"], "condition", where))),
        loads,
        curve,
        micro,
        path,
    )


def _list(entries: Any, key: str, where: str) -> list:
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"{where}`{key}` must be written `[[{key}]]`, one table each.")
    return entries


def _known(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise unknown("the key", key, keys, where=where)


def _mesh(table: Any, path: Path, where: str) -> dict[str, Any]:
    where = f"{where}[mesh]: "
    if not isinstance(table, dict) or ("file" in table) == ("shape" in table):
        raise InputError(f"{where}give a `file` or a `shape`, one of the two.")
    _checked_mesh(table, where)
    common = ("element", "rule", "thickness", "plane_stress")
    if "file" in table:
        _known(table, ("file", *common[1:]), where)
        return {**table, "file": path.parent / table["file"]}
    if table["shape"] not in SHAPES:
        raise unknown("the shape", table["shape"], SHAPES, where=where)
    _known(table, ("shape", *common, *SHAPES[table["shape"]]), where)
    if "parts" not in table:
        raise InputError(f"{where}the key `parts` is missing: how many elements an axis.")
    parts = table["parts"] if isinstance(table["parts"], list) else [table["parts"]]
    if not parts or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in parts):
        raise InputError(f"{where}`parts` must hold positive whole numbers, how many elements an axis, but is {table['parts']!r}.")
    return dict(table)


def _checked_mesh(table: Mapping[str, Any], where: str) -> None:
    """The keys that every mesh has, in their kind."""
    for key in ("file", "shape", "element", "rule"):
        if not isinstance(table.get(key, ""), str):
            raise InputError(f"{where}`{key}` must be text, but is {table[key]!r}.")
    if not isinstance(table.get("plane_stress", False), bool):
        raise InputError(f"{where}`plane_stress` must be true or false, but is {table['plane_stress']!r}.")
    if "thickness" in table and not _number(table["thickness"], "thickness", where) > 0:
        raise InputError(f"{where}`thickness` must be positive, but is {table['thickness']!r}.")


def _material(entry: Mapping[str, Any], number: int, path: Path, where: str) -> Material:
    where = f"{where}material {number}: "
    _known(entry, ("where", "image", "phase"), where)
    for key in ("where", "image"):
        if not isinstance(entry.get(key, ""), str):
            raise InputError(f"{where}`{key}` must be text, but is {entry[key]!r}.")
    phases = _list(entry.get("phase", []), "material.phase", where)
    if not phases:
        raise InputError(f"{where}at least one `[[material.phase]]` is needed.")
    found = tuple(make_phase(phase, where=f"{where}phase {k}: ") for k, phase in enumerate(phases))
    image = None if "image" not in entry else path.parent / entry["image"]
    if image is None and len(found) > 1:
        raise InputError(f"{where}without an `image` there is one phase, the law of the body, but there are {len(found)}.")
    return Material(entry.get("where"), found, image)


def _condition(entry: Mapping[str, Any], number: int, where: str) -> dict[str, Any]:
    where = f"{where}condition {number}: "
    kind = entry.get("kind")
    if kind not in CONDITIONS:
        raise unknown("the kind", str(kind), CONDITIONS, where=where)
    keys = CONDITIONS[kind]
    _known(entry, ("kind", *keys), where)
    optional = {"fixed": ("axes",), "body-force": ("where",), "pressure": ("value",), "moved": ("value",), "tied": ("value",)}
    missing = [k for k in keys if k not in entry and k not in optional.get(kind, ())]
    if missing:
        raise InputError(f"{where}a condition `{kind}` needs the key `{missing[0]}`.")
    for key in ("where", "to"):
        if not isinstance(entry.get(key, ""), str):
            raise InputError(f"{where}`{key}` must be the name of a set, but is {entry[key]!r}.")
    found = dict(entry)
    if "axes" in entry:
        axes = entry["axes"] if isinstance(entry["axes"], list) else [entry["axes"]]
        if not axes or any(isinstance(a, bool) or not isinstance(a, int) or a < 0 for a in axes):
            raise InputError(f"{where}`axes` must be a list of axes from 0, but is {entry['axes']!r}.")
        found["axes"] = axes
    for key in ("value", "normal"):
        if isinstance(entry.get(key), list):
            found[key] = [_number(x, key, where) for x in entry[key]]
        elif key in entry:
            found[key] = _number(entry[key], key, where)
    if "normal" in found and not isinstance(found["normal"], list):
        raise InputError(f"{where}`normal` must be a list of numbers, one an axis, but is {entry['normal']!r}.")
    return found


def _path(table: Mapping[str, Any], where: str) -> tuple[tuple[float, ...], tuple[str, int], tuple[int, ...]]:
    where = f"{where}[path]: "
    _known(table, ("loads", "to", "steps", "curve", "micro"), where)
    if ("loads" in table) == ("to" in table):
        raise InputError(f"{where}give the `loads` of the steps, or where they go `to` and in how many `steps`.")
    if "to" in table:
        steps = table.get("steps", 10)
        if not isinstance(steps, int) or steps < 1:
            raise InputError(f"{where}`steps` must be a positive whole number, but is {steps!r}.")
        loads = [_number(table["to"], "to", where) * (k + 1) / steps for k in range(steps)]
    else:
        given = table["loads"]
        if not isinstance(given, list) or not given:
            raise InputError(f"{where}`loads` must be a list of numbers, but is {given!r}.")
        loads = [_number(x, "loads", where) for x in given]
    curve = table.get("curve", {})
    if not isinstance(curve, dict) or not isinstance(curve.get("where"), str) or not isinstance(curve.get("axis", 0), int):
        raise InputError(f'{where}`curve` must be like {{ where = "right", axis = 0 }}, but is {curve!r}.')
    micro = table.get("micro", [])
    if not isinstance(micro, list) or not all(isinstance(m, int) for m in micro):
        raise InputError(f"{where}`micro` must be a list of numbers of points, but is {micro!r}.")
    return tuple(loads), (curve["where"], int(curve.get("axis", 0))), tuple(micro)


def _number(x: Any, key: str, where: str) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float) or not math.isfinite(x):
        raise InputError(f"{where}`{key}` must be a finite number, but is {x!r}.")
    return float(x)
