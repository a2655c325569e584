"""The effective law of an image beside its bounds and brackets, as numbers and as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._results import names
from .._scale import Solution
from ..bridges import PeriodicCell
from ..solids import (
    AbstractLaw,
    engineering_constants,
    hashin_shtrikman,
    hashin_shtrikman_conductivity,
    reuss,
    symmetry_class,
    to_voigt,
    voigt,
)
from ..space import AbstractBoundary, LinearDisplacement, UniformTraction
from ._console import Report

_CONDITIONS = {"periodic": "periodic cell", "traction": "uniform traction", "displacement": "linear displacement"}
"""What is said of a condition on the screen."""

COLUMNS = ("Reuss", "traction", "periodic", "displacement", "Voigt")
"""From the softest to the stiffest: every one bounds the next (for `periodic`, the window as if it were repeated)."""


@dataclass
class Brackets:
    """Effective tensors (d, d, d, d), or (d, d) for conduction, by boundary condition, with their codes.

    `solution` is the periodic one, where fields may start; `phases` are the undeformed tangents of the laws; `noise` is the size
    of what a solve leaves where nothing is carried, for which the tensors hold zero.
    """

    solution: Solution
    phases: np.ndarray
    noise: float
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    stats: dict[str, dict[str, float | None]] = field(default_factory=dict)


@eqx.filter_jit
def _linearize(cell, load):
    return cell.linearize(load)


def bracketed(
    cell: PeriodicCell, load: Any, moved: Callable[..., None], said: Callable[[str], None], *, brackets: bool
) -> Brackets:
    """The slope of the cell's answer at a load, periodic and, where asked for, between the two bracketing conditions.

    Args:
        moved: called after each of the solves, with the label of the next one.
        said: called with every result in a line, as soon as it is there.
    """
    solution, slope = _linearize(cell, load)
    phases = _tangents(cell.laws, slope.shape[0])
    found = Brackets(solution, phases, _noise(phases, cell.solver.tolerance(slope.dtype)))

    def enter(name: str, solution: Solution, slope: Any, following: str | None) -> None:
        _enter(found, name, solution, np.asarray(slope))
        then = f"; next: {following}" if following else ""
        said(f"{_CONDITIONS[name].capitalize()}: {_brief(found.tensors[name])}{then}")
        moved(1, following)

    enter("periodic", solution, slope, _CONDITIONS["traction"] if brackets else None)
    others: list[tuple[str, AbstractBoundary, str | None]] = [
        ("traction", UniformTraction(), _CONDITIONS["displacement"]),
        ("displacement", LinearDisplacement(), None),
    ]
    for name, boundary, following in others if brackets else []:
        solution, slope = _linearize(eqx.tree_at(lambda c: c.boundary, cell, boundary), load)
        enter(name, solution, slope, following)
    return found


def _brief(tensor: np.ndarray) -> str:
    said = _conduction(tensor) if tensor.ndim == 2 else _mechanics(tensor)
    return ", ".join(f"{key} {_text(value)}" for key, value in said.items() if key[0] in "Ck")


def _noise(phases: np.ndarray, tolerance: float) -> float:
    """What a solve to a tolerance leaves of a stiffness that is zero; nothing unless a phase has none, in an entry of a tensor."""
    sizes = np.array([np.linalg.norm(C) for C in phases])
    if sizes.all() or not sizes.any():
        return 0.0
    return max(1e-6, tolerance) * float(sizes[sizes > 0].min())


def _enter(found: Brackets, name: str, solution: Solution, slope: np.ndarray) -> None:
    found.tensors[name] = tensor = np.where(np.abs(slope) <= found.noise, 0, slope)
    found.codes[name] = "no_load_path" if bool(solution.ok) and not tensor.any() else str(names(solution.result))
    stats: dict[str, float | None] = {k: np.asarray(v).tolist() for k, v in solution.stats.items() if np.ndim(v) == 0}
    if found.codes[name] == "no_load_path":
        # Work over work, of nothing.
        stats["hill_mandel"] = None
    found.stats[name] = stats


def _idle(found: Brackets) -> list[str]:
    """A sentence for every condition under which the image carries nothing, or nothing in some direction."""
    out = []
    for name, tensor in found.tensors.items():
        if not tensor.any():
            out.append(f"With the {name} condition the image carries no load (`no_load_path`).")
        elif found.codes[name] == "no_load_path":
            out.append(
                f"With the {name} condition the image carries no load in some directions (`no_load_path` in that of the load)."
            )
    return out


def _ordered(found: Brackets) -> list[str]:
    """Which of the numbers the brackets hold between them."""
    if len(found.tensors) == 1:
        return []
    d, scalar = found.phases.shape[1], found.phases.ndim == 3
    normal = ", ".join(f"{'k' if scalar else 'C'}{i}{i}" for i in range(1, d + 1))
    if scalar:
        return [f"From left to right {normal} ascend; the mixed components need not."]
    shear = "C66" if d == 2 else "C44, C55, C66"
    return [f"From left to right the energy ascends, hence {normal}, {shear}, E and G; the others (C12, nu) need not."]


def tabulate(report: Report, found: Brackets, laws: Sequence[AbstractLaw], fractions: np.ndarray) -> None:
    """The tensors, what they say, and the bounds, into the report."""
    report.codes |= {f"{name} condition": code for name, code in found.codes.items()}
    report.notes += _idle(found) + _ordered(found)
    scalar, d, phases = laws[0].scalar, found.tensors["periodic"].shape[0], found.phases
    tensors = _bounds(phases, fractions) | found.tensors
    shown = [name for name in COLUMNS if name in tensors]
    report.head = ("", *shown)
    size = float(np.linalg.norm(tensors["Voigt"]))
    said = {name: _conduction(tensors[name]) if scalar else _mechanics(tensors[name], size) for name in shown}
    keys = list(said["periodic"])
    report.rows += [(key, *(_text(said[name][key]) for name in shown)) for key in keys]
    matrices = {name: t if scalar else np.asarray(to_voigt(jnp.asarray(t))) for name, t in tensors.items()}
    report.numbers |= {"effective": said, "tensors": matrices, "solves": found.stats}
    if not scalar:
        report.numbers["order"] = "11 22 12" if d == 2 else "11 22 33 23 13 12"
        report.numbers["symmetry"] = _symmetry(tensors["periodic"])
        name = report.numbers["symmetry"]
        if name is not None:
            report.title += f"; as a periodic cell the law is {name}" + (" (within 1 %)" if name != "general" else "")
        if d == 2:
            # In plane strain they are not those of the solid: E / (1 - nu^2) and nu / (1 - nu), if it is isotropic.
            report.title += "; E1, nu12, ... are constants of the plane"
    limits = _hashin_shtrikman(phases, fractions, d)
    report.numbers["hashin_shtrikman"] = limits
    for key, (low, high) in limits.items():
        ends = {shown[0]: _text(low), shown[-1]: _text(high)}
        report.rows.append((f"{key} (HS, if isotropic)", *(ends.get(name, "") for name in shown)))
    if scalar:
        _tortuosity(report, phases, fractions, tensors["periodic"], shown)


def _tangents(laws: Sequence[AbstractLaw], d: int) -> np.ndarray:
    """The undeformed tangents of the phases, one after the other."""
    rest = jnp.zeros(d) if laws[0].scalar else jnp.eye(d)
    return np.stack([np.asarray(jax.jacfwd(lambda F, law=law: law(F, law.init())[0])(rest)) for law in laws])


def _bounds(phases: np.ndarray, fractions: np.ndarray) -> dict[str, np.ndarray]:
    f, C = jnp.asarray(fractions, phases.dtype), jnp.asarray(phases)
    # Where one phase carries nothing, a series of all of them carries nothing.
    empty = any(fractions[k] > 0 and not phases[k].any() for k in range(len(phases)))
    low = np.zeros(phases.shape[1:]) if empty else np.asarray(reuss(f, C))
    return {"Reuss": low, "Voigt": np.asarray(voigt(f, C))}


def _mechanics(C: np.ndarray, size: float = 0.0) -> dict[str, float]:
    """Matrix components in Voigt's notation and engineering constants.

    Args:
        size: norm of a stiffness; what is softer than a millionth of it is what a solver leaves of nothing.
    """
    d = C.shape[0]
    M = np.asarray(to_voigt(jnp.asarray(C)))
    pairs = [(k, k) for k in range(d)] + [(a, b) for a in range(d) for b in range(a + 1, d)] + [(k, k) for k in range(d, len(M))]
    label = {3: (1, 2, 6), 6: (1, 2, 3, 4, 5, 6)}[len(M)]
    out = {f"C{label[a]}{label[b]}": float(M[a, b]) for a, b in pairs}
    solid = np.all(np.isfinite(M)) and np.linalg.eigvalsh(0.5 * (M + M.T))[0] > 1e-6 * size
    constants = engineering_constants(jnp.asarray(C if solid else np.full_like(C, np.nan)))
    return out | {key: float(value) for key, value in constants.items()}


def _conduction(K: np.ndarray) -> dict[str, float]:
    d = len(K)
    places = [(k, k) for k in range(d)] + [(a, b) for a in range(d) for b in range(a + 1, d)]
    return {f"k{a + 1}{b + 1}": float(K[a, b]) for a, b in places}


def _symmetry(C: np.ndarray) -> str | None:
    """The class of a law, within 1 %; none of what failed or carries nothing."""
    return symmetry_class(jnp.asarray(C)) if np.isfinite(C).all() and C.any() else None


def _hashin_shtrikman(phases: np.ndarray, fractions: np.ndarray, d: int) -> dict[str, tuple[float, float]]:
    """Bounds on an isotropic arrangement of the phases, where all of them are isotropic; else nothing."""
    f = jnp.asarray(fractions, phases.dtype)
    if phases.ndim == 3:
        k = np.array([K[0, 0] for K in phases])
        if any(np.abs(K - x * np.eye(d)).max() > 1e-6 * abs(x) for K, x in zip(phases, k, strict=True)):
            return {}
        low, high = hashin_shtrikman_conductivity(f, jnp.asarray(k), d=d)
        return {"k": (float(low), float(high))}
    if any(C.any() and symmetry_class(jnp.asarray(C), rtol=1e-6) != "isotropic" for C in phases):
        return {}
    K = np.array([(C[0, 0, 0, 0] + (d - 1) * C[0, 0, 1, 1]) / d for C in phases])
    G = np.array([C[0, 1, 0, 1] for C in phases])
    bulk, shear = hashin_shtrikman(f, jnp.asarray(K), jnp.asarray(G), d=d)
    return {"K": (float(bulk[0]), float(bulk[1])), "G": (float(shear[0]), float(shear[1]))}


def _tortuosity(report: Report, phases: np.ndarray, fractions: np.ndarray, K: np.ndarray, shown: list[str]) -> None:
    """Fraction times conductivity over effective conductivity, where one phase alone conducts."""
    conducting = [k for k in range(len(phases)) if phases[k].any()]
    if len(conducting) != 1:
        return
    own, fraction = phases[conducting[0]], fractions[conducting[0]]
    found = [float(fraction * own[i, i] / K[i, i]) if K[i, i] > 0 else float("inf") for i in range(len(K))]
    report.numbers["tortuosity"] = found
    for i, value in enumerate(found):
        said = "no path" if np.isinf(value) else _text(value)
        report.rows.append((f"tortuosity {i + 1}", *(said if name == "periodic" else "" for name in shown)))


def _text(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.5g}"
