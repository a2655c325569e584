"""A perforated plate whose every point holds a cell with plasticity: `jaxmsm run fe2`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np

from .. import viz
from ..bridges import PeriodicCell
from ..io import InputError
from ..solids import J2, Body, Linear, Moved, Symmetry, lame
from ..space import HEX8, QUAD4, MeanDilatation, Mesh, plate_with_hole
from ._console import Console, Report
from ._options import Resuming
from ._structure import Structure, every_point, observers, tell, walk

PHASES = ("matrix", "inclusion")


@dataclass(kw_only=True)
class Options(Resuming):
    """FE2: a quarter of a plate with a hole, pulled and let go; each point holds a voxel cell of matrix and stiff inclusion.

    Plane strain, or a slice of solid elements with solid cells (`--dimension 3`). Lengths are in plate widths, stresses in GPa.
    """

    dimension: Literal[2, 3] = 2
    """Of the plate and of its cells."""
    parts: tuple[int, int] = (6, 8)
    """Elements from the hole to the edge, and around the quarter of the hole (even); 4 points each, 8 in 3D."""
    voxels: int = 0
    """Edge of the cell in voxels (default: 16, or 6 in 3D)."""
    fraction: float = 0.25
    """Area (or volume) of the inclusion in the cell."""
    matrix: tuple[float, float, float, float] = (70.0, 0.33, 0.1, 1.0)
    """Young's modulus, Poisson's ratio, yield stress and slope of the yield stress of the matrix (typical of aluminum)."""
    inclusion: tuple[float, float] = (400.0, 0.2)
    """Young's modulus and Poisson's ratio of the inclusion (typical of alumina or silicon carbide)."""
    radius: float = 0.4
    """Of the hole."""
    stretch: float = 0.004
    """Largest displacement of the edge."""
    steps: int = 10
    """Load steps up to there; a third of them more unload."""
    micro: tuple[int, ...] = ()
    """Points whose cell is written at every step."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Through the steps of the path, and what they give."""
    _check(options)
    mesh = plate(options)
    image = inclusion(options)
    viz.phases(image, names=PHASES, path=out / "cell.png")
    structure = Structure(plate_of_cells(options, mesh, image), path(options), "right", 0, micro=options.micro, unit="GPa")
    size = sum(len(p.block.nodes) * len(p.block.element.quadrature()[0]) for p in structure.body.parts)
    report = Report(
        f"Perforated plate: {mesh.count} elements, {size} points of {' x '.join(map(str, image.shape))} voxels, force in GPa width"
    )
    report.numbers |= {"elements": mesh.count, "points": size, "voxels": image.shape, "fraction": float(image.mean())}
    solution = walk(structure, out, console)
    tell(structure, solution, out, report)
    return report


def _check(options: Options) -> None:
    if min(options.parts) < 1 or options.parts[1] % 2:
        raise InputError(f"Flag --parts must be two positive numbers, the second even, but is {options.parts}.")
    if options.voxels and options.voxels < 4:
        raise InputError(f"Flag --voxels must be at least 4, but is {options.voxels}.")
    if not 0 < options.fraction < 0.6:
        raise InputError(f"Flag --fraction must lie between 0 and 0.6, but is {options.fraction:g}.")
    if not 0 < options.radius < 1:
        raise InputError(f"Flag --radius must lie between 0 and 1, the half width of the plate, but is {options.radius:g}.")
    if options.steps < 1 or not np.isfinite(options.stretch) or options.stretch == 0:
        raise InputError("Flags --steps and --stretch must not be zero.")


def plate(options: Options) -> Mesh:
    """The quarter of the plate, or a slice of it one element thick."""
    if options.dimension == 2:
        return plate_with_hole(options.parts, options.radius, element=QUAD4, grading=2.0)
    return plate_with_hole((*options.parts, 1), options.radius, element=HEX8, grading=2.0, depth=0.1)


def inclusion(options: Options) -> np.ndarray:
    """The cell's image."""
    d = options.dimension
    return round_inclusion(options.voxels or (16 if d == 2 else 6), d, options.fraction)


def round_inclusion(n: int, d: int, fraction: float) -> np.ndarray:
    """A round inclusion (label 1) in the middle of n^d voxels, by their centers."""
    x = (np.arange(n) + 0.5) / n - 0.5
    r = np.sqrt(sum(c**2 for c in np.meshgrid(*(x,) * d, indexing="ij")))
    radius = np.sqrt(fraction / np.pi) if d == 2 else (3 * fraction / (4 * np.pi)) ** (1 / 3)
    return (r < radius).astype(np.int32)


def plate_of_cells(options: Options, mesh: Mesh, image: np.ndarray) -> Body:
    """The plate, held by its planes of symmetry and pulled at its edge."""
    E, nu, sy, H = options.matrix
    lam, mu = lame(E, nu)
    hard = lame(*options.inclusion)
    laws = [J2(lam=lam, mu=mu, hardening=Linear(sy=sy, H=H)), J2(lam=hard[0], mu=hard[1], hardening=Linear(sy=jnp.inf, H=0.0))]
    cell = PeriodicCell(image, laws, rule=MeanDilatation(), solver=options.solver())
    planes = {"bottom": (0, 1, 0), "left": (1, 0, 0), "back": (0, 0, 1), "front": (0, 0, 1)}
    d = options.dimension
    held = [Symmetry(name, planes[name][:d]) for name in planes if name in mesh.facet_sets]
    return Body(mesh, every_point(cell), [*held, Moved("right", (0,))], observe=observers("right"), solver=options.solver())


def path(options: Options) -> np.ndarray:
    """Up to the largest displacement, and a third of the way back."""
    up = np.linspace(0, options.stretch, options.steps + 1)[1:]
    return np.append(up, options.stretch - up[: options.steps // 3])
