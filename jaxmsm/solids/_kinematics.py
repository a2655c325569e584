"""Small tensors at a material point, in explicit elementwise arithmetic.

Laws are evaluated under nested `vmap` with the voxels as the last axis, where a matrix product of 2 x 2 or 3 x 3 arrays would
become a batch of tiny GEMMs, some 30 times slower on a CPU than the products and sums written out here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

type Number = float | Float[Array, "..."]
"""A parameter of a law: a scalar, or a field of scalars where a cell takes one law with fields as leaves."""


def number(x: Any) -> Any:
    """A parameter as a float leaf: integers and numpy arrays become what JAX differentiates."""
    if isinstance(x, bool | int | np.integer):
        return float(x)
    if isinstance(x, np.ndarray | np.floating) and not isinstance(x, float):
        return jnp.asarray(x, jnp.result_type(float, x))
    if isinstance(x, jax.Array) and not jnp.issubdtype(x.dtype, jnp.inexact):
        return x.astype(float)
    return x


def array(x: Any) -> Array:
    """A parameter as an array of floats."""
    return jnp.asarray(x, jnp.result_type(float, jnp.asarray(x)))


def eye(d: int, dtype) -> Float[Array, "{d} {d}"]:
    """The identity."""
    return jnp.asarray(np.eye(d), dtype)


def transpose(A: Float[Array, "i j"]) -> Float[Array, "j i"]:
    """A^T."""
    return jnp.swapaxes(A, 0, 1)


def matmul(A: Float[Array, "i j"], B: Float[Array, "j k"]) -> Float[Array, "i k"]:
    """A B."""
    return jnp.sum(A[:, :, None] * B[None, :, :], 1)


def matvec(A: Float[Array, "i j"], b: Float[Array, " j"]) -> Float[Array, " i"]:
    """A b."""
    return jnp.sum(A * b[None, :], 1)


def ddot(A: Float[Array, "i j"], B: Float[Array, "i j"]) -> Float[Array, ""]:
    """A : B, the sum of A_ij B_ij."""
    return jnp.sum(A * B)


def trace(A: Float[Array, "d d"]) -> Float[Array, ""]:
    """tr A."""
    return sum((A[i, i] for i in range(1, A.shape[0])), A[0, 0])


def sym(A: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """(A + A^T) / 2."""
    return 0.5 * (A + transpose(A))


def strain(F: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The small strain, sym(F - I)."""
    return sym(F) - eye(F.shape[0], F.dtype)


def cofactor(F: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """det(F) F^-T, a polynomial in F."""
    if F.shape[0] == 2:
        return jnp.stack([jnp.stack([F[1, 1], -F[1, 0]]), jnp.stack([-F[0, 1], F[0, 0]])])
    a, b = F[np.array([1, 2, 0])], F[np.array([2, 0, 1])]
    right, left = np.array([1, 2, 0]), np.array([2, 0, 1])
    return a[:, right] * b[:, left] - a[:, left] * b[:, right]


def det(F: Float[Array, "d d"]) -> Float[Array, ""]:
    """det F."""
    if F.shape[0] == 2:
        return F[0, 0] * F[1, 1] - F[0, 1] * F[1, 0]
    return (
        F[0, 0] * (F[1, 1] * F[2, 2] - F[1, 2] * F[2, 1])
        + F[0, 1] * (F[1, 2] * F[2, 0] - F[1, 0] * F[2, 2])
        + F[0, 2] * (F[1, 0] * F[2, 1] - F[1, 1] * F[2, 0])
    )


@jax.custom_jvp
def inverse_log(F: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, ""]]:
    """F^-T and ln det F together.

    Their slopes are d F^-T = -F^-T dF^T F^-T and d ln J = F^-T : dF, so that a linearization stores F^-T and nothing else;
    the rule calls this function again, so that it can be differentiated again.

    Valid: det F > 0; elsewhere the values are finite and mean nothing.
    """
    J = det(F)
    J = jnp.where(J > 0, J, 1)
    return cofactor(F) / J, jnp.log(J)


@inverse_log.defjvp
def _inverse_log_jvp(primals, tangents):
    (F,), (dF,) = primals, tangents
    G, log_J = inverse_log(F)
    return (G, log_J), (-matmul(matmul(G, transpose(dF)), G), ddot(G, dF))


def inverse_transpose(F: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """F^-T. Valid: det F > 0."""
    return inverse_log(F)[0]


def log_det(F: Float[Array, "d d"]) -> Float[Array, ""]:
    """ln det F. Valid: det F > 0."""
    return inverse_log(F)[1]


def pad(F: Float[Array, "d d"], last: Any = 1.0) -> Float[Array, "3 3"]:
    """A plane tensor in space, with `last` as its 33 component; what is 3 x 3 already stays."""
    if F.shape[0] == 3:
        return F
    zero = jnp.zeros_like(F[0, 0])
    rows = [[F[0, 0], F[0, 1], zero], [F[1, 0], F[1, 1], zero], [zero, zero, zero + last]]
    return jnp.stack([jnp.stack(row) for row in rows])


def cut(P: Float[Array, "n n"], d: int) -> Float[Array, "{d} {d}"]:
    """The in-plane part of a tensor."""
    return P[:d, :d]
