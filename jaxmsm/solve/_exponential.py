"""Rates with linear parts, which a step of any length solves exactly."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Tree


class Relaxing(eqx.Module):
    """A rate that pulls towards a target: dy/dt = (target - y) / time.

    Attributes:
        target: where y goes, in the unit of y.
        time: how long it takes, in the unit of time.
    """

    target: Float[Array, "..."]
    time: Float[Array, "..."]

    def rate(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """dy/dt."""
        return (self.target - y) / self.time

    def after(self, y: Float[Array, "..."], dt: Any) -> Float[Array, "..."]:
        """y after a time in which target and time stand still: exact."""
        return self.target + (y - self.target) * jnp.exp(-dt / self.time)


def rates(terms: Tree, y: Tree) -> Tree:
    """dy/dt of terms, each a rate or `Relaxing`; a tree like y."""
    return _each(lambda term, y: term.rate(y) if isinstance(term, Relaxing) else term, terms, y)


class AbstractExponential(eqx.Module):
    """A step that solves what relaxes exactly: `step(terms, t, y, dt) -> y`, where `terms(t, y)` are rates and `Relaxing`."""

    @abc.abstractmethod
    def __call__(self, terms: Callable[[Any, Any], Any], t: Any, y: Any, dt: Any) -> Any:
        """y at t + dt."""


class RushLarsen(AbstractExponential):
    """What relaxes with target and time as they are at the start, the rest by an Euler step.

    Error: first order; what relaxes is stable whatever the step.
    Source: S. Rush, H. Larsen, IEEE Trans. Biomed. Eng. 25 (1978) 389.
    """

    def __call__(self, terms, t, y, dt):
        return _stepped(terms(t, y), y, dt)


class RushLarsenMidpoint(AbstractExponential):
    """The same with target, time and rates as they are in the middle, which half a step has found; twice the price.

    Error: second order.
    Source: M. Perego, A. Veneziani, Electron. Trans. Numer. Anal. 35 (2009) 234; J. Sundnes et al., IEEE Trans. Biomed. Eng. 56
        (2009) 2546.
    """

    def __call__(self, terms, t, y, dt):
        middle = _stepped(terms(t, y), y, 0.5 * dt)
        return _stepped(terms(t + 0.5 * dt, middle), y, dt)


def _stepped(terms: Tree, y: Tree, dt: Any) -> Tree:
    return _each(lambda term, y: term.after(y, dt) if isinstance(term, Relaxing) else y + dt * term, terms, y)


def _each(fn, terms: Tree, y: Tree) -> Tree:
    return jax.tree.map(fn, terms, y, is_leaf=lambda x: isinstance(x, Relaxing))
