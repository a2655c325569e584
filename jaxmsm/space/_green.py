"""Inverses of a homogeneous medium's stiffness on a voxel grid: by Fourier modes, and by sines and cosines axis by axis."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ._voxels import Voxels

# A mode is singular when its block is this small against the largest one. The cut is absolute: a relative one per mode would
# invert the round-off of hourglass modes.
_CUT = 1e-10


def fourier(grid: Voxels, C0: Float[Array, "c d c d"]) -> Callable[[Array], Array]:
    """The discrete Green operator of Leute et al. (2022): exact for a homogeneous periodic medium.

    Khat_im(k) = sum_q w conj(Dhat_qj) C0_ijml Dhat_ql with Dhat_qj = sum_a dN_a/dx_j(x_q) e^{i k.a}; the product of two slopes is
    real for points that lie symmetrically, so the inverse is d + d(d-1)/2 real fields.
    """
    c = C0.shape[0]
    K = jnp.einsum("ijml,jl...->im...", C0, _symbol(grid, C0.dtype))
    blocks = _invert(K, c)
    axes = tuple(range(1, grid.d + 1))

    def product(x):
        return jnp.stack([sum(blocks[min(i, m)][max(i, m)] * x[m] for m in range(c)) for i in range(c)])

    def apply(f):
        F = jnp.fft.rfftn(f, axes=axes)
        # The blocks are real: by parts this is half the work of complex products.
        U = lax.complex(product(jnp.real(F)), product(jnp.imag(F)))
        return jnp.fft.irfftn(U, s=grid.shape, axes=axes).astype(f.dtype)

    return apply


def without_singular(grid: Voxels, f: Float[Array, "..."]) -> Float[Array, "..."]:
    """A periodic nodal field without the modes that have no stiffness in any medium: translation, and hourglass modes."""
    S = _symbol(grid, f.dtype)
    size: Any = sum(S[j, j] for j in range(grid.d))
    alive = size > _CUT * jnp.sum(size) / size.size
    axes = tuple(range(1, grid.d + 1))
    F = jnp.where(alive[None], jnp.fft.rfftn(f, axes=axes), 0)
    return jnp.fft.irfftn(F, s=grid.shape, axes=axes).astype(f.dtype)


def _symbol(grid: Voxels, dtype) -> Float[Array, "..."]:
    """S_jl(k) = sum_q w conj(Dhat_qj) Dhat_ql on the half spectrum, (d, d, *half), with total volume 1.

    Shape functions and points are products over the axes, so the symbol is one of real tables: with w = e^{i theta}, g = w - 1 and
    s = (w + 1) / 2, an axis that both slopes run along gives |g|^2 / h^2 = (2 - 2 cos) / h^2; the two that one of them runs along
    give conj(g) s conj(s) g / (h h) = sin sin / (h h); the others the mean m of |1 - x + x w|^2 over the points.
    """
    d, points = grid.d, grid.rule.points(grid.d)
    half = (*grid.shape[:-1], grid.shape[-1] // 2 + 1)
    slope: list[Any] = []
    cross: list[Any] = []
    mass: list[Any] = []
    for a, (m, n, h) in enumerate(zip(half, grid.shape, grid.spacing, strict=True)):
        theta = 2 * np.pi * np.arange(m) / n
        x = np.unique(points[:, a].round(12))[:, None]
        tables = (2 - 2 * np.cos(theta)) / h**2, np.sin(theta) / h, np.mean(np.abs(1 - x + x * np.exp(1j * theta)) ** 2, 0)
        shape = [-1 if axis == a else 1 for axis in range(d)]
        for kept, table in zip((slope, cross, mass), tables, strict=True):
            kept.append(jnp.asarray(table.reshape(shape), dtype))

    def entry(j, k):
        out = slope[j] if j == k else cross[j] * cross[k]
        for a in range(d):
            if a not in (j, k):
                out = out * mass[a]
        return jnp.broadcast_to(out / grid.count, half)

    return jnp.stack([jnp.stack([entry(j, k) for k in range(d)]) for j in range(d)])


def _invert(K, c):
    """The inverse of symmetric c x c blocks (c <= 3) as upper entries, zero for singular modes."""
    size = sum(jnp.abs(K[i, m]) for i in range(c) for m in range(c))
    alive = size > _CUT * jnp.sum(jnp.where(jnp.isfinite(size), size, 0)) / size.size
    one = jnp.eye(c, dtype=K.dtype).reshape((c, c) + (1,) * (K.ndim - 2))
    K = jnp.where(alive, K, one)
    if c == 1:
        full = [[1 / K[0, 0]]]
    elif c == 2:
        det = K[0, 0] * K[1, 1] - K[0, 1] ** 2
        full = [[K[1, 1] / det, -K[0, 1] / det], [None, K[0, 0] / det]]
    else:
        a, b, e, f, g, h = K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2], K[2, 2]
        A, B, C = f * h - g * g, e * g - b * h, b * g - e * f
        det = a * A + b * B + e * C
        full = [[A / det, B / det, C / det], [None, (a * h - e * e) / det, (b * e - a * g) / det]]
        full.append([None, None, (a * f - b * b) / det])
    return [[None if x is None else jnp.where(alive, x, 0) for x in row] for row in full]


def diagonalized(grid: Voxels, C0: Float[Array, "c d c d"], modes: Callable) -> Callable[[Array], Array]:
    """Component by component, the inverse of sum_j C0_ijij K_j (x) M (x) M by the modes of each axis.

    The coupling of the components is left out: for an isotropic medium the spectrum then lies between fixed bounds that depend
    on Poisson's ratio alone (Korn), so the iterations do not grow with the grid.
    """
    d, c = grid.d, C0.shape[0]
    tables = [modes(n) for n in grid.shape]
    dtype = C0.dtype

    def along(values, axis):
        return jnp.asarray(values, dtype).reshape([-1 if a == axis else 1 for a in range(d)])

    stiffness = [along(s / grid.spacing[a] ** 2, a) for a, (_, s, _) in enumerate(tables)]
    mass = [along(m, a) for a, (_, _, m) in enumerate(tables)]
    vectors = [jnp.asarray(v, dtype) for v, _, _ in tables]
    rows = []
    for i in range(c):
        total = jnp.zeros((), dtype)
        for j in range(d):
            term = C0[i, j, i, j] / grid.count
            for a in range(d):
                term = term * (stiffness[a] if a == j else mass[a])
            total = total + term
        alive = total > _CUT * jnp.sum(total) / total.size
        rows.append(jnp.where(alive, 1 / jnp.where(alive, total, 1), 0))
    inverse = jnp.stack(rows)

    def transform(f, transpose):
        for a, v in enumerate(vectors):
            f = jnp.moveaxis(jnp.tensordot(f, v if transpose else v.T, axes=([a + 1], [0])), -1, a + 1)
        return f

    return lambda f: transform(inverse * transform(f, True), False)
