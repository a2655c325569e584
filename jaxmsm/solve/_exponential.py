"""Rates with linear parts, which a step of any length solves exactly."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
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


def relaxed(terms: Tree, y: Tree, dt: Any) -> Tree:
    """y after a step in which what relaxes is solved exactly and the rest goes straight on."""
    after = _each(lambda term, y: term.after(y, dt) if isinstance(term, Relaxing) else y + dt * term, terms, y)
    # Fused into what comes next, XLA on a CPU would compute all of this again for every user, in derivatives several times.
    return lax.optimization_barrier(after)


def _each(fn, terms: Tree, y: Tree) -> Tree:
    return jax.tree.map(fn, terms, y, is_leaf=lambda x: isinstance(x, Relaxing))
