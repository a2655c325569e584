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
import lineax as lx
from jax import lax
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
    """Restarted GMRES (lineax), for tangents that are not symmetric or not definite.

    Runs forward only, inside the shared adjoint. `restart` vectors of the size of the unknown are kept.
    """

    max_steps: int = eqx.field(static=True, default=2000)
    restart: int = eqx.field(static=True, default=40)

    def __call__(self, matvec, rhs, precondition, target):
        size = norm(rhs)
        shape = jax.eval_shape(lambda: rhs)
        work = size > target
        b = jax.tree.map(lambda x: jnp.where(work & jnp.isfinite(size), x, 0), rhs)
        # lineax measures rms norms with a relative and an absolute part; the absolute one carries the target.
        count = sum(x.size for x in jax.tree.leaves(rhs))
        solver = lx.GMRES(
            rtol=0.0,
            atol=target / count**0.5,
            norm=_rms,
            max_steps=self.max_steps,
            restart=self.restart,
            stagnation_iters=self.restart,
        )
        left = lx.FunctionLinearOperator(precondition, shape, lx.positive_semidefinite_tag)
        operator = lx.FunctionLinearOperator(matvec, shape)
        answer = lx.linear_solve(operator, b, solver, options={"preconditioner": left}, throw=False)
        residual = norm(axpy(jnp.array(-1, size.dtype), matvec(answer.value), b))
        false = jnp.zeros_like(size, bool)
        steps = jnp.asarray(answer.stats["num_steps"], jnp.int32)
        return answer.value, LinearReport(steps, jnp.where(jnp.isfinite(size), residual, size), false, false)


def _rms(tree: Tree) -> Array:
    count = sum(x.size for x in jax.tree.leaves(tree))
    return norm(tree) / count**0.5
