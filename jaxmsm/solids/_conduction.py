"""Laws of conduction: heat, diffusion, electric current.

They answer the conductivity times the gradient, which is minus the physical flux, so that the effective law of a cell is positive.
"""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ._kinematics import Number, array, finite, number, parts, total
from ._law import ComponentLaw
from ._parameters import not_negative, positive


class Conductivity(ComponentLaw):
    """Isotropic conduction, k times the gradient. Zero (an insulator) is allowed."""

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    scalar: ClassVar[bool] = True

    k: Number = eqx.field(converter=number)

    def __check_init__(self):
        not_negative(k=self.k)

    def by_components(self, f, past):
        return tuple(self.k * x for x in f), past, finite(f)


class AnisotropicConductivity(ComponentLaw):
    """Conduction with a tensor, K times the gradient.

    Attributes:
        K: symmetric, shape (d, d) (after the axes of a grid, where it is a field).
    """

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    scalar: ClassVar[bool] = True

    K: Float[Array, "..."] = eqx.field(converter=array)

    def __check_init__(self):
        if self.K.shape[-2:] not in ((2, 2), (3, 3)):
            raise ValueError(f"Argument `K` must have shape (2, 2) or (3, 3), but its shape is {self.K.shape}.")
        positive("Argument `K`", self.K)

    def by_components(self, f, past):
        if len(self.K) != len(f):
            raise ValueError(f"Argument `K` must have the dimension of the load, {len(f)}, but its shape is {self.K.shape}.")
        return tuple(total(x * y for x, y in zip(row, f, strict=True)) for row in parts(self.K)), past, finite(f)
