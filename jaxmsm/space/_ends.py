"""What is beyond the last nodes of a grid."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class AbstractEnd(eqx.Module):
    """The two ends of an axis of a grid."""

    @abc.abstractmethod
    def pad(self, u: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
        """The field with one more node at either end."""


class Mirrored(AbstractEnd):
    """No flux; the last nodes lie on the boundary, whose mirror image is beyond."""

    def pad(self, u, axis):
        return jnp.pad(u, _both(u, axis), "reflect") if u.shape[axis] > 1 else jnp.pad(u, _both(u, axis), "edge")


class Walled(AbstractEnd):
    """No flux; the boundary is half a spacing beyond the last nodes, which are middles of cells."""

    def pad(self, u, axis):
        return jnp.pad(u, _both(u, axis), "edge")


class Wrapped(AbstractEnd):
    """Periodic: after the last node comes the first."""

    def pad(self, u, axis):
        return jnp.pad(u, _both(u, axis), "wrap")


class Held(AbstractEnd):
    """A fixed value one spacing beyond the last nodes."""

    value: Float[Array, ""] = eqx.field(default=0.0, converter=lambda x: jnp.asarray(x, float))

    def pad(self, u, axis):
        return jnp.pad(u, _both(u, axis), constant_values=self.value.astype(u.dtype))


def _both(u: Array, axis: int) -> list[tuple[int, int]]:
    return [(1, 1) if k == axis else (0, 0) for k in range(u.ndim)]
