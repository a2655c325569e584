"""Levenberg-Marquardt with rejection by code: a step into a region where the model fails is stepped back from."""

import equinox as eqx
import numpy as np

from .._results import RESULTS
from ._problem import AbstractMethod, refuse_start


class LevenbergMarquardt(AbstractMethod):
    """Damped Gauss-Newton steps, (J'J + damping D) dx = -J'r with D the largest diagonal of J'J seen (Marquardt's scaling).

    A trial is accepted if every member succeeds there, all numbers are finite and the cost falls; else the damping grows.

    Valid: up to some hundreds of parameters; the cost is a sum of squares.
    Fails: `nonlinear_max_steps_reached`; `line_search_failed` (no step is small enough to lower the cost: the gradient is wrong, or
        the fit stands at the edge of where the model works).
    Source: J. More, The Levenberg-Marquardt algorithm (1978), for the scaling and the tests of convergence; H. Nielsen, Damping
        parameter in Marquardt's method (1999), for the update of the damping.

    Attributes:
        gtol: stop when the residual is orthogonal to every column of J to this cosine.
        rtol: stop when a step is to lower the cost by less than this fraction.
        xtol: stop when a step moves the parameters by less than this fraction of their norm.
        damping: the first damping, relative to D.
        reverse: build J row by row by reverse mode (few data, many parameters) instead of column by column.
    """

    gtol: float = eqx.field(static=True, default=1e-8)
    rtol: float = eqx.field(static=True, default=1e-14)
    xtol: float = eqx.field(static=True, default=1e-9)
    damping: float = eqx.field(static=True, default=1e-3)
    reverse: bool = eqx.field(static=True, default=False)

    def __call__(self, problem, trace, max_steps):
        x = np.asarray(problem.start, float)
        # No test asks for more than the precision of the misfit can tell.
        eps = 8 * float(np.finfo(problem.start.dtype).eps)
        gtol, rtol, xtol = max(self.gtol, eps), max(self.rtol, eps), max(self.xtol, eps)
        r, J, result, ok = self._at(problem, x)
        refuse_start(ok, result)
        cost, damping, growth = 0.5 * r @ r, self.damping, 2.0
        trace.accept(cost, lambda: problem.unravel(x))
        D = np.zeros(x.size)
        for _ in range(max_steps):
            g = J.T @ r
            if _orthogonal(J, r, g) <= gtol:
                trace.result = RESULTS.successful
                break
            D = np.maximum(D, np.sum(J * J, 0))
            dx = _step(J, r, damping * np.where(D > 0, D, 1))
            expected = -(g @ dx) - 0.5 * np.sum((J @ dx) ** 2)
            r_new, J_new, _, ok = self._at(problem, x + dx)
            cost_new = 0.5 * r_new @ r_new if ok else np.inf
            tiny = expected <= rtol * cost or np.linalg.norm(dx) <= xtol * np.linalg.norm(x)
            if ok and cost_new < cost:
                gain = (cost - cost_new) / expected
                damping, growth = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
                x, r, J, cost = x + dx, r_new, J_new, cost_new
                trace.accept(cost, lambda x=x: problem.unravel(x))
            else:
                trace.reject(ok)
                damping, growth = damping * growth, 2 * growth
            # A step that is tiny because the trials before it failed is no convergence.
            if tiny and ok and damping < 1e8:
                trace.result = RESULTS.successful
                break
            if damping > 1e20:
                trace.result = RESULTS.line_search_failed
                break
        return x, J, J.T @ r

    def _at(self, problem, x):
        r, J, result, ok = problem.linearized(np.asarray(x, problem.start.dtype), reverse=self.reverse)
        return np.asarray(r, float), np.asarray(J, float), result, bool(ok)


def _step(J, r, damping):
    """The minimizer of |J dx + r|^2 + sum damping dx^2, by QR of the stacked system (J'J would square its condition)."""
    stacked = np.concatenate([J, np.diag(np.sqrt(damping))])
    return np.linalg.lstsq(stacked, np.concatenate([-r, np.zeros(len(damping))]), rcond=None)[0]


def _orthogonal(J, r, g) -> float:
    """The largest cosine between the residual and a column of J."""
    size = np.linalg.norm(J, axis=0) * np.linalg.norm(r)
    return float(np.max(np.where(size > 0, np.abs(g) / np.where(size > 0, size, 1), 0)))
