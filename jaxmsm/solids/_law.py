"""What every law of a continuum at one material point promises."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._precision import full_precision
from .._typing import Tree
from ._kinematics import Number, number, parts, whole
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

    @property
    def timed(self) -> bool:
        """The answer depends on the length of the step; such a law has a field `dt: Number | None`, None until it is known."""
        return False

    @property
    def softening(self) -> bool:
        """The stress may fall while the strain grows: tangents are not definite, and beyond the peak strains localize."""
        return False

    def during(self, dt: Number) -> "AbstractLaw":
        """The law in a step of the length `dt`, in the unit of its times; itself where it is not timed."""
        if not self.timed:
            return self
        return eqx.tree_at(lambda law: law.dt, self, number(dt), is_leaf=lambda x: x is None)

    @abc.abstractmethod
    def __call__(self, F: Float[Array, "..."], past: Tree) -> tuple[Float[Array, "..."], Tree]:
        """The stress and the next history."""

    def __check_init__(self):
        if self.linear and jax.tree.leaves(self.init()):
            raise ValueError("Argument `linear` must be False where there is a history (`init`), but it is True.")

    def init(self) -> Tree:
        """The history of virgin material at one point."""
        return ()

    def admissible(self, F: Float[Array, "..."], past: Tree) -> Bool[Array, ""]:
        """True where the law has a meaning at this load (a positive volume, a converged local iteration)."""
        del past
        return jnp.all(jnp.isfinite(F))

    def margin(self, F: Float[Array, "..."], past: Tree) -> Float[Array, ""]:
        """Any change of sym F no larger than this (Frobenius norm) keeps the law affine, as it is undeformed, and its history.

        Zero where that is not known.
        """
        del past
        return jnp.full((), jnp.inf if self.linear and self.small else 0, F.dtype)

    def answer(self, F: Float[Array, "..."], past: Tree) -> tuple[Float[Array, "..."], Tree, Bool[Array, ""]]:
        """Stress, next history and admissibility at once, for laws that find all three by one iteration."""
        return *pair(
            self(F, past), F, past, f"`laws` must hold laws whose call returns (`{type(self).__name__}`)"
        ), self.admissible(F, past)

    def by_components(self, f: Any, past: Tree) -> tuple[Any, Tree, Bool[Array, ""]]:
        """`answer` with load and stress as nested tuples of their components, each a scalar at the point.

        What a cell calls: over a grid a component is a field, which a compiler can pass on without stacking it with the others.
        """
        P, following, fine = self.answer(whole(f), past)
        return parts(P), following, fine


def length(law: Any) -> Number:
    """The length of the step of a timed law, which somebody must have told it."""
    if law.dt is None:
        raise ValueError(
            f"Argument `load` must be a `Span(t0, t1, drive)` where a law depends on time (`{type(law).__name__}`), but it has no "
            "times. At a point, `law.during(dt)` is the law in a step of the length dt."
        )
    return law.dt


def pair(found: Any, F: Float[Array, "..."], past: Tree, who: str) -> tuple[Float[Array, "..."], Tree]:
    """What a law of somebody's own returned, if it is a stress and a history of the shapes and types of the one it got."""
    if not isinstance(found, tuple) or len(found) != 2:
        what = f"a tuple of {len(found)}" if isinstance(found, tuple) else f"a {type(found).__name__}"
        raise TypeError(f"Argument {who} the pair (P, next), but it returned {what}.")
    P, following = found
    if jnp.shape(P) != F.shape:
        raise TypeError(f"Argument {who} a stress of the shape of the load, {F.shape}, but its shape is {jnp.shape(P)}.")
    structures: Any = jax.tree.structure(past), jax.tree.structure(following)
    if structures[0] != structures[1]:
        raise TypeError(f"Argument {who} a history like the one it got, {structures[0]}, but it returned {structures[1]}.")
    for x, y in zip(jax.tree.leaves(past), jax.tree.leaves(following), strict=True):
        types = jnp.result_type(x), jnp.result_type(y)
        if jnp.shape(x) != jnp.shape(y) or (types[0] != types[1] and not (_weak(x) or _weak(y))):
            was, now = (f"{t}{list(jnp.shape(a))}" for t, a in zip(types, (x, y), strict=True))
            raise TypeError(f"Argument {who} a history like the one it got, {was}, but it returned {now}.")
    return P, jax.tree.map(lambda x, y: y if _weak(x) else jnp.asarray(y, jnp.result_type(x)), past, following)


def _weak(x: Any) -> bool:
    """A plain number, or an array made of one: it takes the precision of what it meets."""
    return not hasattr(x, "dtype") or getattr(x, "weak_type", False)


class ComponentLaw(AbstractLaw):
    """A law written for components, `by_components`, from which the calls with whole tensors follow."""

    @abc.abstractmethod
    def by_components(self, f: Any, past: Tree) -> tuple[Any, Tree, Bool[Array, ""]]:
        """Components of the stress, next history and admissibility from the components of the load."""

    @full_precision
    def __call__(self, F, past):
        return self.answer(F, past)[:2]

    def admissible(self, F, past):
        return self.answer(F, past)[2]

    def answer(self, F, past):
        P, following, fine = self.by_components(parts(F), past)
        return whole(P), following, fine
