"""Many members of one scale, solved in one compiled program: still a scale."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Real

from .._scale import AbstractScale, Solution
from .._typing import Tree
from ._spread import is_array, size, spread


class LastCost(eqx.Module):
    """Order the members by what they cost the last time (`stats["cost"]`), which the guess then carries along."""


class Sorted(eqx.Module):
    """The members' guesses, and what each member cost when they were found."""

    guess: Tree
    cost: Float[Array, " n"]


class Batched(AbstractScale):
    """A batch of members as one scale; made by `batched`.

    Loads, states, guesses, results and stats carry the members as leading axis on every array.

    Fails: per member, with the codes of `scale`.
    """

    scale: AbstractScale
    order: Any
    flags: tuple[bool, ...] = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True)
    mesh: Mesh | None = eqx.field(static=True)

    def init(self, load, *, key=None):
        keys = None if key is None else jax.random.split(key, size(eqx.filter(load, is_array)))
        return _plain(self, lambda scale, load, key: scale.init(load, key=key), load, keys)

    def cold(self, load):
        return self._first(lambda scale, load, _: scale.cold(load), load)

    def primed(self, load):
        return self._first(lambda scale, load, _: scale.primed(load), load)

    def with_slack(self, slack):
        scale = self.scale.with_slack(slack)
        known = dict(zip((path for path, _ in jax.tree_util.tree_leaves_with_path(self.scale)), self.flags, strict=True))
        # What says how rough the slopes may be belongs to all members.
        flags = tuple(known.get(path, False) for path, _ in jax.tree_util.tree_leaves_with_path(scale))
        return Batched(scale, self.order, flags, self.chunk, self.mesh)

    def _first(self, method: Callable, load: Tree) -> Tree:
        guess = _plain(self, method, load, None)
        n = size(eqx.filter(load, is_array))
        return Sorted(guess, jnp.zeros(n, jnp.float32)) if isinstance(self.order, LastCost) else guess

    def __call__(self, load, state=None, *, guess=None):
        return _run(self, _solve, load, state, guess)

    def linearize(self, load, state=None, *, guess=None):
        """The answers and every member's slope in its own load, members as leading axis of both."""
        return _run(self, _linearize, load, state, guess)


def batched(
    scale: AbstractScale,
    *,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    over: Callable[[Any], Tree] | None = None,
    order: Real[Array | np.ndarray, " n"] | LastCost | None = None,
) -> Batched:
    """The scale over a batch of loads, and over leaves of its own: a scale in the compiled program.

    Differentiable in forward and reverse mode as the scale itself is, exportable, traced once. A member's value, code and
    gradient do not depend on the others.

    Args:
        scale: any scale; with `over`, one whose selected leaves carry the members as leading axis (made by
            `eqx.tree_at(lambda s: s.image, scale, images)` or by `eqx.filter_vmap` of its constructor).
        chunk: members computed together as a native batch; chunks follow each other in a loop. The same chunk gives the
            same bits, on any number of devices. A chunk takes as long as its slowest member. None: 1 on a CPU, where
            nothing then waits for anything, and on an accelerator a power of two by the size of a member's state, guess
            and answer (`chunk_for` counts what the compiled program needs). It is chosen where the program is lowered.
        mesh: devices among which the batch is divided, over all axes of the mesh, by one `jax.shard_map` without
            communication. The batch may have any length.
        over: which leaves of the scale carry the batch axis, such as `lambda s: s.image` or `lambda s: (s.a, s.b)`;
            `lambda s: s` is every array.
        order: expected costs, by which members of like cost share a chunk (results are put back in place): an array such
            as the last solution's `stats["cost"]`, or `LastCost()`, with which the guess carries them from step to step.
    """
    if not isinstance(scale, AbstractScale):
        raise TypeError(f"Argument `scale` must be a scale, but it is a {type(scale).__name__}.")
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"Argument `chunk` must be a positive integer or None, but it is {chunk!r}.")
    if order is not None and not isinstance(order, LastCost):
        order = jnp.asarray(order, jnp.float32)
    return Batched(scale, order, marks(scale, over), chunk, mesh)


def marks(scale: AbstractScale, over: Callable[[Any], Tree] | None) -> tuple[bool, ...]:
    """For each leaf of the scale, whether it carries the batch axis."""
    none = jax.tree.map(lambda _: False, scale)
    if over is None:
        return tuple(jax.tree.leaves(none))
    # The selector meets the scale's own structure; whatever it returns is marked, whole branches included.
    chosen = eqx.tree_at(over, none, replace_fn=lambda node: jax.tree.map(lambda _: True, node))
    flags = tuple(mark and is_array(x) for mark, x in zip(jax.tree.leaves(chosen), jax.tree.leaves(scale), strict=True))
    if not any(flags):
        raise ValueError("Argument `over` must select at least one array of the scale, but it selects none.")
    return flags


def split(scale: AbstractScale, flags: tuple[bool, ...]) -> tuple[Tree, Tree, Tree]:
    """The scale in three: arrays with one row a member, arrays that all share, and the rest."""
    leaves, structure = jax.tree.flatten(scale)
    if len(leaves) != len(flags):
        raise ValueError(f"The scale of a batch must keep its {len(flags)} leaves, but it has {len(leaves)}. Call `batched` on it.")
    own = [x if f else None for x, f in zip(leaves, flags)]
    shared = [x if is_array(x) and not f else None for x, f in zip(leaves, flags)]
    rest = [None if is_array(x) else x for x in leaves]
    return tuple(jax.tree.unflatten(structure, part) for part in (own, shared, rest))


def _solve(scale, load, state, guess):
    return scale(load, state, guess=guess)


def _linearize(scale, load, state, guess):
    return scale.linearize(load, state, guess=guess)


@eqx.filter_jit
def _run(many: Batched, method: Callable, load: Tree, state: Tree, guess: Tree) -> Tree:
    n = size(eqx.filter(load, is_array))
    cost = None if isinstance(many.order, LastCost) else many.order
    if isinstance(guess, Sorted):
        guess, cost = guess.guess, guess.cost
    if cost is not None and cost.shape != (n,):
        raise ValueError(f"Argument `order` must hold one cost a member ({n}), but its shape is {cost.shape}.")
    own, shared, fixed = split(many.scale, many.flags)
    arrays, rest = eqx.partition((load, state, guess), is_array)

    def member(row, shared):
        own, arrays = row
        return method(eqx.combine(own, shared, fixed), *eqx.combine(arrays, rest))

    found = spread(member, (own, arrays), shared, chunk=many.chunk, mesh=many.mesh, cost=cost)
    if not isinstance(many.order, LastCost):
        return found
    return (_remember(found[0], n), found[1]) if method is _linearize else _remember(found, n)


def _remember(solution: Solution, n: int) -> Solution:
    cost = jnp.asarray(solution.stats.get("cost", jnp.zeros(n)), jnp.float32)
    return Solution(solution.value, solution.state, Sorted(solution.guess, cost), solution.result, solution.stats)


def _plain(many: Batched, method: Callable, load: Tree, keys: Array | None) -> Tree:
    own, shared, fixed = split(many.scale, many.flags)
    arrays, rest = eqx.partition(load, is_array)
    size((own, arrays))

    def member(own, arrays, key):
        return method(eqx.combine(own, shared, fixed), eqx.combine(arrays, rest), key)

    return jax.vmap(member)(own, arrays, keys)
