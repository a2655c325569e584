"""What a given flow carries along: finite volumes on a regular grid."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._diffusion import refuse_unless_positive
from ._ends import AbstractEnd, Walled, Wrapped


class Advection(eqx.Module):
    """`advection(u) -> du/dt` = -div(v u) of a density u in cells, for velocities v on the faces between them.

    What leaves a cell enters its neighbor, so that between walls and in a periodic box sum(u) stays to round-off. The density at a
    face is that of the upwind cell with van Leer's slope: no new extrema in steps below `longest_step()`.

    Error: second order in the spacing where u is smooth, first at extrema.
    Source: B. van Leer, J. Comput. Phys. 23 (1977) 276.

    Attributes:
        velocity: on the faces across every axis, one array each (length / time): of n cells along its own axis it has n + 1
            faces, the last ones on the ends. In a periodic axis the first and the last face are the same.
        spacing: of cells, one number for each axis.
        ends: what is beyond the last cells, for each axis: `Walled()`, `Wrapped()`, or `Held(value)` where the flow comes in.
    """

    velocity: tuple[Float[Array, "..."], ...]
    spacing: Float[Array, " d"]
    ends: tuple[AbstractEnd, ...]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, velocity: Sequence[Any], spacing: Any = 1.0, ends: AbstractEnd | Sequence[AbstractEnd] | None = None):
        self.velocity = tuple(jnp.asarray(v, jnp.result_type(v, 0.0)) for v in velocity)
        d = len(self.velocity)
        given = Walled() if ends is None else ends
        self.ends = (given,) * d if isinstance(given, AbstractEnd) else tuple(given)
        faces = self.velocity[0].shape
        self.shape = tuple(n - (k == 0) for k, n in enumerate(faces))
        for k, v in enumerate(self.velocity):
            expected = tuple(n + (m == k) for m, n in enumerate(self.shape))
            if v.shape != expected or len(self.ends) != d:
                raise ValueError(
                    f"Argument `velocity` must have an array for each of {d} axes and `ends` an end for each; with {self.shape} "
                    f"cells that of axis {k} has the shape {expected}, but it is {v.shape}."
                )
        refuse_unless_positive("spacing", spacing)
        self.spacing = jnp.broadcast_to(jnp.asarray(spacing, float), (d,))

    def __call__(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        first = u.ndim - len(self.shape)
        total = jnp.zeros_like(u)
        for k, end in enumerate(self.ends):
            flux = self._flux(lax.optimization_barrier(end.pad(u, first + k, 2)), k, first + k)
            n = self.shape[k]
            total = total - (_cut(flux, first + k, 1, n + 1) - _cut(flux, first + k, 0, n)) / self.spacing[k].astype(u.dtype)
        return total

    def _flux(self, wide, k, axis):
        n, v = self.shape[k], self._faces(k).astype(wide.dtype)
        step = jnp.diff(wide, axis=axis)
        a, b = _cut(step, axis, 0, n + 2), _cut(step, axis, 1, n + 3)
        alike = a * b > 0
        slope = jnp.where(alike, 2 * a * b / jnp.where(alike, a + b, 1), 0)
        middle = _cut(wide, axis, 1, n + 3)
        left = _cut(middle + 0.5 * slope, axis, 0, n + 1)
        right = _cut(middle - 0.5 * slope, axis, 1, n + 2)
        return jnp.maximum(v, 0) * left + jnp.minimum(v, 0) * right

    def _faces(self, k):
        """Nothing passes a wall."""
        v, n = self.velocity[k], self.shape[k]
        if isinstance(self.ends[k], Walled):
            inner = jnp.arange(n + 1).reshape(-1, *[1] * (v.ndim - k - 1))
            return jnp.where((inner > 0) & (inner < n), v, 0)
        if isinstance(self.ends[k], Wrapped):
            return jnp.concatenate([_cut(v, k, 0, n), _cut(v, k, 0, 1)], axis=k)
        return v

    def longest_step(self) -> Float[Array, ""]:
        """Explicit steps must be shorter: half a cell emptied at most (a time)."""
        out = jnp.zeros(self.shape)
        for k, n in enumerate(self.shape):
            v = self._faces(k)
            out = out + (jnp.maximum(_cut(v, k, 1, n + 1), 0) - jnp.minimum(_cut(v, k, 0, n), 0)) / self.spacing[k]
        return 0.5 / jnp.max(out)


def swirl(stream: Float[Array, "m n"], spacing: Any = 1.0) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The velocities (d psi/dy, -d psi/dx) of a stream function at the corners of cells: without sources to round-off."""
    h = jnp.broadcast_to(jnp.asarray(spacing, float), (2,))
    return jnp.diff(stream, axis=1) / h[1], -jnp.diff(stream, axis=0) / h[0]


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    return lax.slice_in_dim(x, start, stop, axis=axis)
