"""Protocols of pacing for single cells: trains of beats, and restitution by an early beat."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solve import AbstractStep, RushLarsenMidpoint, Steps, follow
from ._ionic import AbstractCell, Pacing
from ._markers import duration


class Beat(NamedTuple):
    """A beat: samples of the potential from its start, the rest at the onset of the stimulus, and the state at its end."""

    v: Float[Array, " n"]
    rest: Float[Array, ""]
    end: Any


class Train(NamedTuple):
    """A protocol of beats for a cell.

    Attributes:
        pulse: with its period; the onset within a beat is its start.
        dt: the step (ms).
        every: steps between samples.
        step: the step.
    """

    pulse: Pacing
    dt: float = 0.02
    every: int = 5
    step: AbstractStep = RushLarsenMidpoint()

    @property
    def spacing(self) -> float:
        """Between samples (ms)."""
        return self.dt * self.every

    def after(self, cell: AbstractCell, y: Any, span: float) -> Any:
        """The state after a span of beats (ms), the first of which begins at its start."""
        return self._path(cell, y, span, None).end

    def beat(self, cell: AbstractCell, y: Any, span: float) -> Beat:
        """One beat, or the first of several, with its samples."""
        path = self._path(cell, y, span, self.every)
        v = jnp.concatenate([y[0][None], path.samples])
        return Beat(v, v[jnp.rint(self.pulse.start / self.spacing).astype(int)], path.end)

    def apd(self, beat: Beat, *, fraction: float = 0.9, rest: Any = None) -> Float[Array, ""]:
        """The duration of its action potential from the onset of the stimulus (ms)."""
        base = beat.rest if rest is None else rest
        return duration(beat.v, self.spacing, fraction=fraction, onset=self.pulse.start, rest=base)

    def restitution(self, cell: AbstractCell, y: Any, intervals: Sequence[float], *, span: float = 600.0) -> Float[Array, " n"]:
        """The durations of an early beat (S2) at intervals after the last of a train (S1), at whose start the state is y.

        Heights count from the rest of the train.
        """
        found = []
        for interval in intervals:
            early = self.beat(cell, self.after(cell, y, interval), span)
            found.append(self.apd(early, rest=y[0]))
        return jnp.stack(found)

    def _path(self, cell, y, span, every):
        steps = Steps(jnp.zeros((), y[0].dtype), jnp.asarray(self.dt, y[0].dtype), round(span / self.dt))
        advance = lambda t, y, dt: self.step(cell.driven(self.pulse), t, y, dt)
        y = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), y)
        return follow(advance, y, steps, sample=lambda t, y: y[0], every=every)
