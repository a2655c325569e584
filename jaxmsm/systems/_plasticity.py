"""Two forms from one genotype: `jaxmsm run plasticity`."""

import csv
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from .._results import RESULTS
from ..biology import Morphs, score_of_mean, smoothed_win, won
from ..inference import fit
from ..io import InputError
from ..solve import Noise, Steps, StochasticHeun, follow
from ._console import Console, Report
from ._options import Common

DT, BLOCK = 0.05, 200
"""Step, and steps between samples."""


@dataclass(kw_only=True)
class Options(Common):
    """Plasticity: a noisy cue, a hormone, a genetic switch and growth, for a population; which form wins, and how often.

    Frequencies by simulation against the closed form, the reaction norm over environments, three estimates of its slope (closed
    form, score function, smoothed), and the cue's mean and scatter fitted from the frequencies. Times are in lifetimes of the
    switch's proteins.
    """

    individuals: int = 100_000
    """In every environment."""
    means: tuple[float, ...] = (-1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0)
    """Of the cue, one an environment."""
    scatter: float = 1.0
    """Standard deviation of the cue."""
    memory: float = 2.0
    """Correlation time of the cue."""
    coupling: float = 1e-3
    """Of the hormone to the switch; the closed form holds as it vanishes."""
    strength: float = 3.0
    """What each gene of the switch makes at most; above 2."""
    time: float = 60.0
    """How long a population lives; a multiple of 10."""
    seed: int = 0
    """Of the noise."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Every environment, and what the frequencies say."""
    _check(options)
    found = []
    with console.progress("environments", len(options.means)) as tick:
        for k, mean in enumerate(options.means):
            key = jax.random.key(options.seed + 1000 * k)
            lived = _live(_model(options, mean), key, options.individuals, round(options.time / DT))
            found.append({name: np.asarray(x) for name, x in lived.items()})
            tick()
    told = _compared(options, found)
    report = Report(f"Morphs of {options.individuals} individuals an environment")
    report.head = ("mean of cue", "frequency", "error", "closed form", "sigmas")
    for mean, f, e, c in zip(options.means, *(told[k] for k in ("frequency", "error", "closed_form")), strict=True):
        report.rows.append((f"{mean:g}", f"{f:.5f}", f"{e:.5f}", f"{c:.5f}", f"{(f - c) / e:+.2f}"))
    report.numbers |= {"means": options.means} | {name: x.tolist() for name, x in told.items()}
    off = np.max(np.abs(told["slope_by_score"] - told["slope"]) / told["error_of_score"])
    report.notes.append(f"Slope of the reaction norm by the score function: within {off:.1f} standard errors of the closed form.")
    _fit(options, told["frequency"], told["error"], report)
    _write(options, told, found[len(found) // 2]["sizes"], out)
    return report


def _compared(options: Options, found: list[dict]) -> dict[str, np.ndarray]:
    """Frequencies and slopes by simulation and in closed form, one number an environment."""
    closed = lambda m: _model(options, m).frequency()
    exact = np.array([float(closed(m)) for m in options.means])
    return {
        "frequency": np.array([f["frequency"] for f in found]),
        "closed_form": exact,
        "error": np.sqrt(exact * (1 - exact) / options.individuals),
        "slope": np.array([float(jax.grad(closed)(m)) for m in options.means]),
        "slope_by_score": np.array([f["score"] for f in found]),
        "error_of_score": np.array([f["score_error"] for f in found]),
        "slope_smoothed": np.array([f["smoothed"] for f in found]),
        "size_of_u": np.array([f["size_u"] for f in found]),
        "size_of_v": np.array([f["size_v"] for f in found]),
    }


def _write(options: Options, told: dict[str, np.ndarray], sizes: np.ndarray, out: Path) -> None:
    with (out / "morphs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("mean", *told))
        writer.writerows(np.stack([np.array(options.means), *told.values()], axis=1).tolist())
    fine = np.linspace(min(options.means), max(options.means), 100)
    exact = np.array([float(_model(options, m).frequency()) for m in fine])
    lines = {"closed form": (fine, exact), "population": (np.array(options.means), told["frequency"])}
    viz.curve(lines, xlabel="mean of the cue", ylabel="frequency of morph u", path=out / "reaction_norm.png")
    t = DT * BLOCK * np.arange(1, len(sizes) + 1)
    viz.curve({"u": (t, sizes[:, 0]), "v": (t, sizes[:, 1])}, xlabel="time", ylabel="mean size", path=out / "growth.png")


def _check(options: Options) -> None:
    if options.individuals < 100 or not options.means:
        raise InputError("Flag --individuals must be at least 100, and --means must name an environment.")
    if options.strength <= 2:
        raise InputError(f"Flag --strength must be above 2, where the switch has two states, but is {options.strength:g}.")
    if min(options.scatter, options.memory, options.coupling) <= 0:
        raise InputError("Flags --scatter, --memory and --coupling must be positive.")
    if options.time < 20 or round(options.time / DT) % BLOCK:
        raise InputError(f"Flag --time must be a multiple of {DT * BLOCK:g} and at least 20, but is {options.time:g}.")


def _model(options: Options, mean) -> Morphs:
    return Morphs(m=mean, s=options.scatter, tau_c=options.memory, a=options.strength, eta=options.coupling)


@eqx.filter_jit
def _live(model: Morphs, key, n: int, count: int) -> dict:
    """A population to its end: frequency, slopes in the mean of the cue, sizes."""
    first, later = jax.random.split(key)
    z = jax.random.normal(first, (n,))

    def end(m):
        now = eqx.tree_at(lambda k: k.m, model, m)
        advance = lambda t, y, dt, dw: StochasticHeun()(now.driven(None), now.shaken(None), t, y, dt, dw)
        size = lambda t, y: _by_morph(y)
        path = follow(advance, now.begin(z), Steps(0.0, DT, count), noise=Noise(later, z), sample=size, every=BLOCK)
        return jnp.mean(smoothed_win(path.end, 0.5)), (path.end, path.samples)

    _, smoothed, (y, sizes) = jax.jvp(end, (model.m,), (jnp.ones_like(model.m),), has_aux=True)
    wins = won(y)
    # The mean of the score is zero: taking the mean outcome off first leaves the estimate and lowers its variance.
    terms = (wins - jnp.mean(wins)) * score_of_mean(model, z, y)
    by = _by_morph(y)
    return {
        "frequency": jnp.mean(wins),
        "score": jnp.mean(terms),
        "score_error": jnp.std(terms) / jnp.sqrt(n),
        "smoothed": smoothed,
        "size_u": by[0],
        "size_v": by[1],
        "sizes": sizes,
    }


def _by_morph(y):
    w = won(y)
    return jnp.stack([jnp.sum(w * y.size) / jnp.maximum(jnp.sum(w), 1), jnp.sum((1 - w) * y.size) / jnp.maximum(jnp.sum(1 - w), 1)])


def _fit(options: Options, frequency: np.ndarray, error: np.ndarray, report: Report) -> None:
    """The cue's mean in the middle environment and its scatter, from the frequencies and the known differences of environments."""
    if len(options.means) < 3:
        report.notes.append("The cue is fitted from three environments on.")
        return
    offset = jnp.asarray(np.array(options.means) - options.means[len(options.means) // 2])

    def misfit(params):
        shift, log_scatter = params
        model = Morphs(m=shift + offset, s=jnp.exp(log_scatter), tau_c=options.memory, a=options.strength, eta=options.coupling)
        return (model.frequency() - jnp.asarray(frequency)) / jnp.asarray(error), RESULTS.successful

    start = (jnp.asarray(0.3), jnp.asarray(np.log(2 * options.scatter)))
    (shift, log_scatter), how = fit(misfit, start, absolute=True)
    errors = how.errors
    true = options.means[len(options.means) // 2]
    scatter = float(jnp.exp(log_scatter))
    report.notes.append(
        f"From the frequencies: mean of the cue {float(shift):.4f} +- {float(errors[0]):.4f} (true {true:g}), "
        f"scatter {scatter:.4f} +- {scatter * float(errors[1]):.4f} (true {options.scatter:g})."
    )
    report.numbers["fit"] = {"mean": float(shift), "scatter": scatter, "errors": [float(errors[0]), scatter * float(errors[1])]}
