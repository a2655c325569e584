"""Yield and hardening of two phases from the force-displacement curves of a structure: `jaxmsm run fe2-fit`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array

from .. import viz
from .._results import names
from .._scale import rollout
from ..bridges import PeriodicCell
from ..inference import FirstOrder, LevenbergMarquardt, fit
from ..io import InputError
from ..solids import J2, Body, Fixed, Linear, Moved, Reaction, lame
from ..solve import batched
from ..space import box
from ._console import Console, Report
from ._fe2 import round_inclusion
from ._options import Common

PARAMETERS = ("sy_matrix", "H_matrix", "sy_inclusion", "H_inclusion")
MODES = ("tension", "shear")


@dataclass(kw_only=True, unsafe_hash=True)
class Options(Common):
    """FE2 fit: what must matrix and inclusion be like, for a clamped plate to answer tension and shear as measured?

    The data are made here, with noise, from parameters that the fit does not see; also from finer cells, which shows how
    far off the resolution of the cell alone brings the parameters. Stresses in GPa.
    """

    truth: tuple[float, float, float, float] = (0.1, 1.5, 0.16, 4.0)
    """Yield stress and slope of it, of the matrix and of the inclusion."""
    start: tuple[float, float, float, float] = (0.15, 1.0, 0.25, 2.0)
    """Where the fit starts."""
    noise: float = 0.01
    """Standard deviation of the data, over the largest force of their curve."""
    parts: tuple[int, int] = (4, 4)
    """Elements of the plate; 4 points each."""
    voxels: int = 8
    """Edge of the cell."""
    finer: int = 2
    """The other data come from cells of so many times the voxels an edge (0: none)."""
    stretch: float = 0.02
    """Largest displacement, over the width of the plate."""
    steps: int = 8
    """Steps up to it; half as many more unload."""
    method: Literal["levenberg-marquardt", "adam"] = "levenberg-marquardt"
    """`adam` takes the gradient alone, as one would for very many parameters, and gives no errors."""
    max_steps: int = 0
    """Trials of the fit (default: 40, of adam 150)."""
    seed: int = 0
    """Of the noise."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Data, fit, what the data determine, and the bias of another resolution."""
    _check(options)
    model = Forces(options, options.voxels)
    forces = jax.jit(model)
    truth = jnp.log(jnp.asarray(options.truth))
    with console.progress("data", 1 + bool(options.finer)) as moved:
        clean, result = forces(truth)
        moved()
        other = jax.jit(Forces(options, options.finer * options.voxels))(truth)[0] if options.finer else None
        moved(bool(options.finer))
    report = Report("FE2 fit: yield and hardening (GPa) from the curves of tension and shear", ("", *PARAMETERS))
    report.codes["data"] = names(result).ravel().tolist()
    if report.failure() is not None:
        return report
    sigma = options.noise * np.max(np.abs(clean), axis=1, keepdims=True)
    noise = sigma * np.random.default_rng(options.seed).normal(size=clean.shape)
    data = clean + noise
    found, how = _fit(options, Misfit(model, jnp.asarray(data), jnp.asarray(sigma)), options.start, console, "fit")
    _tell(options, report, found, how)
    _draw(options, forces, found, data, out)
    if other is not None:
        finer = Misfit(model, jnp.asarray(other + noise), jnp.asarray(sigma))
        biased, _ = _fit(options, finer, np.exp(found), console, "fit to the finer cell's data")
        bias = np.exp(biased) - np.exp(found)
        report.rows.append((f"shift by data of {options.finer}x finer cells", *(f"{b:+.4g}" for b in bias)))
        report.numbers["bias_of_resolution"] = dict(zip(PARAMETERS, bias.tolist()))
    np.savez(out / "data.npz", displacement=path(options), clean=clean, data=data, sigma=sigma)
    return report


def _check(options: Options) -> None:
    if min(options.truth) <= 0 or min(options.start) <= 0:
        raise InputError("Flags --truth and --start must hold positive numbers.")
    if options.voxels < 4 or min(options.parts) < 1 or options.steps < 2:
        raise InputError("Flag --voxels must be at least 4, --parts at least 1 and --steps at least 2.")
    if not (np.isfinite(options.noise) and options.noise > 0):
        raise InputError(f"Flag --noise must be positive, but is {options.noise:g}.")
    if options.finer < 0 or options.finer == 1:
        raise InputError(f"Flag --finer must be 0 or at least 2, but is {options.finer}.")


def path(options: Options) -> np.ndarray:
    """Up and half the way down."""
    up = np.linspace(0, options.stretch, options.steps + 1)[1:]
    return np.append(up, options.stretch - up[: options.steps // 2])


class Forces(eqx.Module):
    """`forces(log of the parameters) -> ((modes, steps), codes)`, the whole of both scales and both paths."""

    options: Options = eqx.field(static=True)
    voxels: int = eqx.field(static=True)

    def __call__(self, logs):
        options = self.options
        solver = options.solver()
        sy, H, sy_in, H_in = jnp.exp(logs)
        one, two = lame(70.0, 0.33), lame(110.0, 0.25)
        laws = [
            J2(lam=one[0], mu=one[1], hardening=Linear(sy=sy, H=H)),
            J2(lam=two[0], mu=two[1], hardening=Linear(sy=sy_in, H=H_in)),
        ]
        cell = batched(PeriodicCell(round_inclusion(self.voxels, 2, 0.3), laws, solver=solver))
        ways = [Moved("right", (axis,), by=partial(_component, axis)) for axis in range(2)]
        body = Body(box(options.parts), cell, [Fixed("left"), *ways], observe=Reaction("right"), solver=solver)
        loads = jnp.asarray(path(options))
        modes = jnp.eye(2)
        # One after the other: the points of a body are a batch already.
        steps = lax.map(lambda way: rollout(body, loads[:, None] * way[None])[1], modes)
        return jnp.einsum("msd,md->ms", steps.value, modes), steps.result


def _component(axis: int, load):
    return load[axis]


class Misfit(eqx.Module):
    """The residual over the standard deviation of the data."""

    forces: Forces
    data: Array
    sigma: Array

    def __call__(self, logs):
        found, result = self.forces(logs)
        return (found - self.data) / self.sigma, result


def _fit(options: Options, misfit: Misfit, start, console: Console, label: str) -> tuple[np.ndarray, Any]:
    # Steps that are small beside the standard errors tell nothing.
    adam = options.method == "adam"
    method: Any = (
        FirstOrder(optax.adam(optax.cosine_decay_schedule(0.1, 150))) if adam else LevenbergMarquardt(rtol=1e-8, xtol=1e-5)
    )
    most = options.max_steps or (150 if adam else 40)
    with console.progress(f"{label} (the first step compiles)") as moved:
        say = lambda step, cost, _: moved(1, f"{label}: step {step}, chi2 / 2 = {cost:.5g}")
        start = jnp.log(jnp.asarray(start, float))
        logs, how = fit(misfit, start, method=method, weights=1.0, absolute=True, max_steps=most, on_step=say)
    return np.asarray(logs), how


def _tell(options: Options, report: Report, logs: np.ndarray, how: Any) -> None:
    """The parameters with their errors, and what the data cannot tell."""
    found = np.exp(logs)
    report.rows += [("truth", *(f"{x:.4g}" for x in options.truth)), ("start", *(f"{x:.4g}" for x in options.start))]
    report.rows.append(("found", *(f"{x:.4g}" for x in found)))
    report.numbers |= {
        "truth": dict(zip(PARAMETERS, options.truth)),
        "found": dict(zip(PARAMETERS, found.tolist())),
        "cost": how.cost,
        "steps": how.steps,
        "rejected": how.rejected,
        "failed": how.failed,
    }
    report.codes["fit"] = str(names(how.result))
    if how.covariance is None:
        # A first-order method stops where its steps end.
        report.codes["fit"] = "successful"
        report.notes.append(f"Cost {how.cost.min():.5g} after {how.steps} steps; errors need --method levenberg-marquardt.")
        return
    # Of a logarithm, to first order, the error is relative.
    errors = found * np.asarray(how.errors)
    report.rows.append(("standard error", *(f"{e:.2g}" for e in errors)))
    score = (logs - np.log(options.truth)) / np.asarray(how.errors)
    report.rows.append(("off by (errors)", *(f"{s:+.2f}" for s in score)))
    for name, row in zip(PARAMETERS, how.correlation, strict=True):
        report.rows.append((f"correlation, {name}", *(f"{c:+.2f}" for c in row)))
    report.numbers |= {
        "standard_errors": dict(zip(PARAMETERS, errors.tolist())),
        "correlation": how.correlation,
        "singular_values": how.singular_values,
    }
    report.notes += warnings(how, errors / found)


def warnings(how: Any, relative: np.ndarray) -> list[str]:
    """A sentence for each parameter that the data do not determine."""
    told = [
        f"{name} is not identifiable from these data: its standard error is {'infinite' if np.isinf(e) else f'{e:.0%} of it'}."
        for name, e in zip(PARAMETERS, relative)
        if not e < 0.5
    ]
    if told:
        weak = np.asarray(how.weakest)
        told.append("What they tell least: " + ", ".join(f"{w:+.2f} d log {n}" for n, w in zip(PARAMETERS, weak)) + ".")
    return told


def _draw(options: Options, forces, logs, data, out: Path) -> None:
    fitted = np.asarray(forces(jnp.asarray(logs))[0])
    x = path(options)
    series: dict[str, Any] = {}
    for k, name in enumerate(MODES):
        series |= {f"{name}, data": (x, data[k]), f"{name}, fit": (x, fitted[k])}
    viz.curve(series, xlabel="displacement over width", ylabel="force (GPa width)", path=out / "curves.png")
