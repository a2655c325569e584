"""A field of densities on a periodic grid: filtered, so that it has a length, made symmetric, and driven to zero or one."""

from itertools import permutations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class ConeFilter(eqx.Module):
    """The mean over a neighborhood, weighted by max(0, 1 - distance / radius), on a periodic grid.

    It keeps the mean and the bounds of a field, is self-adjoint, and leaves nothing that is finer than its radius: no
    checkerboard of one voxel, which a voxel takes for much stiffer than it is.

    Valid: radius in voxels, at most half the shortest edge of the grid; one of at most 1 leaves the field as it is.
    Source: Bruns and Tortorelli, Comput. Methods Appl. Mech. Eng. 190 (2001) 3443; Bourdin (2001).

    Attributes:
        shape: voxels an axis.
        radius: where the weight vanishes, in voxels.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    radius: float = eqx.field(static=True)

    def __check_init__(self):
        if not 0 <= self.radius <= min(self.shape) / 2:
            raise ValueError(
                f"Argument `radius` must lie between 0 and half the shortest edge, {min(self.shape) / 2:g} voxels, "
                f"but it is {self.radius:g}."
            )

    @property
    def weights(self) -> np.ndarray:
        """Of the neighbors of the voxel at the origin, shape `shape`; their sum is one."""
        steps = (np.minimum(np.arange(n), n - np.arange(n)) for n in self.shape)
        distance = np.sqrt(sum(x**2 for x in np.meshgrid(*steps, indexing="ij")))
        cone = np.maximum(0, 1 - distance / max(self.radius, 1))
        return cone / cone.sum()

    def __call__(self, field: Float[Array, "..."]) -> Float[Array, "..."]:
        """The filtered field, shape `shape`."""
        # The weights are even, so that their transform is real.
        transfer = jnp.asarray(np.fft.rfftn(self.weights).real, field.dtype)
        return jnp.fft.irfftn(transfer * jnp.fft.rfftn(field), s=self.shape).astype(field.dtype)


def smoothed_step(
    field: Float[Array, "..."], sharpness: Float[Array, ""] | float, *, threshold: Float[Array, ""] | float = 0.5
) -> Float[Array, "..."]:
    """A field between 0 and 1 driven to either: a step at the threshold as the sharpness grows, the identity as it vanishes.

    (tanh(b t) + tanh(b (x - t))) / (tanh(b t) + tanh(b (1 - t))), which keeps 0 and 1. A higher threshold makes all that is
    full thinner (eroded), a lower one thicker.

    Source: Wang, Lazarov and Sigmund, Struct. Multidisc. Optim. 43 (2011) 767, eq. 9.

    Args:
        field: between 0 and 1.
        sharpness: b, positive.
        threshold: t, between 0 and 1.
    """
    low, high = jnp.tanh(sharpness * threshold), jnp.tanh(sharpness * (1 - threshold))
    return (low + jnp.tanh(sharpness * (field - threshold))) / (low + high)


def symmetrized(field: Float[Array, "..."]) -> Float[Array, "..."]:
    """The mean of a field over the symmetries of the square (of the cube): mirrored along every axis, axes exchanged."""
    if len(set(field.shape)) > 1:
        raise ValueError(f"Argument `field` must have axes of one length, but its shape is {field.shape}.")
    axes = range(field.ndim)
    for axis in axes:
        field = 0.5 * (field + jnp.flip(field, axis))
    orders = list(permutations(axes))
    total = field
    for order in orders[1:]:
        total = total + jnp.transpose(field, order)
    return total / len(orders)
