"""Loss of ellipticity: the acoustic tensor of a tangent."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def acoustic_eigenvalue(A: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """The smallest eigenvalue, over all directions N, of the symmetric part of Q_ik = N_j A_ijkl N_l.

    Positive: strongly elliptic; zero: a band may localize. For isotropic elasticity it is the smaller of mu and lam + 2 mu.

    Valid: d = 2 or 3; A = dP/dF, with major symmetry or without.
    Error: a grid of directions, some 2 degrees in the plane and 7 in space, and a local search from its best one down to 1e-7;
        a valley narrower than the grid can be missed.

    Args:
        A: tangent, indices P_ij, F_kl.
    """
    held = lax.stop_gradient(A)
    directions = jnp.asarray(_directions(A.shape[0]), A.dtype)
    best = directions[jnp.argmin(jax.vmap(lambda n: _smallest(held, n))(directions))]

    def refine(k, best):
        radius = 0.1 * 0.5**k
        ring = best[None] + radius * jnp.concatenate([jnp.zeros_like(directions[:1]), jnp.asarray(_ring(A.shape[0]), A.dtype)])
        ring = ring / jnp.sqrt(jnp.sum(ring**2, 1, keepdims=True))
        return ring[jnp.argmin(jax.vmap(lambda n: _smallest(held, n))(ring))]

    # At a minimum the direction's own change does not count (envelope), so the slope is that of A alone.
    return _smallest(A, lax.fori_loop(0, 21, lambda k, b: refine(k.astype(A.dtype), b), best))


def _smallest(A: Float[Array, "d d d d"], n: Float[Array, " d"]) -> Float[Array, ""]:
    Q = jnp.einsum("j,ijkl,l->ik", n, A, n)
    return jnp.linalg.eigvalsh(0.5 * (Q + Q.T))[0]


def _directions(d: int) -> np.ndarray:
    """Over half of the circle, or of the sphere (Fibonacci's lattice)."""
    if d == 2:
        angle = np.arange(90) * np.pi / 90
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    k = np.arange(400) + 0.5
    height, turn = k / 400, np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], 1)


def _ring(d: int) -> np.ndarray:
    """The neighbors on a cube: they hold some in every tangent direction."""
    cube: np.ndarray = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * d, indexing="ij"), -1).reshape(-1, d)
    return cube[np.any(cube != 0, 1)]
