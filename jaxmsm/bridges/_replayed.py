"""Steps that were accepted once, taken again as they were."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._model import Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale
from .._typing import Tree
from ._closed import answer
from ._flow import Flow, counted_steps, gone
from ._wiener import refuse_noise


def accepted(flow: Flow, load: Span, state: Tree = None) -> Float[Array, "..."]:
    """The times between which the flow steps, as fractions of the span; of a batch of loads one row each.

    From the host, since their number is that of the longest member; the others repeat their end.

    Raises:
        RuntimeError: a member failed; it says which and why.
    """

    refuse_noise(flow.rate, "`accepted`")

    def times(load, state):
        start, solution = flow.solved(load, state, saveat=diffrax.SaveAt(t0=True, steps=True))
        ts = (jnp.minimum(solution.ts, load.t1) - load.t0) / (load.t1 - load.t0)
        return answer(ts, start, start, None, gone(RESULTS.promote(solution.result), ts, (load, start)), {})

    ts = np.asarray(eqx.filter_jit(eqx.filter_vmap(times) if jnp.ndim(load.t0) else times)(load, state).unwrap())
    return jnp.asarray(ts[..., : int(np.max(np.sum(ts < 1, axis=-1))) + 1])


class Replayed(AbstractScale):
    """A flow in steps that are known: `Replayed(flow, accepted(flow, load))(load) -> Solution`.

    One loop of fixed length without decisions, so that slopes are cheap, in reverse mode too, and the members of a batch do not
    wait for each other. The steps are data and have no slope, as those of `Flow` have none either: the answer and its slopes
    at the load that was recorded are the flow's. Near it the error is near that which was accepted; record again when a fit
    has moved far.

    Fails: `nonfinite`, `nonfinite_input`, and what an implicit solver says.
    Error: not controlled; `stats["error"]` is the largest local error over the steps by the solver's own estimate, as a fraction
        of 1e-6 + |y|.

    Attributes:
        flow: rate, start and solver; its controller is not asked.
        times: where steps begin and end, as fractions of the span, (steps + 1,); a batch has one row each (`jax.vmap`).
    """

    flow: Flow
    times: Float[Array, "..."]

    def __check_init__(self):
        refuse_noise(self.flow.rate, "`Replayed`")

    def init(self, load, *, key=None):
        return self.flow.init(load, key=key)

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        state = self.init(load) if state is None else state
        dtype = jnp.result_type(*jax.tree.leaves(state))
        solver, term = self.flow.stepper(dtype), self.flow.term()
        span = jnp.asarray(load.t1 - load.t0, dtype)
        ts = load.t0 + span * lax.stop_gradient(self.times).astype(dtype)

        def advance(carry, ends):
            y, memory, result, worst = carry
            y1, wrong, _, memory, said = solver.step(term, *ends, y, load.drive, memory, made_jump=False)
            off = jax.tree.map(lambda e, y: jnp.max(jnp.abs(e) / (1e-6 + jnp.abs(y)), initial=0.0), wrong, y1)
            worst = jnp.maximum(worst, lax.stop_gradient(jnp.max(jnp.stack(jax.tree.leaves(off)))))
            return (y1, memory, RESULTS.where(result == RESULTS.successful, RESULTS.promote(said), result), worst), None

        memory = solver.init(term, ts[0], ts[1], state, load.drive)
        begin = (state, memory, RESULTS.successful, jnp.zeros((), dtype))
        (end, _, result, worst), _ = lax.scan(advance, begin, (ts[:-1], ts[1:]))
        value = self.flow.rate.observe(end, load.drive)
        result = gone(result, (value, end), (load, state))
        stats = counted_steps(jnp.sum(ts[1:] > ts[:-1]), state) | {"error": worst}
        return answer(value, end, state, None, result, stats)
