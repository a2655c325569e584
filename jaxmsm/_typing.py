"""Names for the arguments that cross a room's door, and what counts as a number in them."""

from typing import Any

import equinox as eqx

Tree = Any
"""Any pytree."""


def is_number(x) -> bool:
    """True for a float or an inexact array.

    `equinox.is_inexact_array_like` (0.13.8) raises on tracers of jax 0.12, whose `__jax_array__` is None.
    """
    return isinstance(x, float) or eqx.is_inexact_array(x)
