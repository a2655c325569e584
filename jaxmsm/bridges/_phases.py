"""Laws on a voxel grid: phases of one law type stack into parameter fields; different types are all evaluated and selected."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._typing import Tree
from ..solids import AbstractLaw


def is_number(x) -> bool:
    """True for a float or an inexact array.

    `equinox.is_inexact_array_like` (0.13.8) raises on tracers of jax 0.12, whose `__jax_array__` is None.
    """
    return isinstance(x, float) or eqx.is_inexact_array(x)


def cast(tree: Tree, dtype) -> Tree:
    """The tree with its floating leaves as arrays of one dtype."""

    def convert(x):
        if isinstance(x, float):
            return jnp.asarray(x, dtype)
        return x.astype(dtype) if eqx.is_inexact_array(x) else x

    return jax.tree.map(convert, tree)


def _kind(law: AbstractLaw):
    """What two laws must share to stack: everything but the numbers."""
    numbers, rest = eqx.partition(law, is_number)
    shapes = tuple(jnp.shape(x) for x in jax.tree.leaves(numbers))
    return jax.tree.structure(numbers), shapes, jax.tree.structure(rest), tuple(map(str, jax.tree.leaves(rest)))


class Group(eqx.Module):
    """The phases of one law type: their law with stacked leaves (last axis: phase) and the phase labels they carry."""

    law: AbstractLaw
    labels: tuple[int, ...] = eqx.field(static=True)


def group(laws: Sequence[AbstractLaw]) -> list[Group]:
    """The laws, stacked by type in order of first appearance."""
    kinds: dict = {}
    for label, law in enumerate(laws):
        kinds.setdefault(_kind(law), []).append(label)
    groups = []
    for labels in kinds.values():
        members = [eqx.partition(laws[label], is_number) for label in labels]
        numbers = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x], axis=-1), *[m[0] for m in members])
        groups.append(Group(eqx.combine(numbers, members[0][1]), tuple(labels)))
    return groups


def _field(groups: list[Group], g: Group, image: Int[Array, " M"], count: int) -> tuple[AbstractLaw, Array | None]:
    """The law with leaves (..., M), and which voxels are its own (None: all)."""
    table = [0] * count
    for local, label in enumerate(g.labels):
        table[label] = local
    local = jnp.asarray(table)[image]
    numbers, rest = eqx.partition(g.law, is_number)
    law = eqx.combine(jax.tree.map(lambda x: jnp.take(x, local, axis=-1), numbers), rest)
    if len(groups) == 1:
        return law, None
    own = jnp.zeros(count, bool).at[jnp.asarray(g.labels)].set(True)[image]
    return law, own


class Medium(eqx.Module):
    """The laws of a cell as parameter fields over M voxels, one entry a law type; `own` masks their voxels."""

    laws: tuple[AbstractLaw, ...]
    own: tuple[Array | None, ...]
    uniform: tuple[bool, ...] = eqx.field(static=True)

    @classmethod
    def of_phases(cls, laws: Sequence[AbstractLaw], image: Int[Array, " M"]) -> "Medium":
        """From one law a label."""
        groups = group(laws)
        if len(laws) == 1:
            return cls((laws[0],), (None,), (True,))
        fields = [_field(groups, g, image, len(laws)) for g in groups]
        return cls(tuple(f[0] for f in fields), tuple(f[1] for f in fields), (False,) * len(fields))

    @classmethod
    def of_field(cls, law: AbstractLaw, shape: tuple[int, ...]) -> "Medium":
        """From one law whose leaves carry the grid as leading axes."""
        d = len(shape)

        def flatten(x):
            x = jnp.asarray(x)
            return jnp.moveaxis(x.reshape(-1, *x.shape[d:]), 0, -1)

        numbers, rest = eqx.partition(law, is_number)
        return cls((eqx.combine(jax.tree.map(flatten, numbers), rest),), (None,), (False,))

    def _axes(self, k: int):
        return jax.tree.map(lambda _: None if self.uniform[k] else -1, eqx.filter(self.laws[k], is_number))

    def _over(self, k: int, fn, *args):
        """`fn(law, *args)` at every point, leaves (..., Q, M)."""
        numbers, rest = eqx.partition(self.laws[k], is_number)

        def at(numbers, *a):
            return fn(eqx.combine(numbers, rest), *a)

        points = jax.vmap(at, in_axes=(None, *(-1,) * len(args)), out_axes=-1)
        return jax.vmap(points, in_axes=(None if self.uniform[k] else -1, *(-1,) * len(args)), out_axes=-1)(numbers, *args)

    def init(self, points: int, count: int, dtype) -> Tree:
        """Virgin histories, one entry a law type, leaves (..., Q, M)."""
        histories = []
        for k, law in enumerate(self.laws):
            one = cast(_sample(law, self.uniform[k]).init(), dtype)
            histories.append(jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x)[..., None, None], (*jnp.shape(x), points, count)), one))
        return tuple(histories)

    def __call__(self, F: Float[Array, "..."], past: Tree) -> tuple[Float[Array, "..."], Tree, Array]:
        """Stress, next history, and whether every law admits the load; `F` is (d, d, Q, M) or (d, Q, M)."""
        stress, following, admissible = None, [], jnp.asarray(True)
        for k, own in enumerate(self.own):
            seen = F if own is None else jnp.where(own, F, rest(F.shape, F.dtype))
            P, new = self._over(k, lambda law, f, p: law(f, p), seen, past[k])
            fine = self._over(k, lambda law, f, p: law.admissible(f, p), seen, past[k])
            admissible &= jnp.all(fine)
            stress = P if stress is None else jnp.where(own, P, stress)
            following.append(new if own is None else jax.tree.map(lambda a, b: jnp.where(own, a, b), new, past[k]))
        return stress, tuple(following), admissible

    def mean_tangent(self, load_shape: tuple[int, ...], dtype) -> Float[Array, "..."]:
        """The volume average of the undeformed tangents, (d, d, d, d) or (d, d)."""
        count = max(x.shape[-1] for x in jax.tree.leaves((self.laws, self.own)) if jnp.ndim(x)) if not all(self.uniform) else 1
        F = rest((*load_shape, 1, count), dtype)
        virgin = self.init(1, count, dtype)
        return jnp.mean(self.tangent(F, virgin), (-1, -2))

    def tangent(self, F: Float[Array, "..."], past: Tree) -> Float[Array, "..."]:
        """dP/dF at every point, (d, d, d, d, Q, M) or (d, d, Q, M)."""
        out = None
        for k, own in enumerate(self.own):
            seen = F if own is None else jnp.where(own, F, rest(F.shape, F.dtype))
            A = self._over(k, lambda law, f, p: jax.jacfwd(lambda x: law(x, p)[0])(f), seen, past[k])
            out = A if out is None else jnp.where(own, A, out)
        return out


def _sample(law: AbstractLaw, uniform: bool) -> AbstractLaw:
    numbers, rest = eqx.partition(law, is_number)
    return law if uniform else eqx.combine(jax.tree.map(lambda x: x[..., 0], numbers), rest)


def rest(shape: tuple[int, ...], dtype) -> Float[Array, "..."]:
    """The undeformed load, (d, d, Q, M) or (d, Q, M): the identity, or no gradient.

    Foreign voxels see it, so that no law meets a load not meant for it.
    """
    if len(shape) == 3:
        return jnp.zeros(shape, dtype)
    return jnp.broadcast_to(jnp.eye(shape[0], dtype=dtype)[:, :, None, None], shape)
