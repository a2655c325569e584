"""Hyperelasticity at finite strain in closed form."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ._kinematics import Number, Parts, determinant, finite, inverse_log, number, product, total
from ._law import ComponentLaw
from ._parameters import isotropic, lame


def upright(f: Parts) -> Bool[Array, ""]:
    """True where F is finite and keeps the orientation: det F > 0."""
    return finite(f) & (determinant(f) > 0)


class SaintVenantKirchhoff(ComponentLaw):
    """Linear in the Green strain E = (F^T F - I) / 2: P = F S with S = lam tr(E) I + 2 mu E.

    Valid: large rotations, moderate strain. Under strong compression it softens to no stiffness at all (its energy is not
        polyconvex); `NeoHookean` does not.

    Attributes:
        lam: first Lame constant, in the unit of stress.
        mu: shear modulus, in the unit of stress.
    """

    symmetric: ClassVar[bool] = True

    lam: Number = eqx.field(converter=number, kw_only=True)
    mu: Number = eqx.field(converter=number, kw_only=True)

    @classmethod
    def from_young(cls, E: Number, nu: Number) -> "SaintVenantKirchhoff":
        """From Young's modulus and Poisson's ratio at small strain."""
        lam, mu = lame(E, nu)
        return cls(lam=lam, mu=mu)

    def __check_init__(self):
        isotropic(self.lam, self.mu)

    def by_components(self, f, past):
        d = range(len(f))
        # Twice the Green strain, its equal components computed once.
        twice = {(i, j): total(row[i] * row[j] for row in f) - (i == j) for i in d for j in d if i <= j}
        pressure = 0.5 * self.lam * total(twice[i, i] for i in d)
        half = {(i, j): self.mu * x + pressure if i == j else self.mu * x for (i, j), x in twice.items()}
        return product(f, tuple(tuple(half[min(i, j), max(i, j)] for j in d) for i in d)), past, upright(f)


class NeoHookean(ComponentLaw):
    """Compressible neo-Hooke: W = mu/2 (F : F - 3) - mu ln J + lam/2 (ln J)^2, P = mu (F - F^-T) + lam ln J F^-T.

    Valid: det F > 0. The energy is polyconvex up to J = e. Zero moduli (a pore) are allowed.
    Source: Bonet and Wood, Nonlinear Continuum Mechanics for Finite Element Analysis (2008), eq. 6.27.

    Attributes:
        mu: shear modulus at small strain, in the unit of stress.
        lam: first Lame constant at small strain, in the unit of stress.
    """

    symmetric: ClassVar[bool] = True

    mu: Number = eqx.field(converter=number, kw_only=True)
    lam: Number = eqx.field(converter=number, kw_only=True)

    @classmethod
    def from_young(cls, E: Number, nu: Number) -> "NeoHookean":
        """From Young's modulus and Poisson's ratio at small strain."""
        lam, mu = lame(E, nu)
        return cls(mu=mu, lam=lam)

    def __check_init__(self):
        isotropic(self.lam, self.mu)

    def by_components(self, f, past):
        g, log_J = inverse_log(f)
        # Of one type from the start, so that a linearization stores it once.
        mu = jnp.asarray(self.mu, jnp.result_type(self.mu, log_J))
        pressure = self.lam * log_J - mu
        P = tuple(tuple(mu * x + pressure * y for x, y in zip(*rows, strict=True)) for rows in zip(f, g, strict=True))
        return P, past, upright(f)
