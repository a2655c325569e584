"""A fine scale that lives through a span of time, of which only the end is kept."""

import operator
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._model import AbstractNoisyRate, AbstractRate, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale
from .._typing import Tree
from ._closed import answer, choose_first, finite, uncounted
from ._wiener import Noisy, begun, check_solver, fine_of, noise_term, parted, wrapped


class Flow(AbstractScale):
    """The fine unknowns follow their rate over a span of time: `Flow(rate, start)(Span(t0, t1, drive)) -> Solution`.

    d fine / dt = rate(t, fine, drive) from t0 to t1, starting at the state; the value is `rate.observe(fine(t1), drive)` and
    the state fine(t1). There is no guess. `stats["num_steps"]` counts the steps, and nothing counts
    what an implicit solver iterates inside.

    A rate with noise needs a solver for noise (`diffrax.SPaRK()`); its state holds the key of the noise to come, as that of
    `Stepped`, and the path is the same at any tolerance. It is for single or few paths: a path that can be asked at any time costs
    more than the steps of `Stepped`, and asks the host whether its time is in range, so that it does not export.

    Fails: `max_steps_reached`, `dt_min_reached` and what else diffrax reports, `nonfinite`, `nonfinite_input`.
    Error: that of the step size controller, by default rtol 1e-6 and atol 1e-9 (1e-4 and 1e-6 in float32); with noise 1e-3, 1e-5.
    Source: P. Kidger, On Neural Differential Equations (2021), for diffrax.

    Attributes:
        rate: `rate(t, fine, drive) -> d fine / dt`, or a rate with noise.
        start: the first fine unknowns, any tree of float arrays; it fixes their shapes and their dtype.
        solver: any diffrax solver; an implicit one (`diffrax.Kvaerno5()`) for stiff rates, one for noise for those with noise.
        steps: a diffrax step size controller; None is adaptive at the default tolerances.
        dt0: the first step; None lets the controller choose. Steps of constant size need it.
        adjoint: how diffrax differentiates. The default serves forward and reverse mode and exports; for long spans in reverse
            mode alone `diffrax.RecursiveCheckpointAdjoint()` needs less memory.
        max_steps: the most steps taken; the default adjoint pays compile time and memory for its size.
        finest: the shortest step whose noise is resolved, as a fraction of the span.
    """

    rate: AbstractRate
    start: Tree
    solver: diffrax.AbstractSolver = diffrax.Tsit5()
    steps: diffrax.AbstractStepSizeController | None = None
    dt0: float | Float[Array, ""] | None = None
    adjoint: diffrax.AbstractAdjoint = diffrax.DirectAdjoint()
    max_steps: int = eqx.field(static=True, default=256)
    finest: float = eqx.field(static=True, default=2.0**-14)

    def __check_init__(self):
        check_solver(self.rate, self.solver)

    def init(self, load, *, key=None):
        del load
        return begun(self.rate, self.start, key)

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        state, solution = self.solved(load, state)
        fine = jax.tree.map(lambda y: y[-1], solution.ys)
        value = self.rate.observe(fine, load.drive)
        result = gone(RESULTS.promote(solution.result), (value, fine), (load, state))
        end = Noisy(fine, parted(state.key)[1]) if isinstance(state, Noisy) else fine
        return answer(value, end, state, None, result, counted_steps(solution.stats["num_steps"], fine))

    def solved(self, load, state=None, **options):
        """The state it began with, and what diffrax answers."""
        if not isinstance(load, Span):
            raise TypeError(f"Argument `load` must be a `Span(t0, t1, drive)`, but it is a {type(load).__name__}.")
        state = self.init(load) if state is None else state
        fine = fine_of(state)
        dtype = jnp.result_type(*jax.tree.leaves(fine))
        t0, t1 = jnp.asarray(load.t0, dtype), jnp.asarray(load.t1, dtype)
        terms, solver = self.term(), self.solver
        if isinstance(self.rate, AbstractNoisyRate):
            noise = noise_term(self.rate, Span(t0, t1, load.drive), fine, parted(state.key)[0], solver, self.finest)
            terms, solver = diffrax.MultiTerm(terms, noise), _scanning(solver, "lax")
        return state, diffrax.diffeqsolve(
            terms,
            solver,
            t0,
            t1,
            self.dt0,
            fine,
            args=load.drive,
            stepsize_controller=self.controller(dtype, t1 - t0),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
            **options,
        )

    def stiffness(self, load: Span, state: Tree = None) -> Float[Array, ""]:
        """The steps that stability alone would ask for: the span times the size of the tangent at its start.

        What `batched(flow, order=...)` sorts members by, so that those alike share a chunk. For few unknowns: the tangent is dense.
        """
        y, unravel = ravel_pytree(fine_of(self.init(load) if state is None else state))
        tangent = jax.jacfwd(lambda y: ravel_pytree(self.rate(jnp.asarray(load.t0), unravel(y), load.drive))[0])(y)
        return (load.t1 - load.t0) * jnp.sqrt(jnp.sum(tangent**2))

    def controller(self, dtype, span: Any = 1.0) -> diffrax.AbstractStepSizeController:
        """What chooses the steps; with noise none shorter than what is resolved of the span."""
        if self.steps is not None:
            return self.steps
        if isinstance(self.rate, AbstractNoisyRate):
            shortest = lax.stop_gradient(self.finest * span)
            return diffrax.PIDController(rtol=1e-3, atol=1e-5, pcoeff=0.1, icoeff=0.3, dtmin=shortest)
        double = jnp.finfo(dtype).bits == 64
        return diffrax.PIDController(rtol=1e-6 if double else 1e-4, atol=1e-9 if double else 1e-6)

    def stepper(self, dtype) -> Any:
        """The solver for single steps, in forward and reverse mode; one whose iteration has no tolerance takes the controller's."""
        solver = _scanning(self.solver, "bounded")
        if isinstance(solver, diffrax.AbstractImplicitSolver):
            for name in ("rtol", "atol", "norm"):
                given = getattr(solver.root_finder, name, 0.0)
                if not (callable(given) or isinstance(given, int | float | jax.Array)):
                    number = getattr(self.controller(dtype), name)
                    solver = eqx.tree_at(operator.attrgetter(f"root_finder.{name}"), solver, number)
        return solver

    def term(self) -> diffrax.ODETerm:
        """The rate as diffrax takes it."""
        return diffrax.ODETerm(lambda t, y, drive: self.rate(t, y, drive))


def gone(result: RESULTS, answered: Tree, given: Tree) -> RESULTS:
    """The code of a way through time: what it says itself, what is not finite at its end, what was not at its start."""
    result = choose_first(result, RESULTS.where(finite(answered), RESULTS.successful, RESULTS.nonfinite))
    return RESULTS.where(finite(given), result, RESULTS.nonfinite_input)


def counted_steps(count: Array, state: Tree) -> dict:
    """The reserved figures of steps in time."""
    return uncounted(jnp.result_type(*jax.tree.leaves(state))) | {"num_steps": count, "cost": count}


def _scanning(solver: Any, kind: str) -> Any:
    """A solver whose stages are in a loop of a kind that differentiates in both modes."""
    if getattr(wrapped(solver), "scan_kind", "") is not None:
        return solver
    return eqx.tree_at(lambda s: wrapped(s).scan_kind, solver, kind, is_leaf=lambda x: x is None)
