"""A fine scale that lives through a span of time in steps of one size, with or without noise."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._model import AbstractNoisyRate, AbstractRate, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale
from .._typing import Tree
from ..solve import AbstractNoisyStep, AbstractStep, AbstractWatch, Noise, Path, Steps, follow
from ._closed import answer, finite, uncounted
from ._wiener import Noisy, begun, fine_of, parted


class Stepped(AbstractScale):
    """The fine unknowns follow their rate in steps of one size: `Stepped(rate, start, step, n)(Span(t0, t1, drive)) -> Solution`.

    The value is `rate.observe(fine(t1), drive)` or, with `watch`, a tuple of what the watches tell (times of activation, peaks).
    The state is fine(t1); of a rate with noise it holds the key too, so that the same state gives the same path. There is no
    guess. One loop of fixed length, without decisions: the members of a batch never wait for each other. `Flow` chooses its steps
    by their error instead.

    Fails: `nonfinite` (the step is too long for the rate: an explicit step must be shorter than about twice its shortest time),
        `nonfinite_input`.
    Error: that of the step; halve it and compare.

    Attributes:
        rate: `rate(t, fine, drive) -> d fine / dt`, or a rate with noise.
        start: the first fine unknowns, any tree of float arrays.
        step: an `AbstractStep`, for a rate with noise an `AbstractNoisyStep`.
        count: how many steps make up the span.
        watch: what is kept of every step.
        every: steps in a block, of which reverse mode keeps only the start and takes the steps again; None: all are kept.
    """

    rate: AbstractRate
    start: Tree
    step: AbstractStep | AbstractNoisyStep
    count: int = eqx.field(static=True)
    watch: tuple[AbstractWatch, ...] = ()
    every: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if isinstance(self.rate, AbstractNoisyRate) != isinstance(self.step, AbstractNoisyStep):
            raise TypeError(
                f"Argument `step` must be one with noise (`EulerMaruyama()`) for a rate with noise and one without for a rate "
                f"without, but it is a {type(self.step).__name__} for a {type(self.rate).__name__}."
            )

    def init(self, load, *, key=None):
        del load
        return begun(self.rate, self.start, key)

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        if not isinstance(load, Span):
            raise TypeError(f"Argument `load` must be a `Span(t0, t1, drive)`, but it is a {type(load).__name__}.")
        state = self.init(load) if state is None else state
        path, end = self._follow(load, state)
        fine = fine_of(end)
        value = path.seen if self.watch else self.rate.observe(fine, load.drive)
        # A time that never came is infinite, and no failure.
        result = RESULTS.where(finite(fine), RESULTS.successful, RESULTS.nonfinite)
        result = RESULTS.where(finite((load, state)), result, RESULTS.nonfinite_input)
        dtype = jnp.result_type(*jax.tree.leaves(fine))
        return answer(value, end, state, None, result, uncounted(dtype) | {"cost": jnp.asarray(self.count)})

    def _follow(self, load: Span, state: Tree) -> tuple[Path, Tree]:
        dtype = jnp.result_type(*jax.tree.leaves(self.start))
        t0, t1 = jnp.asarray(load.t0, dtype), jnp.asarray(load.t1, dtype)
        steps = Steps(t0, (t1 - t0) / self.count, self.count)
        terms, again = self.rate.driven(load.drive), self.every is not None
        step: Any = self.step
        if not isinstance(self.rate, AbstractNoisyRate):
            path = follow(lambda *at: step(terms, *at), state, steps, watch=self.watch, every=self.every, again=again)
            return path, path.end
        shake = self.rate.shaken(load.drive)
        now, later = parted(state.key)
        noise = Noise(now, self.rate.sources(state.fine))
        path = follow(
            lambda *at: step(terms, shake, *at), state.fine, steps, watch=self.watch, every=self.every, again=again, noise=noise
        )
        return path, Noisy(path.end, later)
