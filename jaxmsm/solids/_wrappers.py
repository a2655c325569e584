"""Laws made from laws: turned, swollen, or free to thin out of the plane."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._precision import full_precision
from .._scale import hold
from .._typing import Tree, is_number
from ..solve import implicit_scalar
from ._kinematics import Number, array, cut, det, eye, inverse_transpose, matmul, matvec, number, pad, transpose
from ._law import AbstractLaw

_MAX_STEPS = 40


class _Wrapper(AbstractLaw):
    """A law around a law, of the same kind."""

    law: eqx.AbstractVar[AbstractLaw]

    @property
    def linear(self) -> bool:
        """As the law inside."""
        return self.law.linear

    @property
    def small(self) -> bool:
        """As the law inside."""
        return self.law.small

    @property
    def symmetric(self) -> bool:
        """As the law inside."""
        return self.law.symmetric

    @property
    def scalar(self) -> bool:
        """As the law inside."""
        return self.law.scalar

    @property
    def timed(self) -> bool:
        """As the law inside."""
        return self.law.timed

    @property
    def softening(self) -> bool:
        """As the law inside."""
        return self.law.softening

    def during(self, dt):
        return eqx.tree_at(lambda wrapper: wrapper.law, self, self.law.during(dt))

    def init(self):
        return self.law.init()

    @full_precision
    def __call__(self, F, past):
        return self.answer(F, past)[:2]

    def admissible(self, F, past):
        return self.answer(F, past)[2]


class Rotated(_Wrapper):
    """A law in a frame of its own: P(F) = R P_law(R^T F R) R^T; for conduction, R q(R^T g).

    The columns of R are the axes of the material in the frame of the body. The history stays in the material's frame.

    Valid: R a rotation, of the load's dimension, or 3 x 3 under a plane load (plane strain of a crystal that is turned out of
        the plane; the shear stresses out of the plane are not answered).

    Attributes:
        law: any law.
        R: rotation matrix, shape (d, d) (after the axes of a grid, where it is a field).
    """

    law: AbstractLaw
    R: Float[Array, "..."] = eqx.field(converter=array)

    @classmethod
    def by_angle(cls, law: AbstractLaw, angle: Number) -> "Rotated":
        """Turned in the plane, counterclockwise, by an angle in radians (a number or a field)."""
        c, s = jnp.cos(array(angle)), jnp.sin(array(angle))
        return cls(law, jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2))

    def answer(self, F, past):
        R, d = self.R, F.shape[0]
        q, following, fine = self.law.answer(self._seen(F), past)
        if self.scalar:
            return matvec(R, q)[:d], following, fine
        return cut(matmul(matmul(R, q), transpose(R)), d), following, fine

    def _seen(self, F):
        R = self.R
        if self.scalar:
            missing = R.shape[0] - F.shape[0]
            return matvec(transpose(R), jnp.concatenate([F, jnp.zeros_like(F[:missing])]) if missing else F)
        return matmul(transpose(R), matmul(pad(F) if R.shape[0] == 3 else F, R))


class Eigenstrain(_Wrapper):
    """A law whose stress-free state is strained: thermal expansion, swelling, growth.

    A small-strain law sees F - strain. A finite-strain law sees F F0^-1 with F0 = I + strain, and P = det(F0) P_law F0^-T, so
    that its energy det(F0) W(F F0^-1) is counted per volume of the body.

    Valid: strain of shape (d, d), or 3 x 3 under a plane load: a strain out of the plane is held back in plane strain, and its
        stress in the plane is then right.

    Attributes:
        law: any law of mechanics.
        strain: the stress-free strain, shape (d, d) (after the axes of a grid, where it is a field).
    """

    law: AbstractLaw
    strain: Float[Array, "..."] = eqx.field(converter=array)

    def answer(self, F, past):
        return _swollen(self.law, self.strain, F, past)


class Thermal(_Wrapper):
    """A law with isotropic thermal expansion alpha dT, in all three directions (also under a plane load), as `Eigenstrain`.

    Attributes:
        law: any law of mechanics.
        alpha: coefficient of expansion, in 1/K.
        dT: temperature above the stress-free one, in K.
    """

    law: AbstractLaw
    alpha: Number = eqx.field(converter=number, kw_only=True)
    dT: Number = eqx.field(converter=number, kw_only=True)

    def answer(self, F, past):
        size = jnp.asarray(self.alpha * self.dT, F.dtype)
        return _swollen(self.law, size * eye(3, F.dtype), F, past)


def _swollen(law: AbstractLaw, strain: Float[Array, "n n"], F: Float[Array, "d d"], past: Tree):
    """The answer of a law whose stress-free state is strained."""
    d, F = F.shape[0], pad(F) if strain.shape[0] == 3 else F
    if law.small:
        P, following, fine = law.answer(F - strain, past)
        return cut(P, d), following, fine
    stretch = eye(strain.shape[0], strain.dtype) + strain
    inverse, growth = inverse_transpose(stretch), det(stretch)
    P, following, fine = law.answer(matmul(F, transpose(inverse)), past)
    return cut(growth * matmul(P, inverse), d), following, fine & (growth > 0)


class PlaneStress(_Wrapper):
    """A law of space under plane loads, its thickness free: F33 is such that P33 = 0.

    Exact for laws that are affine in the load; otherwise found by Newton at every point, with exact derivatives.

    Valid: loads of shape (2, 2); the plane is one of symmetry of the material (no shear out of the plane arises).
    Fails: not admissible where the law inside is not, or where the iteration did not converge.

    Attributes:
        law: any law of mechanics that takes loads of shape (3, 3).
    """

    law: AbstractLaw

    def answer(self, F, past):
        thickness, converged = self._thickness(F, past)
        P, following, fine = self.law.answer(pad(F, thickness), past)
        return cut(P, 2), following, converged & fine

    def _thickness(self, F: Float[Array, "2 2"], past: Tree) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        """F33, and whether it was found."""
        numbers, rest = eqx.partition((self.law, past), is_number)
        given = (numbers, F)
        equation = _Thickness(rest)
        zero = jnp.zeros_like(F[0, 0])
        if self.linear:
            force, slope = equation.with_slope(zero, given)
            return 1 - force / jnp.where(slope == 0, 1, slope), jnp.isfinite(force)
        x, converged = _find(equation, zero, hold(given))
        return equation.stretch(implicit_scalar(equation, x, given)), converged


class _Thickness(eqx.Module):
    """The stress out of the plane as a function of how the thickness changes.

    The unknown is F33 - 1 for a small-strain law, ln F33 for another, whose equation is F33 P33 = 0: this keeps the
    orientation, and for neo-Hooke it is convex, so that Newton converges from anywhere.
    """

    rest: Any

    def stretch(self, x: Float[Array, ""]) -> Float[Array, ""]:
        """F33."""
        return 1 + x if self.rest[0].small else jnp.exp(x)

    def __call__(self, x, given):
        numbers, F = given
        law, past = eqx.combine(numbers, self.rest)
        stretch = self.stretch(x)
        force = law(pad(F, stretch), past)[0][2, 2]
        return force if law.small else stretch * force

    def with_slope(self, x, given):
        """The equation and its derivative."""
        return jax.jvp(lambda x: self(x, given), (x,), (jnp.ones_like(x),))


def _find(equation: _Thickness, zero: Float[Array, ""], given) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """Newton; a step is halved until the equation's value falls, and is never longer than 1."""
    eps = jnp.finfo(zero.dtype).eps

    def small(x, force, slope):
        # What round-off makes of the equation, by the slope it has.
        return jnp.abs(force) <= 16 * eps * jnp.abs(slope) * (1 + jnp.abs(x))

    def going(carry):
        x, _, force, slope, count = carry
        return ~small(x, force, slope) & (count < _MAX_STEPS) & jnp.isfinite(force)

    def advance(carry):
        x, dx, force, slope, count = carry
        trial = x + dx
        new, new_slope = equation.with_slope(trial, given)
        better = jnp.abs(new) <= jnp.abs(force)
        x, force, slope = jnp.where(better, trial, x), jnp.where(better, new, force), jnp.where(better, new_slope, slope)
        return x, jnp.where(better, _step(force, slope), 0.5 * dx), force, slope, count + 1

    force, slope = equation.with_slope(zero, given)
    start = (zero, _step(force, slope), force, slope, jnp.zeros_like(zero, jnp.int32))
    x, _, force, slope, _ = lax.while_loop(going, advance, start)
    return x, small(x, force, slope)


def _step(force, slope):
    return jnp.clip(-force / jnp.where(slope == 0, 1, slope), -1, 1)
