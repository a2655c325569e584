"""Derivatives of what was found by iteration: the implicit-function rule, shared by every scale that solves.

With residual(root, params) = 0 and K = d residual / d root, d root = -K^-1 (d residual / d params) d params. The rule is a
`custom_jvp` around `lax.custom_linear_solve`, so it serves forward and reverse mode, nests to second derivatives, and stays
inside the compiled program under `vmap`, `shard_map` and `jax.export`. The iteration itself is never differentiated.
"""

from collections.abc import Callable
from functools import partial

import jax
from jax import lax

from .._scale import hold
from .._typing import Tree


def implicit(residual: Callable, solve_linear: Callable, root: Tree, params: Tree, *, symmetric: bool = False) -> Tree:
    """`root` as a differentiable function of `params`.

    Args:
        residual: `residual(root, params)`, a tree like `root`, zero at the root. Closes over no tracer.
        solve_linear: `solve_linear(matvec, rhs, root, params) -> x`. Closes over no tracer. It must return NaN where its
            recomputed residual says that it did not converge: a gradient that is not known is not a number.
        root: where the residual vanishes; no gradient flows through it.
        params: a tree of arrays, all that the residual depends on.
        symmetric: K is symmetric, and one solver serves both modes.
    """
    return _implicit(residual, solve_linear, symmetric, hold(root), params)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _implicit(residual, solve_linear, symmetric, root, params):
    del residual, solve_linear, symmetric, params
    return root


@_implicit.defjvp
def _implicit_jvp(residual, solve_linear, symmetric, primals, tangents):
    root, params = primals
    _, dparams = tangents
    # The root enters the rule as a function of the parameters again, which is what makes second derivatives right.
    root = _implicit(residual, solve_linear, symmetric, root, params)
    _, slope = jax.jvp(lambda p: residual(root, p), (params,), (dparams,))
    matvec = jax.linearize(lambda x: residual(x, params), root)[1]
    rhs = jax.tree.map(lambda s: -s, slope)
    frozen = hold((root, params))

    def solve(operator, b):
        return solve_linear(operator, b, *frozen)

    droot = lax.custom_linear_solve(matvec, rhs, solve, transpose_solve=solve, symmetric=symmetric)
    return root, droot


def stationary(functional: Callable, residual: Callable, solve_linear: Callable, root: Tree, params: Tree) -> Tree:
    """`functional(root, params)` where its slope in `root` vanishes: its first derivative needs no adjoint solve.

    Args:
        functional: `functional(root, params)`, stationary in `root` there. Closes over no tracer.
        residual, solve_linear: as in `implicit` (symmetric); used by second derivatives alone.
        root, params: as in `implicit`.
    """
    return _stationary(functional, residual, solve_linear, hold(root), params)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _stationary(functional, residual, solve_linear, root, params):
    del residual, solve_linear
    return functional(root, params)


@_stationary.defjvp
def _stationary_jvp(functional, residual, solve_linear, primals, tangents):
    root, params = primals
    _, dparams = tangents
    root = _implicit(residual, solve_linear, True, root, params)
    return jax.jvp(lambda p: functional(root, p), (params,), (dparams,))
