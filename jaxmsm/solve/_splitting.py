"""Operator splitting: parts that each know how to advance, one after the other."""

from collections.abc import Callable
from typing import Any

type Advance = Callable[[Any, Any, Any], Any]
"""`advance(t, y, dt) -> y` at t + dt."""


def godunov(*parts: Advance) -> Advance:
    """The parts in order, each over the whole step.

    Error: first order in the step where the parts do not commute.
    Source: S. Godunov, Mat. Sb. 47 (1959) 271.
    """

    def advance(t, y, dt):
        for part in parts:
            y = part(t, y, dt)
        return y

    return advance


def strang(*parts: Advance) -> Advance:
    """The parts in order, each over half the step, and back again; the last one, in the middle, over the whole.

    Error: second order, if the parts are.
    Source: G. Strang, SIAM J. Numer. Anal. 5 (1968) 506.
    """

    def advance(t, y, dt):
        *outer, inner = parts
        for part in outer:
            y = part(t, y, 0.5 * dt)
        y = inner(t, y, dt)
        for part in reversed(outer):
            y = part(t + 0.5 * dt, y, 0.5 * dt)
        return y

    return advance
