"""Isotropic damage: stiffness lost for good to the largest strain that there was."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._kinematics import Number, Parts, contraction, finite, in_space, number, strains, symmetric, total
from ._law import ComponentLaw, length
from ._parameters import Parametric, isotropic, lame, not_negative
from ._tensor_functions import positive_norm


class AbstractMeasure(Parametric):
    """What of a strain does damage: one number, the strain itself in a bar under tension (the equivalent strain)."""

    @abc.abstractmethod
    def __call__(self, e: Parts, lam: Number, mu: Number) -> Float[Array, ""]:
        """The equivalent strain of a strain in space, for these moduli of the sound material."""


class Mazars(AbstractMeasure):
    """sqrt(sum of the squares of the principal strains that are positive): concrete, rock.

    Source: Mazars and Pijaudier-Cabot, J. Eng. Mech. 115 (1989) 345.
    """

    def __call__(self, e, lam, mu):
        return positive_norm(e)


class ModifiedMises(AbstractMeasure):
    """(k - 1) / (2 k (1 - 2 nu)) I1 + sqrt(((k - 1) / (1 - 2 nu))^2 I1^2 + 12 k J2 / (1 + nu)^2) / (2 k).

    I1 is the trace of the strain, J2 half the square of its deviator.

    Valid: nu below .5.
    Source: de Vree, Brekelmans and van Gils, Comput. Struct. 55 (1995) 581.

    Attributes:
        k: how many times the strength in tension the one in compression is; 1 is von Mises.
    """

    k: Number = eqx.field(converter=number, default=10.0)

    def __check_init__(self):
        not_negative(k=self.k)

    def __call__(self, e, lam, mu):
        # 1 - 2 nu = mu / (lam + mu), and 1 + nu = (3 lam + 2 mu) / (2 (lam + mu)).
        volume = total(e[i][i] for i in range(3))
        deviator = symmetric(e, lambda i, j, x: x - volume / 3 if i == j else x)
        linear = (self.k - 1) * (lam + mu) / jnp.where(mu == 0, 1, mu) * volume
        shear = 2 * (lam + mu) / jnp.where(mu == 0, 1, 3 * lam + 2 * mu)
        return (linear + _root(linear**2 + 6 * self.k * shear**2 * contraction(deviator, deviator))) / (2 * self.k)


class EnergyNorm(AbstractMeasure):
    """sqrt(e : C e / E): damage in tension and compression alike.

    Source: Simo and Ju, Int. J. Solids Struct. 23 (1987) 821.
    """

    def __call__(self, e, lam, mu):
        volume = total(e[i][i] for i in range(3))
        return _root((lam * volume**2 + 2 * mu * contraction(e, e)) / _young(lam, mu))


class AbstractSoftening(Parametric):
    """The stress of a bar in tension beyond its strength.

    Attributes:
        strength: the largest stress in tension, in the unit of stress.
        energy: what a crack dissipates per area (the fracture energy), in the unit of stress times length.
    """

    strength: eqx.AbstractVar[Number]
    energy: eqx.AbstractVar[Number]

    @abc.abstractmethod
    def kept(self, kappa: Float[Array, ""], onset: Float[Array, ""], end: Float[Array, ""]) -> Float[Array, ""]:
        """The part of the stiffness that is left (1 - d) at the equivalent strain `kappa` beyond the onset.

        `end` is the strain at which a triangle under the stress, from the origin over the peak, has the energy per volume.
        """


class LinearSoftening(AbstractSoftening):
    """The stress falls linearly to nothing.

    Attributes:
        strength: the largest stress in tension, in the unit of stress.
        energy: what a crack dissipates per area, in the unit of stress times length.
    """

    strength: Number = eqx.field(converter=number, kw_only=True)
    energy: Number = eqx.field(converter=number, kw_only=True)

    def __check_init__(self):
        not_negative(strength=self.strength, energy=self.energy)

    def kept(self, kappa, onset, end):
        left = onset * (end - kappa) / (kappa * (end - onset))
        return jnp.where(kappa < end, left, 0)


class ExponentialSoftening(AbstractSoftening):
    """The stress falls exponentially.

    Attributes:
        strength: the largest stress in tension, in the unit of stress.
        energy: what a crack dissipates per area, in the unit of stress times length.
    """

    strength: Number = eqx.field(converter=number, kw_only=True)
    energy: Number = eqx.field(converter=number, kw_only=True)

    def __check_init__(self):
        not_negative(strength=self.strength, energy=self.energy)

    def kept(self, kappa, onset, end):
        return onset / kappa * jnp.exp(-2 * (kappa - onset) / (end - onset))


class Damaged(eqx.Module):
    """What a damaged point remembers.

    Attributes:
        kappa: the largest equivalent strain so far.
        damage: d, the part of the stiffness that is lost, in 0 to 1.
    """

    kappa: Float[Array, ""]
    damage: Float[Array, ""]


class Damage(ComponentLaw):
    """Isotropic damage at small strain: sigma = (1 - d) (lam tr(e) I + 2 mu e), d growing with the largest equivalent strain.

    A material that softens needs a length or a time, or else a mesh decides what it dissipates. With `size`, the width of the
    band in which a crack localizes (of an element or a voxel: a field where they differ), a crack dissipates the fracture energy
    per area whatever the mesh (crack band). With `viscosity` damage lags, d' = (d_static - d) / viscosity, by implicit Euler
    over the steps (Duvaut and Lions).

    Valid: small strain. An infinite strength (an elastic phase) and zero moduli (a pore) are allowed. Loads beyond the peak have
        more than one solution and a tangent that is not definite: the law is never taken for symmetric (GMRES), and `softening`
        tells others.
    Fails: not admissible where the size is too large for the energy, size >= 2 energy E / strength^2 (the bar would snap
        back), or where time runs backward.
    Error: none without viscosity; else of first order in the length of the step.
    Source: Bazant and Oh, Mater. Struct. 16 (1983) 155, for the band.

    Attributes:
        lam: first Lame constant of the sound material, in the unit of stress.
        mu: shear modulus of the sound material, in the unit of stress.
        curve: `LinearSoftening` or `ExponentialSoftening`, or one's own.
        measure: `Mazars`, `ModifiedMises` or `EnergyNorm`, or one's own.
        size: width of the band, in the unit of length of the energy; None with a viscosity: the energy is one per volume.
        viscosity: relaxation time of the damage, in the unit of the times of a `Span`; None: damage does not lag.
        dt: length of the step (`during`).
    """

    small: ClassVar[bool] = True
    softening: ClassVar[bool] = True

    lam: Number = eqx.field(converter=number, kw_only=True)
    mu: Number = eqx.field(converter=number, kw_only=True)
    curve: AbstractSoftening = eqx.field(kw_only=True)
    measure: AbstractMeasure = eqx.field(kw_only=True, default_factory=Mazars)
    size: Number | None = eqx.field(converter=number, kw_only=True, default=None)
    viscosity: Number | None = eqx.field(converter=number, kw_only=True, default=None)
    dt: Number | None = eqx.field(converter=number, kw_only=True, default=None)

    def __check_init__(self):
        isotropic(self.lam, self.mu)
        if self.size is None and self.viscosity is None:
            raise ValueError(
                "Argument `size` must be the width of the band of a crack (of an element or a voxel), or `viscosity` a time, but "
                "both are None: what a material that softens dissipates would depend on the mesh."
            )
        not_negative(**{k: x for k, x in {"size": self.size, "viscosity": self.viscosity}.items() if x is not None})

    @classmethod
    def from_young(cls, E: Number, nu: Number, curve: AbstractSoftening, **how) -> "Damage":
        """From Young's modulus and Poisson's ratio of the sound material."""
        lam, mu = lame(E, nu)
        return cls(lam=lam, mu=mu, curve=curve, **how)

    @property
    def timed(self) -> bool:
        """Damage that lags does so in time."""
        return self.viscosity is not None

    def init(self):
        return Damaged(jnp.zeros(()), jnp.zeros(()))

    def by_components(self, f, past):
        e = strains(in_space(f))
        now = self.measure(e, self.lam, self.mu)
        kappa = jnp.where(now > past.kappa, now, past.kappa)
        left, possible = self._left(kappa)
        fine = finite(f) & possible
        if self.viscosity is not None:
            dt = length(self)
            lag = self.viscosity / (self.viscosity + dt)
            left, fine = 1 - (lag * past.damage + (1 - lag) * (1 - left)), fine & (dt >= 0)
        pressure, twice = left * self.lam * total(e[i][i] for i in range(3)), 2 * left * self.mu
        stress = symmetric(e, lambda i, j, x: twice * x + pressure if i == j else twice * x)
        return tuple(row[: len(f)] for row in stress[: len(f)]), Damaged(kappa, 1 - left), fine

    def _left(self, kappa: Float[Array, ""]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        """What is left of the stiffness at once, and whether the size allows it."""
        young, strength = _young(self.lam, self.mu), self.curve.strength
        reached = young * kappa > strength
        # Of one before: an infinite strength, or no stiffness, has no slope there either.
        young, strength, kappa = (jnp.where(reached, x, 1) for x in (young, strength, kappa))
        volume = self.curve.energy if self.size is None else self.curve.energy / self.size
        onset, end = strength / young, 2 * volume / strength
        return jnp.where(reached, self.curve.kept(kappa, onset, end), 1), ~reached | (end > onset)


def _young(lam: Number, mu: Number) -> Number:
    """Young's modulus."""
    return mu * (3 * lam + 2 * mu) / jnp.where(lam + mu == 0, 1, lam + mu)


def _root(x: Array) -> Array:
    """The square root, with slope zero at zero."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)
