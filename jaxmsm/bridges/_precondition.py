"""What makes the iterations of a voxel cell few: the inverse of a homogeneous medium, weighted by the nodes' stiffness."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._model import Mixed
from ._kernel import Conditions, Kernel, Unknown


class AbstractPreconditioner(eqx.Module):
    """Nodal weights s in M^-1 = s G s, with G the discrete Green operator of the mean medium."""

    @abc.abstractmethod
    def weights(self, kernel: Kernel, tangents: Float[Array, "..."], given: Conditions) -> Float[Array, "..."] | None:
        """One number a free node and component, or None for ones.

        Args:
            tangents: undeformed tangents of the palette, (*load, *load, P).
        """


class Green(AbstractPreconditioner):
    """The Green operator alone: for segmented images, whatever the contrast; its count does not grow with the grid.

    Source: Leute et al., J. Comput. Phys. 453 (2022) 110931.
    """

    def weights(self, kernel, tangents, given):
        return None


class GreenJacobi(AbstractPreconditioner):
    """Weighted by the root of the inverse diagonal of the stiffness: for fields that vary smoothly, whatever the contrast.

    Source: Ladecky et al., arXiv 2508.02613.
    """

    def weights(self, kernel, tangents, given):
        diagonal = _diagonal(kernel, tangents, given)
        mean = jnp.mean(diagonal)
        alive = diagonal > jnp.finfo(diagonal.dtype).eps * mean
        return jnp.where(alive, jnp.sqrt(mean / jnp.where(alive, diagonal, 1)), 1)


class Automatic(AbstractPreconditioner):
    """`Green` for an image of phases; for a field, `GreenJacobi` where the stiffness varies smoothly and `Green` where it jumps.

    Smooth is a field whose logarithm changes from voxel to neighbor by less than `jump` of its range; each member decides.
    """

    jump: float = eqx.field(static=True, default=0.5)

    def weights(self, kernel, tangents, given):
        if given.medium.image is not None:
            return None
        size = _size(tangents).reshape(kernel.grid.shape)
        tiny = jnp.finfo(size.dtype).eps * jnp.mean(size)
        level = jnp.log(jnp.maximum(size, tiny))
        spread = jnp.sqrt(jnp.mean(jnp.square(level - jnp.mean(level))))
        steps = [jnp.max(jnp.abs(level - jnp.roll(level, 1, a))) for a in range(level.ndim)]
        # The range is taken as the width of a sine of this standard deviation.
        smooth = jnp.max(jnp.stack(steps)) < self.jump * (8**0.5) * spread
        return jnp.where(smooth, GreenJacobi().weights(kernel, tangents, given), 1)


def preconditioner(
    kernel: Kernel, C0: Float[Array, "..."], weights: Float[Array, "..."] | None, load: Mixed
) -> Callable[[Unknown], Unknown]:
    """The homogeneous medium's inverse on both parts of the unknown."""
    d = kernel.grid.d
    green = kernel.boundary.green(kernel.grid, C0[None, :, None, :] if kernel.scalar else C0)
    size = jnp.mean(_size(C0[..., None]))
    compliance = kernel.grid.count / jnp.where(size > 0, size, 1) / d

    def apply(r: Unknown) -> Unknown:
        u = green(r[0]) if weights is None else weights * green(weights * r[0])
        return u, kernel.project(compliance * r[1], load.mask)

    return apply


def _size(tangents: Float[Array, "..."]) -> Float[Array, " P"]:
    """The trace of every tangent over the dimension: a number for how stiff it is."""
    if tangents.ndim == 3:
        return jnp.asarray(sum(tangents[i, i] for i in range(tangents.shape[0]))) / tangents.shape[0]
    d = tangents.shape[0]
    return jnp.asarray(sum(tangents[i, j, i, j] for i in range(d) for j in range(d))) / d


def _diagonal(kernel: Kernel, tangents: Float[Array, "..."], given: Conditions) -> Float[Array, "..."]:
    """The diagonal of the stiffness at the free nodes."""
    grid, c = kernel.grid, kernel.components
    B = grid.gradient_matrix(c).reshape(c * grid.d, grid.points, -1)
    table = np.einsum("xqa,yqa->axy", B, B).reshape(B.shape[-1], -1) / (grid.points * grid.count)
    each = jnp.asarray(table, tangents.dtype) @ tangents.reshape(table.shape[1], -1)
    if given.medium.image is not None:
        each = jnp.take(each, given.medium.image, axis=-1)
    # Folding adds what the faces share, as it does for forces.
    return kernel.boundary.close(grid.assemble(each, kernel.boundary.join))
