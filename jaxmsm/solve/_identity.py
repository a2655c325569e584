"""Whether two runs are the same run: a fingerprint of their numbers, and of the program that they go through."""

import hashlib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.extend
import numpy as np

from .._typing import Tree
from ._spread import is_array

_ROWS = 2**24
"""Bytes hashed at a time, so that memory-mapped loads are not read whole."""

_ADDRESS = re.compile(r"0x[0-9a-f]+")

_PACKAGES = ("jaxmsm", "jax", "jaxlib")

_PROGRAMS = (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)


def fingerprint(*trees: Tree) -> str:
    """A hash of every array and every option of the trees; the same in every process, other for other numbers.

    Valid: functions are told apart by name alone, since their addresses differ from process to process; what they do is in
        the fingerprint of the program.
    """
    digest = _new()
    for tree in trees:
        arrays, rest = eqx.partition(tree, is_array)
        digest.update(eqx.tree_pformat((arrays, rest), width=10**6).encode())
        for x in jax.tree.leaves(arrays):
            _feed(digest, x)
    return digest.hexdigest()


def program(fn: Callable, *args: Tree) -> str:
    """A hash of what a function computes from arrays of these shapes, with the versions of the packages that compute it.

    The function is traced, not run: bodies of a user's functions are in it, what they call, and the numbers in their
    closures; the values of the arguments' arrays are not.

    Valid: rules of differentiation that the program does not use, and what a host callback does, are not seen.
    """
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    # Every process may have its own precision.
    digest = _new(*versions, jax.dtypes.canonicalize_dtype(float).name)
    closed, _, static = eqx.filter_make_jaxpr(fn)(*jax.tree.map(_outline, args))
    _feed_param(digest, closed, {})
    digest.update(_ADDRESS.sub("", eqx.tree_pformat(static, width=10**6)).encode())
    return digest.hexdigest()


def _outline(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype) if is_array(x) else x


def _new(*words: str):
    return hashlib.blake2b("\n".join(words).encode(), digest_size=16)


def _feed_param(digest, x: Any, known: dict[int, bytes]) -> None:
    """What stands in an equation: programs by their equations, arrays by their bytes, the rest as written, without addresses."""
    if isinstance(x, _PROGRAMS):
        # A program that is called from many places is written once.
        if id(x) not in known:
            known[id(x)] = _equations(x, known)
        digest.update(known[id(x)])
    elif hasattr(x, "dtype") and hasattr(x, "__array__"):
        # Constants come as arrays of several kinds.
        digest.update(f"{x.dtype}{np.shape(x)}".encode())
        _feed(digest, x)
    elif isinstance(x, tuple | list):
        digest.update(f"({len(x)}".encode())
        for y in x:
            _feed_param(digest, y, known)
    elif isinstance(x, dict):
        _feed_param(digest, sorted(x.items(), key=lambda item: str(item[0])), known)
    elif isinstance(x, set | frozenset):
        # Their order changes from process to process.
        _feed_param(digest, sorted(_ADDRESS.sub("", repr(y)) for y in x), known)
    elif callable(x):
        digest.update(getattr(x, "__qualname__", type(x).__qualname__).encode())
    else:
        digest.update(_ADDRESS.sub("", repr(x)).encode() + b"\n")


def _equations(closed, known: dict[int, bytes]) -> bytes:
    digest = _new()
    names: dict[Any, int] = {}
    _feed_param(digest, list(getattr(closed, "consts", ())), known)
    # Up to some version of JAX, the constants stand in a program of their own around the equations.
    jaxpr = getattr(closed, "jaxpr", closed)
    for var in (*jaxpr.constvars, *jaxpr.invars):
        names[var] = len(names)
        digest.update(f"{var.aval}\n".encode())
    for equation in jaxpr.eqns:
        digest.update(f"{equation.primitive.name}\n".encode())
        _feed_inputs(digest, equation.invars, names, known)
        _feed_param(digest, equation.params, known)
        for var in equation.outvars:
            names[var] = len(names)
            digest.update(f"{var.aval}\n".encode())
    _feed_inputs(digest, jaxpr.outvars, names, known)
    return digest.digest()


def _feed_inputs(digest, inputs, names: dict, known: dict[int, bytes]) -> None:
    for x in inputs:
        if isinstance(x, jax.extend.core.Literal):
            _feed_param(digest, x.val, known)
        else:
            digest.update(f"v{names[x]}\n".encode())


def _feed(digest, x) -> None:
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if np.ndim(x) == 0 or not isinstance(x, np.ndarray):
        digest.update(np.asarray(x).tobytes())
        return
    rows = max(1, _ROWS // max(x[:1].nbytes, 1))
    for i in range(0, len(x), rows):
        digest.update(np.ascontiguousarray(x[i : i + rows]).tobytes())
