"""Small scales with known answers, to drive in batches, campaigns and marches."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from jaxmsm import RESULTS, AbstractScale, Solution
from jaxmsm.solve import implicit


def _residual(x, params):
    a, b, k = params
    return x - a * jnp.sin(x) - k * b


def _scalar(matvec, rhs, root, params):
    return rhs / matvec(jnp.ones_like(rhs))


class Kepler(AbstractScale):
    """Kepler's equation x - a sin x = k b by Picard iteration: some log(tol) / log(a) trips, so members are ragged.

    The load is {"a", "b"}; |a| >= 1 is out of range and leaves NaN; the state sums the answers, k is shared.
    """

    k: jax.Array
    limit: int = eqx.field(static=True, default=2000)

    def init(self, load, *, key=None):
        return jnp.zeros_like(load["b"]) if key is None else jax.random.normal(key, load["b"].shape, load["b"].dtype)

    def cold(self, load):
        return jnp.zeros_like(load["b"])

    def __call__(self, load, state=None, *, guess=None):
        state = self.init(load) if state is None else state
        a, b, k = load["a"], load["b"], jnp.asarray(self.k, load["b"].dtype)
        frozen = lax.stop_gradient((a, b, k))
        start = self.cold(load) if guess is None else lax.stop_gradient(guess)
        valid = jnp.abs(a) < 1
        # Round-off of a member of size one.
        tol = 16 * float(jnp.finfo(b.dtype).eps)

        def more(carry):
            _, r, trips = carry
            return (jnp.abs(r) > tol) & (trips < self.limit) & lax.stop_gradient(valid)

        def body(carry):
            x, r, trips = carry
            x = x - r
            return x, _residual(x, frozen), trips + 1

        x, r, trips = lax.while_loop(more, body, (start, _residual(start, frozen), jnp.zeros((), jnp.int32)))
        result = RESULTS.where(jnp.abs(r) <= tol, RESULTS.successful, RESULTS.nonlinear_max_steps_reached)
        result = RESULTS.where(valid, result, RESULTS.out_of_range)
        ok = result == RESULTS.successful
        # The slope 1 - a cos x may vanish out of range; so does the answer.
        found = jnp.where(valid, implicit(_residual, _scalar, x, (a, b, k)), jnp.nan * a)
        stats = {"cost": trips, "residual": jnp.abs(r)}
        return Solution(found, jnp.where(ok, state + found, state), lax.stop_gradient(x), result, stats)


def loads_of(n, seed=0, hard=0.05):
    """Eccentricities and mean anomalies: a few percent of the members need some forty times as many trips."""
    keys = jax.random.split(jax.random.key(seed), 3)
    a = jnp.where(jax.random.uniform(keys[0], (n,)) < hard, -0.97, 0.3 * jax.random.uniform(keys[1], (n,)))
    return {"a": a, "b": jax.random.uniform(keys[2], (n,), minval=0.1, maxval=0.5)}
