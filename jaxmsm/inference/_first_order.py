"""Fits by the gradient alone, for many parameters: any optax optimizer, with rejection by code."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._results import RESULTS
from ._problem import AbstractMethod, refuse_start


class FirstOrder(AbstractMethod):
    """Steps of an optax optimizer on half the sum of squares: `FirstOrder(optax.adam(1e-2))`.

    A trial with a failed member, or with a number that is not finite, is taken back and the step halved, up to `halvings` times;
    the optimizer sees only gradients of points where every member succeeded. The cost may rise on the way, as it does for Adam:
    the best point seen is returned.

    Fails: `nonlinear_max_steps_reached`; `line_search_failed` (every fraction of a step fails).

    Attributes:
        optimizer: an optax gradient transformation.
        gtol: stop when the gradient norm is this fraction of the first one.
        halvings: the most halvings of a step that fails.
    """

    optimizer: optax.GradientTransformation
    gtol: float = eqx.field(static=True, default=1e-6)
    halvings: int = eqx.field(static=True, default=10)

    def __call__(self, problem, trace, max_steps):
        update = jax.jit(self.optimizer.update)
        x, memory = problem.start, self.optimizer.init(problem.start)
        cost, g, result, ok = problem.slope(x)
        refuse_start(ok, result)
        trace.accept(float(cost), lambda: problem.unravel(x))
        first = float(jnp.linalg.norm(g))
        best = (float(cost), x, g)
        for _ in range(max_steps):
            if float(jnp.linalg.norm(g)) <= self.gtol * first:
                trace.result = RESULTS.successful
                break
            dx, memory = update(g, memory, x)
            found = self._reach(problem, trace, x, dx)
            if found is None:
                trace.result = RESULTS.line_search_failed
                break
            x, cost, g = found
            trace.accept(float(cost), lambda x=x: problem.unravel(x))
            best = min(best, (float(cost), x, g), key=lambda b: b[0])
        _, x, g = best
        return np.asarray(x), None, np.asarray(g)

    def _reach(self, problem, trace, x, dx):
        """The first of the points x + dx, x + dx/2, ... where every member succeeds."""
        for _ in range(self.halvings + 1):
            cost, g, _, ok = problem.slope(x + dx)
            if bool(ok):
                return x + dx, cost, g
            trace.reject(False)
            dx = 0.5 * dx
        return None
