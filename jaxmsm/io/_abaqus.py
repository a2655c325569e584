"""Meshes from Abaqus input files (`.inp`), which CalculiX and others read and write too.

meshio's reader knows no plane-strain quadrilaterals (`CPE4`), keeps the last `*NODE` alone, and gives the sets of `*ELEMENT` to
the wrong elements where another `*ELEMENT` has none (meshio 5.3.5); and it has no surfaces.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..space import ELEMENTS
from ._content import Content
from ._input import InputError

_SOLID = {4: "tetra", 8: "hexahedron", 10: "tetra10", 20: "hexahedron20"}
_PLANE = {3: "triangle", 4: "quad", 6: "triangle6", 8: "quad8", 9: "quad9"}
_LINE = {2: "line", 3: "line3"}
_KINDS = (
    (re.compile(r"(?:C|DC|AC)3D(\d+)"), _SOLID),
    (re.compile(r"(?:CPS|CPE|CPEG|CAX|CGAX|M3D|SFM3D|S|STRI|R3D|DS|DC2D|AC2D|DCAX)(\d+)"), _PLANE),
    (re.compile(r"(?:T2D|T3D|R2D|DC1D|FRAME2D)(\d+)"), _LINE),
)
_BEAMS = {"B21": "line", "B22": "line3", "B31": "line", "B32": "line3", "STRI65": "triangle6"}
_HEXAHEDRON_SIDES = (4, 5, 2, 1, 3, 0)
"""Abaqus's faces 1 to 6 of a hexahedron, as `Element.corners` counts them; other kinds count alike."""


class _Card(NamedTuple):
    """A keyword line with its parameters and the data lines under it."""

    key: str
    options: dict[str, str]
    lines: list[str]


def read_inp(path: Path) -> Content:
    """The mesh in an input file: of one part, or flat."""
    cards = list(_mesh_cards(path, _cards(path)))
    labels, points = _nodes(path, cards)
    cells, sets, numbers = _elements(path, cards, labels)
    named = _Sets(path, numbers, sets)
    nodes = _Sets(path, labels, {})
    sides: dict[str, list[tuple[int, int]]] = {}
    kinds = [kind for kind, rows in cells for _ in rows]
    for card in cards:
        if card.key == "NSET":
            nodes.add(card)
        elif card.key == "ELSET":
            named.add(card)
        elif card.key == "NODE" and "NSET" in card.options:
            nodes.extend(card.options["NSET"], [labels[int(line.split(",")[0])] for line in card.lines])
    for card in cards:
        if card.key == "SURFACE" and card.options.get("TYPE", "ELEMENT").upper() == "ELEMENT":
            sides.setdefault(card.options["NAME"], []).extend(_sides(path, card, named, kinds))
        elif card.key == "SURFACE":
            for line in card.lines:
                nodes.extend(card.options["NAME"], nodes.of(line.split(",")[0].strip()))
    return Content(
        points,
        cells,
        {k: np.array(v, int) for k, v in nodes.found.items()},
        {k: np.array(v, int) for k, v in named.found.items()},
        {k: np.array(v, int).reshape(-1, 2) for k, v in sides.items()},
    )


class _Sets:
    """Numbers by name. Names hold whatever the case of their letters; the first spelling is kept."""

    def __init__(self, path: Path, labels: dict[int, int], found: dict[str, list[int]]):
        self.path, self.labels, self.found = path, labels, found

    def add(self, card: _Card) -> None:
        name = card.options.get("NSET") or card.options.get("ELSET") or ""
        if "GENERATE" in card.options:
            steps = [[int(x) for x in _cells(line)] for line in card.lines]
            items = [str(k) for low, high, *by in steps for k in range(low, high + 1, *by)]
        else:
            items = [x for line in card.lines for x in _cells(line)]
        self.extend(name, [n for item in items for n in self.of(item, within=name)])

    def extend(self, name: str, numbers: Iterable[int]) -> None:
        self.found.setdefault(self._spelled(name), []).extend(numbers)

    def of(self, item: str, *, within: str = "") -> list[int]:
        """What a label or a name of a set stands for. A label of nothing here is passed over, as Abaqus does in a set."""
        if re.fullmatch(r"\d+", item):
            return [self.labels[int(item)]] if int(item) in self.labels else []
        # An instance's name may stand before a dot.
        name = self._spelled(item.rpartition(".")[2].strip('"'))
        if name not in self.found:
            raise InputError(f"The mesh {self.path} must define a set before it is used, but `{item}` (in `{within}`) is unknown.")
        return self.found[name]

    def _spelled(self, name: str) -> str:
        return next((known for known in self.found if known.upper() == name.upper()), name)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",") if cell.strip()]


def _cards(path: Path) -> Iterator[_Card]:
    card: _Card | None = None
    pending = ""
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = raw.strip()
        if not line or line.startswith("**"):
            continue
        if pending or line.startswith("*"):
            pending += line
            if pending.endswith(","):
                continue
            if card is not None:
                yield from _included(path, card)
            key, *options = pending[1:].split(",")
            pairs = (option.partition("=") for option in options)
            card = _Card(" ".join(key.upper().split()), {k.strip().upper(): v.strip().strip('"') for k, _, v in pairs}, [])
            pending = ""
        elif card is None:
            raise InputError(f"The mesh {path} must begin with a keyword (`*NODE`), but begins with {line[:40]!r}.")
        else:
            card.lines.append(line)
    if card is not None:
        yield from _included(path, card)


def _included(path: Path, card: _Card) -> Iterator[_Card]:
    if card.key != "INCLUDE":
        yield card
        return
    file = path.parent / card.options.get("INPUT", "")
    if not file.is_file():
        raise InputError(f"The mesh {path} includes {file}, which does not exist.")
    yield from _cards(file)


def _mesh_cards(path: Path, cards: Iterable[_Card]) -> Iterator[_Card]:
    """The cards of the mesh: nodes beside an instance, which an assembly uses as reference points, are none."""
    parts, instances, within, inside = 0, 0, "", False
    for card in cards:
        if card.key in ("PART", "ASSEMBLY"):
            within = card.key
        elif card.key in ("END PART", "END ASSEMBLY"):
            within = ""
        elif card.key in ("INSTANCE", "END INSTANCE"):
            inside = card.key == "INSTANCE"
            instances += inside
            if inside and any(float(x) for line in card.lines for x in _cells(line)):
                raise InputError(f"The mesh {path} must not move its instance: write the input without parts and assemblies.")
        elif card.key == "STEP":
            return
        elif not (within == "ASSEMBLY" and not inside and _of_assembly(card)):
            yield card
        parts += card.key == "PART"
    if parts > 1 or instances > 1:
        raise InputError(
            f"The mesh {path} must hold one part, but holds {parts} parts and {instances} instances: write the input without parts "
            "and assemblies."
        )


def _of_assembly(card: _Card) -> bool:
    """Reference points, and sets of them: numbers without the instance they count in."""
    if card.key in ("NSET", "ELSET"):
        return "INSTANCE" not in card.options and any(re.match(r"\d", line) for line in card.lines)
    return card.key in ("NODE", "ELEMENT")


def _nodes(path: Path, cards: list[_Card]) -> tuple[dict[int, int], np.ndarray]:
    labels: dict[int, int] = {}
    points: list[list[float]] = []
    for card in (c for c in cards if c.key == "NODE"):
        for line in card.lines:
            label, *x = _cells(line)
            if int(label) not in labels:
                labels[int(label)] = len(points)
                points.append([])
            points[labels[int(label)]] = ([float(v) for v in x] + [0.0, 0.0])[:3]
    if not points:
        raise InputError(f"The mesh {path} must define nodes (`*NODE`), but defines none.")
    return labels, np.array(points)


def _kind(path: Path, name: str) -> str:
    """meshio's name of an element of Abaqus."""
    name = name.upper()
    if name in _BEAMS:
        return _BEAMS[name]
    for pattern, kinds in _KINDS:
        found = pattern.match(name)
        if found and int(found[1]) in kinds:
            return kinds[int(found[1])]
    raise InputError(
        f"The mesh {path} must consist of triangles, quadrilaterals, tetrahedra or hexahedra, linear or quadratic, but holds "
        f"elements "
        f"of type `{name}`."
    )


def _elements(path: Path, cards: list[_Card], labels: dict[int, int]):
    """Cells by card, numbers of cells by the name of the set on their card, and the number of each label."""
    cells: list[tuple[str, np.ndarray]] = []
    sets: dict[str, list[int]] = {}
    numbers: dict[int, int] = {}
    for card in (c for c in cards if c.key == "ELEMENT"):
        kind = _kind(path, card.options.get("TYPE", ""))
        width = 1 + len(ELEMENTS[kind].nodes)
        flat = np.array([int(x) for line in card.lines for x in _cells(line)])
        if len(flat) % width:
            raise InputError(f"The mesh {path} must give {width - 1} nodes to each `{card.options['TYPE']}`, but one has others.")
        rows = flat.reshape(-1, width)
        gone = sorted({int(n) for n in np.unique(rows[:, 1:])} - labels.keys())
        if gone:
            raise InputError(f"The mesh {path} must define the nodes of its elements, but node {gone[0]} is not there.")
        start = len(numbers)
        numbers.update((int(label), start + k) for k, label in enumerate(rows[:, 0]))
        if len(numbers) != start + len(rows):
            raise InputError(f"The mesh {path} must number its elements once, but a number comes twice.")
        cells.append((kind, np.array([labels[int(n)] for n in rows[:, 1:].ravel()]).reshape(-1, width - 1)))
        if "ELSET" in card.options:
            known = next((k for k in sets if k.upper() == card.options["ELSET"].upper()), card.options["ELSET"])
            sets.setdefault(known, []).extend(range(start, len(numbers)))
    return cells, sets, numbers


def _sides(path: Path, card: _Card, sets: _Sets, kinds: list[str]) -> Iterator[tuple[int, int]]:
    """The cells and facets of a surface."""
    for line in card.lines:
        item, *label = _cells(line)
        if not label or not re.fullmatch(r"[Ss][1-6]", label[0]):
            raise InputError(
                f"The mesh {path} must give the faces of its surfaces as S1 to S6, but `{card.options['NAME']}` "
                f"has the line {line!r}."
            )
        face = int(label[0][1]) - 1
        for number in sets.of(item, within=card.options["NAME"]):
            hexahedron = kinds[number].startswith("hexahedron")
            if face >= len(ELEMENTS[kinds[number]].corners):
                raise InputError(
                    f"The mesh {path} has a surface `{card.options['NAME']}` with a face {label[0]} that is not there."
                )
            yield number, _HEXAHEDRON_SIDES[face] if hexahedron else face
