"""Derivatives of what was found by iteration: the implicit-function rule, shared by every scale that solves.

With residual(root, params) = 0 and K = d residual / d root, d root = -K^-1 (d residual / d params) d params. The rule is a
`custom_jvp` around `lax.custom_linear_solve`, so it serves forward and reverse mode, nests to second derivatives, and stays
inside the compiled program under `vmap`, `shard_map` and `jax.export`. The iteration itself is never differentiated.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from .._precision import full_precision
from .._scale import hold
from .._typing import Tree


def implicit(
    residual: Callable,
    solve_linear: Callable,
    root: Tree,
    params: Tree,
    *,
    symmetric: bool = False,
    solve_transposed: Callable | None = None,
    tangent: Callable | None = None,
) -> Tree:
    """`root` as a differentiable function of `params`.

    Args:
        residual: `residual(root, params)`, a tree like `root`, zero at the root. What it closes over counts as parameters.
        solve_linear: `solve_linear(matvec, rhs, root, params) -> x`. Closes over no tracer. It must return NaN where its
            recomputed residual says that it did not converge: a gradient that is not known is not a number.
        root: where the residual vanishes; no gradient flows through it.
        params: a tree of arrays, all that the residual depends on.
        symmetric: K is symmetric, and one solver serves both modes.
        solve_transposed: as `solve_linear`, for K^T; None where `solve_linear` goes by the product it is handed.
        tangent: `tangent(root, params)` is K as a matrix with a method `matvec`, which the solvers are then handed instead of the
            product; for residuals that are dear to differentiate. Closes over no tracer.
    """
    root = hold(root)
    solvers = (solve_linear, solve_transposed or solve_linear)
    if tangent is not None:
        return _implicit(residual, solvers, tangent, symmetric, root, params)
    opened, held = jax.closure_convert(residual, root, params)
    if not held:
        return _implicit(residual, solvers, None, symmetric, root, params)
    first, second = ((lambda K, b, x, p, solver=solver: solver(K, b, x, p[0])) for solver in solvers)
    return _implicit(lambda x, p: opened(x, p[0], *p[1]), (first, second), None, symmetric, root, (params, held))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def _implicit(residual, solvers, tangent, symmetric, root, params):
    del residual, solvers, tangent, symmetric, params
    return root


@_implicit.defjvp
@full_precision
def _implicit_jvp(residual, solvers, tangent, symmetric, primals, tangents):
    root, params = primals
    _, dparams = tangents
    # The root enters the rule as a function of the parameters again, which is what makes second derivatives right.
    root = _implicit(residual, solvers, tangent, symmetric, root, params)
    _, slope = jax.jvp(lambda p: residual(root, p), (params,), (dparams,))
    K = None if tangent is None else tangent(root, params)
    matvec = jax.linearize(lambda x: residual(x, params), root)[1] if K is None else K.matvec
    rhs = jax.tree.map(lambda s: -s, slope)
    frozen = hold((root, params))

    def with_solver(solver):
        return lambda product, b: solver(product if K is None else hold(K), b, *frozen)

    solve, transpose = map(with_solver, solvers)
    droot = lax.custom_linear_solve(matvec, rhs, solve, transpose_solve=transpose, symmetric=symmetric)
    return root, droot


def stationary(
    functional: Callable, residual: Callable, solve_linear: Callable, refine: Callable, value: Tree, root: Tree, params: Tree
) -> Tree:
    """`value`, that of `functional(root, params)` where its slope in `root` vanishes: its first derivative needs no adjoint solve.

    The value's error is quadratic in the root's, the derivative's is not: `refine` brings the root to full accuracy, and runs
    only where there is a derivative to take.

    Args:
        functional: `functional(root, params)`, stationary in `root` there. Closes over no tracer.
        residual, solve_linear: as in `implicit` (symmetric); used by second derivatives alone.
        refine: `refine(root, params) -> root`; no gradient flows through it. Closes over no tracer.
        value: of the functional, which whoever found the root may know without evaluating it once more.
        root, params: as in `implicit`.
    """
    return _stationary(functional, residual, solve_linear, refine, hold(value), hold(root), params)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def _stationary(functional, residual, solve_linear, refine, value, root, params):
    del functional, residual, solve_linear, refine, root, params
    return value


@_stationary.defjvp
@full_precision
def _stationary_jvp(functional, residual, solve_linear, refine, primals, tangents):
    value, root, params = primals
    *_, dparams = tangents
    # The value stays that of the root given, so that nothing is refined for a derivative that nobody takes.
    value = _stationary(functional, residual, solve_linear, refine, value, root, params)
    root = hold(refine(*hold((root, params))))
    root = _implicit(residual, (solve_linear, solve_linear), None, True, root, params)
    return value, jax.jvp(lambda p: functional(root, p), (params,), (dparams,))[1]


def implicit_scalar(residual: Callable, root: Tree, params: Tree) -> Tree:
    """As `implicit`, for one equation in one unknown: d root = -(d residual / d params) d params / (d residual / d root).

    One division where `implicit` calls a linear solver, which inside a law costs more to trace and to compile than the law.
    Where the slope vanishes the derivative is taken as if it were one: mask it.

    Args:
        residual: `residual(root, params)`, a number. Closes over no tracer.
        root: where it vanishes; no gradient flows through it.
        params: a tree of arrays, all that the residual depends on.
    """
    return _implicit_scalar(residual, hold(root), params)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _implicit_scalar(residual, root, params):
    del residual, params
    return root


@_implicit_scalar.defjvp
@full_precision
def _implicit_scalar_jvp(residual, primals, tangents):
    root, params = primals
    _, dparams = tangents
    root = _implicit_scalar(residual, root, params)
    missing = jax.jvp(lambda p: residual(root, p), (params,), (dparams,))[1]
    slope = jax.jvp(lambda x: residual(x, params), (root,), (jnp.ones_like(root),))[1]
    return root, -missing / jnp.where(slope == 0, 1, slope)
