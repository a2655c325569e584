"""A network of your own, swept over its parameters: `jaxmsm run ensemble`."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from .. import viz
from .._model import Span
from .._results import names as code_names
from ..biology import HillNetwork
from ..bridges import Flow
from ..io import InputError
from ..io._network import Network, read_network
from ..solve import batched
from ._console import Console, Report
from ._options import Common

MOST = 1_000_000
"""Members at most; a sweep of several parameters multiplies."""
CHUNK = 100
"""Members computed together; sorted by stiffness, so that none waits long."""


@dataclass(kw_only=True)
class Options(Common):
    """A network of genes from a TOML file, followed in time for every combination of the values in its [sweep].

    Members are sorted by how stiff they are and computed in chunks. Concentrations and times in the file's own units.
    """

    network: Annotated[Path, tyro.conf.Positional]
    """TOML file: genes, regulations, time, sweep."""
    rtol: float = 1e-6
    """Relative error of a step."""
    samples: int = 0
    """Members whose path is drawn and written (the first ones)."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Every member to its end."""
    if not 1e-12 <= options.rtol <= 0.1:
        raise InputError(f"Flag --rtol must lie between 1e-12 and 0.1, but is {options.rtol:g}.")
    network = read_network(options.network)
    axes = list(network.sweep.values())
    count = int(np.prod([len(a) for a in axes])) if axes else 1
    if count > MOST:
        raise InputError(f"The sweep has {count} members; at most {MOST} are taken: fewer values, or one parameter less.")
    console.note(f"{count} members of {len(network.names)} genes ...")
    models, first = _members(network, axes, count)
    flow = Flow(models, jnp.asarray(network.genes["start"]), steps=_tolerance(options.rtol), max_steps=65536, adjoint=_FORWARD)
    over = lambda s: tuple(getattr(s.rate, k) for k in ("basal", "most", "decay", "K", "hill"))
    many = batched(flow, chunk=min(CHUNK, count), over=over, order=_stiffness(models, first, network.time))
    span = Span(jnp.zeros(count), jnp.full(count, network.time), None)
    solution = jax.jit(lambda load, state: many(load, state))(span, first)
    codes, ends, steps = code_names(solution.result), np.asarray(solution.value), np.asarray(solution.stats["num_steps"])
    _write(network, axes, ends, codes, steps, out)
    report = Report(f"{count} members, time {network.time:g}", ("gene", "least", "mean", "most"))
    good = np.asarray(solution.ok)
    for k, name in enumerate(network.names):
        x = ends[good, k] if good.any() else np.full(1, np.nan)
        report.rows.append((name, *(f"{v:.6g}" for v in (x.min(), x.mean(), x.max()))))
    report.numbers |= {
        "members": count,
        "failed": int((~good).sum()),
        "steps": {"mean": float(steps.mean()), "most": int(steps.max())},
    }
    kinds, numbers = np.unique(codes, return_counts=True)
    report.codes["members"] = dict(zip(map(str, kinds), map(int, numbers), strict=True))
    if not good.all():
        report.notes.append(f"{(~good).sum()} members failed; `ends.csv` names the code of each.")
    if len(axes) == 1 and len(axes[0]) > 1:
        lines = {name: (axes[0], np.where(good, ends[:, k], np.nan)) for k, name in enumerate(network.names)}
        viz.curve(lines, xlabel=".".join(next(iter(network.sweep))), ylabel="at the end", path=out / "ends.png")
    if options.samples:
        _paths(network, models, first, min(options.samples, count), options.rtol, out)
    return report


_FORWARD = diffrax.RecursiveCheckpointAdjoint()


def _tolerance(rtol: float) -> diffrax.AbstractStepSizeController:
    return diffrax.PIDController(rtol=rtol, atol=1e-3 * rtol)


def _members(network: Network, axes: list[np.ndarray], count: int) -> tuple[HillNetwork, jnp.ndarray]:
    """The members as one network whose numbers have them as leading axis, and where each begins."""
    wide = lambda x: np.repeat(np.asarray(x)[None], count, axis=0)
    genes, arrows = {k: wide(x) for k, x in network.genes.items()}, {k: wide(x) for k, x in network.regulations.items()}
    grid = np.array(list(itertools.product(*axes))).reshape(count, len(axes))
    for values, (*who, key) in zip(grid.T, network.sweep, strict=True):
        at: Any = tuple(network.names.index(name) for name in who)
        (genes if len(at) == 1 else arrows)[key][(slice(None), *at)] = values
    leaves = {k: jnp.asarray(v, float) for k, v in {**genes, **arrows}.items()}
    start = leaves.pop("start")
    return HillNetwork(**leaves, effect=jnp.asarray(network.effect), names=network.names), start


def _stiffness(models: HillNetwork, first: jnp.ndarray, time: float) -> jnp.ndarray:
    """Steps that stability alone would ask of every member: the span times the size of its tangent at the start."""

    def size(arrays, y):
        tangent = jax.jacfwd(lambda y: eqx.combine(arrays, rest)(0.0, y, None))(y)
        return time * jnp.sqrt(jnp.sum(tangent**2))

    leaves, rest = eqx.partition(models, eqx.is_inexact_array)
    return jax.jit(jax.vmap(size))(leaves, first)


def _write(network: Network, axes: list[np.ndarray], ends: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: Path) -> None:
    with (out / "ends.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*(".".join(k) for k in network.sweep), *network.names, "steps", "code"))
        for values, end, n, code in zip(itertools.product(*axes), ends.tolist(), steps.tolist(), np.ravel(codes), strict=True):
            writer.writerow((*map(float, values), *end, n, code))


def _paths(network: Network, models: HillNetwork, first: jnp.ndarray, count: int, rtol: float, out: Path) -> None:
    """Paths of the first members at 200 times, drawn and written."""
    times = np.linspace(0, network.time, 201)
    leaves, rest = eqx.partition(models, eqx.is_inexact_array)
    some = jax.tree.map(lambda x: x[:count], leaves)

    def path(arrays, y):
        flow = Flow(eqx.combine(arrays, rest), y, steps=_tolerance(rtol), max_steps=65536, adjoint=_FORWARD)

        def on(y, ends):
            y = flow(Span(ends[0], ends[1], None), y).value
            return y, y

        return jax.lax.scan(on, y, jnp.asarray(np.stack([times[:-1], times[1:]], axis=1)))[1]

    paths = np.asarray(jax.jit(jax.vmap(path))(some, first[:count]))
    np.savez_compressed(out / "paths.npz", time=times[1:], paths=paths, genes=np.array(network.names))
    lines = {name: (times[1:], paths[0, :, k]) for k, name in enumerate(network.names)}
    viz.curve(lines, xlabel="time", ylabel="first member", path=out / "path.png")
