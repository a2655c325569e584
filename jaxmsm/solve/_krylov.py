"""Linear systems inside the compiled program: each member has its own step lengths and its own stop.

Convergence is judged by the caller on a recomputed residual; what stands here reports counts and curvature.
"""

import abc
from collections.abc import Callable
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from .._typing import Tree


def dot(a: Tree, b: Tree) -> Float[Array, ""]:
    """The inner product of two trees of arrays."""
    return reduce(add, jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)))


def norm(a: Tree) -> Float[Array, ""]:
    """The 2-norm of a tree of arrays; it keeps NaN, as a maximum does not on every backend."""
    return jnp.sqrt(dot(a, a))


def axpy(alpha: Array, x: Tree, y: Tree) -> Tree:
    """`alpha x + y` on trees of arrays."""
    return jax.tree.map(lambda u, v: alpha * u + v, x, y)


def scaled(alpha: Array, x: Tree) -> Tree:
    """`alpha x` on a tree of arrays."""
    return jax.tree.map(lambda u: alpha * u, x)


class LinearReport(eqx.Module):
    """How a linear solve went: iterations, norm of the recursive residual, and whether a direction had no curvature."""

    steps: Int[Array, ""]
    residual: Float[Array, ""]
    flat: Bool[Array, ""]
    negative: Bool[Array, ""]


class AbstractLinear(eqx.Module):
    """A linear solver: `solver(matvec, rhs, precondition, target) -> (x, LinearReport)`.

    It starts at zero and stops when the residual norm is below `target` (absolute), which makes a member that has nothing
    to do finish at once.
    """

    @abc.abstractmethod
    def __call__(self, matvec: Callable, rhs: Tree, precondition: Callable, target: Float[Array, ""]) -> tuple[Tree, LinearReport]:
        """The approximate solution of `matvec(x) = rhs`."""


class CG(AbstractLinear):
    """Preconditioned conjugate gradients, for symmetric positive semidefinite systems that are consistent.

    A direction of negative curvature ends the iteration at the point reached (the preconditioned residual, if it is the
    first), which is a descent direction for a line search; a direction without curvature is reported as flat.
    """

    max_steps: int = eqx.field(static=True, default=2000)

    def __call__(self, matvec, rhs, precondition, target):
        z = precondition(rhs)
        rz = dot(rhs, z)
        zero = jax.tree.map(jnp.zeros_like, rhs)
        size = norm(rhs)
        false = jnp.zeros_like(size, bool)
        # p.Kp >= r.z times the least eigenvalue of M^-1 K that is not zero: what is far below is a direction without stiffness
        # that the right-hand side asks for, and the system has no solution.
        tiny = 1e-11 if jnp.finfo(size.dtype).bits == 64 else 1e-6

        def going(carry):
            _, _, _, rz, size, steps, flat, negative = carry
            return (size > target) & (steps < self.max_steps) & ~flat & ~negative & jnp.isfinite(rz) & (rz > 0)

        def step(carry):
            x, r, p, rz, _, steps, _, _ = carry
            Kp = matvec(p)
            curvature = dot(p, Kp)
            negative = curvature < -tiny * rz
            flat = (curvature <= tiny * rz) & ~negative
            good = ~(negative | flat)
            alpha = jnp.where(good, rz / jnp.where(good, curvature, 1), jnp.where(steps == 0, 1, 0))
            x = axpy(alpha, p, x)
            r = axpy(-jnp.where(good, alpha, 0), Kp, r)
            z = precondition(r)
            rz_next = dot(r, z)
            p = axpy(rz_next / rz, p, z)
            return x, r, p, rz_next, norm(r), steps + 1, flat, negative

        steps = jnp.zeros_like(size, jnp.int32)
        x, _, _, _, size, steps, flat, negative = lax.while_loop(going, step, (zero, rhs, z, rz, size, steps, false, false))
        return x, LinearReport(steps, size, flat, negative)


class GMRES(AbstractLinear):
    """Restarted GMRES, preconditioned from the right, for tangents that are not symmetric or not definite.

    `restart` vectors of the size of the unknown are kept. A cycle that gains less than a thousandth ends the iteration.
    (lineax's GMRES serves the same end, but its least-squares kernel has no stable name in exported programs.)

    Source: Saad and Schultz, SIAM J. Sci. Stat. Comput. 7 (1986) 856; Gram-Schmidt is done twice.
    """

    max_steps: int = eqx.field(static=True, default=2000)
    restart: int = eqx.field(static=True, default=40)

    def __call__(self, matvec, rhs, precondition, target):
        flat, unravel = ravel_pytree(rhs)
        target = jnp.asarray(target, flat.dtype)

        def operate(v):
            return ravel_pytree(matvec(precondition(unravel(v))))[0]

        def going(carry):
            _, _, size, steps, stalled = carry
            return (size > target) & (steps < self.max_steps) & ~stalled & jnp.isfinite(size)

        def cycle(carry):
            x, r, size, steps, _ = carry
            y, taken = self._cycle(operate, r, size, target)
            x = x + ravel_pytree(precondition(unravel(y)))[0]
            r = flat - ravel_pytree(matvec(unravel(x)))[0]
            new = norm(r)
            return x, r, new, steps + taken, ~(new < 0.999 * size)

        size = norm(flat)
        none = jnp.zeros_like(size, jnp.int32)
        false = jnp.zeros_like(size, bool)
        x, _, size, steps, stalled = lax.while_loop(going, cycle, (jnp.zeros_like(flat), flat, size, none, false))
        # What stalls has used up what this method can do: the caller sees it as out of iterations.
        steps = jnp.where(stalled & (size > target), jnp.maximum(steps, self.max_steps), steps)
        return unravel(x), LinearReport(steps, size, false, false)

    def _cycle(self, operate, r, size, target):
        """The correction (before the preconditioner) that one cycle finds, and the iterations it took."""
        m, dtype = self.restart, r.dtype
        V = jnp.zeros((m + 1, r.size), dtype).at[0].set(r / size)
        R, turns = jnp.zeros((m + 1, m), dtype), jnp.zeros((m, 2), dtype)
        g = jnp.zeros(m + 1, dtype).at[0].set(size)
        rows = jnp.arange(m + 1)

        def going(carry):
            _, _, _, g, k = carry
            return (k < m) & (jnp.abs(g[k]) > target)

        def step(carry):
            V, R, turns, g, k = carry
            w = operate(V[k])
            h = V @ w
            w = w - h @ V
            again = V @ w
            w, h = w - again @ V, h + again
            length = norm(w)
            V = V.at[k + 1].set(w / jnp.where(length > 0, length, 1))
            h = jnp.where(rows == k + 1, length, h)

            def turn(i, h):
                c, s = turns[i]
                return h.at[i].set(c * h[i] + s * h[i + 1]).at[i + 1].set(c * h[i + 1] - s * h[i])

            h = lax.fori_loop(0, k, turn, h)
            radius = jnp.sqrt(h[k] ** 2 + h[k + 1] ** 2)
            safe = jnp.where(radius > 0, radius, 1)
            c, s = jnp.where(radius > 0, h[k] / safe, 1), h[k + 1] / safe
            h = jnp.where(rows == k, radius, jnp.where(rows > k, 0, h))
            turns = turns.at[k].set(jnp.stack([c, s]))
            g = g.at[k + 1].set(-s * g[k]).at[k].set(c * g[k])
            return V, R.at[:, k].set(h), turns, g, k + 1

        V, R, _, g, k = lax.while_loop(going, step, (V, R, turns, g, jnp.zeros_like(size, jnp.int32)))

        def back(i, y):
            j = k - 1 - i
            pivot = R[j, j]
            return y.at[j].set(jnp.where(pivot == 0, 0, (g[j] - R[j] @ y) / jnp.where(pivot == 0, 1, pivot)))

        y = lax.fori_loop(0, k, back, jnp.zeros(m, dtype))
        return y @ V[:m], k
