"""The logarithm and the exponential of small tensors, smooth wherever they are defined, repeated eigenvalues included.

Eigenvectors have no derivative where eigenvalues meet, as they do in every undeformed body. Nothing here asks for them: both
functions are rational in the components, so that derivatives of any order come by differentiation.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ._kinematics import Parts, product, symmetric, total

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
def _sums_jvp(powers, order, primals, tangents):
    (inv,), (dinv,) = primals, tangents
    above = range(min(powers) + 1, max(powers) + 4)
    higher = dict(zip(above, _sums(tuple(above), order + 1, inv), strict=True))
    slope = tuple(order * (higher[k + 1] * dinv[0] - higher[k + 2] * dinv[1] + higher[k + 3] * dinv[2]) for k in powers)
    return _sums(powers, order, inv), slope
