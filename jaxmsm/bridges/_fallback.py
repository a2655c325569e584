"""A quick scale where it is known to be right, and the scale it stands for elsewhere: a network that falls back to its RVE."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .._model import Mixed, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, Solution, choose, hold
from .._typing import Tree
from ..solids import AbstractLaw, undeformed
from ._closed import Closed

_FIGURES = ("newton", "linear", "cost", "residual")


class Nearest(eqx.Module):
    """How far a point of work lies from those that were trained on: min over the rows of |(x - row) / width|.

    Attributes:
        points: one row a point that was trained on.
        widths: the unit of each feature.
        features: `features(load, solution) -> x`, of a load and of the network's solution to it.
    """

    points: Float[Array, "n m"]
    widths: Float[Array, " m"]
    features: Callable[[Any, Solution], Float[Array, " m"]] = eqx.field(static=True)

    def __call__(self, load: Tree, solution: Solution) -> Float[Array, ""]:
        """The distance, without unit; not a number where a feature is none."""
        return self.distance(self.features(load, solution))

    def distance(self, x: Float[Array, " m"]) -> Float[Array, ""]:
        """Of features from the nearest row."""
        points, unit = self.points.astype(x.dtype), self.widths.astype(x.dtype)
        # Which one is nearest has no slope; a derivative sees that one alone.
        row = points[jnp.argmin(jnp.sum(((hold(x)[None] - points) / unit[None]) ** 2, 1))]
        square = jnp.sum(((x - row) / unit) ** 2)
        # At a point itself the distance has a kink.
        distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        return jnp.where(jnp.all(jnp.isfinite(x)), distance, jnp.nan)


class Kept(eqx.Module):
    """What a `Fallback` remembers.

    Attributes:
        network: its state, always of the last step.
        rve: its state, of the last step in which it was asked.
        loads: those committed since, one a row; None where the RVE has no history.
        count: how many these are.
    """

    network: Tree
    rve: Tree
    loads: Tree
    count: Int[Array, ""] | None


class Guesses(eqx.Module):
    """Where both may start."""

    network: Tree
    rve: Tree


class Fallback(AbstractScale):
    """A network where it may be trusted, the RVE that it stands for elsewhere.

        value = (1 - w) network + w RVE,   w = 0 where indicator <= tolerance, 1 from (1 + band) tolerance on, smooth between.

    With `band = 0` the answer jumps at the tolerance, by the error of the network there, and a Newton iteration around it may find
    no equilibrium. With a band the answer is as smooth as both, the slope is exact, and the tangent is not symmetric in the band.

    The network follows every step. The RVE does not: its state waits, with the loads committed since, and where it is asked
    again, it first goes through these, so that it answers in the middle of a path exactly as if it had been asked in every step.
    After `memory` steps without being asked it is asked in any case. Without a history it has nothing to go through.

    The solve of the RVE is under a `lax.cond`: in `batched` on a CPU, where members follow each other, members inside the domain
    skip it; in native batches (`vmap`) all members pay for it, and for `memory` steps each. Within an iteration around it the steps
    that were missed are gone through at every call, until the step is committed.

    Fails: with the code of the one that is asked, and with the network's where it has a history, which would miss the step. The RVE
        answers where a network without a history fails, or where the indicator is not a number.

    Attributes:
        network: a scale or a law, asked always.
        rve: a scale of the same loads and values.
        indicator: `indicator(load, solution of the network) -> number`, such as `Nearest`.
        tolerance: what of it is trusted.
        band: width of the passage, over the tolerance.
        memory: steps that the RVE may sleep.
    """

    network: AbstractScale
    rve: AbstractScale
    indicator: Callable[[Any, Solution], Float[Array, ""]]
    tolerance: Float[Array, ""]
    band: float = eqx.field(static=True)
    memory: int = eqx.field(static=True)

    def __init__(
        self,
        network: AbstractScale | AbstractLaw,
        rve: AbstractScale,
        indicator: Callable[[Any, Solution], Float[Array, ""]],
        tolerance: float | Float[Array, ""] = 1.0,
        *,
        band: float = 0.25,
        memory: int = 32,
    ):
        if not isinstance(network, AbstractScale | AbstractLaw) or not isinstance(rve, AbstractScale):
            raise TypeError("Arguments `network` and `rve` must be scales (or a law, and a scale), but one is not.")
        if not band >= 0 or memory < 1:
            raise ValueError(f"Arguments `band` and `memory` must be at least 0 and 1, but are {band} and {memory}.")
        if not isinstance(tolerance, jax.core.Tracer) and not float(tolerance) > 0:
            raise ValueError(f"Argument `tolerance` must be positive, but it is {tolerance}.")
        self.network = Closed(network) if isinstance(network, AbstractLaw) else network
        self.rve = rve
        self.indicator = indicator
        self.tolerance = jnp.asarray(tolerance, float)
        self.band = float(band)
        self.memory = memory

    @property
    def symmetric(self) -> bool:
        """Both have symmetric tangents, and nothing passes from one to the other."""
        return self.band == 0 and all(bool(getattr(x, "symmetric", False)) for x in (self.network, self.rve))

    @property
    def timed(self) -> bool:
        """Loads must be a `Span`."""
        return any(bool(getattr(x, "timed", False)) for x in (self.network, self.rve))

    def init(self, load, *, key=None):
        keys = (None, None) if key is None else jax.random.split(key)
        network, rve = (scale.init(load, key=k) for scale, k in zip((self.network, self.rve), keys))
        if not jax.tree.leaves(rve):
            return Kept(network, rve, None, None)
        loads = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.memory, *jnp.shape(x))), _still(_arrays(load)))
        return Kept(network, rve, loads, jnp.zeros((), jnp.int32))

    def cold(self, load):
        return Guesses(self.network.cold(load), self.rve.cold(load))

    def primed(self, load):
        return Guesses(self.network.primed(load), self.rve.primed(load))

    def with_slack(self, slack):
        return eqx.tree_at(lambda scale: scale.rve, self, self.rve.with_slack(slack))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        load, state, guess = self._given(load, state, guess)
        first = self.network(load, state.network, guess=guess.network)
        weight, measure = self._weight(load, first, state)

        def ask(load, rve, start):
            return self.rve(load, rve, guess=start), ()

        second = self._asked(ask, load, state, guess, weight)
        return self._joined(load, state, first, second, weight, measure)

    @full_precision
    def linearize(self, load, state=None, *, guess=None):
        load, state, guess = self._given(load, state, guess)
        if not isinstance(load, jax.Array):
            return AbstractScale.linearize(self, load, state, guess=guess)

        def quick(load):
            first = self.network(load, state.network, guess=guess.network)
            weight, measure = self._weight(load, first, state)
            return (first.value, weight), (first, weight, measure)

        (slope, rise), (first, weight, measure) = jax.jacfwd(quick, has_aux=True)(load)

        def ask(load, rve, start):
            return self.rve.linearize(load, rve, guess=start)

        second = self._asked(ask, load, state, guess, weight)
        solution = self._joined(load, state, first, second, weight, measure)
        other = jax.tree.map(lambda a, b: blend(weight, a, b), slope, second.slope)
        if self.band > 0:
            gap = jax.tree.map(lambda a, b: jnp.where((weight > 0) & (weight < 1), b - a, 0), first.value, second.value)
            other = jax.tree.map(lambda a, g: a + jnp.tensordot(g, rise, 0), other, gap)
        return solution, jax.tree.map(lambda a: jnp.where(solution.ok, a, jnp.nan), other)

    def _given(self, load, state, guess):
        load = _arrays(load)
        state = self.init(load) if state is None else state
        return load, state, self.cold(load) if guess is None else guess

    def _weight(self, load: Tree, first: Solution, state: Kept) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The part of the RVE in the answer, and the indicator."""
        measure = self.indicator(load, first)
        past = measure / self.tolerance.astype(measure.dtype) - 1
        weight = (past > 0).astype(measure.dtype)
        if self.band > 0:
            x = jnp.clip(past / self.band, 0, 1)
            weight = x * x * (3 - 2 * x)
        trusted = jnp.isfinite(measure)
        if not jax.tree.leaves(state.network):
            trusted &= first.ok
        return jnp.where(trusted, weight, 1), measure

    def _asked(self, ask: Callable, load: Tree, state: Kept, guess: Guesses, weight: Array) -> "_Second":
        """What the RVE says where it is asked; elsewhere nothing, and the load is put down."""
        need = weight > 0
        if state.count is not None:
            need |= state.count >= self.memory
        # In a native batch those who need not be asked are solved with the others: where that surely works, so that no
        # derivative is disturbed.
        rest = _still(load)
        safe_load = choose(need, load, rest)
        safe = choose(need, (state.rve, guess.rve), hold((self.rve.init(rest), guess.rve)))

        def solve():
            rve, start, code = safe[0], safe[1], None
            if state.count is not None:
                rve, start, code = self._replayed(state, rve, start)
            solution, slope = ask(safe_load, rve, start)
            stats = {name: jnp.asarray(solution.stats[name]) for name in _FIGURES if name in solution.stats}
            result = solution.result._value if code is None else jnp.where(_ok(code), solution.result._value, code)
            return solution.value, solution.state, solution.guess, jnp.asarray(result), stats, slope

        shape = jax.eval_shape(solve)
        nothing = lambda tree: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)

        def skip():
            code = jnp.asarray(RESULTS.successful._value, shape[3].dtype)
            return nothing(shape[0]), state.rve, guess.rve, code, nothing(shape[4]), nothing(shape[5])

        value, rve, start, code, stats, slope = lax.cond(need, solve, skip)
        return _Second(value, rve, start, _result(code), stats, slope, need)

    def _replayed(self, state: Kept, rve: Tree, start: Tree) -> tuple[Tree, Tree, Array]:
        """The RVE led through the loads that it has missed, and the code of the first failure."""

        def step(carry, row):
            number, load = row
            rve, start, code = carry

            def go():
                found = self.rve(load, rve, guess=start)
                return found.state, found.guess, jnp.where(_ok(code), jnp.asarray(found.result._value), code)

            return lax.cond(number < state.count, go, lambda: (rve, start, code)), None

        code = jnp.asarray(RESULTS.successful._value)
        return lax.scan(step, (rve, start, code), (jnp.arange(self.memory), state.loads))[0]

    def _joined(self, load, state: Kept, first: Solution, second: "_Second", weight: Array, measure: Array) -> Solution:
        history = bool(jax.tree.leaves(state.network))
        heard = (weight < 1) | history
        good = (first.ok | ~heard) & Solution(None, None, None, second.result, {}).ok
        result = RESULTS.where(first.ok | ~heard, second.result, first.result)
        value = jax.tree.map(lambda a, b: jnp.where(good, blend(weight, a, b), jnp.nan), first.value, second.value)
        loads, count = state.loads, state.count
        if count is not None and loads is not None:
            at = jnp.minimum(count, self.memory - 1)
            put = jax.tree.map(lambda rows, x: rows.at[at].set(x.astype(rows.dtype)), loads, load)
            loads = choose(second.asked, loads, put)
            count = jnp.where(second.asked, 0, count + 1)
        following = choose(good, Kept(first.state, second.state, loads, count), state)
        stats = second.stats | {"indicator": measure, "weight": weight, "asked": second.asked}
        return Solution(value, following, Guesses(first.guess, second.guess), result, hold(stats))


class _Second(eqx.Module):
    """What the RVE said, if it was asked."""

    value: Tree
    state: Tree
    guess: Tree
    result: RESULTS
    stats: dict[str, Array]
    slope: Tree
    asked: Array


def blend(weight: Array, a: Array, b: Array) -> Array:
    """a where the weight is 0, b where it is 1, to the bit; one that has no part in the answer has none in its derivatives."""
    mixed = (1 - weight) * jnp.where(weight < 1, a, 0) + weight * jnp.where(weight > 0, b, 0)
    return jnp.where(weight <= 0, a, jnp.where(weight >= 1, b, mixed))


def _result(code: Array) -> RESULTS:
    return eqx.tree_at(lambda r: r._value, RESULTS.successful, code)


def _ok(code: Array) -> Array:
    return Solution(None, None, None, _result(code), {}).ok


def _arrays(load: Tree) -> Tree:
    """The load as arrays, numbers as floats."""

    def convert(x):
        x = jnp.asarray(x)
        return x.astype(jnp.result_type(float)) if jnp.issubdtype(x.dtype, jnp.integer) else x

    return jax.tree.map(convert, load)


def _still(load: Tree) -> Tree:
    """Nothing imposed, on the same components and in the same time."""
    if isinstance(load, Span):
        return Span(load.t0, load.t1, _still(load.drive))
    if isinstance(load, Mixed):
        return Mixed(undeformed(load.F), jnp.zeros_like(load.P), load.mask)
    return undeformed(load)
