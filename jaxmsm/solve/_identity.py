"""Whether two runs are the same run: a fingerprint of a scale and its loads."""

import hashlib

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
        # Functions are told apart by name alone: their addresses differ from process to process.
        digest.update(eqx.tree_pformat((arrays, rest), width=10**6).encode())
        for x in jax.tree.leaves(arrays):
            _feed(digest, jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
    return digest.hexdigest()


def _feed(digest, x) -> None:
    if np.ndim(x) == 0 or not isinstance(x, np.ndarray):
        digest.update(np.asarray(x).tobytes())
        return
    rows = max(1, _ROWS // max(x[:1].nbytes, 1))
    for i in range(0, len(x), rows):
        digest.update(np.ascontiguousarray(x[i : i + rows]).tobytes())
