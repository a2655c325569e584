"""Laws of conduction: heat, diffusion, electric current.

They answer the conductivity times the gradient, which is minus the physical flux, so that the effective law of a cell is positive.
"""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ._kinematics import Number, array, matvec, number
from ._law import AbstractLaw


class Conductivity(AbstractLaw):
    """Isotropic conduction, k times the gradient. Zero (an insulator) is allowed."""

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    scalar: ClassVar[bool] = True

    k: Number = eqx.field(converter=number)

    def __call__(self, F, past):
        return self.k * F, past


class AnisotropicConductivity(AbstractLaw):
    """Conduction with a tensor, K times the gradient.

    Attributes:
        K: symmetric, shape (d, d) (after the axes of a grid, where it is a field).
    """

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    scalar: ClassVar[bool] = True

    K: Float[Array, "..."] = eqx.field(converter=array)

    def __call__(self, F, past):
        return matvec(self.K, F), past
