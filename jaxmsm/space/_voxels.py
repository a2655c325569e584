"""The voxel grid: one multilinear element a voxel, its shape functions, and the gradient of a nodal field.

Arrays carry components first and voxels last, `(component, direction, quadrature point, *voxels)`, so that the voxels are what
the machine's vectors run over.
"""

import abc
from collections.abc import Callable
from itertools import product
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


class AbstractRule(eqx.Module):
    """Where in a voxel the law is evaluated, and how the gradients there are made from the nodes."""

    modal: ClassVar[bool] = False
    """The points are the 2^d Gauss points, or the one in the middle, for which the modes of a gradient are orthogonal."""

    coupled: ClassVar[bool] = False
    """The points of a voxel see each other (`strain` is not the identity)."""

    @abc.abstractmethod
    def points(self, d: int) -> np.ndarray:
        """Quadrature points in the unit voxel, shape (Q, d); all have the same weight."""

    def strain(self, F: Float[Array, "..."], small: bool, volumes: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """The deformation that the law sees from the compatible one, both (d, d, Q, M).

        Args:
            volumes: of the points, (Q, M); None where all are equal.
        """
        del small, volumes
        return F


class Full(AbstractRule):
    """2^d Gauss points: every mode but translation has stiffness. Near incompressibility it locks."""

    modal = True

    def points(self, d):
        gauss = (0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3))
        return np.array(list(product(gauss, repeat=d)))


class Reduced(AbstractRule):
    """One point in the middle (the rotated scheme, HEX8R): 2^d times cheaper, with hourglass modes on even grids."""

    modal = True

    def points(self, d):
        return np.full((1, d), 0.5)


class MeanDilatation(AbstractRule):
    """Gauss points whose volume change is the voxel's (or element's) mean: free of volumetric locking.

    Small strain: tr(eps) is replaced by its mean over the voxel (B-bar). Finite strain: F (J_mean / J)^(1/d) (F-bar), whose
    forces are taken as the slope of the voxel's work, so that the tangent stays symmetric.
    """

    modal = True
    coupled = True

    def points(self, d):
        return Full().points(d)

    def strain(self, F, small, volumes=None):
        d = F.shape[0]
        eye = jnp.eye(d, dtype=F.dtype)[:, :, None, None]
        if small:
            trace = sum(F[i, i] for i in range(d))
            return F + eye * ((_mean(trace, volumes) - trace) / d)[None, None]
        J = F[0, 0] * F[1, 1] - F[0, 1] * F[1, 0] if d == 2 else _det3(F)
        safe = jnp.where(J > 0, J, 1)
        # Where a volume is negative the law is to see it and say so.
        factor = jnp.where(jnp.all(J > 0, 0, keepdims=True), (_mean(safe, volumes) / safe) ** (1 / d), 1)
        return F * factor[None, None]


def _mean(x, volumes):
    """Over the points of a voxel. By volume, a uniform stress is in balance whatever the shape of an element."""
    if volumes is None:
        return x.mean(0, keepdims=True)
    return jnp.sum(volumes * x, 0, keepdims=True) / jnp.sum(volumes, 0, keepdims=True)


def _det3(F):
    return (
        F[0, 0] * (F[1, 1] * F[2, 2] - F[1, 2] * F[2, 1])
        - F[0, 1] * (F[1, 0] * F[2, 2] - F[1, 2] * F[2, 0])
        + F[0, 2] * (F[1, 0] * F[2, 1] - F[1, 1] * F[2, 0])
    )


class Voxels(eqx.Module):
    """A grid of voxels; a nodal field lives on the (n + 1)^d corners, components first."""

    shape: tuple[int, ...] = eqx.field(static=True)
    spacing: tuple[float, ...] = eqx.field(static=True)
    rule: AbstractRule

    @property
    def d(self) -> int:
        """Dimension."""
        return len(self.shape)

    @property
    def count(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    @property
    def points(self) -> int:
        """Quadrature points a voxel."""
        return len(self.rule.points(self.d))

    @property
    def slopes(self) -> np.ndarray:
        """dN_a / dx_j at the quadrature points, shape (Q, d, 2^d)."""
        x = self.rule.points(self.d)
        table = np.ones((len(x), self.d, 2**self.d))
        for a, corner in enumerate(product((0, 1), repeat=self.d)):
            for j in range(self.d):
                for m in range(self.d):
                    sign = 1 if corner[m] else -1
                    value = x[:, m] if corner[m] else 1 - x[:, m]
                    table[:, j, a] *= sign / self.spacing[m] if m == j else value
        return table

    def corners(self, nodal: Float[Array, "..."]) -> Float[Array, "..."]:
        """The 2^d corner values of every voxel, shape (2^d c, M): corners first, components within."""
        # Without the barrier the CPU backend fuses the padding that made `nodal` into every slice and does not vectorize it.
        nodal = lax.optimization_barrier(nodal)
        parts = [
            nodal[(slice(None), *(slice(a, a + n) for a, n in zip(corner, self.shape, strict=True)))]
            for corner in product((0, 1), repeat=self.d)
        ]
        return jnp.stack(parts).reshape(2**self.d * nodal.shape[0], self.count)

    def assemble(self, elementwise: Float[Array, "..."], join: Callable) -> Float[Array, "..."]:
        """The transpose of `corners`: corner values added up on the nodes, joined along each axis by `join(low, high, axis)`."""
        parts = elementwise.reshape(2**self.d, -1, *self.shape)
        # The last corner bit belongs to the last axis.
        for axis in range(self.d, 0, -1):
            parts = join(parts[0::2], parts[1::2], axis + 1)
        return parts[0]

    def gradient_matrix(self, c: int) -> np.ndarray:
        """The gradient at the quadrature points from the corners, shape (c d Q, 2^d c)."""
        table = np.einsum("qja,im->ijqam", self.slopes, np.eye(c))
        return table.reshape(c * self.d * self.points, 2**self.d * c)

    def gradient(self, nodal: Float[Array, "..."]) -> Float[Array, "..."]:
        """The gradient at the quadrature points, (c, d, Q, M).

        In memory the directions and points come first, as the product with the shape functions leaves them: the transpose is a
        view for laws that take the components one by one. The barriers here and in `divergence` keep the CPU backend from doing
        a law inside the products before and after it, many times over.
        """
        c = nodal.shape[0]
        g = self._table(nodal.dtype) @ self.corners(nodal).reshape(2**self.d, c * self.count)
        g = lax.optimization_barrier(g).reshape(self.d, self.points, c, self.count)
        return jnp.transpose(g, (2, 0, 1, 3))

    def divergence(self, flux: Float[Array, "..."], join: Callable) -> Float[Array, "..."]:
        """The transpose of `gradient`, weighted by the quadrature (total volume 1): nodal forces of a flux (c, d, Q, M)."""
        c = flux.shape[0]
        flux = lax.optimization_barrier(jnp.transpose(flux, (1, 2, 0, 3)).reshape(self.d * self.points, c * self.count))
        f = self._table(flux.dtype).T @ flux / (self.points * self.count)
        return self.assemble(f.reshape(2**self.d * c, self.count), join)

    def _table(self, dtype) -> Float[Array, "..."]:
        """dN_a / dx_j at the points, ((j, q), a)."""
        return jnp.asarray(np.swapaxes(self.slopes, 0, 1).reshape(self.d * self.points, 2**self.d), dtype)

    def affine(self, gradient: Float[Array, "c d"]) -> Float[Array, "..."]:
        """Corner values (2^d c,) of an affine field with this gradient that vanishes at the voxel's first corner."""
        return (jnp.asarray(self.offsets, gradient.dtype) @ gradient.T).reshape(-1)

    @property
    def offsets(self) -> np.ndarray:
        """Positions of the corners in a voxel, shape (2^d, d)."""
        return np.array(list(product((0, 1), repeat=self.d))) * np.array(self.spacing)

    def mean(self, field: Float[Array, "..."]) -> Float[Array, "..."]:
        """The volume average of a field (..., Q, M)."""
        return field.mean((-1, -2))
