"""The parts of the story of the heart: a cell, the wall of a ventricle, a sheet with a spiral wave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..biology import Pacing, PseudoECG, Region, Several, TenTusscher, Tissue, Train, dispersion, phase, qt, singularities, velocity
from ..solve import Crossing, RushLarsen, RushLarsenMidpoint, Steps, follow
from ..space import AnisotropicDiffusion, Diffusion, fibers
from ._waves import Wave, travel

CHANNELS = ("g_Na", "g_Kr", "g_Ks", "g_CaL", "g_to")
"""Whose conductances vary."""
MUTATIONS: dict[str, dict[str, float]] = {"none": {}, "LQT1": {"g_Ks": 0.5}, "LQT2": {"g_Kr": 0.5}}
"""What a mutation leaves of a conductance (one of two copies of the gene is lost)."""
MARKERS = ("activation (ms)", "velocity (mm/ms)", "APD dispersion (ms)", "QT (ms)")
ALONG, ACROSS = 0.154, 0.0385
"""Diffusion along and across fibers, mm2/ms."""
PULSE = Pacing(52.0, 10.0, 1.0, 1000.0)


def scaled(cell: TenTusscher, logs: Float[Array, " channels"]) -> TenTusscher:
    """The cell with its conductances multiplied by exp(logs)."""
    return cell.scaled(**{name: jnp.exp(x) for name, x in zip(CHANNELS, logs, strict=True)})


def mutation(name: str, factors: Mapping[str, float] | None = None) -> Float[np.ndarray, " channels"]:
    """Its logarithms, for `scaled`, with further factors of channels."""
    return np.log([MUTATIONS[name].get(channel, 1.0) * (factors or {}).get(channel, 1.0) for channel in CHANNELS])


@eqx.filter_jit
def durations(logs: Float[Array, " channels"], beats: int, intervals: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """APD90 after a train of beats, the trace of the last one, and the restitution by an early beat."""
    cell, train = scaled(TenTusscher(), logs), Train(PULSE)
    y = train.after(cell, cell.rest(), 1000.0 * (beats - 1)) if beats > 1 else cell.rest()
    last = train.beat(cell, y, 1000.0)
    return train.apd(last), last.v, train.restitution(cell, last.end, intervals)


@dataclass(frozen=True)
class Wall:
    """A piece of the wall of a ventricle, from endocardium to epicardium along the last axis.

    Fibers turn by 120 degrees from one side to the other; in two dimensions, a section, they leave the plane and come back. Cells
    of endocardium, midmyocardium and epicardium; in the middle a scar, where nothing conducts.

    Attributes:
        size: of the piece, mm.
        spacing: between nodes, mm.
        scar: radius of the scar, mm.
        dt, span: step and time followed, ms.
    """

    size: tuple[float, ...] = (16.0, 8.0)
    spacing: float = 0.25
    scar: float = 1.5
    dt: float = 0.05
    span: float = 500.0

    @property
    def voxels(self) -> tuple[int, ...]:
        return tuple(round(s / self.spacing) for s in self.size)

    def inside(self) -> np.ndarray:
        """Which voxels are no scar."""
        middles = np.meshgrid(*((np.arange(n) + 0.5 - n / 2) * self.spacing for n in self.voxels), indexing="ij")
        return np.sqrt(sum(m**2 for m in middles)) >= self.scar

    def diffusion(self) -> AnisotropicDiffusion:
        d, depth = len(self.size), self.voxels[-1]
        angle = np.deg2rad(np.linspace(-60, 60, depth))
        way = jnp.asarray(np.stack([np.cos(angle), np.sin(angle), 0 * angle]))
        D = fibers(way, ALONG, ACROSS)
        D = D if d == 3 else jnp.stack([D[0, 0], D[2, 2]])
        wide = jnp.broadcast_to(D.reshape(*D.shape[:-1], *[1] * (d - 1), depth), (*D.shape[:-1], *self.voxels))
        return AnisotropicDiffusion(wide, self.spacing, inside=self.inside())

    def cells(self) -> TenTusscher:
        """Endocardium, the middle, epicardium: a third of the thickness each. Only what differs is a map."""
        kinds = [TenTusscher.endocardium(), TenTusscher.midmyocardium(), TenTusscher()]
        nodes = self.voxels[-1] + 1
        layer = np.minimum(3 * np.arange(nodes) // nodes, 2).reshape(*[1] * (len(self.size) - 1), -1)
        mixed = lambda a, b, c: a if a == b == c else jnp.stack([a, b, c])[layer]
        return jax.tree.map(mixed, *kinds)

    def stimulus(self) -> Region:
        """The first two millimeters of the endocardium."""
        x = [np.arange(n + 1) * self.spacing for n in self.voxels]
        at = np.meshgrid(*x, indexing="ij")
        where = (at[-1] < 0.6) & (at[0] < 2.0)
        return Region(Pacing(52.0, 5.0, 1.0, jnp.inf), jnp.asarray(np.where(where, 1.0, 0.0)))

    def lead(self, tissue: Tissue) -> PseudoECG:
        """Two centimeters above the epicardium."""
        return PseudoECG(tissue, [[*(s / 2 for s in self.size[:-1]), self.size[-1] + 20.0]], self.spacing)


class Beaten(NamedTuple):
    """One beat of the wall: activation, duration, the lead (every millisecond), and the markers made of them."""

    activation: Array
    duration: Array
    ecg: Array
    markers: Array


def beat_of(wall: Wall, logs: Float[Array, " channels"]) -> Beaten:
    """One beat of the wall with scaled conductances: traced, differentiable."""
    # What does not depend on the conductances is known before anything is compiled.
    with jax.ensure_compile_time_eval():
        cells, diffusion, stimulus = wall.cells(), wall.diffusion(), wall.stimulus()
    tissue = Tissue(scaled(cells, logs), diffusion)
    v = lambda y: y.v
    watch = (Crossing(v, -20.0), Crossing(v, -70.0, 30.0, falling=True))
    step = RushLarsenMidpoint()
    advance = lambda t, y, dt: step(tissue.driven(stimulus), t, y, dt)
    count = round(wall.span / wall.dt)
    path = follow(
        advance, tissue.rest(), Steps(0.0, wall.dt, count), watch=watch, sample=wall.lead(tissue), every=round(1 / wall.dt)
    )
    began, ended = path.seen
    ecg = path.samples[:, 0]
    nodes, volume = diffusion.shape, diffusion.volume
    inner = lambda fraction: (round(fraction * (nodes[0] - 1)), *(n // 2 for n in nodes[1:-1]), 0)
    apd = jnp.where(volume > 0, ended - began, 0.0)
    markers = jnp.stack(
        [
            began[tuple(n - 1 for n in nodes)],
            velocity(began, inner(0.4), inner(0.9), wall.spacing),
            dispersion(apd, volume),
            qt(ecg, 1.0, after=120.0, onset=5.0),
        ]
    )
    return Beaten(jnp.where(volume > 0, began, jnp.nan), jnp.where(volume > 0, apd, jnp.nan), ecg, markers)


class Spiral(NamedTuple):
    """A spiral wave: frames of the potential, their times, the tips in each, and the beats of a probe."""

    frames: np.ndarray
    times: np.ndarray
    tips: list[np.ndarray]
    beats: np.ndarray
    second: float


def spiral(logs: Float[Array, " channels"], side: float, span: float, tick: Any) -> Spiral:
    """S1 from an edge of a sheet, S2 in a quarter of it as the first wave's tail passes the middle: a spiral wave.

    Args:
        side: of the sheet, mm.
        span: time after the second stimulus, ms.
    """
    dx, dt, part = 0.5, 0.05, 20.0
    n = round(side / dx) + 1
    tissue = Tissue(scaled(TenTusscher(), logs), Diffusion((n, n), 0.0952984, dx))
    edge, quarter = np.arange(n) * dx < 2.0, np.arange(n) * dx < side / 2
    first = Region(Pacing(52.0, 0.0, 1.0, jnp.inf), jnp.asarray(1.0 * np.broadcast_to(edge[:, None], (n, n))))
    watch = (Crossing(_Probe(round(0.46 * n), n // 4), -70.0, 50.0, falling=True),)
    follow_on: dict[str, Any] = {"sample": _potential, "every": 5.0, "part": part, "tick": tick}
    done = lambda seen: bool(jnp.isfinite(seen[0]))
    before = travel(tissue, first, RushLarsen(), dt, 1500.0, watch=watch, done=done, **follow_on)
    if not done(before.seen):
        return Spiral(before.samples, before.times, [], np.zeros(0), np.nan)
    second = float(before.times[-1])
    again = Region(Pacing(52.0, second, 1.0, jnp.inf), jnp.asarray(1.0 * (quarter[:, None] & quarter[None])))
    after: Wave = travel(tissue, Several((first, again)), RushLarsen(), dt, span, y=before.end, t0=second, **follow_on)
    frames, times = np.concatenate([before.samples, after.samples]), np.concatenate([before.times, after.times])
    tips = [_tips(frames[k], frames[k - 2]) for k in range(2, len(frames))]
    probe = frames[:, n // 4, 3 * n // 4]
    up = np.flatnonzero((probe[:-1] < -40) & (probe[1:] >= -40))
    at = times[up] + 5.0 * (-40 - probe[up]) / (probe[up + 1] - probe[up])
    return Spiral(frames, times, [np.zeros((0, 2), int)] * 2 + tips, at, second)


class _Probe(eqx.Module):
    i: int = eqx.field(static=True)
    j: int = eqx.field(static=True)

    def __call__(self, y):
        return y[0][self.i, self.j]


def _potential(t, y):
    del t
    return y[0]


def _tips(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.argwhere(np.asarray(singularities(phase(jnp.asarray(now), jnp.asarray(before), -40.0))))
