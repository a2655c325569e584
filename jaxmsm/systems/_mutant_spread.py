"""From a mutation to a by-product over a landscape: `jaxmsm run mutant-spread`."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import viz
from .._model import AbstractRate
from ..biology import MutationSelection, front_speed
from ..io import InputError, write_vti
from ..solve import RushLarsenMidpoint, Steps, Sum, follow
from ..space import AnisotropicDiffusion
from ._console import Console, Report
from ._options import Common


@dataclass(kw_only=True)
class Options(Common):
    """A harmful variant in an engineered population: how often, what it changes, and what spreads over a landscape.

    Mutation and selection give the fraction q* of the variant; growth r, by-product h and motility D are linear in q*; the
    population spreads over a landscape of hills that slow it (Fisher-KPP), its by-product diffuses and decays. Slopes in the
    logarithm of the mutation rate go through the whole chain. Lengths in km, times in years.
    """

    mutation: float = 1e-3
    """Mutations to the variant, a generation."""
    back: float = 1e-5
    """And back."""
    selection: float = 0.02
    """How much less fit it is."""
    growth: tuple[float, float] = (1.0, 0.6)
    """Of the healthy and of the harmful type (1/year)."""
    product: tuple[float, float] = (0.0, 1.0)
    """By-product made by each (unit a density and year)."""
    motility: tuple[float, float] = (1.0, 2.0)
    """Diffusion of each (km2/year)."""
    decay: float = 0.5
    """Of the by-product (1/year)."""
    size: tuple[float, float] = (40.0, 20.0)
    """Of the landscape, km."""
    spacing: float = 0.5
    """Between nodes, km."""
    time: float = 30.0
    """Followed, years."""
    seed: int = 0
    """Of the hills."""


MARKERS = (
    "fraction q* of the variant",
    "growth r (1/year)",
    "motility D (km2/year)",
    "front speed (km/year)",
    "population at the end (km2)",
    "exposure (unit km2 year)",
    "exposure at the far side (unit year)",
)
"""In the order of the chain."""


class Land(NamedTuple):
    """Population (1 where the land is full) and by-product, at every node."""

    u: Array
    p: Array


def run(options: Options, out: Path, console: Console) -> Report:
    """The chain at its mutation rate, and its slopes."""
    _check(options)
    hills = landscape(options)
    at = jnp.log(jnp.asarray(options.mutation, float))
    chain = jax.jit(lambda x: spread(options, x, hills))
    console.note(f"A landscape of {' x '.join(str(n + 1) for n in hills.shape)} nodes ...")
    both = lambda x: jax.jvp(lambda x: spread(options, x, hills), (x,), (jnp.ones_like(x),), has_aux=True)
    markers, slopes, land = jax.jit(both)(at)
    width = 1e-3 if options.precision == "float64" else 3e-2
    difference = {k: (chain(at + width)[0][k] - chain(at - width)[0][k]) / (2 * width) for k in markers}
    report = Report("From a mutation to the landscape", ("", "value", "d / d ln(mutation rate)", "by differences"))
    for name in MARKERS:
        report.rows.append((name, f"{markers[name]:.6g}", f"{slopes[name]:.6g}", f"{difference[name]:.6g}"))
        report.numbers[name] = [float(x) for x in (markers[name], slopes[name], difference[name])]
    fields = {"population": land.u, "by-product": land.p}
    middle = {name: np.asarray(x)[:-1, :-1] for name, x in fields.items()} | {"motility": np.asarray(hills)}
    write_vti(out / "land.vti", middle, spacing=(options.spacing,) * 2)
    for name, x in fields.items():
        viz.stress_field(x, label=name, spacing=(options.spacing,) * 2, path=out / f"{name}.png")
    return report


def _check(options: Options) -> None:
    if (
        min(options.mutation, options.selection, options.spacing, options.time, *options.size, *options.growth, *options.motility)
        <= 0
    ):
        raise InputError("Flags --mutation, --selection, --growth, --motility, --size, --spacing and --time must be positive.")
    if min(options.back, options.decay, *options.product) < 0:
        raise InputError("Flags --back, --decay and --product must not be negative.")
    if options.mutation >= options.selection:
        raise InputError("Flag --mutation must be below --selection, or selection keeps no healthy type.")
    if min(options.size) < 4 * options.spacing:
        raise InputError(f"Flag --spacing must be at most a quarter of the landscape, but is {options.spacing:g}.")


def landscape(options: Options) -> Float[np.ndarray, "nx ny"]:
    """How freely one moves in every voxel (a factor): hills of a few kilometers."""
    rng = np.random.default_rng(options.seed)
    shape = tuple(round(s / options.spacing) for s in options.size)
    x = np.meshgrid(*((np.arange(n) + 0.5) * options.spacing for n in shape), indexing="ij")
    height = sum(
        np.exp(-sum((a - c) ** 2 for a, c in zip(x, center, strict=True)) / (2 * 2.0**2))
        for center in rng.uniform(0, options.size, (12, 2))
    )
    return np.exp(-1.5 * height)


def spread(options: Options, log_mutation: Float[Array, ""], hills: np.ndarray) -> tuple[dict[str, Array], Land]:
    """Markers and the land at the end; traced, differentiable."""
    q = MutationSelection(mu=jnp.exp(log_mutation), nu=options.back, s=options.selection, weak=True).equilibrium()
    mixed = lambda pair: (1 - q) * pair[0] + q * pair[1]
    r, made, D = (mixed(pair) for pair in (options.growth, options.product, options.motility))
    with jax.ensure_compile_time_eval():
        voxels = jnp.asarray(hills, float)
        motion = AnisotropicDiffusion(jnp.stack([voxels, voxels]), options.spacing)
        fastest = float(motion.fastest())
    start = jnp.zeros(motion.shape).at[0].set(1.0)
    rate = _Spreading(motion, r, D, made, jnp.asarray(options.decay, float))
    most = float(max(options.motility)) * fastest + options.decay + max(options.growth)
    count = int(np.ceil(options.time * most / 1.0))
    step = RushLarsenMidpoint()
    volume = motion.volume * options.spacing**2
    watch = (Sum(lambda t, y: jnp.sum(volume * y.p)), Sum(lambda t, y: y.p[-1, motion.shape[1] // 2]))
    path = follow(
        lambda t, y, dt: step(rate.driven(None), t, y, dt),
        Land(start, 0 * start),
        Steps(0.0, options.time / count, count),
        watch=watch,
    )
    values = (q, r, D, front_speed(r, D), jnp.sum(volume * path.end.u), *path.seen)
    return dict(zip(MARKERS, values, strict=True)), path.end


class _Spreading(AbstractRate):
    """Fisher-KPP, and a by-product that is made, moves with the land and decays."""

    motion: AnisotropicDiffusion
    r: Array
    D: Array
    made: Array
    decay: Array

    def __call__(self, t, fine, load):
        del t, load
        du = self.D * self.motion(fine.u) + self.r * fine.u * (1 - fine.u)
        return Land(du, self.motion(fine.p) + self.made * fine.u - self.decay * fine.p)
