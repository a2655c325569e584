"""What the cells of this room share: currents and gates, in mV and ms."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import AbstractRate
from .._names import hint
from .._typing import Tree
from ..solve import Relaxing, rates

type Values = Float[Array, "..."]
type Number = Float[Array, "..."] | float


def parameter(value: float, unit: str = "") -> Any:
    """A number of a model, with its published value and its unit."""
    return eqx.field(default=value, converter=lambda x: jnp.asarray(x, float), metadata={"unit": unit})


class Tuning(eqx.Module):
    """What a mutation does to a gate: its voltages move by `shift` (mV), its time constant is multiplied by `slow`."""

    shift: Values = parameter(0.0, "mV")
    slow: Values = parameter(1.0)

    def __call__(self, gate: Callable[[Values], tuple[Values, Values]], v: Values) -> Relaxing:
        """The gate at v; `gate(v)` is its steady value and its time constant."""
        target, time = gate(v - self.shift)
        return Relaxing(target, self.slow * time)


def tuned() -> Any:
    """A gate as it was published, until it is replaced."""
    return eqx.field(default_factory=Tuning)


class AbstractCell(AbstractRate):
    """An excitable cell: `cell(t, y, current) -> dy/dt`, y a named tuple of arrays of one shape, one entry a cell.

    `current` is what is injected, as the change of the transmembrane potential it makes (mV/ms, or the potential's own unit a
    time unit); positive depolarizes. A function of the time (ms) does as well.
    """

    @abc.abstractmethod
    def rest(self) -> Any:
        """The first state, as published."""

    @abc.abstractmethod
    def terms(self, y: Any, current: Values) -> Any:
        """The rates of the state; of gates as `Relaxing`, so that a step may solve them exactly."""

    def scaled(self, **factors: Any) -> Any:
        """The cell with some numbers multiplied: `cell.scaled(g_Kr=0.5)` is one with half of that channel blocked.

        Raises:
            ValueError: it has no number of that name; with those that it has.
        """
        numbers = [name for name, x in self.numbers().items() if eqx.is_inexact_array(x)]
        for name in factors:
            if name not in numbers:
                has = ", ".join(numbers)
                raise ValueError(f"{type(self).__name__} has no number `{name}`; it has {has}.{hint(name, numbers)}")
        where = lambda cell: tuple(cell.numbers()[name] for name in factors)
        return eqx.tree_at(where, self, tuple(x * by for x, by in zip(where(self), factors.values(), strict=True)))

    def numbers(self) -> dict[str, Any]:
        """What the cell holds, by name; `scaled` multiplies the arrays of it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def driven(self, load):
        return lambda t, y: self.terms(y, injected(load, t))

    def __call__(self, t, fine, load):
        return rates(self.driven(load)(t, fine), fine)


def injected(load: Tree, t: Any) -> Values:
    """The current at a time: none, a number, or a function of the time."""
    if load is None:
        # Of no precision of its own.
        return jnp.asarray(0.0)
    return jnp.asarray(load(t) if callable(load) else load)


class Pacing(eqx.Module):
    """Square pulses: `Pacing(amplitude)(t)` is a current that is on from `start` for `duration` every `period`.

    Attributes:
        amplitude: in mV/ms.
        start, duration, period: in ms; with an infinite period there is one pulse.
    """

    amplitude: Number = parameter(52.0, "mV/ms")
    start: Number = parameter(10.0, "ms")
    duration: Number = parameter(1.0, "ms")
    period: Number = parameter(1000.0, "ms")

    def __call__(self, t: Any) -> Values:
        since = t - self.start
        # Infinity times no beats is no number.
        again = jnp.isfinite(self.period)
        period = jnp.where(again, self.period, 1.0)
        on = (since >= 0) & (since - jnp.where(again, period * jnp.floor(since / period), 0.0) < self.duration)
        return jnp.where(on, self.amplitude, 0.0)


def ratio(x: Values, over: float = 1.0) -> Values:
    """x / (1 - exp(-x / over)), which is `over` at zero."""
    small = jnp.abs(x) < 1e-7 * over
    safe = jnp.where(small, over, x)
    return jnp.where(small, over + 0.5 * x, safe / -jnp.expm1(-safe / over))


def opening(alpha: Values, beta: Values) -> tuple[Values, Values]:
    """The steady value and the time constant of a gate that opens at the rate alpha and closes at beta."""
    time = 1 / (alpha + beta)
    return alpha * time, time
