"""What every law of a continuum at one material point promises."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._typing import Tree


class AbstractLaw(eqx.Module):
    """A law at one point: `law(F, past) -> (P, next)`.

    `F` is the deformation gradient, shape (d, d) with d = 2 (plane strain) or 3, and `P` the first Piola stress; small-strain
    laws take sym(F - I) and answer the Cauchy stress. A law of conduction takes the gradient of a scalar, shape (d,), and
    answers the flux. `past` and `next` are the history (`init()` makes the first one; `()` for a law without history).
    Parameters are float leaves; the tangent comes by differentiation.
    """

    linear: ClassVar[bool] = False
    """The answer is affine in the load: one linear solve is a whole solve."""
    small: ClassVar[bool] = False
    """The law sees sym(F - I) alone."""
    symmetric: ClassVar[bool] = True
    """The tangent is symmetric (there is a potential, or the update has one)."""
    scalar: ClassVar[bool] = False
    """A law of conduction: loads have shape (d,)."""

    @abc.abstractmethod
    def __call__(self, F: Float[Array, "..."], past: Tree) -> tuple[Float[Array, "..."], Tree]:
        """The stress and the next history."""

    def init(self) -> Tree:
        """The history of virgin material at one point."""
        return ()

    def admissible(self, F: Float[Array, "..."], past: Tree) -> Array:
        """True where the law has a meaning at this load (a positive volume, a converged local iteration)."""
        del past
        return jax.numpy.all(jax.numpy.isfinite(F))
