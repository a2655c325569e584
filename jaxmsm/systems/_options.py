"""The options that every command shares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..solve import NewtonKrylov
from ..space import AbstractRule, Full, MeanDilatation, Reduced

RULES: dict[str, AbstractRule] = {"full": Full(), "reduced": Reduced(), "mean-dilatation": MeanDilatation()}


@dataclass(kw_only=True)
class Common:
    """What every command takes."""

    out: Path | None = None
    """Folder to write: a new or an empty one (default: a fresh one under results/)."""
    precision: Literal["float64", "float32", "mixed"] = "float64"
    """Floating-point numbers; `mixed` solves in float32 and corrects in float64."""
    quiet: bool = False
    """Say nothing on the way (which goes to stderr): the table (to stdout) and errors alone."""

    def solver(self, rtol: float | None = None) -> NewtonKrylov:
        """The solver of this precision."""
        return NewtonKrylov(rtol=rtol, inner=np.float32 if self.precision == "mixed" else None)


@dataclass(kw_only=True)
class Resuming(Common):
    """What a command takes that goes on after a kill."""

    out: Path | None = None
    """Folder to write: a new or an empty one, or that of a killed run with the same options (default: a fresh one in results/)."""
