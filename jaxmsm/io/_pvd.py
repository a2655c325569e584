"""A series of meshes over time: one `.vtu` file a step, and a `.pvd` file that lists them."""

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..space import Mesh
from ._input import InputError
from ._vtk_xml import quoted
from ._vtu import write_mesh


class Pvd:
    """A series that ParaView opens as one: `NAME.pvd`, and beside it `NAME_000000.vtu` and so on.

    The list is replaced as a whole after each step, so a process may be killed at any moment and what is listed can be read. A
    series that is there already is gone on with; a step at a time that is not later than what is listed takes the place of
    everything from that time on, as a run does that goes back to its last checkpoint. One process writes at a time.

    Attributes:
        steps: times and file names, in order.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        if self.path.suffix.lower() != ".pvd":
            raise InputError(f"The series {self.path} must end in `.pvd`, but it ends in `{self.path.suffix}`.")
        self.steps: list[tuple[float, str]] = self._listed() if self.path.exists() else []

    def write(
        self,
        time: float,
        mesh: Mesh,
        *,
        point_data: Mapping[str, Any] | None = None,
        element_data: Mapping[str, Any] | None = None,
    ) -> Path:
        """One step more; the fields are those of `write_mesh`."""
        kept = [(t, name) for t, name in self.steps if t < time]
        if len(kept) < len(self.steps):
            # A file that is about to change must not stand in the list under its old time.
            self._list(kept)
        path = self.path.with_name(f"{self.path.stem}_{len(kept):06d}.vtu")
        write_mesh(path, mesh, point_data=point_data, element_data=element_data)
        self._list([*kept, (float(time), path.name)])
        return path

    def _list(self, steps: list[tuple[float, str]]) -> None:
        lines = (f'<DataSet timestep="{t!r}" group="" part="0" file={quoted(name)}/>' for t, name in steps)
        whole = ['<?xml version="1.0"?>', '<VTKFile type="Collection" version="0.1">', "<Collection>", *lines, "</Collection>"]
        part = self.path.with_name(self.path.name + ".part")
        with open(part, "w", encoding="utf-8") as file:
            file.write("\n".join([*whole, "</VTKFile>\n"]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)
        self.steps = steps

    def _listed(self) -> list[tuple[float, str]]:
        try:
            entries = ET.parse(self.path).getroot().findall("Collection/DataSet")
            return [(float(e.attrib["timestep"]), e.attrib["file"]) for e in entries]
        except (ET.ParseError, KeyError, ValueError) as error:
            raise InputError(f"The series {self.path} cannot be gone on with, since it is no `.pvd` file ({error}).") from error
