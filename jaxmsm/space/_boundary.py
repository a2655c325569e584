"""What happens at the faces of a grid of voxels: which nodes are free, and the operator that preconditions them.

Each condition writes a fluctuation as `expand(free nodes)` on all (n + 1)^d corners; `fold` is its transpose. The mean gradient
of the fluctuation vanishes in every one of them, so the mean deformation is the load whatever the condition.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ._green import diagonalized, fourier, without_singular
from ._voxels import Voxels


class AbstractBoundary(eqx.Module):
    """A condition on the faces."""

    @abc.abstractmethod
    def nodes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the free nodes."""

    @abc.abstractmethod
    def expand(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """Free nodes (c, *nodes) to all corners (c, *(n + 1))."""

    @abc.abstractmethod
    def fold(self, f: Float[Array, "..."]) -> Float[Array, "..."]:
        """The transpose of `expand`."""

    def join(self, low: Float[Array, "..."], high: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
        """Along one axis, what voxels give to their low and high ends, added up at the ends; `close` follows the last axis."""
        return widened(low, high, axis)

    def close(self, f: Float[Array, "..."]) -> Float[Array, "..."]:
        """From what was joined along every axis to the free nodes."""
        return self.fold(f)

    @abc.abstractmethod
    def green(self, grid: Voxels, C0: Float[Array, "..."]):
        """`apply(f) -> u`: an inverse of the stiffness of a homogeneous medium C0 (c, d, c, d), symmetric and positive
        semidefinite, exact for the periodic condition and spectrally equivalent for the others."""

    def balanced(self, grid: Voxels, f: Float[Array, "..."]) -> Float[Array, "..."]:
        """Forces without the round-off that stands in motions without stiffness, which no displacement answers."""
        del grid
        return f


class Periodic(AbstractBoundary):
    """Opposite faces move alike up to the mean deformation."""

    def balanced(self, grid, f):
        if grid.points > 1:
            return f - jnp.mean(f, tuple(range(1, f.ndim)), keepdims=True)
        return without_singular(grid, f)

    def nodes(self, shape):
        return shape

    def expand(self, u):
        return jnp.pad(u, [(0, 0)] + [(0, 1)] * (u.ndim - 1), mode="wrap")

    def fold(self, f):
        for axis in range(1, f.ndim):
            last = f.shape[axis] - 1
            body = lax.slice_in_dim(f, 0, last, axis=axis)
            extra = lax.slice_in_dim(f, last, last + 1, axis=axis)
            f = body + jnp.pad(extra, [(0, 0) if a != axis else (0, last - 1) for a in range(f.ndim)])
        return f

    def join(self, low, high, axis):
        return low + jnp.roll(high, 1, axis)

    def close(self, f):
        return f

    def green(self, grid, C0):
        return fourier(grid, C0)


class LinearDisplacement(AbstractBoundary):
    """Every face moves with the mean deformation (KUBC): the stiff bracket of a window's effective law."""

    def nodes(self, shape):
        return tuple(n - 1 for n in shape)

    def expand(self, u):
        return jnp.pad(u, [(0, 0)] + [(1, 1)] * (u.ndim - 1))

    def fold(self, f):
        return f[(slice(None), *([slice(1, -1)] * (f.ndim - 1)))]

    def green(self, grid, C0):
        return diagonalized(grid, C0, _sines)


class UniformTraction(AbstractBoundary):
    """The faces carry the tractions of a uniform stress (SUBC): the soft bracket.

    It is the minimal kinematic condition: every node is free, and the mean gradient of the fluctuation is held at zero, which
    makes the tractions those of the mean stress.

    Fails: with one point a voxel, a field that alternates along x and y and whose displacement is (x, -y) has slopes but no strain.
        A small-strain law gives such fields no stiffness, and where all forces are round-off (a homogeneous cell) derivatives can
        be NaN. Take full integration there.
    """

    def nodes(self, shape):
        return tuple(n + 1 for n in shape)

    def balanced(self, grid, f):
        # Translation, the affine fields that `expand` takes out, and where a voxel has one point its hourglass modes. What is
        # left of the others when the last are out stays orthogonal: each is even or odd about the middle of every axis.
        kept = _without_hourglass if grid.points == 1 else lambda x: x
        axes, f = tuple(range(1, f.ndim)), kept(f)
        for mode in (jnp.ones_like(f[0]), *_ramps(f.shape[1:], f.dtype)):
            mode = kept(jnp.broadcast_to(mode, f.shape[1:])[None])
            f = f - jnp.sum(f * mode, axes, keepdims=True) / jnp.sum(mode * mode) * mode
        return f

    def expand(self, u):
        # The mean gradient is a boundary integral; taking an affine field out leaves a fluctuation without one.
        return u - _affine(u)

    def fold(self, f):
        return f - _affine_transpose(f)

    def green(self, grid, C0):
        return diagonalized(grid, C0, _cosines)


def widened(low: Float[Array, "..."], high: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """What n voxels give to their low and high ends, added up on the n + 1 ends."""
    n = low.shape[axis]
    cut = lambda x, start, stop: lax.slice_in_dim(x, start, stop, axis=axis)
    return jnp.concatenate([cut(low, 0, 1), cut(low, 1, n) + cut(high, 0, n - 1), cut(high, n - 1, n)], axis)


def _ramps(shape, dtype):
    """Zero-mean coordinates of the nodes in [-1/2, 1/2], one array an axis."""
    d = len(shape)
    return [
        jnp.linspace(-0.5, 0.5, n, dtype=dtype).reshape([-1 if a == axis else 1 for a in range(d)]) for axis, n in enumerate(shape)
    ]


def _without_hourglass(f):
    """A nodal field without what alternates along two axes or more, however along the rest: one point a voxel sees no slope of it.

    The projections onto fields that alternate along an axis commute, so a field splits into the parts that alternate along no
    axis, along one, and along more.
    """
    none, one = f, jnp.zeros_like(f)
    for axis in range(1, f.ndim):
        sign = jnp.asarray((-1.0) ** np.arange(f.shape[axis]), f.dtype).reshape([-1 if a == axis else 1 for a in range(f.ndim)])
        alternating = lambda x, axis=axis, sign=sign: jnp.mean(x * sign, axis, keepdims=True) * sign
        moved = alternating(none)
        none, one = none - moved, one - alternating(one) + moved
    return none + one


def _face_weights(shape, axis, dtype):
    """What integrates a nodal field over a face, trapezoidal as the elements do; sums to one."""
    weight = jnp.ones((1,) * len(shape), dtype)
    for a, n in enumerate(shape):
        if a != axis:
            w = np.full(n, 1.0 / (n - 1))
            w[[0, -1]] /= 2
            weight = weight * jnp.asarray(w, dtype).reshape([-1 if b == a else 1 for b in range(len(shape))])
    return weight


def _affine(u):
    """The affine field with the mean gradient of `u`."""
    shape = u.shape[1:]
    out = jnp.zeros_like(u)
    for axis, ramp in enumerate(_ramps(shape, u.dtype)):
        n, a = shape[axis], axis + 1
        jump = lax.slice_in_dim(u, n - 1, n, axis=a) - lax.slice_in_dim(u, 0, 1, axis=a)
        mean = jnp.sum(jump * _face_weights(shape, axis, u.dtype)[None], tuple(range(1, u.ndim)), keepdims=True)
        out = out + mean * ramp[None]
    return out


def _affine_transpose(f):
    shape = f.shape[1:]
    out = jnp.zeros_like(f)
    for axis, ramp in enumerate(_ramps(shape, f.dtype)):
        moment = jnp.sum(f * ramp[None], tuple(range(1, f.ndim)), keepdims=True)
        ends = np.zeros(shape[axis])
        ends[0], ends[-1] = -1, 1
        sign = jnp.asarray(ends, f.dtype).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        out = out + moment * (sign * _face_weights(shape, axis, f.dtype))[None]
    return out


def _sines(n: int):
    """Fixed ends: modes sin(pi k j / n) on the n - 1 inner nodes; (vectors, stiffness, mass), h = 1."""
    k = np.arange(1, n)
    vectors = np.sin(np.pi * np.outer(k, k) / n) * np.sqrt(2 / n)
    c = np.cos(np.pi * k / n)
    return vectors, 2 - 2 * c, (4 + 2 * c) / 6


def _cosines(n: int):
    """Free ends: modes cos(pi k j / n) on the n + 1 nodes, scaled to unit mass under the trapezoidal rule."""
    k = np.arange(n + 1)
    vectors = np.cos(np.pi * np.outer(k, k) / n)
    weight = np.ones(n + 1)
    weight[[0, -1]] = 0.5
    size = np.einsum("jk,j,jk->k", vectors, weight, vectors)
    c = np.cos(np.pi * k / n)
    return vectors / np.sqrt(size), 2 - 2 * c, (4 + 2 * c) / 6
