"""Which mode a derivative is best taken in."""

from collections.abc import Callable
from typing import Any, Literal

import jax

from .._typing import Tree

FEW = 10
"""Directions up to which one forward pass each is cheaper than a reverse pass through many steps."""


def jacobian(fn: Callable[[Tree], Tree], x: Tree, *, mode: Literal["forward", "reverse"] | None = None) -> Tree:
    """The derivative of `fn` at a tree of float arrays, as `jax.jacobian` gives it.

    By default forward where there are at most ten numbers in `x`, or no more than in the answer, and reverse elsewhere: through
    many steps in time forward costs about one run a number and no memory, reverse some ten runs an answer and the memory of the
    path (less by `follow(..., again=True)`).

    Args:
        fn: of one argument.
        x: where.
        mode: "forward" or "reverse", against the rule.
    """
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"Argument `mode` must be 'forward', 'reverse' or None, but it is {mode!r}.")
    if mode is None:
        given, answered = _size(x), _size(jax.eval_shape(fn, x))
        mode = "forward" if given <= max(FEW, answered) else "reverse"
    return jax.jacfwd(fn)(x) if mode == "forward" else jax.jacrev(fn)(x)


def _size(tree: Any) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))
