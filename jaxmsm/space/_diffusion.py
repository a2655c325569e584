"""Diffusion on the nodes of a regular grid: homogeneous in a box, or with a tensor in every voxel of a domain of any form."""

import abc
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from ._ends import AbstractEnd, Mirrored, Wrapped


class AbstractDiffusion(eqx.Module):
    """`diffusion(u) -> du/dt` of a field on the nodes, whose axes are the last of `u`."""

    shape: eqx.AbstractVar[tuple[int, ...]]
    """Nodes along every axis."""

    @abc.abstractmethod
    def __call__(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """div(D grad u), in the unit of u over the unit of time."""

    @abc.abstractmethod
    def fastest(self) -> Float[Array, ""]:
        """No mode decays faster than this (1 / time); an explicit Euler step must be shorter than 2 / fastest."""

    @abc.abstractmethod
    def volumes(self) -> Float[Array, "..."]:
        """Of the nodes, in spacings: what makes the operator symmetric, and what it conserves; one where nothing is."""

    def solve(self, u: Float[Array, "..."], h: Any) -> Float[Array, "..."]:
        """What an implicit step over h ends with: w such that w - h div(D grad w) = u, by conjugate gradients.

        Error: residual 1e-11 of the right-hand side, in float32 1e-6; its slopes are those of the solution.
        """
        weight, still = self.volumes().astype(u.dtype), self(jnp.zeros_like(u))
        tol = 1e-11 if jnp.finfo(u.dtype).bits == 64 else 1e-6
        return cg(lambda w: weight * (w - h * (self(w) - still)), weight * (u + h * still), u, tol=tol)[0]


class Diffusion(AbstractDiffusion):
    """Diffusion with one coefficient, or one for each axis, in a box.

    Second differences along every axis. `Diffusion((100, 50), 0.1, 0.2)` has 100 x 50 nodes 0.2 apart.

    Error: second order in the spacing.

    Attributes:
        shape: nodes along every axis.
        D: the coefficient, a number or one for each axis (length^2 / time).
        spacing: between nodes, a number or one for each axis.
        ends: what is beyond the last nodes, one for all axes or one for each; `Mirrored()` (no flux) by default.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    D: Float[Array, "..."]
    spacing: Float[Array, "..."]
    ends: tuple[AbstractEnd, ...]

    def __init__(self, shape: Sequence[int], D: Any, spacing: Any = 1.0, ends: AbstractEnd | Sequence[AbstractEnd] | None = None):
        self.shape = tuple(int(n) for n in shape)
        self.D, self.spacing = _number(D), _number(spacing)
        self.ends = _per_axis(Mirrored() if ends is None else ends, len(self.shape))
        for name, x in (("D", self.D), ("spacing", self.spacing)):
            if x.shape not in ((), (len(self.shape),)):
                raise ValueError(
                    f"Argument `{name}` must be a number or one for each of {len(self.shape)} axes, but its shape is {x.shape}."
                )
        refuse_unless_positive("spacing", self.spacing)
        refuse_unless_positive("D", self.D, zero=True)

    def _rates(self) -> Float[Array, " d"]:
        return jnp.broadcast_to(self.D / self.spacing**2, (len(self.shape),))

    def __call__(self, u):
        first = u.ndim - len(self.shape)
        wide = u
        for axis, end in enumerate(self.ends):
            wide = end.pad(wide, first + axis)
        # Fused into the sums the padding would keep XLA on a CPU from using vector instructions.
        wide = lax.optimization_barrier(wide)
        rates = self._rates().astype(u.dtype)
        total = jnp.zeros_like(u)
        for axis in range(len(self.shape)):
            low, high = (_window(wide, first, axis, by) for by in (-1, 1))
            total = total + rates[axis] * ((low - u) + (high - u))
        return total

    def fastest(self):
        return 4 * jnp.sum(self._rates())

    def volumes(self):
        total = jnp.ones(self.shape)
        for axis, (end, n) in enumerate(zip(self.ends, self.shape, strict=True)):
            if isinstance(end, Mirrored) and n > 1:
                along = jnp.ones(n).at[jnp.array([0, -1])].set(0.5)
                total = total * along.reshape(-1, *[1] * (len(self.shape) - axis - 1))
        return total


class AnisotropicDiffusion(AbstractDiffusion):
    """Diffusion with a tensor in every voxel, in a domain made of voxels, without flux through its surface.

    Unknowns are at the corners of the voxels. The operator is the slope of an energy, so that it is symmetric and conserves
    sum(volume u) to round-off: in every corner of every voxel the gradient is made of the differences along the three edges there,
    and the energy is the sum of volume / 2^d g.D g / 2. What stands on the nodes are links: along edges with D_kk, and along the
    diagonals of faces with +-D_kl.

    Valid: any positive tensor. Links along diagonals may be negative, as in every scheme of this stencil, so that a field may
        over- or undershoot slightly at sharp fronts across fibers.
    Error: second order in the spacing in the bulk.

    Attributes:
        shape: nodes along every axis.
        links: weight over volume of the links from every node to its neighbors at `offsets` and at minus them, (2 L, *nodes).
        volume: of every node, in voxels; zero outside.
        offsets: of the links, one tuple each.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    links: Float[Array, "..."]
    volume: Float[Array, "..."]
    ends: tuple[AbstractEnd, ...]
    offsets: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(self, D: Any, spacing: Any = 1.0, *, inside: Any = None, wrapped: Sequence[bool] | bool = False):
        """The operator.

        Args:
            D: the tensor in every voxel (d, d, *voxels), or its diagonal (d, *voxels) where it has no other entries: cheaper.
            spacing: between nodes, a number or one for each axis.
            inside: which voxels belong to the domain, (*voxels), a bool each; all by default.
            wrapped: periodic, all axes or each. A wrapped axis has as many nodes as voxels, another one more.
        """
        D = _number(D)
        d = D.shape[0]
        full = D.ndim == d + 2
        voxels = D.shape[2:] if full else D.shape[1:]
        if len(voxels) != d or (full and D.shape[1] != d):
            raise ValueError(
                f"Argument `D` must have the shape (d, d, *voxels) or (d, *voxels) with d axes of voxels, but it is {D.shape}."
            )
        inside = jnp.ones(voxels, D.dtype) if inside is None else jnp.asarray(_domain(inside, voxels), D.dtype)
        refuse_unless_positive("spacing", spacing)
        around = (wrapped,) * d if isinstance(wrapped, bool) else tuple(wrapped)
        self.ends = tuple(Wrapped() if w else Mirrored() for w in around)
        h = jnp.broadcast_to(_number(spacing), (d,))
        corner = inside / 2**d
        self.volume = _gathered(corner, list(product((0, 1), repeat=d)), around)
        self.shape = self.volume.shape
        weights: dict[tuple[int, ...], Array] = {}
        for k in range(d):
            entry = D[k, k] if full else D[k]
            weights[_unit(d, k)] = _gathered(2 * corner * entry / h[k] ** 2, _sides(d, (k,)), around)
        for k, m in combinations(range(d), 2) if full else ():
            cross = 2 * corner * 0.5 * (D[k, m] + D[m, k]) / (h[k] * h[m])
            # The diagonal from the lowest corner, and the other one, which starts a node further along k.
            weights[_unit(d, k, m)] = _gathered(cross, _sides(d, (k, m)), around)
            start = _unit(d, k)
            weights[_unit(d, m, -k - 1)] = -_gathered(cross, [_add(c, start) for c in _sides(d, (k, m))], around)
        self.offsets = tuple(weights)
        safe = jnp.where(self.volume > 0, self.volume, 1.0)
        back = [_moved(w, o, around) for o, w in weights.items()]
        self.links = jnp.stack([w / safe for w in (*weights.values(), *back)])

    def __call__(self, u):
        first = u.ndim - self.volume.ndim
        wide = u
        for axis, end in enumerate(self.ends):
            wide = end.pad(wide, first + axis)
        wide = lax.optimization_barrier(wide)
        there = [*self.offsets, *(tuple(-x for x in o) for o in self.offsets)]
        total = jnp.zeros_like(u)
        for link, offset in zip(self.links.astype(u.dtype), there, strict=True):
            total = total + link * (_offset(wide, first, offset) - u)
        return total

    def fastest(self):
        return 2 * jnp.max(jnp.sum(jnp.abs(self.links), axis=0))

    def volumes(self):
        return jnp.where(self.volume > 0, self.volume, 1.0)


def fibers(along: Any, D_along: Any, D_across: Any) -> Float[Array, "..."]:
    """The tensor D_across 1 + (D_along - D_across) f f of fibers.

    Args:
        along: the direction of the fibers, (d, ...), of any length but zero.
        D_along, D_across: along and across them (length^2 / time), numbers or fields.
    """
    f = _number(along)
    f = f / jnp.sqrt(jnp.sum(f**2, axis=0, keepdims=True))
    one = jnp.eye(f.shape[0], dtype=f.dtype).reshape(f.shape[0], f.shape[0], *[1] * (f.ndim - 1))
    across, along = _number(D_across), _number(D_along)
    return across * one + (along - across) * f[:, None] * f[None, :]


def refuse_unless_positive(name: str, x: Any, *, zero: bool = False) -> None:
    """Raise where a known number is not positive (or zero, where that is allowed)."""
    if isinstance(x, jax.core.Tracer):
        return
    x = np.asarray(x)
    if not np.all(np.isfinite(x)) or np.any(x < 0) or (not zero and np.any(x == 0)):
        raise ValueError(f"Argument `{name}` must be {'zero or ' if zero else ''}positive and finite, but it is {x}.")


def _domain(inside: Any, voxels: tuple[int, ...]) -> np.ndarray:
    from scipy.ndimage import label

    inside = np.asarray(inside, bool)
    if inside.shape != voxels:
        raise ValueError(f"Argument `inside` must have one bool a voxel {voxels}, but its shape is {inside.shape}.")
    pieces = label(inside)[1]
    if pieces != 1:
        raise ValueError(
            f"Argument `inside` must be one connected piece, but it falls into {pieces}. "
            "Keep the largest with `largest_piece(inside)`, or compute each by itself."
        )
    return inside


def largest_piece(inside: Any) -> np.ndarray:
    """The largest part of a domain of voxels that hangs together through faces."""
    from scipy.ndimage import label

    pieces, count = label(np.asarray(inside, bool))
    if count == 0:
        raise ValueError("Argument `inside` must have a voxel in it, but it has none.")
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])


def _number(x: Any) -> Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


def _per_axis(ends: Any, d: int) -> tuple[AbstractEnd, ...]:
    ends = (ends,) * d if isinstance(ends, AbstractEnd) else tuple(ends)
    if len(ends) != d:
        raise ValueError(f"Argument `ends` must be one for all axes or one for each of {d}, but there are {len(ends)}.")
    return ends


def _unit(d: int, *axes: int) -> tuple[int, ...]:
    """A step along each of the axes; against axis k where -k - 1 is given."""
    return tuple((k in axes) - (-k - 1 in axes) for k in range(d))


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _sides(d: int, axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The corners of a voxel at the lower end of some axes."""
    return [c for c in product((0, 1), repeat=d) if not any(c[k] for k in axes)]


def _gathered(x: Array, corners: list[tuple[int, ...]], wrapped: tuple[bool, ...]) -> Array:
    """The sum over corners of what voxels hand to the node at that corner of theirs."""
    return sum((_to_nodes(x, corner, wrapped) for corner in corners), start=jnp.zeros(()))


def _to_nodes(x: Array, corner: tuple[int, ...], wrapped: tuple[bool, ...]) -> Array:
    for axis, (c, around) in enumerate(zip(corner, wrapped, strict=True)):
        if around:
            x = jnp.roll(x, c, axis)
        else:
            x = jnp.pad(x, [(c, 1 - c) if k == axis else (0, 0) for k in range(x.ndim)])
    return x


def _moved(w: Array, offset: tuple[int, ...], wrapped: tuple[bool, ...]) -> Array:
    """Links as seen from their far ends. No link leaves a grid that is not wrapped, so that rolling brings zeros in."""
    del wrapped
    return jnp.roll(w, offset, tuple(range(w.ndim)))


def _offset(wide: Array, first: int, offset: tuple[int, ...]) -> Array:
    at = tuple(slice(1 + o, wide.shape[first + k] - 1 + o) for k, o in enumerate(offset))
    return wide[(..., *at)]


def _window(wide: Array, first: int, axis: int, by: int) -> Array:
    return _offset(wide, first, tuple(by if k == axis else 0 for k in range(wide.ndim - first)))
