"""From a channel to an arrhythmia: `jaxmsm run heart`."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from .. import viz
from ..io import InputError
from ..io._input import unknown
from ..solve import jacobian
from ._console import Console, Report
from ._heart_parts import CHANNELS, MARKERS, Wall, beat_of, durations, mutation, spiral
from ._options import Common

INTERVALS = (1000.0, 600.0, 500.0, 400.0, 360.0, 340.0)
"""Of the early beat, ms."""


@dataclass(kw_only=True)
class Options(Common):
    """The heart: a mutated channel, its action potential, the wave through a wall with fibers and a scar, the ECG, a spiral wave.

    Ten Tusscher-Panfilov 2006 throughout. The wall's markers are differentiated through every step, in the logarithms of five
    conductances, and a cohort of walls with different conductances runs as one batch. Lengths in mm, times in ms.
    """

    precision: Literal["float64", "float32"] = "float32"
    """Floating-point numbers."""
    mutation: Literal["none", "LQT1", "LQT2"] = "LQT2"
    """LQT1 halves the conductance of the slow delayed current (g_Ks), LQT2 that of the rapid one (g_Kr)."""
    scale: tuple[str, ...] = ()
    """Further channels changed in the mutated heart, such as `g_CaL=1.25 g_Na=0.7`: factors of g_Na, g_Kr, g_Ks, g_CaL, g_to."""
    beats: int = 5
    """Of the single cell, a second each, before anything is read off."""
    dimension: Literal[2, 3] = 2
    """Of the wall: a section, or a block with turning fibers (some minutes)."""
    spacing: float = 0.25
    """Between the nodes of the wall, mm; at 0.25 velocities are 9 % low along the fibers and 23 % across."""
    scar: float = 1.5
    """Radius of the scar in the middle of the wall, mm."""
    cohort: int = 8
    """Walls whose conductances vary by a tenth; 0 for none."""
    sheet: float = 100.0
    """Side of the sheet for the spiral wave, mm; 0 for none."""
    time: float = 800.0
    """How long the spiral wave is followed, ms."""
    seed: int = 0
    """Of the cohort."""


def run(options: Options, out: Path, console: Console) -> Report:
    """The parts in order, and what they give."""
    _check(options)
    factors = _factors(options.scale)
    changes = " ".join([options.mutation] * (options.mutation != "none") + list(options.scale))
    report = Report("Heart, without and with " + (changes or "a mutation (none)"))
    report.head = ("", "healthy", "mutated")
    logs = [jnp.asarray(mutation("none"), float), jnp.asarray(mutation(options.mutation, factors), float)]
    _cell(options, logs, out, console, report)
    wall = Wall((16.0, 8.0) if options.dimension == 2 else (8.0, 8.0, 8.0), options.spacing, options.scar)
    _wall(wall, logs, out, console, report)
    if options.cohort:
        _cohort(options, wall, logs[1], out, console, report)
    if options.sheet:
        _spiral(options, logs[1], out, console, report)
    return report


def _check(options: Options) -> None:
    if options.beats < 1 or options.cohort < 0:
        raise InputError("Flags --beats and --cohort must not be negative, and there must be a beat.")
    if not 0 <= options.scar < 3.5:
        raise InputError(f"Flag --scar must lie between 0 and 3.5 mm, within the wall of 8 mm, but is {options.scar:g}.")
    if not 0.1 <= options.spacing <= 0.5:
        raise InputError(f"Flag --spacing must lie between 0.1 and 0.5 mm, but is {options.spacing:g}.")
    if options.sheet and not 40 <= options.sheet <= 300:
        raise InputError(f"Flag --sheet must be 0 or lie between 40 and 300 mm, room for a spiral wave, but is {options.sheet:g}.")
    if options.sheet and options.time < 100:
        raise InputError(f"Flag --time must be at least 100 ms, but is {options.time:g}.")


def _factors(given: tuple[str, ...]) -> dict[str, float]:
    factors = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in CHANNELS:
            raise unknown("Channel", name, CHANNELS, where="Flag --scale: ")
        try:
            factors[name] = float(number)
        except ValueError:
            raise InputError(f"Flag --scale must name factors such as {name}=0.5, but one is `{text}`.") from None
        if not 0 < factors[name] < 100:
            raise InputError(f"Flag --scale must name factors between 0 and 100, but one is `{text}`.")
    return factors


def _cell(options, logs, out, console, report) -> None:
    console.note(f"A cell, {options.beats} beats and an early one ...")
    apd, traces, early = jax.vmap(lambda x: durations(x, options.beats, INTERVALS))(jnp.stack(logs))
    report.rows.append(("APD90 of a cell (ms)", *(f"{x:.1f}" for x in apd)))
    report.numbers |= {"apd90": apd.tolist(), "intervals": INTERVALS, "restitution": early.tolist()}
    names = ("healthy", options.mutation)
    t = 0.1 * np.arange(traces.shape[1])
    viz.curve(dict(zip(names, ((t[::5], v[::5]) for v in np.asarray(traces)), strict=True)), xlabel="time (ms)",
              ylabel="potential (mV)", path=out / "action_potential.png")  # fmt: skip
    shown = np.where(np.isfinite(early), early, np.nan)
    lines = {name: (np.array(INTERVALS), x) for name, x in zip(names, shown, strict=True)}
    viz.curve(lines, xlabel="interval of the early beat (ms)", ylabel="APD90 (ms)", path=out / "restitution.png")


def _wall(wall: Wall, logs, out, console, report) -> None:
    console.note(f"A wall of {' x '.join(f'{s:g}' for s in wall.size)} mm, and its slopes in {len(CHANNELS)} conductances ...")
    beat = jax.jit(lambda x: beat_of(wall, x))
    beats = [beat(x) for x in logs]
    for k, name in enumerate(MARKERS):
        report.rows.append((name, *(f"{b.markers[k]:.4g}" for b in beats)))
    slopes = jax.jit(lambda x: jacobian(lambda x: beat_of(wall, x).markers, x))(logs[1])
    # Along one direction, and far enough that float32 sees the difference.
    way = jnp.asarray([0.02, -0.02, -0.02, 0.02, 0.02])
    difference = (beat(logs[1] + way).markers - beat(logs[1] - way).markers) / 2
    report.numbers |= {
        "markers": {name: [float(b.markers[k]) for b in beats] for k, name in enumerate(MARKERS)},
        "slopes": {name: dict(zip(CHANNELS, map(float, slopes[k]), strict=True)) for k, name in enumerate(MARKERS)},
        "slopes_along": (slopes @ way).tolist(),
        "differences_along": difference.tolist(),
    }
    for k, name in enumerate(MARKERS):
        biggest = int(np.argmax(np.abs(slopes[k])))
        report.rows.append((f"d {name} / d ln {CHANNELS[biggest]}", "", f"{slopes[k, biggest]:.4g}"))
    pictures = {"activation": beats[1].activation, "apd": beats[1].duration}
    for name, field in pictures.items():
        label = {"activation": "activation (ms)", "apd": "APD (ms)"}[name]
        viz.stress_field(field, label=label, spacing=(wall.spacing,) * len(wall.size), path=out / f"{name}.png")
    t = np.arange(1, len(beats[0].ecg) + 1.0)
    lines = {"healthy": (t, beats[0].ecg), "mutated": (t, beats[1].ecg)}
    viz.curve(lines, xlabel="time (ms)", ylabel="pseudo-ECG", path=out / "ecg.png")
    np.savez_compressed(out / "wall.npz", **{f"{n}_{k}": v for k, b in enumerate(beats) for n, v in b._asdict().items()})


def _cohort(options, wall, logs, out, console, report) -> None:
    console.note(f"A cohort of {options.cohort} walls in one batch ...")
    varied = logs[None] + 0.1 * jax.random.normal(jax.random.key(options.seed), (options.cohort, len(CHANNELS)))
    markers = np.asarray(jax.jit(jax.vmap(lambda x: beat_of(wall, x).markers))(varied))
    with (out / "cohort.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*(f"ln {c} / published" for c in CHANNELS), *MARKERS))
        writer.writerows(np.concatenate([np.asarray(varied), markers], axis=1).tolist())
    center = np.array([report.numbers["markers"][name][1] for name in MARKERS])
    slopes = np.array([[report.numbers["slopes"][name][c] for c in CHANNELS] for name in MARKERS])
    linear = center[None] + np.asarray(varied - logs[None]) @ slopes.T
    spread = np.std(markers, axis=0, ddof=1) if options.cohort > 1 else np.full(len(MARKERS), np.nan)
    left = np.sqrt(np.mean((markers - linear) ** 2, axis=0))
    report.numbers["cohort"] = {"spread": spread.tolist(), "left_by_slopes": left.tolist()}
    for name, s, r in zip(MARKERS, spread, left, strict=True):
        report.rows.append((f"{name}: spread of {options.cohort}, left by slopes", f"{s:.3g}", f"{r:.3g}"))


def _spiral(options, logs, out, console, report) -> None:
    steps = int(options.time / 20) + 25
    with console.progress("20 ms of a sheet", steps) as tick:
        found = spiral(logs, options.sheet, options.time, tick)
    late = [len(t) for t, when in zip(found.tips, found.times, strict=True) if when > found.times[-1] - 100]
    turns = found.beats[found.beats > found.second]
    period = float(np.mean(np.diff(turns[-3:]))) if len(turns) > 1 else np.nan
    report.numbers["spiral"] = {"second": found.second, "period": period, "tips": [len(t) for t in found.tips]}
    report.rows.append(("period of the spiral wave (ms)", "", f"{period:.1f}"))
    report.rows.append(("tips in its last 100 ms", "", f"{np.mean(late):.1f}" if late else "0"))
    if not late or max(late) == 0:
        report.notes.append("The spiral wave did not last: a larger --sheet gives it room.")
    frames = [*found.frames[3::4]]
    labels = [f"{t:g} ms" for t in found.times[3::4]]
    viz.animation(frames, path=out / "spiral.gif", labels=labels, limits=(-90.0, 30.0))
    viz.stress_field(found.frames[-1], label="potential (mV)", spacing=(0.5, 0.5), path=out / "spiral.png")
