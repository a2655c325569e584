"""A fine scale that lives through a span of time, of which only the end is kept."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from .._model import AbstractRate, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale
from .._typing import Tree
from ._closed import answer, choose_first, finite, uncounted


class Flow(AbstractScale):
    """The fine unknowns follow their rate over a span of time: `Flow(rate, start)(Span(t0, t1, drive)) -> Solution`.

    d fine / dt = rate(t, fine, drive) from t0 to t1, starting at the state; the value is `rate.observe(fine(t1), drive)` and
    the state fine(t1). There is no guess. `stats["num_steps"]` counts the steps, and nothing counts
    what an implicit solver iterates inside.

    Fails: `max_steps_reached`, `dt_min_reached` and what else diffrax reports, `nonfinite`, `nonfinite_input`.
    Error: that of the step size controller, by default rtol 1e-6 and atol 1e-9 (1e-4 and 1e-6 in float32).
    Source: P. Kidger, On Neural Differential Equations (2021), for diffrax.

    Attributes:
        rate: `rate(t, fine, drive) -> d fine / dt`.
        start: the first fine unknowns, any tree of float arrays; it fixes their shapes and their dtype.
        solver: any diffrax solver; an implicit one (`diffrax.Kvaerno5()`) for stiff rates.
        steps: a diffrax step size controller; None is adaptive at the default tolerances.
        dt0: the first step; None lets the controller choose. Steps of constant size need it.
        adjoint: how diffrax differentiates. The default serves forward and reverse mode and exports; for long spans in reverse
            mode alone `diffrax.RecursiveCheckpointAdjoint()` needs less memory.
        max_steps: the most steps taken; the default adjoint pays compile time and memory for its size.
    """

    rate: AbstractRate
    start: Tree
    solver: diffrax.AbstractSolver = diffrax.Tsit5()
    steps: diffrax.AbstractStepSizeController | None = None
    dt0: float | None = None
    adjoint: diffrax.AbstractAdjoint = diffrax.DirectAdjoint()
    max_steps: int = eqx.field(static=True, default=256)

    def init(self, load, *, key=None):
        del load, key
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), self.start)

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        if not isinstance(load, Span):
            raise TypeError(f"Argument `load` must be a `Span(t0, t1, drive)`, but it is a {type(load).__name__}.")
        state = self.init(load) if state is None else state
        dtype = jnp.result_type(*jax.tree.leaves(state))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, drive: self.rate(t, y, drive)),
            self.solver,
            jnp.asarray(load.t0, dtype),
            jnp.asarray(load.t1, dtype),
            self.dt0,
            state,
            args=load.drive,
            stepsize_controller=_adaptive(dtype) if self.steps is None else self.steps,
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        end = jax.tree.map(lambda y: y[-1], solution.ys)
        value = self.rate.observe(end, load.drive)
        result = choose_first(
            RESULTS.promote(solution.result),
            RESULTS.where(finite((value, end)), RESULTS.successful, RESULTS.nonfinite),
        )
        result = RESULTS.where(finite((load, state)), result, RESULTS.nonfinite_input)
        steps = solution.stats["num_steps"]
        return answer(value, end, state, None, result, uncounted(dtype) | {"num_steps": steps, "cost": steps})


def _adaptive(dtype) -> diffrax.AbstractStepSizeController:
    double = jnp.finfo(dtype).bits == 64
    return diffrax.PIDController(rtol=1e-6 if double else 1e-4, atol=1e-9 if double else 1e-6)
