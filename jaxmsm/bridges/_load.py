"""What may be imposed on a law, on layers or on a cell; judged by shapes and types, where a program is traced."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from .._model import Mixed, Span
from .._typing import Tree
from ..solids import AbstractLaw


def checked_load(load: Any, shapes: Sequence[tuple[int, ...]]) -> Tree:
    """The load, its numbers arrays of floats.

    Args:
        load: an array, or `Mixed`.
        shapes: those that it may have.
    """
    if not isinstance(load, Mixed):
        load = _array(load, "an array of numbers, or `Mixed`")
        _refuse_shape(load.shape, shapes)
        return load
    F, P = _array(load.F, "`Mixed` of arrays"), _array(load.P, "`Mixed` of arrays")
    _refuse_shape(F.shape, shapes)
    for name, x in (("P", P), ("mask", load.mask)):
        if jnp.shape(x) != F.shape:
            raise ValueError(f"Argument `load` must have a `{name}` of the shape of `F`, {F.shape}, but it is {jnp.shape(x)}.")
    return Mixed(F, P, load.mask)


def split_time(load: Any) -> tuple[Any, Array | None]:
    """What is imposed, and the length of the step it takes (None: the load has no times)."""
    if not isinstance(load, Span):
        return load, None
    times = [_array(t, "a `Span` between numbers") for t in (load.t0, load.t1)]
    for t in times:
        if t.shape:
            raise ValueError(
                f"Argument `load` must be a `Span` between two numbers, but a time has shape {t.shape}. "
                "A batch of loads is for `batched(scale)`, a path for `rollout(scale, loads)`."
            )
    return load.drive, times[1] - times[0]


def in_step(laws: tuple[AbstractLaw, ...], dt: Array | None) -> tuple[AbstractLaw, ...]:
    """The laws in a step of this length."""
    return laws if dt is None else tuple(law.during(dt) for law in laws)


def load_shapes(d: int | None, scalar: bool) -> tuple[tuple[int, ...], ...]:
    """The shapes of a load in d dimensions (None: in the plane or in space): a gradient of a scalar, or of a deformation."""
    return tuple((n,) if scalar else (n, n) for n in ((2, 3) if d is None else (d,)))


def _array(x: Any, what: str) -> Array:
    try:
        x = jnp.asarray(x)
    except (TypeError, ValueError):
        raise TypeError(f"Argument `load` must be {what}, but it is of type {type(x).__name__}.") from None
    if jnp.issubdtype(x.dtype, jnp.integer):
        return x.astype(jnp.result_type(float))
    if x.dtype in (jnp.float32, jnp.float64):
        return x
    raise TypeError(f"Argument `load` must be of float32 or float64, but its dtype is {x.dtype}.")


def _refuse_shape(shape: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> None:
    if shape in shapes:
        return
    wanted = " or ".join(map(str, shapes))
    kind = "the gradient of a scalar" if len(shapes[0]) == 1 else "a deformation gradient"
    text = f"Argument `load` must have shape {wanted}, that of {kind}, but its shape is {shape}."
    if shape[1:] in shapes:
        text += " A batch of loads is for `batched(scale)`, a path for `rollout(scale, loads)`."
    elif any(shape == s[1:] for s in shapes):
        text += " In a batch or a path the loads stand along a leading axis."
    raise ValueError(text)
