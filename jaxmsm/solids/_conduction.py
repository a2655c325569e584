"""Laws of conduction: heat, diffusion, electric current.

They answer the conductivity times the gradient, which is minus the physical flux, so that the effective law of a cell is positive.
"""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ._kinematics import Number, array, finite, number, parts, total
from ._law import ComponentLaw


class Conductivity(ComponentLaw):
    """Isotropic conduction, k times the gradient. Zero (an insulator) is allowed."""

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    scalar: ClassVar[bool] = True

    k: Number = eqx.field(converter=number)

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

    def by_components(self, f, past):
        return tuple(total(x * y for x, y in zip(row, f, strict=True)) for row in parts(self.K)), past, finite(f)
