"""Reactions among few molecules: their mean, their noise, and every single one of them."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import AbstractNoisyRate


class Reactions(AbstractNoisyRate):
    """Molecules that react: dx = S a(x) dt + S sqrt(a(x)) dw, the chemical Langevin equation, one Wiener process a reaction.

    x are numbers of molecules, (species,). In `Stepped` with `EulerMaruyama()` it is the noisy path, where `noise` is left out the
    mean field, in `Jumping` every reaction by itself, exactly.

    Valid: the Langevin path where a step sees many reactions and numbers stay well above one; `Jumping` always.
    Source: D. Gillespie, J. Chem. Phys. 113 (2000) 297.

    Attributes:
        change: what a reaction does to every species, (species, reactions).
        propensity: `propensity(x, load)`, reactions a unit of time, (reactions,), not negative.
    """

    change: Float[Array, "species reactions"]
    propensity: Callable[[Any, Any], Any]

    def __call__(self, t, fine, load):
        del t
        return self.change @ self.propensity(fine, load)

    def noise(self, t, fine, load, dw):
        del t
        some = self.propensity(fine, load)
        # A number that noise has taken below zero makes no reaction.
        root = jnp.where(some > 0, jnp.sqrt(jnp.where(some > 0, some, 1.0)), 0.0)
        return self.change @ (root * dw)

    def sources(self, fine):
        return jnp.zeros(self.change.shape[1], fine.dtype)
