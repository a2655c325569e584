"""Steps that are implicit in what is stiff and linear, and explicit in the rest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from .._typing import Tree
from ._splitting import Advance

GAMMA = 1 - 0.5**0.5
DELTA = 1 - 0.5 / GAMMA


class Stiff(NamedTuple):
    """A stiff linear part L of a rate.

    Attributes:
        rate: `rate(y)` is L y.
        solve: `solve(y, h)` is (1 - h L)^-1 y.
    """

    rate: Callable[[Any], Any]
    solve: Callable[[Any, Any], Any]


def imex(stiff: Stiff, explicit: Callable[[Any, Any], Any] | None = None) -> Advance:
    """Steps of dy/dt = explicit(t, y) + L y, implicit in L: two evaluations and two solves a step.

    Valid: steps that the explicit part alone would allow.
    Error: second order; L-stable in the stiff part.
    Source: U. Ascher, S. Ruuth, R. Spiteri, Appl. Numer. Math. 25 (1997) 151, section 2.6, "(2,2,2)".
    """

    def plus(y: Tree, *terms: tuple[Any, Tree]) -> Tree:
        for by, rate in terms:
            y = jax.tree.map(lambda y, r, by=by: y + by * r, y, rate)
        return y

    def advance(t, y, dt):
        h = GAMMA * dt
        if explicit is None:
            middle = stiff.solve(y, h)
            return stiff.solve(plus(y, ((1 - GAMMA) * dt, stiff.rate(middle))), h)
        first = explicit(t, y)
        middle = stiff.solve(plus(y, (h, first)), h)
        second = explicit(t + h, middle)
        end = plus(y, (DELTA * dt, first), ((1 - DELTA) * dt, second), ((1 - GAMMA) * dt, stiff.rate(middle)))
        return stiff.solve(end, h)

    return advance
