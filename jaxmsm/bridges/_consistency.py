"""Figures by which a cell's answer can be judged: recomputed residual, energy error, Hill-Mandel defect."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from ..solids import parts, undeformed
from ..solve import norm
from ._kernel import Conditions, Kernel, Local, Unknown


def work_and_size(local: Local, still: Float[Array, "..."]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """<P : H> of a slab with H = F - I (`still` is the load I), and the mean over its voxels of the root mean squares |P| |H|."""
    strains = local.displaced(parts(still))

    def total(a, b):
        return sum(jnp.mean(x * y, 0) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

    size = jnp.sqrt(total(local.P, local.P) * total(strains, strains))
    return jnp.mean(total(local.P, strains)), jnp.mean(size)


def hill_mandel(work: Array, size: Array, mean: Array, outer: Array) -> Float[Array, ""]:
    """| <P : F> - <P> : <F> | over the mean of |P| |F - I|: a check of averaging and of conditions, not of convergence."""
    imposed = jnp.sum(mean * (outer - undeformed(outer)))
    return jnp.abs(jnp.mean(work) - imposed) / jnp.where(jnp.any(size > 0), jnp.mean(size), 1)


def energy_error(kernel: Kernel, residual: Unknown, C0: Array, palette: Array, given: Conditions) -> Float[Array, ""]:
    """A bound on the energy of the error, 1/2 r.K^-1 r <= 1/2 r.K0^-1 r / softest, in units of stress.

    Valid: for periodic faces and a linear medium; in a nonlinear one it is an estimate by the undeformed stiffness, and where a
        phase has no stiffness by that of the others.
    """
    green = kernel.boundary.green(kernel.grid, C0[None, :, None, :] if kernel.scalar else C0)
    raw = 0.5 * jnp.sum(green(residual[0]) * residual[0])
    stiffness = jnp.maximum(softest(palette, C0), jnp.finfo(C0.dtype).eps)
    return jnp.abs(raw) / stiffness + 0.5 * kernel.grid.count * norm(residual[1]) ** 2 / jnp.where(norm(C0) > 0, norm(C0), 1)


def softest(tangents: Float[Array, "..."], C0: Float[Array, "..."]) -> Float[Array, ""]:
    """A lower bound on the eigenvalues of the tangents against C0, over those that have stiffness: min 1 / tr(C^-1 C0)."""
    C, reference = _mandel(tangents), _mandel(C0[..., None])
    inverse, alive = _inverse(C)
    trace = jnp.sum(inverse * reference, (0, 1))
    alive &= trace > 0
    least = jnp.where(alive, 1 / jnp.where(alive, trace, 1), jnp.inf)
    return jnp.where(jnp.any(alive), jnp.min(least), 1)


def _mandel(A: Float[Array, "..."]) -> Float[Array, "..."]:
    """The tangents on symmetric loads in an orthonormal basis, symmetrized, (n, n, P)."""
    if A.ndim == 3:
        return 0.5 * (A + jnp.swapaxes(A, 0, 1))
    d = A.shape[0]
    units = []
    for i in range(d):
        for j in range(i, d):
            unit = np.zeros((d, d))
            unit[i, j] += 0.5
            unit[j, i] += 0.5
            units.append(unit * (1 if i == j else 2**0.5))
    basis = jnp.asarray(np.stack(units), A.dtype)
    C = jnp.einsum("rij,ijklp,skl->rsp", basis, A, basis)
    return 0.5 * (C + jnp.swapaxes(C, 0, 1))


def _inverse(C: Float[Array, "n n P"]) -> tuple[Float[Array, "n n P"], Bool[Array, " P"]]:
    """Inverses by Gauss-Jordan elimination, and where they exist; the matrices lie last, so it runs over them."""
    n = len(C)
    scale: Any = sum(jnp.abs(C[i, i]) for i in range(n))
    eye = jnp.broadcast_to(jnp.eye(n, dtype=C.dtype)[..., None], C.shape)

    def eliminate(i, carry):
        a, alive = carry
        row, column = a[i], a[:, i]
        good = column[i] > 8 * jnp.finfo(C.dtype).eps * scale
        row = row / jnp.where(good, column[i], 1)[None]
        return (a - column[:, None] * row[None]).at[i].set(row), alive & good

    a, alive = lax.fori_loop(0, n, eliminate, (jnp.concatenate([C, eye], 1), jnp.ones(scale.shape, bool)))
    return a[:, n:], alive
