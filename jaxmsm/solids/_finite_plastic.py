"""J2 plasticity at finite strain, by radial return of the logarithmic strain."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._finite import upright
from ._hardening import AbstractHardening
from ._kinematics import Number, flip, from_six, in_space, inverse_log, number, product, symmetric, to_six
from ._law import ComponentLaw
from ._parameters import isotropic, lame, not_negative
from ._plastic import J2, Plastic
from ._tensor_functions import exp_less_one, log_symmetric


class FinitePlastic(eqx.Module):
    """What a plastic point remembers at finite strain.

    Attributes:
        inverse: Cp^-1, the inverse of the plastic right Cauchy-Green tensor, as its components 11, 22, 33, 23, 13, 12.
        alpha: accumulated plastic strain, that of a tension test.
    """

    inverse: Float[Array, "6"]
    alpha: Float[Array, ""]


class FiniteJ2(ComponentLaw):
    """Von Mises plasticity at finite strain with F = Fe Fp, logarithmic (Hencky) elasticity and isotropic hardening.

    tau = lam tr(e) I + 2 mu e with e = ln(Fe Fe^T) / 2 and tau the Kirchhoff stress; it flows where sqrt(3/2) |dev tau| reaches
    the yield stress, along dev tau and without change of volume. One step a load, its flow integrated by the exponential: the
    return is that of `J2` in the logarithmic strain. In the plane the strain is plane, the plastic strain is not.

    Valid: det F > 0. The elastic energy is not polyconvex: the shear modulus falls beyond elastic stretches of some 1.4, which
        metals do not reach before they yield. A huge or infinite yield stress (an elastic phase) is allowed.
    Fails: not admissible where det F <= 0, or where the local iteration of a curved hardening did not converge.
    Error: none where the principal axes stand still; first order in the load step where the flow direction turns.
    Source: Simo, Comput. Methods Appl. Mech. Eng. 99 (1992) 61; de Souza Neto, Peric and Owen, Computational Methods for
        Plasticity (2008), box 14.3.

    Attributes:
        lam: first Lame constant, in the unit of stress.
        mu: shear modulus, in the unit of stress.
        hardening: `Linear` or `Voce`, or one's own; yield stresses are Kirchhoff's.
    """

    symmetric: ClassVar[bool] = True

    lam: Number = eqx.field(converter=number, kw_only=True)
    mu: Number = eqx.field(converter=number, kw_only=True)
    hardening: AbstractHardening = eqx.field(kw_only=True)

    def __check_init__(self):
        isotropic(self.lam, self.mu)

    @classmethod
    def from_young(cls, E: Number, nu: Number, hardening: AbstractHardening) -> "FiniteJ2":
        """From Young's modulus and Poisson's ratio."""
        lam, mu = lame(E, nu)
        return cls(lam=lam, mu=mu, hardening=hardening)

    @classmethod
    def from_bulk(cls, *, K: Number, G: Number, hardening: AbstractHardening) -> "FiniteJ2":
        """From the bulk and the shear modulus."""
        not_negative(K=K, G=G)
        return cls(lam=K - 2 * G / 3, mu=G, hardening=hardening)

    def init(self):
        return FinitePlastic(jnp.asarray(np.array([1.0, 1, 1, 0, 0, 0]), jnp.zeros(()).dtype), jnp.zeros(()))

    def by_components(self, f, past):
        d, fine = len(f), upright(f)
        # Of the plane tensor: where components stand still, reverse mode does not pass the barriers inside (jax 0.12).
        g, f = in_space(inverse_log(f)[0]), in_space(f)
        inverse = from_six(past.inverse)
        fc = product(f, inverse)
        elastic = symmetric(inverse, lambda i, j, _: fc[i][0] * f[j][0] + fc[i][1] * f[j][1] + fc[i][2] * f[j][2])
        # What J2 takes for the deformation of a small strain.
        seen = symmetric(log_symmetric(elastic), lambda i, j, x: 1 + 0.5 * x if i == j else 0.5 * x)
        small = J2(lam=self.lam, mu=self.mu, hardening=self.hardening)
        tau, flowed, found = small.by_components(seen, Plastic(jnp.zeros_like(past.inverse), past.alpha, None))
        P = product(tau, g)
        # F^-1 b F^-T with b = (trial b) exp(-2 flow), in which they commute; no flow leaves the history as it is, to the bit.
        spent = exp_less_one(symmetric(from_six(flowed.strain), lambda i, j, x: -2 * x))
        change = product(flip(fc), product(spent, g))
        return tuple(row[:d] for row in P[:d]), FinitePlastic(past.inverse + to_six(change), flowed.alpha), fine & found
