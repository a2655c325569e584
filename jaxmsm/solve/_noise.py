"""Wiener increments that depend on the key and on the step, not on how the steps are divided."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from .._typing import Tree

BLOCK = 50
"""Steps whose noise is drawn together: one generator a block is some three times faster than one a step."""


class Noise(eqx.Module):
    """Independent Wiener processes, one for each entry of a tree of arrays.

    The numbers are drawn in float32 whatever the precision of the path, so that it is the same path in both; they reach 5.4
    standard deviations.

    Attributes:
        key: where the numbers come from; the same key gives the same path.
        like: a tree of `jax.ShapeDtypeStruct`, or of arrays, whose shapes the increments have.
    """

    key: Key[Array, ""]
    like: Tree

    def __init__(self, key: Array, like: Tree):
        self.key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
        self.like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), like)

    def increments(self, first: Array, count: int, dt: Array) -> Tree:
        """The increments of the steps first, first + 1, ..., as leading axis of every leaf, of variance dt.

        Cheapest where `count` is a multiple of fifty: the blocks in which noise is drawn are then used whole.

        Args:
            first: the first step, a multiple of `count`.
            count: how many.
            dt: the size of the steps.
        """
        whole = count % BLOCK == 0
        blocks = count // BLOCK if whole else (count - 2) // BLOCK + 2 if BLOCK % count else 1
        drawn = jax.vmap(self._block)(first // BLOCK + jnp.arange(blocks))
        joined = jax.tree.map(lambda x: jnp.reshape(x, (blocks * BLOCK, *x.shape[2:])), drawn)
        return jax.tree.map(lambda x: jnp.sqrt(dt).astype(x.dtype) * lax.dynamic_slice_in_dim(x, first % BLOCK, count), joined)

    def _block(self, number: Array) -> Tree:
        leaves, structure = jax.tree.flatten(self.like)
        keys = jax.random.split(jax.random.fold_in(self.key, number), len(leaves))
        draw = lambda key, x: jax.random.normal(key, (BLOCK, *x.shape), jnp.float32).astype(x.dtype)
        drawn = [draw(key, x) for key, x in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(structure, drawn)
