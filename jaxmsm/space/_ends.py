"""What is beyond the last nodes of a grid."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class AbstractEnd(eqx.Module):
    """The two ends of an axis of a grid."""

    @abc.abstractmethod
    def pad(self, u: Float[Array, "..."], axis: int, width: int = 1) -> Float[Array, "..."]:
        """The field with more nodes at either end."""


class Mirrored(AbstractEnd):
    """No flux; the last nodes lie on the boundary, whose mirror image is beyond."""

    def pad(self, u, axis, width=1):
        return jnp.pad(u, _both(u, axis, width), "reflect") if u.shape[axis] > 1 else jnp.pad(u, _both(u, axis, width), "edge")


class Walled(AbstractEnd):
    """No flux; the boundary is half a spacing beyond the last nodes, which are middles of cells."""

    def pad(self, u, axis, width=1):
        return jnp.pad(u, _both(u, axis, width), "symmetric")


class Wrapped(AbstractEnd):
    """Periodic: after the last node comes the first."""

    def pad(self, u, axis, width=1):
        return jnp.pad(u, _both(u, axis, width), "wrap")


class Held(AbstractEnd):
    """A fixed value one spacing beyond the last nodes."""

    value: Float[Array, ""] = eqx.field(default=0.0, converter=lambda x: jnp.asarray(x, float))

    def pad(self, u, axis, width=1):
        return jnp.pad(u, _both(u, axis, width), constant_values=self.value.astype(u.dtype))


def _both(u: Array, axis: int, width: int) -> list[tuple[int, int]]:
    return [(width, width) if k == axis else (0, 0) for k in range(u.ndim)]
