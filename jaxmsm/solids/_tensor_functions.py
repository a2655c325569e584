"""Functions of small tensors: logarithm, exponential, positive part, with right derivatives where eigenvalues meet.

Eigenvectors have no derivative where eigenvalues meet, as they do in every undeformed body. The logarithm and the exponential ask
for none: they are rational in the components, so that derivatives of any order come by differentiation. The positive part, which
has a kink of its own, has derivatives by divided differences of the eigenvalues.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._precision import full_precision
from ._kinematics import Parts, contraction, flip, product, symmetric, total

_NODES = 16
"""Resolvents of the logarithm: the error is ((sqrt z - 1) / (sqrt z + 1))^(4 n) where the eigenvalues span z^2."""

_TERMS, _SQUARINGS = 12, 4
"""Of the exponential: sixteenth parts of a tensor up to norm 8 are summed to x^13 / 13! = 2e-14."""


def log_symmetric(b: Parts) -> Parts:
    """ln B of a symmetric positive tensor, 3 x 3.

    With Y = (B - c)(B + c)^-1 it is ln c + 2 artanh Y, and artanh Y = Y int_0^1 (1 - t^2 Y^2)^-1 dt by Gauss and Legendre, whose
    resolvents are I, Z = Y^2 and adj Z times sums over the nodes (Cayley and Hamilton). The result does not depend on c.

    Valid: B positive; elsewhere the values mean nothing.
    Error: round-off up to eigenvalues a factor 200 apart (a ratio of stretches of 14), 1e-9 at a factor 1000.
    Source: Dieci, Morini and Papini, SIAM J. Matrix Anal. Appl. 17 (1996) 570, for the quadrature.
    """
    i1, i2, i3 = invariants(b)
    c = lax.stop_gradient(jnp.sqrt(jnp.abs(i1 * i3 / i2)))
    shifted = symmetric(b, lambda i, j, x: x + c if i == j else x)
    adj = adjugate(shifted)
    size = -2 * c / total(x * y for x, y in zip(shifted[0], adj[0], strict=True))
    y = symmetric(adj, lambda i, j, x: 1 + size * x if i == j else size * x)
    z = square(y)
    inv = invariants(z)
    s0, s1, s2 = _sums((0, 1, 2), 1, inv)
    adj, first = adjugate(z), s0 - inv[0] * s1
    m = symmetric(z, lambda i, j, x: s1 * x + s2 * adj[i][j] + (first if i == j else 0))
    twice = product_symmetric(y, m)
    shift = jnp.log(c)
    return symmetric(twice, lambda i, j, x: shift + 2 * x if i == j else 2 * x)


def exp_less_one(x: Parts) -> Parts:
    """exp X - I of any tensor, 3 x 3: zero without round-off at zero.

    The series in X / 16 is summed in its coefficients of I, X and X^2 (Cayley and Hamilton) and squared four times.

    Error: round-off up to |X| = 8, beyond it growing like |X|^13.
    """
    part = 0.5**_SQUARINGS
    x = _scaled(x, part)
    i1, i2, i3 = invariants(x)
    zero, one = jnp.zeros_like(i1), jnp.ones_like(i1)
    p, q, r = zero, one, zero
    sums = [zero, one, zero]
    for n in range(2, _TERMS + 1):
        p, q, r = r * i3 / n, (p - r * i2) / n, (q + r * i1) / n
        sums = [a + b for a, b in zip(sums, (p, q, r), strict=True)]
    xx = product(x, x)
    e = tuple(tuple(sums[1] * x[i][j] + sums[2] * xx[i][j] + (sums[0] if i == j else 0) for j in range(3)) for i in range(3))
    for _ in range(_SQUARINGS):
        ee = product(e, e)
        e = tuple(tuple(2 * a + b for a, b in zip(*rows, strict=True)) for rows in zip(e, ee, strict=True))
    return e


def invariants(a: Parts) -> tuple[Array, Array, Array]:
    """tr A, the sum of the principal minors, and det A."""
    adj = adjugate(a)
    return a[0][0] + a[1][1] + a[2][2], adj[0][0] + adj[1][1] + adj[2][2], total(a[0][k] * adj[k][0] for k in range(3))


def adjugate(a: Parts) -> Parts:
    """det(A) A^-1, a polynomial in A."""

    def minor(i, j):
        r, s = a[(j + 1) % 3], a[(j + 2) % 3]
        return r[(i + 1) % 3] * s[(i + 2) % 3] - r[(i + 2) % 3] * s[(i + 1) % 3]

    return tuple(tuple(minor(i, j) for j in range(3)) for i in range(3))


def square(a: Parts) -> Parts:
    """A A of a symmetric tensor."""
    return product_symmetric(a, a)


def product_symmetric(a: Parts, b: Parts) -> Parts:
    """A B of two symmetric tensors that commute."""
    return symmetric(a, lambda i, j, _: total(x * y for x, y in zip(a[i], b[j], strict=True)))


def _scaled(a: Parts, factor: float) -> Parts:
    return tuple(tuple(factor * x for x in row) for row in a)


def _rule(n: int) -> list[tuple[float, float]]:
    """The positive nodes, squared, and the weights of the Gauss-Legendre rule of 2 n points; of no precision of their own."""
    t, w = np.polynomial.legendre.leggauss(2 * n)
    return list(zip((t[n:] ** 2).tolist(), w[n:].tolist(), strict=True))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _sums(powers: tuple[int, ...], order: int, inv: tuple[Array, Array, Array]) -> tuple[Array, ...]:
    """The sums over the nodes of w s^k / det(1 - s Z)^order, one for each k, as functions of the invariants of Z.

    Their slopes are sums of the same kind, so that a linearization stores those and none of the resolvents.
    """
    i1, i2, i3 = inv
    out: list = [0.0] * len(powers)
    for s, w in _rule(_NODES):
        resolvent = 1 / (1 - s * (i1 - s * (i2 - s * i3)))
        power = resolvent
        for _ in range(order - 1):
            power = power * resolvent
        out = [x + w * s**k * power for x, k in zip(out, powers, strict=True)]
    return tuple(out)


@_sums.defjvp
@full_precision
def _sums_jvp(powers, order, primals, tangents):
    (inv,), (dinv,) = primals, tangents
    above = range(min(powers) + 1, max(powers) + 4)
    higher = dict(zip(above, _sums(tuple(above), order + 1, inv), strict=True))
    slope = tuple(order * (higher[k + 1] * dinv[0] - higher[k + 2] * dinv[1] + higher[k + 3] * dinv[2]) for k in powers)
    return _sums(powers, order, inv), slope


_SWEEPS = 5
"""Of Jacobi's rotations, which converge quadratically: 4 leave round-off."""


@jax.custom_jvp
def eigen_symmetric(a: Parts) -> tuple[tuple[Array, ...], Parts]:
    """The eigenvalues of a symmetric tensor, 3 x 3, in no order, and their unit eigenvectors, by Jacobi's rotations.

    It has no derivative: where eigenvalues meet there is none.
    """
    zero = jnp.zeros_like(a[0][0])
    unit = tuple(tuple(zero + (i == j) for j in range(3)) for i in range(3))

    def sweep(_, carry):
        for p, q in ((0, 1), (0, 2), (1, 2)):
            carry = _rotated(*carry, p, q)
        return carry

    a, vectors = lax.fori_loop(0, _SWEEPS, sweep, (tuple(map(tuple, a)), unit))
    return tuple(a[i][i] for i in range(3)), vectors


@eigen_symmetric.defjvp
@full_precision
def _no_slope(primals, tangents):
    raise NotImplementedError("Eigenvectors have no derivative where eigenvalues meet; a third derivative would need it.")


def _rotated(a: Parts, vectors: Parts, p: int, q: int) -> tuple[Parts, Parts]:
    """A in axes turned in the plane p, q such that a_pq vanishes, and the axes (rows)."""
    gap, twice = a[q][q] - a[p][p], 2 * a[p][q]
    root = jnp.sqrt(gap * gap + twice * twice)
    below = gap + jnp.where(gap < 0, -root, root)
    t = twice / jnp.where(below == 0, 1, below)
    c = 1 / jnp.sqrt(1 + t * t)
    s = t * c

    def turned(rows):
        new = {
            p: tuple(c * x - s * y for x, y in zip(rows[p], rows[q], strict=True)),
            q: tuple(s * x + c * y for x, y in zip(rows[p], rows[q], strict=True)),
        }
        return tuple(new.get(i, rows[i]) for i in range(3))

    return flip(turned(flip(turned(a)))), turned(vectors)


@jax.custom_jvp
def positive_part(a: Parts) -> Parts:
    """The symmetric tensor with the negative eigenvalues set to zero.

    Its slope where an eigenvalue is zero is the one from below; it can be differentiated once.
    """
    values, n = eigen_symmetric(a)
    kept = tuple(jnp.where(x > 0, x, 0) for x in values)
    return symmetric(a, lambda i, j, _: total(x * v[i] * v[j] for x, v in zip(kept, n, strict=True)))


@positive_part.defjvp
@full_precision
def _positive_part_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    values, n = eigen_symmetric(a)
    inside = product(product(n, da), flip(n))
    weighed = tuple(tuple(_difference(x, y) * inside[i][j] for j, y in enumerate(values)) for i, x in enumerate(values))
    return positive_part(a), product(product(flip(n), weighed), n)


def _difference(x: Array, y: Array) -> Array:
    """The divided difference of the positive part of a number."""
    high, low = jnp.where(x > y, x, y), jnp.where(x > y, y, x)
    both = jnp.where(high > 0, 1, 0) * jnp.where(low > 0, 1, 0)
    crossing = (high > 0) & (low <= 0)
    return jnp.where(crossing, high / jnp.where(crossing, high - low, 1), both)


@jax.custom_jvp
def positive_norm(a: Parts) -> Array:
    """The norm of the positive part, with slope zero where there is none."""
    return jnp.sqrt(total(jnp.where(x > 0, x, 0) ** 2 for x in eigen_symmetric(a)[0]))


@positive_norm.defjvp
@full_precision
def _positive_norm_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    size = positive_norm(a)
    return size, contraction(positive_part(a), da) / (size + (size == 0))
