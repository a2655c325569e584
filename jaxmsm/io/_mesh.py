"""Meshes from files."""

import contextlib
import importlib
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..space import ELEMENTS, Mesh
from ._abaqus import read_inp
from ._content import Content, assembled, dimension_of, numbered
from ._input import InputError, needs
from ._vtu import read_vtu

_TAGS = ("gmsh:physical", "medit:ref", "cell_tags")
"""Data of the cells whose numbers stand for groups, by meshio's names."""


def read_mesh(path: str | Path) -> Mesh:
    """The mesh in a file of gmsh (`.msh`, 2.2 and 4), VTK (`.vtu`, `.vtk`), XDMF, Abaqus or CalculiX (`.inp`), or Medit (`.mesh`).

    The cells of the highest dimension are the elements; lengths are the file's. A mesh whose third coordinate is constant is 2D.
    Elements that are inside out are renumbered, with a warning; nodes of no element are dropped. Sets:

    - of elements: physical groups of gmsh, `*ELSET` of Abaqus, references of Medit; and `NAME:number` for each number in data of
      whole numbers, if there are 256 or fewer. Groups without a name are called by their number.
    - of facets: the same, of cells that have one dimension less (`facets` where they are in no group), and `*SURFACE` of Abaqus.
    - of nodes: `*NSET` of Abaqus, and groups of cells of lower dimension still.

    What `write_mesh` wrote has the sets it had.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The mesh {path} does not exist." if not path.exists() else f"The mesh {path} is a folder, not a file.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"The mesh {path} must end in one of {', '.join(sorted(_READERS))}, but ends in `{path.suffix}`.")
    try:
        content = reader(path)
    except (InputError, ModuleNotFoundError):
        raise
    # Readers meet broken files with whatever they stumble over.
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"The mesh {path} cannot be read: it is truncated or not a {path.suffix} file ({why}).") from error
    return assembled(path, content)


def _by_meshio(module: str) -> Callable[[Path], Content]:
    def read(path: Path) -> Content:
        # `meshio.read` ends the process where a file is bad; the readers of the formats raise.
        said = io.StringIO()
        try:
            reader = importlib.import_module(f"meshio.{module}").read
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                mesh = reader(str(path))
        except ModuleNotFoundError as error:
            raise needs("h5py" if error.name == "h5py" else "meshio") from error
        notes = " ".join(said.getvalue().split())
        if "cannot handle" in notes:
            raise InputError(f"The mesh {path} must consist of elements known here ({', '.join(ELEMENTS)}): {notes}")
        if notes:
            warnings.warn(f"The mesh {path}: {notes}", stacklevel=4)
        return _content(mesh, _physical_names(path) if module == "gmsh" else {})

    return read


def _content(mesh: Any, names: dict[tuple[int, int], str]) -> Content:
    """What meshio found. Its sets count within the groups of cells; ours count through."""
    cells = [(block.type, np.asarray(block.data)) for block in mesh.cells]
    starts = np.cumsum([0, *(len(nodes) for _, nodes in cells)])
    names = {(int(v[1]), int(v[0])): k for k, v in mesh.field_data.items() if np.shape(v) == (2,)} | names
    sets: dict[str, list[np.ndarray]] = {}
    for name, parts in mesh.cell_sets.items():
        if not name.startswith("gmsh:"):
            sets[name] = [np.asarray(part, int) + s for part, s in zip(parts, starts) if part is not None]
    data = {k: v for k, v in mesh.cell_data.items() if all(np.ndim(a) == 1 and np.asarray(a).dtype.kind in "iu" for a in v)}
    for name, parts in data.items():
        if name in _TAGS:
            for (kind, _), start, part in zip(cells, starts, parts):
                for tag, numbers in numbered(name, np.asarray(part), tag=True).items():
                    known = kind == "vertex" or kind in ELEMENTS
                    title = names.get((dimension_of(kind), int(tag)), tag) if known else tag
                    sets.setdefault(title, []).append(numbers + start)
        elif name != "gmsh:geometrical" or "gmsh:physical" not in data:
            sets |= {k: [v] for k, v in numbered(name, np.concatenate(parts)).items()}
    found = {k: np.unique(np.concatenate(v)).astype(int) for k, v in sets.items() if v}
    return Content(np.asarray(mesh.points), cells, {k: np.asarray(v, int) for k, v in mesh.point_sets.items()}, found, {})


def _physical_names(path: Path) -> dict[tuple[int, int], str]:
    """Names by dimension and number. meshio keeps one of two groups that have a name in common."""
    section = re.search(rb"\$PhysicalNames\s(.*?)\$EndPhysicalNames", path.read_bytes(), re.S)
    lines = section[1].decode("utf-8", "replace").splitlines() if section else []
    found = (re.match(r'\s*(\d+)\s+(\d+)\s+"(.*)"', line) for line in lines)
    return {(int(m[1]), int(m[2])): m[3] for m in found if m}


_READERS: dict[str, Callable[[Path], Content]] = {
    ".msh": _by_meshio("gmsh"),
    ".vtk": _by_meshio("vtk"),
    ".xdmf": _by_meshio("xdmf"),
    ".xmf": _by_meshio("xdmf"),
    ".mesh": _by_meshio("medit"),
    ".meshb": _by_meshio("medit"),
    ".vtu": read_vtu,
    ".inp": read_inp,
}
