"""How many codons may be reassigned before a culture is washed out: `jaxmsm run codon`."""

import csv
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from ..biology import Chemostat, Recoding
from ..io import InputError
from ._console import Console, Report
from ._options import Common


@dataclass(kw_only=True)
class Options(Common):
    """Codons: each reassigned one costs enzyme (errors) and time; growth falls, until a chemostat washes the culture out.

    Growth by mu_0 (1 - eps)^n / (1 + n tau), the chemostat by Monod; the critical number of codons and its slopes by the
    implicit-function rule.
    """

    mu: float = 1.0
    """Growth without any (1/h)."""
    eps: float = 0.01
    """Fraction of enzyme lost at each codon."""
    tau: float = 0.02
    """Delay by each codon, as a fraction of the time without."""
    most: int = 64
    """Codons looked at, from 0."""
    dilution: float = 0.5
    """Of the chemostat (1/h)."""
    half: float = 0.2
    """Substrate at half the greatest growth (g/l)."""
    feed: float = 2.0
    """Substrate that is fed (g/l)."""
    yield_: float = 0.5
    """Biomass of substrate (g/g)."""


def run(options: Options, out: Path, console: Console) -> Report:
    """Growth and survival by the number of codons, and where they end."""
    numbers = {k: getattr(options, k) for k in ("mu", "eps", "tau", "dilution", "half", "feed", "yield_")}
    for name, x in numbers.items():
        if not (np.isfinite(x) and x > 0):
            raise InputError(f"Flag --{name.strip('_')} must be positive, but is {x:g}.")
    if options.eps >= 1 or options.most < 1:
        raise InputError("Flag --eps must be below 1, and --most at least 1.")
    codons = jnp.arange(options.most + 1.0)
    growth = Recoding(options.mu, options.eps, options.tau)(codons)
    rest = _culture(numbers, growth).rest(jnp.full_like(growth, options.dilution))
    critical, slopes = jax.value_and_grad(_critical)({k: jnp.asarray(x, float) for k, x in numbers.items()})
    report = Report("Reassigned codons in a chemostat", ("codons", "growth (1/h)", "substrate (g/l)", "biomass (g/l)"))
    for n in sorted({0, options.most // 8, options.most // 4, options.most // 2, options.most}):
        report.rows.append((f"{n}", f"{growth[n]:.5f}", f"{rest.S[n]:.5f}", f"{rest.X[n]:.5f}"))
    report.numbers |= {
        "growth": growth.tolist(),
        "substrate": rest.S.tolist(),
        "biomass": rest.X.tolist(),
        "critical": float(critical),
    }
    report.numbers["slopes"] = {k.strip("_"): float(x) for k, x in slopes.items()}
    if np.isnan(critical):
        report.notes.append("The culture is washed out with no codon reassigned: lower --dilution, or feed more.")
    else:
        worst = ", ".join(f"d/d {k} = {x:.4g}" for k, x in report.numbers["slopes"].items() if k in ("eps", "tau", "dilution"))
        report.notes.append(f"Washed out from {float(critical):.4f} codons on; {worst}.")
    with (out / "codons.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("codons", "growth", "substrate", "biomass"))
        writer.writerows(zip(range(options.most + 1), *(np.asarray(x).tolist() for x in (growth, rest.S, rest.X)), strict=True))
    lines = {"growth (1/h)": (codons, growth), "biomass (g/l)": (codons, rest.X)}
    viz.curve(lines, xlabel="reassigned codons", ylabel="", path=out / "codons.png")
    return report


def _culture(numbers: dict, growth) -> Chemostat:
    return Chemostat(mu_max=growth, K_s=numbers["half"], S_0=numbers["feed"], Y=numbers["yield_"])


def _critical(numbers: dict):
    """The number of codons at which the dilution is the washout: mu(n) S_0 / (K_s + S_0) = D."""
    needed = numbers["dilution"] / _culture(numbers, 1.0).washout()
    return Recoding(numbers["mu"], numbers["eps"], numbers["tau"]).critical(needed)
