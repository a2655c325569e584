"""A network of your own, swept over its parameters: `jaxmsm run ensemble`."""

import csv
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from .. import viz
from .._model import Span
from .._results import names as code_names
from ..biology import HillNetwork, ImportedNetwork
from ..bridges import Flow
from ..io import InputError
from ..io._input import unknown
from ..io._network import Foreign, Network, read_network
from ..solve import batched
from ._console import Console, Report
from ._options import Common

MOST = 1_000_000
"""Members at most; a sweep of several parameters multiplies."""
CHUNK = 100
"""Members computed together; sorted by stiffness, so that none waits long."""


@dataclass(kw_only=True)
class Options(Common):
    """A network from a TOML file, genes or the SBML file that it names, followed in time for every combination in its [sweep].

    Members are sorted by how stiff they are and computed in chunks. Concentrations and times in the file's own units.
    """

    network: Annotated[Path, tyro.conf.Positional]
    """TOML file: genes and regulations, or `sbml`; time; sweep."""
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
    members = _foreign(network, axes, count) if isinstance(network, Foreign) else _own(network, axes, count)
    console.note(f"{count} members of {len(members.names)} unknowns ...")
    flow = Flow(members.rate, members.first[0], steps=_tolerance(options.rtol), max_steps=65536, adjoint=_FORWARD)
    span = Span(jnp.zeros(count), jnp.full(count, network.time), members.drive)
    many = batched(flow, chunk=min(CHUNK, count), over=members.over, order=_stiffness(members, flow, span))
    solution = jax.jit(lambda load, state: many(load, state))(span, members.first)
    codes, ends, steps = code_names(solution.result), np.asarray(solution.value), np.asarray(solution.stats["num_steps"])
    _write(network.sweep, members.names, ends, codes, steps, out)
    report = Report(f"{count} members, time {network.time:g}", ("unknown", "least", "mean", "most"))
    good = np.asarray(solution.ok)
    for k, name in enumerate(members.names):
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
        lines = {name: (axes[0], np.where(good, ends[:, k], np.nan)) for k, name in enumerate(members.names)}
        viz.curve(lines, xlabel=".".join(next(iter(network.sweep))), ylabel="at the end", path=out / "ends.png")
    if options.samples:
        _paths(members, network.time, min(options.samples, count), options.rtol, out)
    return report


_FORWARD = diffrax.RecursiveCheckpointAdjoint()


def _tolerance(rtol: float) -> diffrax.AbstractStepSizeController:
    return diffrax.PIDController(rtol=rtol, atol=1e-3 * rtol)


class Members(NamedTuple):
    """All members at once.

    Attributes:
        rate: its leaves have the members as leading axis, where `over` picks them.
        drive: what else differs between the members, or None.
        first: where each begins, (members, unknowns).
        names: of the unknowns.
    """

    rate: Any
    over: Callable[[Any], Any] | None
    drive: Any
    first: jnp.ndarray
    names: tuple[str, ...]


def _grid(axes: list[np.ndarray], count: int) -> np.ndarray:
    return np.array(list(itertools.product(*axes))).reshape(count, len(axes))


def _own(network: Network, axes: list[np.ndarray], count: int) -> Members:
    wide = lambda x: np.repeat(np.asarray(x)[None], count, axis=0)
    genes, arrows = {k: wide(x) for k, x in network.genes.items()}, {k: wide(x) for k, x in network.regulations.items()}
    for values, (*who, key) in zip(_grid(axes, count).T, network.sweep, strict=True):
        at: Any = tuple(network.names.index(name) for name in who)
        (genes if len(at) == 1 else arrows)[key][(slice(None), *at)] = values
    leaves = {k: jnp.asarray(v, float) for k, v in {**genes, **arrows}.items()}
    start = leaves.pop("start")
    over = lambda s: tuple(getattr(s.rate, k) for k in ("basal", "most", "decay", "K", "hill"))
    return Members(HillNetwork(**leaves, effect=jnp.asarray(network.effect), names=network.names), over, None, start, network.names)


def _foreign(network: Foreign, axes: list[np.ndarray], count: int) -> Members:
    try:
        rate = ImportedNetwork(network.document)
    except ValueError as error:
        raise InputError(str(error)) from error
    first, drive = np.repeat(np.asarray(rate.first)[None], count, axis=0), {}
    for values, (name,) in zip(_grid(axes, count).T, network.sweep, strict=True):
        species = name.removesuffix(".start")
        if species != name and species in rate.names:
            if np.any(values < 0):
                raise InputError(f"[sweep]: `{name}` must not be negative.")
            first[:, rate.names.index(species)] = values
        elif name in rate.parameters:
            drive[name] = jnp.asarray(values, float)
        else:
            starts = [f"{n}.start" for n in rate.names]
            raise unknown("Name", name, (*rate.parameters, *starts), where="[sweep]: ")
    return Members(rate, None, drive or None, jnp.asarray(first), rate.names)


def _stiffness(members: Members, flow: Flow, span: Span) -> jnp.ndarray:
    leaves, rest = _split(members)
    one = lambda leaves, span, y: eqx.tree_at(lambda f: f.rate, flow, eqx.combine(leaves, rest)).stiffness(span, y)
    return jax.jit(jax.vmap(one))(leaves, span, members.first)


def _split(members: Members) -> tuple[Any, Any]:
    """The leaves in which the members differ, and the rest."""
    return eqx.partition(members.rate, eqx.is_inexact_array if members.over else lambda x: False)


def _write(sweep: Any, names: tuple[str, ...], ends: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: Path) -> None:
    with (out / "ends.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*(".".join(k) for k in sweep), *names, "steps", "code"))
        rows = zip(itertools.product(*sweep.values()), ends.tolist(), steps.tolist(), np.ravel(codes), strict=True)
        for values, end, n, code in rows:
            writer.writerow((*map(float, values), *end, n, code))


def _paths(members: Members, time: float, count: int, rtol: float, out: Path) -> None:
    """Paths of the first members at 200 times, drawn and written."""
    times = np.linspace(0, time, 201)
    leaves, rest = _split(members)
    some, drive = jax.tree.map(lambda x: x[:count], (leaves, members.drive))

    def path(arrays, drive, y):
        flow = Flow(eqx.combine(arrays, rest), y, steps=_tolerance(rtol), max_steps=65536, adjoint=_FORWARD)

        def on(y, ends):
            y = flow(Span(ends[0], ends[1], drive), y).value
            return y, y

        return jax.lax.scan(on, y, jnp.asarray(np.stack([times[:-1], times[1:]], axis=1)))[1]

    paths = np.asarray(jax.jit(jax.vmap(path))(some, drive, members.first[:count]))
    np.savez_compressed(out / "paths.npz", time=times[1:], paths=paths, unknowns=np.array(members.names))
    lines = {name: (times[1:], paths[0, :, k]) for k, name in enumerate(members.names)}
    viz.curve(lines, xlabel="time", ylabel="first member", path=out / "path.png")
