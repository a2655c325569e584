"""What every law of a continuum at one material point promises."""

import abc
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._typing import Tree
from ._kinematics import parts, whole
from ._parameters import Parametric


class AbstractLaw(Parametric):
    """A law at one point: `law(F, past) -> (P, next)`.

    `F` is the deformation gradient, shape (d, d) with d = 2 (plane strain) or 3, and `P` the first Piola stress; small-strain
    laws take sym(F - I) and answer the Cauchy stress. A law of conduction takes the gradient of a scalar, shape (d,), and
    answers the flux that goes with it in sign (k times the gradient). `past` and `next` are the history (`init()` makes the
    first one; `()` for a law without history). Parameters are float leaves; the tangent comes by differentiation.

    A law states its kind by class attributes (`linear: ClassVar[bool] = True`), by static fields, or, where it wraps another
    law, by the other's.
    """

    @property
    def linear(self) -> bool:
        """The answer is affine in the load: one linear solve is a whole solve."""
        return False

    @property
    def small(self) -> bool:
        """The law sees sym(F - I) alone."""
        return False

    @property
    def symmetric(self) -> bool:
        """The tangent is symmetric (there is a potential, or the update has one); one that does not say so gets GMRES."""
        return False

    @property
    def scalar(self) -> bool:
        """A law of conduction: loads have shape (d,)."""
        return False

    @abc.abstractmethod
    def __call__(self, F: Float[Array, "..."], past: Tree) -> tuple[Float[Array, "..."], Tree]:
        """The stress and the next history."""

    def init(self) -> Tree:
        """The history of virgin material at one point."""
        return ()

    def admissible(self, F: Float[Array, "..."], past: Tree) -> Bool[Array, ""]:
        """True where the law has a meaning at this load (a positive volume, a converged local iteration)."""
        del past
        return jnp.all(jnp.isfinite(F))

    def answer(self, F: Float[Array, "..."], past: Tree) -> tuple[Float[Array, "..."], Tree, Bool[Array, ""]]:
        """Stress, next history and admissibility at once, for laws that find all three by one iteration."""
        return *self(F, past), self.admissible(F, past)

    def by_components(self, f: Any, past: Tree) -> tuple[Any, Tree, Bool[Array, ""]]:
        """`answer` with load and stress as nested tuples of their components, each a scalar at the point.

        What a cell calls: over a grid a component is a field, which a compiler can pass on without stacking it with the others.
        """
        P, following, fine = self.answer(whole(f), past)
        return parts(P), following, fine


class ComponentLaw(AbstractLaw):
    """A law written for components, `by_components`, from which the calls with whole tensors follow."""

    @abc.abstractmethod
    def by_components(self, f: Any, past: Tree) -> tuple[Any, Tree, Bool[Array, ""]]:
        """Components of the stress, next history and admissibility from the components of the load."""

    def __call__(self, F, past):
        return self.answer(F, past)[:2]

    def admissible(self, F, past):
        return self.answer(F, past)[2]

    def answer(self, F, past):
        P, following, fine = self.by_components(parts(F), past)
        return whole(P), following, fine
