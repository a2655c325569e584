"""A scale answers a load with a value; whoever calls it need not know what is inside."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from ._results import RESULTS, fine, message, names
from ._typing import Tree


class Solution(eqx.Module):
    """What a scale answers to a load.

    `value` is the answer, `state` the history to commit, `guess` where the next solve may start, `result` one code per
    batch member, `stats` arrays under reserved names, and consistency figures: `newton` and `linear` iterations, `cost` (work, in a
    unit of the scale's own), `residual` (what is left of the equations, as a fraction of what it is measured against).
    """

    value: Tree
    state: Tree
    guess: Tree
    result: RESULTS
    stats: dict[str, Any]

    @property
    def ok(self) -> Bool[Array, "..."]:
        """True for every member whose value is valid."""
        return fine(self.result)

    def unwrap(self) -> Tree:
        """The value, if every member succeeded.

        Eagerly, raises `RuntimeError` naming the members that failed and why. Under `jit` the compiled program raises the
        sentence of the first code that is not a success; it needs a host callback there and does not export.
        """
        if self.result.is_traced():
            first = jnp.argmax(~jnp.ravel(self.ok))
            code = eqx.tree_at(lambda r: r._value, self.result, jnp.ravel(self.result._value)[first])
            return code.error_if(self.value, ~jnp.all(self.ok))
        bad = np.argwhere(~np.atleast_1d(np.asarray(self.ok)))
        if len(bad) == 0:
            return self.value
        code = str(np.atleast_1d(names(self.result))[tuple(bad[0])])
        if np.ndim(names(self.result)) == 0:
            raise RuntimeError(f"The solve failed with `{code}`: {message(code)}")
        which = ", ".join(str(tuple(map(int, b)) if len(b) > 1 else int(b[0])) for b in bad[:8]) + (", ..." if len(bad) > 8 else "")
        raise RuntimeError(
            f"{len(bad)} of {np.size(self.ok)} members failed (members {which}); the first with `{code}`: {message(code)}"
        )

    def value_or(self, fallback: Tree) -> Tree:
        """The value where it is valid, `fallback` (same tree, or one number) elsewhere."""
        if jnp.ndim(fallback) == 0 and not _alike(fallback, self.value):
            fallback = jax.tree.map(lambda v: jnp.full_like(v, fallback), self.value)
        return choose(self.ok, self.value, fallback)


def choose(ok: Bool[Array, "..."], new: Tree, old: Tree) -> Tree:
    """`new` where `ok`, `old` elsewhere, leaf by leaf; the flag's axes are leading axes of every leaf."""

    def pick(a, b):
        flag = ok.reshape(ok.shape + (1,) * (jnp.ndim(a) - ok.ndim))
        return jnp.where(flag, a, b)

    return jax.tree.map(pick, new, old)


def _alike(a: Tree, b: Tree) -> bool:
    structures: Any = jax.tree.structure(a), jax.tree.structure(b)
    return structures[0] == structures[1]


def hold(tree: Tree) -> Tree:
    """The tree with no gradient through its arrays."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


class AbstractScale(eqx.Module):
    """A scale: `scale(load, state, guess=...) -> Solution`.

    The same load and state give the same answer, noise included; the guess never changes it. A subclass is final.
    """

    @abc.abstractmethod
    def init(self, load: Tree, *, key: Array | None = None) -> Tree:
        """The first state: a scan carry, the same tree, shapes and dtypes as every later state."""

    @abc.abstractmethod
    def __call__(self, load: Tree, state: Tree = None, *, guess: Tree = None) -> Solution:
        """The answer to `load` from the committed `state` (`init(load)` if None), starting the iteration at `guess`."""

    def cold(self, load: Tree) -> Tree:
        """A guess to start from when there is none; the same tree, shapes and dtypes as every later guess."""
        del load
        return None

    def primed(self, load: Tree) -> Tree:
        """As `cold`, with room for what `linearize` learns, for whoever asks for slopes step after step."""
        return self.cold(load)

    def with_slack(self, slack: Float[Array, ""]) -> "AbstractScale":
        """The same scale, the slopes of whose `linearize` may err by `slack` of their size where that saves work.

        For the steps of a search, which need no better slopes than their own tolerance; its answers are as good as ever.
        """
        del slack
        return self

    def linearize(self, load: Tree, state: Tree = None, *, guess: Tree = None) -> tuple[Solution, Tree]:
        """The answer and its slope in the float leaves of the load, by forward differentiation."""
        diff, static = eqx.partition(load, eqx.is_inexact_array)

        def value(diff):
            solution = self(eqx.combine(diff, static), state, guess=guess)
            return solution.value, solution

        slope, solution = jax.jacfwd(value, has_aux=True)(diff)
        return solution, slope


class Guarded(AbstractScale):
    """A scale whose failed members take no part in any gradient.

    A member that fails at its load is solved once more at `safe`, a load at which the scale is known to work, so that
    every derivative is finite; its value is kept as it was, without a gradient. Masking the value is not enough, since
    0 x NaN is NaN. Every member is solved twice, the successful ones again at their own load: from their own guess where the
    scale takes one, which costs one residual (with sub-steps the search for the steps again), and at the full price
    elsewhere (`Steady`, `Relaxed`, `Flow`). The code is the first failure of the two.
    """

    scale: AbstractScale
    safe: Tree

    def init(self, load, *, key=None):
        return self.scale.init(load, key=key)

    def cold(self, load):
        return self.scale.cold(load)

    def primed(self, load):
        return self.scale.primed(load)

    def __call__(self, load, state=None, *, guess=None):
        state = self.init(load) if state is None else state
        first = hold(self.scale)(hold(load), hold(state), guess=hold(guess))
        first = hold(first)
        safe = jax.tree.map(lambda s, x: jnp.broadcast_to(jnp.asarray(s, jnp.result_type(x)), jnp.shape(x)), self.safe, load)
        load = choose(first.ok, load, safe)
        state = choose(first.ok, state, hold(self.init(safe)))
        guess = choose(first.ok, first.guess, hold(self.cold(safe)))
        again = self.scale(load, state, guess=guess)
        return Solution(
            choose(first.ok, again.value, first.value),
            choose(first.ok, again.state, first.state),
            first.guess,
            RESULTS.where(first.ok, again.result, first.result),
            first.stats,
        )


def rollout(scale: AbstractScale, loads: Tree, state: Tree = None, *, guess: Tree = None, again: int = 0) -> tuple[Tree, Solution]:
    """The scale's answers along a path of loads (leading axis: steps), each step from the last one's state and guess.

    Traced and differentiable (`lax.scan`). A failed step commits nothing: the next one starts from the last good state.

    Args:
        scale: what is loaded.
        loads: a tree whose leaves have the steps as leading axis.
        state, guess: where the path begins; by default those of a new scale.
        again: what reverse mode keeps. 0: every step with all that its slope needs. k: the states before every k-th step; the k
            steps after it are solved again on the way back, so that memory is that of k steps and of the states of one in k, at
            the price of another forward run (k about the root of the number of steps needs the least).

    Returns:
        The last state, and a `Solution` whose leaves carry the steps as leading axis (`state` and `guess` included).
    """
    first = jax.tree.map(lambda x: x[0], loads)
    state = scale.init(first) if state is None else state
    guess = scale.cold(first) if guess is None else guess

    def step(carry, load):
        state, guess = carry
        solution = scale(load, state, guess=guess)
        return (solution.state, solution.guess), solution

    carry, count = (state, guess), len(jax.tree.leaves(loads)[0])
    if again < 1:
        (state, _), solutions = lax.scan(step, carry, loads)
        return state, solutions
    segment = jax.checkpoint(lambda carry, loads: lax.scan(step, carry, loads))
    whole = count - count % again
    inner = lambda x: jnp.reshape(x[:whole], (whole // again, again, *jnp.shape(x)[1:]))
    carry, most = lax.scan(segment, carry, jax.tree.map(inner, loads))
    (state, _), rest = segment(carry, jax.tree.map(lambda x: x[whole:], loads))
    joined = lambda x, y: jnp.concatenate([jnp.reshape(x, (whole, *jnp.shape(x)[2:])), y])
    return state, jax.tree.map(joined, most, rest)
