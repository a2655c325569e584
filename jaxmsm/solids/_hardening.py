"""How the yield stress grows with plastic flow, and how the yield surface moves."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._kinematics import Number, number
from ._parameters import Parametric, not_negative


class AbstractHardening(Parametric):
    """The yield stress (of a tension test) as a function of the accumulated plastic strain."""

    affine: ClassVar[bool] = False
    """The yield stress is affine in the plastic strain, and the return mapping is in closed form."""

    @abc.abstractmethod
    def __call__(self, alpha: Float[Array, ""]) -> Float[Array, ""]:
        """The yield stress at the accumulated plastic strain `alpha`."""


class Linear(AbstractHardening):
    """sy + H alpha. H = 0 is perfect plasticity.

    Attributes:
        sy: initial yield stress in tension, in the unit of stress.
        H: slope of the yield stress in the plastic strain, in the unit of stress.
    """

    affine: ClassVar[bool] = True

    sy: Number = eqx.field(converter=number, kw_only=True)
    H: Number = eqx.field(converter=number, kw_only=True, default=0.0)

    def __check_init__(self):
        not_negative(sy=self.sy)

    def __call__(self, alpha):
        return self.sy + self.H * alpha


class Voce(AbstractHardening):
    """Saturation: sy + H alpha + (s_inf - sy) (1 - exp(-delta alpha)).

    Attributes:
        sy: initial yield stress in tension, in the unit of stress.
        H: final slope, in the unit of stress.
        s_inf: the stress that the exponential part saturates at, in the unit of stress.
        delta: its rate, per unit of plastic strain.
    """

    sy: Number = eqx.field(converter=number, kw_only=True)
    H: Number = eqx.field(converter=number, kw_only=True)
    s_inf: Number = eqx.field(converter=number, kw_only=True)
    delta: Number = eqx.field(converter=number, kw_only=True)

    def __check_init__(self):
        not_negative(sy=self.sy)

    def __call__(self, alpha):
        return self.sy + self.H * alpha - (self.s_inf - self.sy) * jnp.expm1(-self.delta * alpha)


class Prager(Parametric):
    """Linear kinematic hardening: the back stress grows by (2/3) C times the plastic strain.

    Attributes:
        C: slope of the back stress in a tension test, in the unit of stress.
    """

    affine: ClassVar[bool] = True

    C: Number = eqx.field(converter=number)

    @property
    def recall(self) -> float:
        """Nothing of the back stress is forgotten."""
        return 0.0


class ArmstrongFrederick(Parametric):
    """Kinematic hardening that saturates: d back = (2/3) C d plastic - recall back d alpha.

    Attributes:
        C: initial slope of the back stress in a tension test, in the unit of stress.
        recall: rate of forgetting, per unit of plastic strain; the back stress saturates at C / recall.
    """

    affine: ClassVar[bool] = False

    C: Number = eqx.field(converter=number, kw_only=True)
    recall: Number = eqx.field(converter=number, kw_only=True)

    def __check_init__(self):
        not_negative(recall=self.recall)
