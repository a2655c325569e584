"""Linear elasticity at small strain: isotropic, cubic, orthotropic, of any symmetry."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._kinematics import PAIRS, Number, array, finite, number, parts, strains, symmetric, total
from ._law import ComponentLaw
from ._parameters import isotropic, lame, not_negative, positive


class Elastic(ComponentLaw):
    """Isotropic linear elasticity, sigma = lam tr(e) I + 2 mu e with e = sym(F - I).

    Valid: small strain. Zero moduli (a pore) are allowed.

    Attributes:
        lam: first Lame constant, in the unit of stress.
        mu: shear modulus, in the unit of stress.
    """

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    lam: Number = eqx.field(converter=number, kw_only=True)
    mu: Number = eqx.field(converter=number, kw_only=True)

    @classmethod
    def from_young(cls, E: Number, nu: Number) -> "Elastic":
        """From Young's modulus and Poisson's ratio, those of the solid (in plane strain too)."""
        lam, mu = lame(E, nu)
        return cls(lam=lam, mu=mu)

    @classmethod
    def from_bulk(cls, *, K: Number, G: Number) -> "Elastic":
        """From the bulk and the shear modulus of the solid."""
        not_negative(K=K, G=G)
        return cls(lam=K - 2 * G / 3, mu=G)

    def __check_init__(self):
        isotropic(self.lam, self.mu)

    def by_components(self, f, past):
        e = strains(f)
        pressure, twice = self.lam * total(e[i][i] for i in range(len(e))), 2 * self.mu
        return symmetric(e, lambda i, j, x: twice * x + pressure if i == j else twice * x), past, finite(f)


class Cubic(ComponentLaw):
    """Linear elasticity of a cubic crystal, its axes along the coordinates (`Rotated` turns it).

    sigma_ii = C11 e_ii + C12 (e_jj + e_kk), sigma_ij = 2 C44 e_ij.
    """

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    C11: Number = eqx.field(converter=number, kw_only=True)
    C12: Number = eqx.field(converter=number, kw_only=True)
    C44: Number = eqx.field(converter=number, kw_only=True)

    def __check_init__(self):
        not_negative(C44=self.C44)
        a, b = self.C11, self.C12
        positive("Arguments `C11` and `C12`, as a matrix,", ((a, b, b), (b, a, b), (b, b, a)))

    def by_components(self, f, past):
        e = strains(f)
        shared, axial, twice = self.C12 * total(e[i][i] for i in range(len(e))), self.C11 - self.C12, 2 * self.C44
        return symmetric(e, lambda i, j, x: axial * x + shared if i == j else twice * x), past, finite(f)


class Orthotropic(ComponentLaw):
    """Linear elasticity with three planes of symmetry, normal to the coordinate axes, stored as its nine stiffnesses.

    sigma_ii = sum_j C_ij e_jj, sigma_23 = 2 C44 e_23, sigma_13 = 2 C55 e_13, sigma_12 = 2 C66 e_12.
    """

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    C11: Number = eqx.field(converter=number, kw_only=True)
    C22: Number = eqx.field(converter=number, kw_only=True)
    C33: Number = eqx.field(converter=number, kw_only=True)
    C12: Number = eqx.field(converter=number, kw_only=True)
    C13: Number = eqx.field(converter=number, kw_only=True)
    C23: Number = eqx.field(converter=number, kw_only=True)
    C44: Number = eqx.field(converter=number, kw_only=True)
    C55: Number = eqx.field(converter=number, kw_only=True)
    C66: Number = eqx.field(converter=number, kw_only=True)

    def __check_init__(self):
        not_negative(C44=self.C44, C55=self.C55, C66=self.C66)
        positive("Arguments `C11` to `C23`, as a matrix,", self._normal)

    @property
    def _normal(self) -> tuple:
        return (self.C11, self.C12, self.C13), (self.C12, self.C22, self.C23), (self.C13, self.C23, self.C33)

    @classmethod
    def from_engineering(
        cls,
        *,
        E1: Number,
        E2: Number,
        E3: Number,
        nu12: Number,
        nu13: Number,
        nu23: Number,
        G12: Number,
        G13: Number,
        G23: Number,
    ) -> "Orthotropic":
        """From engineering constants: nu_ij is minus the strain along j over the strain along i, under stress along i.

        Where E1 or E2 is zero the ratios nu21, nu31, nu32 have no meaning and are taken as zero.
        """

        def ratio(nu, transverse, axial):
            safe = jnp.where(axial == 0, 1, axial)
            return jnp.where(axial == 0, 0, nu * transverse / safe)

        nu21, nu31, nu32 = ratio(nu12, E2, E1), ratio(nu13, E3, E1), ratio(nu23, E3, E2)
        D = 1 - nu12 * nu21 - nu23 * nu32 - nu13 * nu31 - 2 * nu21 * nu32 * nu13
        return cls(
            C11=E1 * (1 - nu23 * nu32) / D,
            C22=E2 * (1 - nu13 * nu31) / D,
            C33=E3 * (1 - nu12 * nu21) / D,
            C12=E1 * (nu21 + nu31 * nu23) / D,
            C13=E1 * (nu31 + nu21 * nu32) / D,
            C23=E2 * (nu32 + nu12 * nu31) / D,
            C44=G23,
            C55=G13,
            C66=G12,
        )

    def by_components(self, f, past):
        e = strains(f)
        normal = self._normal
        shear = {(0, 1): self.C66, (0, 2): self.C55, (1, 2): self.C44}

        def component(i, j, x):
            return 2 * shear[i, j] * x if i != j else total(normal[i][k] * e[k][k] for k in range(len(e)))

        return symmetric(e, component), past, finite(f)


class Anisotropic(ComponentLaw):
    """Linear elasticity of any symmetry: sigma = C e in Voigt's notation.

    The order is 11, 22, 33, 23, 13, 12 (in the plane 11, 22, 12), with engineering shear strains 2 e_ij, so that C holds the
    components C_ijkl themselves. A 6 x 6 matrix serves 3D and plane strain; a 3 x 3 matrix serves plane loads alone.

    Attributes:
        C: symmetric, shape (6, 6) or (3, 3) (after the axes of a grid, where it is a field).
    """

    linear: ClassVar[bool] = True
    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    C: Float[Array, "..."] = eqx.field(converter=array)

    def __check_init__(self):
        if self.C.shape[-2:] not in ((6, 6), (3, 3)):
            raise ValueError(f"Argument `C` must have shape (6, 6) or (3, 3), but its shape is {self.C.shape}.")
        positive("Argument `C`", self.C)

    def by_components(self, f, past):
        d, C = len(f), self.C
        if d == 3 and C.shape[0] == 3:
            raise ValueError("Argument `C` must have shape (6, 6) under a load of shape (3, 3), but it has shape (3, 3).")
        if d == 2 and C.shape[0] == 6:
            plane = np.array([0, 1, 5])
            C = C[plane][:, plane]
        e = strains(f)
        pairs = PAIRS[d]
        voigt = [e[i][j] if i == j else 2 * e[i][j] for i, j in pairs]
        s = [total(x * y for x, y in zip(row, voigt, strict=True)) for row in parts(C)]
        return symmetric(e, lambda i, j, _: s[pairs.index((i, j))]), past, finite(f)
