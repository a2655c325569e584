"""A fine scale that lives until something happens."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._model import Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, hold
from .._typing import Tree
from ._closed import answer
from ._flow import Flow, counted_steps, gone
from ._wiener import refuse_noise

TRIES = 24
"""Of the regula falsi within the step in which the event comes."""


class Passage(NamedTuple):
    """When something happened, and what was observed then."""

    time: Float[Array, ""]
    value: Any


class FirstPassage(AbstractScale):
    """When something first happens: `FirstPassage(flow, event)(Span(t0, t1, drive)) -> Solution` with a `Passage` as value.

    The fine unknowns follow the flow's rate until `event(t, fine, drive)` crosses zero: a threshold, a washout, an extinction.
    The step in which it does is searched for the time; then the flow runs to that time, and slopes are
    those of the implicit-function rule, dt = -(d event) / (d event / dt). The state is that of the moment.

    Fails: `no_event` (it did not come before t1), and as `Flow`.
    Error: that of the flow's steps.

    Attributes:
        flow: rate, start, solver and tolerances.
        event: `event(t, fine, drive)`, a number that changes its sign; it must not be zero at the start.
        direction: True: only upwards through zero; False: only downwards; None: both.
    """

    flow: Flow
    event: Callable[[Any, Any, Any], Any]
    direction: bool | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        refuse_noise(self.flow.rate, "`FirstPassage`")

    def init(self, load, *, key=None):
        return self.flow.init(load, key=key)

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        state = self.init(load) if state is None else state
        held, drive, state0 = hold((self, load, state))
        moment, found = held.search(drive, state0)
        _, solution = self.flow.solved(Span(load.t0, moment, load.drive), state)
        y = jax.tree.map(lambda y: y[-1], solution.ys)
        # One step of Newton's, whose slope is the implicit-function rule's, and the unknowns carried along.
        rate = self.flow.rate(moment, y, load.drive)
        size, speed = jax.jvp(lambda t, y: self.event(t, y, load.drive), (moment, y), (jnp.ones_like(moment), rate))
        late = jnp.where(found == RESULTS.successful, -size / lax.stop_gradient(speed), 0.0)
        y = jax.tree.map(lambda y, r: y + late * r, y, rate)
        passage = Passage(moment + late, self.flow.rate.observe(y, load.drive))
        result = RESULTS.where(found == RESULTS.successful, RESULTS.promote(solution.result), found)
        result = gone(result, (passage, y), (load, state))
        return answer(passage, y, state, None, result, counted_steps(solution.stats["num_steps"], state))

    def search(self, load: Span, state: Tree) -> tuple[Float[Array, ""], RESULTS]:
        """The time of the event to the error of a step, and how the search went; without slopes."""
        forward = eqx.tree_at(lambda f: f.adjoint, self.flow, diffrax.ForwardMode())
        condition = lambda t, y, drive, **_: self.event(t, y, drive)
        event = diffrax.Event(condition, direction=self.direction)
        _, solution = forward.solved(load, state, event=event, saveat=diffrax.SaveAt(t0=True, steps=True))
        last = solution.stats["num_accepted_steps"] - 1
        t, y = solution.ts[last], jax.tree.map(lambda y: y[last], solution.ys)
        solver, term = self.flow.stepper(t.dtype), self.flow.term()

        def at(h):
            # A step of no length has no slope in an implicit solver.
            h = jnp.maximum(h, jnp.finfo(t.dtype).tiny)
            memory = solver.init(term, t, t + h, y, load.drive)
            return self.event(t + h, solver.step(term, t, t + h, y, load.drive, memory, made_jump=False)[0], load.drive)

        came = solution.result == diffrax.RESULTS.event_occurred
        h = between(at, jnp.where(came, solution.ts[last + 1] - t, 0.0), self.event(t, y, load.drive))
        result = RESULTS.promote(solution.result)
        result = RESULTS.where(result == RESULTS.successful, RESULTS.no_event, result)
        # What failed or never came stands at the start, so that nothing infinite is followed.
        moment = jnp.where(came, t + h, jnp.asarray(load.t0, t.dtype))
        return moment, RESULTS.where(came, RESULTS.successful, result)


def between(fn: Callable[[Any], Any], end: Float[Array, ""], first: Float[Array, ""]) -> Float[Array, ""]:
    """Where a function crosses zero between zero, where its value is the first, and the end: regula falsi, Illinois' way."""

    def closer(_, ends):
        a, b, fa, fb = ends
        flat = fa == fb
        c = b - jnp.where(flat, 0.0, fb * (b - a) / jnp.where(flat, 1.0, fb - fa))
        fc = fn(c)
        beyond = (fc > 0) == (fb > 0)
        a, fa = jnp.where(beyond, a, b), jnp.where(beyond, 0.5 * fa, fb)
        return a, c, fa, fc

    return lax.fori_loop(0, TRIES, closer, (jnp.zeros_like(end), end, first, fn(end)))[1]
