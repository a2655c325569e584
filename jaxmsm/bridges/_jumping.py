"""A fine scale that lives through a span of time in exact jumps."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._model import Span
from .._results import RESULTS
from .._scale import AbstractScale, hold
from ..biology import Reactions
from ._closed import answer, choose_first, finite, uncounted
from ._wiener import Noisy, begun, parted


class Jumping(AbstractScale):
    """Reactions one by one, at their random times: `Jumping(reactions, start)(Span(t0, t1, drive)) -> Solution`.

    The direct method: the next reaction comes after an exponential time of mean 1 / sum(a), and is reaction j with probability
    a_j / sum(a). The value is what `reactions.observe` makes of the numbers at t1; the state holds them and the key, so that the
    same state gives the same jumps. `stats["cost"]` counts the jumps. A drive stands still during the span.

    No gradient passes: numbers of molecules jump with a parameter, and the slope of their mean is not that of a path.

    Fails: `max_steps_reached` (more than `most` jumps), `nonfinite`, `nonfinite_input`.
    Source: D. Gillespie, J. Phys. Chem. 81 (1977) 2340.

    Attributes:
        reactions: what may happen.
        start: first numbers, (species,).
        most: jumps at most.
    """

    reactions: Reactions
    start: Float[Array, " species"]
    most: int = eqx.field(static=True, default=100_000)

    def init(self, load, *, key=None):
        del load
        return begun(self.reactions, self.start, key)

    def __call__(self, load, state=None, *, guess=None):
        del guess
        if not isinstance(load, Span):
            raise TypeError(f"Argument `load` must be a `Span(t0, t1, drive)`, but it is a {type(load).__name__}.")
        state = self.init(load) if state is None else state
        model, given, x = hold((self.reactions, load, state.fine))
        now, later = parted(state.key)
        dtype = x.dtype
        end = jnp.asarray(given.t1, dtype)
        # In float32 whatever the precision, so that the jumps are the same in both.
        draw = lambda law, key: law(key, dtype=jnp.float32).astype(dtype)

        def going(carry):
            t, _, count, done = carry
            return ~done & (count < self.most) & jnp.isfinite(t)

        def jump(carry):
            t, x, count, _ = carry
            a = model.propensity(x, given.drive)
            when, which = jax.random.split(jax.random.fold_in(now, count))
            total = jnp.sum(a)
            # Where nothing can react the next reaction never comes; a rate that is no number stays none.
            wait = draw(jax.random.exponential, when) / jnp.where(total == 0, 1.0, total)
            t = jnp.where(total == 0, jnp.inf, t + wait)
            late = ~(t < end)
            chosen = jnp.sum(jnp.cumsum(a) <= draw(jax.random.uniform, which) * total)
            new = x + model.change[:, jnp.clip(chosen, 0, a.size - 1)]
            return t, jnp.where(late, x, new), count + ~late, late

        first = (jnp.asarray(given.t0, dtype), x, jnp.asarray(0), jnp.asarray(False))
        t, x, count, done = lax.while_loop(going, jump, first)
        state_after = Noisy(x, later)
        value = model.observe(x, given.drive)
        result = RESULTS.where(done, RESULTS.successful, RESULTS.max_steps_reached)
        result = choose_first(RESULTS.where(jnp.isnan(t) | ~finite(value), RESULTS.nonfinite, RESULTS.successful), result)
        result = RESULTS.where(finite((load, state)), result, RESULTS.nonfinite_input)
        return answer(value, state_after, state, None, result, uncounted(dtype) | {"cost": count})
