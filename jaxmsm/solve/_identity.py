"""Whether two runs are the same run: a fingerprint of a scale and its loads."""

import dataclasses
import functools
import hashlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._typing import Tree
from ._spread import is_array

_ROWS = 2**24
"""Bytes hashed at a time, so that memory-mapped loads are not read whole."""


def fingerprint(*trees: Tree) -> str:
    """A hash of every array and every option of the trees; the same in every process, other for other numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for tree in trees:
        arrays, rest = eqx.partition(tree, is_array)
        # A function may stand there in a wrapper, of a type checker say.
        rest = jax.tree.map(lambda x: inspect.unwrap(x) if callable(x) else x, rest)
        digest.update(eqx.tree_pformat((arrays, rest), width=10**6).encode())
        seen: set[int] = set()
        for fn in _functions(tree):
            _feed_function(digest, fn, seen)
        for x in jax.tree.leaves(arrays):
            _feed(digest, jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
    return digest.hexdigest()


def _functions(x: Any) -> Iterator[Any]:
    """The functions in a tree, in static fields too."""
    if isinstance(x, functools.partial) or (callable(x) and inspect.isfunction(inspect.unwrap(x))):
        yield x
    elif dataclasses.is_dataclass(x) and not isinstance(x, type):
        for field in dataclasses.fields(x):
            yield from _functions(getattr(x, field.name, None))
    elif isinstance(x, dict):
        for y in x.values():
            yield from _functions(y)
    elif isinstance(x, list | tuple):
        for y in x:
            yield from _functions(y)


def _feed_function(digest, fn: Any, seen: set[int]) -> None:
    """What a function does: its code (the name of one of our own) and the numbers that it holds (defaults, closure)."""
    if id(fn) in seen:
        return
    seen.add(id(fn))
    if isinstance(fn, functools.partial):
        held: list[Any] = [fn.func, fn.args, fn.keywords]
    else:
        fn = inspect.unwrap(fn)
        if str(fn.__module__).split(".")[0] == __name__.split(".")[0]:
            digest.update(f"{fn.__module__}.{fn.__qualname__}".encode())
        else:
            _feed_code(digest, fn.__code__)
        held = [fn.__defaults__, fn.__kwdefaults__, dict(inspect.getclosurevars(fn).nonlocals)]
    for x in jax.tree.leaves(held):
        if is_array(x):
            _feed(digest, x)
        elif isinstance(x, bool | int | float | complex | str | bytes):
            digest.update(repr(x).encode())
    for inner in _functions(held):
        _feed_function(digest, inner, seen)


def _feed_code(digest, code: types.CodeType) -> None:
    digest.update(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _feed_code(digest, constant)
        else:
            # A set is written in an order that changes from process to process.
            digest.update(repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode())


def _feed(digest, x) -> None:
    if np.ndim(x) == 0 or not isinstance(x, np.ndarray):
        digest.update(np.asarray(x).tobytes())
        return
    rows = max(1, _ROWS // max(x[:1].nbytes, 1))
    for i in range(0, len(x), rows):
        digest.update(np.ascontiguousarray(x[i : i + rows]).tobytes())
