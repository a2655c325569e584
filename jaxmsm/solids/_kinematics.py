"""Small tensors at a material point, in explicit elementwise arithmetic.

Laws are evaluated under nested `vmap` with the voxels as the last axis, where a matrix product of 2 x 2 or 3 x 3 arrays would
become a batch of tiny GEMMs, some 30 times slower on a CPU than the products and sums written out here.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add, and_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from .._precision import full_precision

PAIRS = {2: ((0, 0), (1, 1), (0, 1)), 3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))}
"""Voigt's order."""

_PLACE = ((0, 5, 4), (5, 1, 3), (4, 3, 2))

type Number = float | Float[Array, "..."]
"""A parameter of a law: a scalar, or a field of scalars where a cell takes one law with fields as leaves."""


def number(x: Any) -> Any:
    """A parameter as a float array, which every transformation of JAX and Equinox takes for a leaf to differentiate.

    What came as a Python number stays weakly typed: it takes the precision of the load.
    """
    if isinstance(x, bool | int | float | np.integer):
        return jnp.asarray(float(x))
    if isinstance(x, np.ndarray | np.floating) and x.dtype.kind in "biuf":
        return jnp.asarray(x, jnp.result_type(float, x))
    if isinstance(x, jax.Array) and not jnp.issubdtype(x.dtype, jnp.inexact):
        return x.astype(float)
    return x


def array(x: Any) -> Any:
    """A parameter as an array of floats."""
    try:
        return jnp.asarray(x, jnp.result_type(float, jnp.asarray(x)))
    except (TypeError, ValueError):
        return x


def eye(d: int, dtype) -> Float[Array, "{d} {d}"]:
    """The identity."""
    return jnp.asarray(np.eye(d), dtype)


type Parts = tuple[tuple[Array, ...], ...]
"""A tensor as its components, each a scalar at the point (a whole field under `vmap`)."""


def parts(A: Float[Array, "..."], rank: int | None = None) -> Any:
    """The components of a tensor of some rank (default: as many as it has axes), as nested tuples.

    A linearization stores each component once, however often it is used; an array that is reshaped for every product is stored
    for every product.
    """
    # `A[i]` is a dynamic slice, which `vmap` turns batch-first; a static one leaves the voxels in the last axis.
    rank = A.ndim if rank is None else rank
    rows = (lax.index_in_dim(A, i, 0, False) for i in range(A.shape[0]))
    return tuple(parts(row, rank - 1) if rank > 1 else row for row in rows)


def whole(a: Any) -> Array:
    """The tensor of some components."""
    return jnp.stack([whole(x) if isinstance(x, tuple) else x for x in a])


def finite(a: Any) -> Bool[Array, ""]:
    """True where every component is finite."""
    return reduce(and_, (jnp.isfinite(x) for x in jax.tree.leaves(a)))


def total(terms: Iterable[Array]) -> Array:
    """The sum, without a zero to start from."""
    return reduce(add, terms)


def flip(a: Parts) -> Parts:
    """A^T."""
    return tuple(zip(*a, strict=True))


def product(a: Parts, b: Parts) -> Parts:
    """A B."""
    return tuple(tuple(total(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)) for row in a)


def contraction(a: Parts, b: Parts) -> Array:
    """A : B, the sum of A_ij B_ij."""
    return total(x * y for r, s in zip(a, b, strict=True) for x, y in zip(r, s, strict=True))


def transpose(A: Float[Array, "i j"]) -> Float[Array, "j i"]:
    """A^T."""
    return jnp.swapaxes(A, 0, 1)


def matmul(A: Float[Array, "i j"], B: Float[Array, "j k"]) -> Float[Array, "i k"]:
    """A B."""
    return whole(product(parts(A), parts(B)))


def matvec(A: Float[Array, "i j"], b: Float[Array, " j"]) -> Float[Array, " i"]:
    """A b."""
    return jnp.stack([total(x * b[j] for j, x in enumerate(row)) for row in parts(A)])


def ddot(A: Float[Array, "i j"], B: Float[Array, "i j"]) -> Float[Array, ""]:
    """A : B, the sum of A_ij B_ij."""
    return jnp.sum(A * B)


def trace(A: Float[Array, "d d"]) -> Float[Array, ""]:
    """tr A."""
    return total(A[i, i] for i in range(A.shape[0]))


def sym(A: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """(A + A^T) / 2."""
    return 0.5 * (A + transpose(A))


def strain(F: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The small strain, sym(F - I)."""
    return sym(F) - eye(F.shape[0], F.dtype)


def strains(f: Parts) -> Parts:
    """sym(F - I); equal components are one object."""
    d = range(len(f))
    upper = {(i, j): f[i][i] - 1 if i == j else 0.5 * (f[i][j] + f[j][i]) for i in d for j in d if i <= j}
    return tuple(tuple(upper[min(i, j), max(i, j)] for j in d) for i in d)


def symmetric(a: Parts, component: Callable[[int, int, Array], Array]) -> Parts:
    """The symmetric tensor of `component(i, j, a_ij)`, asked for i <= j."""
    d = range(len(a))
    upper = {(i, j): component(i, j, a[i][j]) for i in d for j in d if i <= j}
    return tuple(tuple(upper[min(i, j), max(i, j)] for j in d) for i in d)


def in_space(f: Parts) -> Parts:
    """A plane deformation in space, nothing happening along the third axis."""
    if len(f) == 3:
        return f
    zero = jnp.zeros_like(f[0][0])
    return (*f[0], zero), (*f[1], zero), (zero, zero, zero + 1)


def from_six(s: Float[Array, "6"], d: int = 3) -> Parts:
    """The symmetric tensor of the components 11, 22, 33, 23, 13, 12, or its part in the plane."""
    x = parts(s)
    return tuple(tuple(x[k] for k in row[:d]) for row in _PLACE[:d])


def to_six(a: Parts) -> Float[Array, "6"]:
    """The components 11, 22, 33, 23, 13, 12 of the symmetric part; of a plane tensor those out of the plane are zero."""
    pairs, zero = PAIRS[len(a)], jnp.zeros_like(a[0][0])
    return jnp.stack([0.5 * (a[i][j] + a[j][i]) if (i, j) in pairs else zero for i, j in PAIRS[3]])


def _cofactor(f: Parts) -> Parts:
    if len(f) == 2:
        return (f[1][1], -f[1][0]), (-f[0][1], f[0][0])

    def minor(i, j):
        a, b = f[(i + 1) % 3], f[(i + 2) % 3]
        return a[(j + 1) % 3] * b[(j + 2) % 3] - a[(j + 2) % 3] * b[(j + 1) % 3]

    return tuple(tuple(minor(i, j) for j in range(3)) for i in range(3))


def cofactor(F: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """det(F) F^-T, a polynomial in F."""
    return whole(_cofactor(parts(F)))


def det(F: Float[Array, "d d"]) -> Float[Array, ""]:
    """det F."""
    return determinant(parts(F))


def determinant(f: Parts) -> Array:
    """det F from the components."""
    return total(x * y for x, y in zip(f[0], _cofactor(f)[0], strict=True))


@jax.custom_jvp
def inverse_log(f: Parts) -> tuple[Parts, Array]:
    """F^-T and ln det F together, by components.

    Their slopes are d F^-T = -F^-T dF^T F^-T and d ln J = F^-T : dF, so that a linearization stores F^-T and nothing else;
    the rule calls this function again, so that it can be differentiated again.

    Valid: det F > 0; elsewhere the values are finite and mean nothing.
    """
    c = _cofactor(f)
    J = total(x * y for x, y in zip(f[0], c[0], strict=True))
    # Unchanged where J > 0; without a `where`, which `vmap` would turn batch-first.
    J = jnp.abs(J) + (J == 0)
    # The barriers keep the CPU backend from computing what all components share once for each of them.
    inverse, log_J = lax.optimization_barrier((1 / J, jnp.log(J)))
    return tuple(tuple(x * inverse for x in row) for row in c), log_J


@inverse_log.defjvp
@full_precision
def _inverse_log_jvp(primals, tangents):
    (f,), (df,) = primals, tangents
    g, log_J = inverse_log(f)
    shared, dlog = lax.optimization_barrier((product(g, flip(df)), contraction(g, df)))
    return (g, log_J), (tuple(tuple(-x for x in row) for row in product(shared, g)), dlog)


def inverse_transpose(F: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """F^-T. Valid: det F > 0."""
    return whole(inverse_log(parts(F))[0])


def log_det(F: Float[Array, "d d"]) -> Float[Array, ""]:
    """ln det F. Valid: det F > 0."""
    return inverse_log(parts(F))[1]


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
