"""A misfit as the least-squares problem of a flat vector, with the codes of its members beside it."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._results import RESULTS, fine, message, names
from .._typing import Tree, is_number


class Problem:
    """What a method of fitting is handed; every evaluation is one compiled program.

    Misfits that are Equinox modules hand in their arrays, so that fits to other data share a program.

    Attributes:
        start: the flat parameters to begin with.
        unravel: from flat parameters to those of the user.
    """

    def __init__(self, misfit: Callable, params: Tree, weights: Tree):
        numbers, self._rest = eqx.partition(params, is_number)
        self.start, self._unravel = ravel_pytree(jax.tree.map(jnp.asarray, numbers))
        if self.start.size == 0:
            raise ValueError("Argument `params` must hold at least one float, but it holds none.")
        fixed = misfit, weights, self._unravel, self._rest
        if isinstance(misfit, eqx.Module):
            self.linearized: Callable = partial(_linearized_by_arrays, fixed)
            self.slope: Callable = partial(_slope_by_arrays, fixed)
        else:
            self.linearized = jax.jit(partial(_linearized, fixed), static_argnames="reverse")
            self.slope = jax.jit(partial(_slope, fixed))

    def unravel(self, x) -> Tree:
        """The parameters as the user has them."""
        return eqx.combine(self._unravel(jnp.asarray(x, self.start.dtype)), self._rest)


type _Fixed = tuple[Callable, Any, Callable, Tree]
"""Misfit, weights, from flat parameters to floats, what else the parameters hold."""


def _residual(fixed: _Fixed, x):
    """The weighted residual, with the codes of the members and whether all of them are fine."""
    misfit, weights, unravel, rest = fixed
    residual, result = misfit(eqx.combine(unravel(x), rest))
    if weights is not None:
        root = lambda r, w: r * jnp.sqrt(jnp.asarray(w, r.dtype))
        own: Any = jax.tree.structure(weights)
        spread = weights if own == jax.tree.structure(residual) else jax.tree.map(lambda _: weights, residual)
        residual = jax.tree.map(root, residual, spread)
    r = ravel_pytree(residual)[0]
    return r, (result, jnp.all(fine(result)) & jnp.all(jnp.isfinite(r)))


def _linearized(fixed: _Fixed, x, reverse: bool):
    def twice(x):
        r, aux = _residual(fixed, x)
        return r, (r, aux)

    J, (r, (result, ok)) = (jax.jacrev if reverse else jax.jacfwd)(twice, has_aux=True)(x)
    return r, J, result, ok & jnp.all(jnp.isfinite(J))


def _slope(fixed: _Fixed, x):
    def cost(x):
        r, aux = _residual(fixed, x)
        return 0.5 * jnp.sum(r * r), aux

    (value, (result, ok)), g = jax.value_and_grad(cost, has_aux=True)(x)
    return value, g, result, ok & jnp.all(jnp.isfinite(g))


_linearized_by_arrays, _slope_by_arrays = eqx.filter_jit(_linearized), eqx.filter_jit(_slope)


class Trace:
    """The course of a fit: costs, accepted steps, and trials rejected, of which some failed."""

    def __init__(self, on_step: Callable | None):
        self.cost: list[float] = []
        self.rejected = self.failed = 0
        self.result: RESULTS = RESULTS.nonlinear_max_steps_reached
        self._on_step = on_step

    @property
    def steps(self) -> int:
        """Accepted steps."""
        return len(self.cost) - 1

    def accept(self, cost: float, params: Callable[[], Tree]) -> None:
        """Take the cost down, and tell the caller."""
        self.cost.append(float(cost))
        if self._on_step is not None:
            self._on_step(self.steps, float(cost), params())

    def reject(self, ok: bool) -> None:
        """Count a trial that is worse, or that failed."""
        self.rejected += 1
        self.failed += not ok


class AbstractMethod(eqx.Module):
    """A way to fit: `method(problem, trace, max_steps) -> (x, J or None, gradient)`, filling in the trace."""

    @abc.abstractmethod
    def __call__(self, problem: Problem, trace: Trace, max_steps: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """The flat parameters found, the weighted Jacobian there if it is known, and the gradient of the cost."""


def refuse_start(ok: Any, result: RESULTS) -> None:
    """Raise if the misfit has no value to start from."""
    if bool(ok):
        return
    good = np.atleast_1d(np.asarray(fine(result)))
    if np.all(good):
        raise ValueError(
            "Argument `params` must be a point where the misfit has a value and a slope, but a number there is not finite. "
            "Start elsewhere."
        )
    code = str(np.atleast_1d(names(result))[~good][0])
    raise ValueError(
        f"Argument `params` must be a point where every member succeeds, but {np.sum(~good)} of {good.size} failed there, the "
        f"first with `{code}`: {message(code)} Start elsewhere."
    )
