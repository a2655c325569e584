"""A model brought to agree with data, and what the data say about its parameters."""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np

from .._results import RESULTS
from .._typing import Tree
from ._levenberg import LevenbergMarquardt
from ._problem import AbstractMethod as AbstractMethod, Problem, Trace


class Fit(eqx.Module):
    """How a fit went, and how well the data determine its parameters.

    What needs the Jacobian at the end is None for a method that does not build it. Flat arrays follow the order of the parameters'
    leaves.

    Attributes:
        result: the code of the search.
        cost: half the weighted sum of squares at the start and after every accepted step.
        rejected: trials that were not accepted, `failed` ones among them.
        failed: trials at which a member failed or a number was not finite.
        gradient: norm of the gradient of the cost at the end.
        covariance: of the parameters, linearized. Scaled by the mean square of the weighted residual, unless `absolute`; with as
            many numbers as parameters that is not known, and neither are the errors (NaN). What the data do not determine has
            an infinite variance, and NaN elsewhere.
        errors: standard errors, a tree like the parameters; infinite for those that the data do not determine.
        correlation: of the parameters.
        singular_values: of the Jacobian with its columns scaled to norm one: small ones are combinations that do not matter.
        weakest: the combination of relative changes of the columns that matters least, a tree like the parameters.
        unidentifiable: the data do not determine every parameter.
    """

    result: RESULTS
    cost: np.ndarray
    rejected: int
    failed: int
    gradient: float
    covariance: np.ndarray | None = None
    errors: Tree = None
    correlation: np.ndarray | None = None
    singular_values: np.ndarray | None = None
    weakest: Tree = None
    unidentifiable: bool | None = None

    @property
    def steps(self) -> int:
        """Accepted steps."""
        return len(self.cost) - 1

    @property
    def ok(self) -> bool:
        """True if the search converged."""
        return bool(self.result == RESULTS.successful)


def fit(
    misfit: Callable,
    params: Tree,
    *,
    method: AbstractMethod | None = None,
    weights: Tree = None,
    absolute: bool = False,
    max_steps: int = 100,
    on_step: Callable | None = None,
) -> tuple[Tree, Fit]:
    """The parameters that minimize half the weighted sum of squares of a misfit.

    A trial at which any member fails is rejected and counted, however small its residual. The loop runs on the host; every
    evaluation is one compiled program.

    Fails: the codes of the method, in `Fit.result`. A start at which a member fails raises `ValueError`.

    Args:
        misfit: `misfit(params) -> (residual, result)`: a tree of arrays, and codes (`Solution.result`) of any shape.
        params: any pytree; its float leaves are fitted.
        method: `LevenbergMarquardt()` (the default) or, for very many parameters, `FirstOrder(optimizer)`.
        weights: one number, or a tree like the residual; one over the variance of the data, where that is known.
        absolute: the weights are one over the variance, and the standard errors are not rescaled by the misfit that is left.
        max_steps: trials.
        on_step: `on_step(step, cost, params)`, called at the start and after every accepted step.
    """
    problem, trace = Problem(misfit, params, weights), Trace(on_step)
    x, J, g = (LevenbergMarquardt() if method is None else method)(problem, trace, max_steps)
    cost = np.array(trace.cost)
    known = {} if J is None else _uncertainty(problem, J, min(cost), absolute)
    return problem.unravel(x), Fit(trace.result, cost, trace.rejected, trace.failed, float(np.linalg.norm(g)), **known)


def _uncertainty(problem: Problem, J: np.ndarray, cost: float, absolute: bool) -> dict:
    """Covariance by the singular values of the scaled Jacobian, with what they cannot tell marked."""
    m, n = J.shape
    eps = float(np.finfo(problem.start.dtype).eps)
    size = np.linalg.norm(J, axis=0)
    scale = np.where(size > 0, size, 1)
    _, values, modes = np.linalg.svd(J / scale, full_matrices=True)
    values = np.concatenate([values, np.zeros(n - len(values))])
    lost = values <= eps**0.5 * max(values[0], eps)
    inverse = np.where(lost, 0, 1 / np.where(lost, 1, values))
    root = (modes.T * inverse) / scale[:, None]
    variance = 1.0 if absolute else 2 * cost / (m - n) if m > n else np.nan
    covariance = variance * root @ root.T
    blind = np.sum(modes[lost] ** 2, 0) > 1e-6
    unknown = blind[:, None] | blind[None, :]
    errors = np.where(blind, np.inf, np.sqrt(np.maximum(np.diag(covariance), 0)))
    spread = np.sqrt(np.diag(root @ root.T))
    both = np.where(spread > 0, spread, 1)
    correlation = np.where(unknown, np.nan, (root @ root.T) / (both[:, None] * both[None, :]))
    covariance = np.where(unknown, np.nan, covariance)
    covariance[blind, blind] = np.inf
    return {
        "covariance": covariance,
        "errors": jax.tree.map(np.asarray, problem.unravel(errors)),
        "correlation": correlation,
        "singular_values": values,
        "weakest": jax.tree.map(np.asarray, problem.unravel(modes[-1])),
        "unidentifiable": bool(np.any(lost)),
    }
