"""Laws at many points: phases of one law type stack into parameter fields; different types are all evaluated and selected."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._typing import Tree, is_number
from ._kinematics import parts, whole
from ._law import AbstractLaw
from ._parameters import leaf_ranks


def cast(tree: Tree, dtype) -> Tree:
    """The tree with its floating leaves as arrays of one dtype."""

    def convert(x):
        if isinstance(x, float):
            return jnp.asarray(x, dtype)
        return x.astype(dtype) if eqx.is_inexact_array(x) else x

    return jax.tree.map(convert, tree)


def known(laws: Tree) -> Array:
    """True where every parameter is a number, infinite (a yield stress) or not."""
    return jnp.all(jnp.asarray([~jnp.any(jnp.isnan(x)) for x in jax.tree.leaves(laws) if is_number(x)], bool))


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


class Medium(eqx.Module):
    """The laws of a cell over M voxels.

    Attributes:
        groups: one entry a law type. With an image its law has one number a phase (last axis); without, one a voxel.
        image: labels of the voxels; None where the leaves are fields.
        phases: number of labels.
    """

    groups: tuple[Group, ...]
    image: Int[Array, " M"] | None
    phases: int = eqx.field(static=True)

    @classmethod
    def of_phases(cls, laws: Sequence[AbstractLaw], image: Int[Array, " M"]) -> "Medium":
        """From one law a label."""
        return cls(tuple(group(laws)), image, len(laws))

    @classmethod
    def of_field(cls, law: AbstractLaw, shape: tuple[int, ...]) -> "Medium":
        """From one law whose leaves carry the grid as leading axes; one that does not is the same everywhere.

        A law knows the rank of its own leaves; of those of a `Law` only a scalar is taken for uniform.
        """
        d = len(shape)

        def flatten(x, rank):
            x = jnp.asarray(x)
            if x.ndim == (rank or 0):
                x = jnp.broadcast_to(x, (*shape, *x.shape))
            if x.shape[:d] != tuple(shape) or (rank is not None and x.ndim != d + rank):
                raise ValueError(
                    f"Argument `laws` without an image must hold one law whose leaves are uniform or have the grid {tuple(shape)} "
                    f"as leading axes, but one has shape {x.shape}."
                )
            return jnp.moveaxis(x.reshape(-1, *x.shape[d:]), 0, -1)

        numbers, rest = eqx.partition(law, is_number)
        leaves, tree = jax.tree.flatten(numbers)
        numbers = jax.tree.unflatten(tree, [flatten(x, rank) for x, rank in zip(leaves, leaf_ranks(law), strict=True)])
        return cls((Group(eqx.combine(numbers, rest), (0,)),), None, 1)

    def during(self, dt: Array | None) -> "Medium":
        """The laws in a step of this length (None: as they are)."""
        if dt is None:
            return self
        width = lambda g: self.count if self.image is None else len(g.labels)
        spread = lambda g: jnp.broadcast_to(jnp.asarray(dt, self.dtype), (width(g),))
        return Medium(tuple(Group(g.law.during(spread(g)), g.labels) for g in self.groups), self.image, self.phases)

    @property
    def fields(self) -> tuple["Medium", "Medium"]:
        """What is known voxel by voxel, and the rest."""
        if self.image is None:
            return eqx.partition(self, is_number)
        everywhere = jax.tree.map(lambda _: False, self)
        return eqx.partition(self, eqx.tree_at(lambda m: m.image, everywhere, True))

    @property
    def palette(self) -> "Medium":
        """One voxel a phase, weighted by `fractions`; the medium itself where it has no phases."""
        return self if self.image is None else Medium(self.groups, jnp.arange(self.phases), self.phases)

    @property
    def dtype(self):
        """The dtype of the parameters."""
        return jnp.result_type(*(jax.tree.leaves(eqx.filter(self.groups, is_number)) or [float]))

    @property
    def known(self) -> Array:
        """No parameter is NaN."""
        return known(self.groups)

    @property
    def labelled(self) -> Array:
        """Every voxel has the label of a phase."""
        return jnp.asarray(True) if self.image is None else jnp.all((self.image >= 0) & (self.image < self.phases))

    @property
    def count(self) -> int:
        """Number of voxels."""
        if self.image is not None:
            return self.image.shape[-1]
        return jax.tree.leaves(eqx.filter(self.groups, is_number))[0].shape[-1]

    @property
    def fractions(self) -> Float[Array, "..."]:
        """Volume fractions of the voxels of the palette."""
        if self.image is None:
            return jnp.full(self.count, 1 / self.count, self.dtype)
        return jnp.mean(self.indicator(self.dtype), -1)

    def indicator(self, dtype) -> Float[Array, "phases M"]:
        """One where a voxel has the label, zero elsewhere."""
        image = jnp.zeros(self.count, jnp.int32) if self.image is None else self.image
        return (image[None, :] == jnp.arange(self.phases)[:, None]).astype(dtype)

    def _own(self, g: Group) -> Array | None:
        """Which voxels carry the labels of this law type (None: all)."""
        if len(self.groups) == 1:
            return None
        return jnp.zeros(self.phases, bool).at[jnp.asarray(g.labels)].set(True)[self.image]

    def _over(self, g: Group, fn, *args):
        """`fn(law, *args)` at every point, leaves (..., Q, M)."""
        numbers, static = eqx.partition(g.law, is_number)
        single = self.image is not None and len(g.labels) == 1
        if single:
            numbers = jax.tree.map(lambda x: x[..., 0], numbers)
        elif self.image is not None:
            table = np.zeros(self.phases, int)
            table[list(g.labels)] = np.arange(len(g.labels))
            local = jnp.asarray(table)[self.image]
            numbers = jax.tree.map(lambda x: jnp.take(x, local, axis=-1), numbers)

        points, count = jax.tree.leaves(args)[0].shape[-2:]

        def flat(x):
            return x.reshape(*x.shape[:-2], points * count)

        def at(numbers, *a):
            return fn(eqx.combine(numbers, static), *a)

        # One axis of all points: under two nested maps the batching rules would mix their order, and the components would be
        # transposed back and forth.
        if not single:
            numbers = jax.tree.map(lambda x: flat(jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], points, count))), numbers)
        out = jax.vmap(at, in_axes=(None if single else -1, *(-1,) * len(args)), out_axes=-1)(numbers, *jax.tree.map(flat, args))
        return jax.tree.map(lambda x: x.reshape(*x.shape[:-1], points, count), out)

    def init(self, points: int, dtype) -> Tree:
        """Virgin histories, one entry a law type, leaves (..., Q, M)."""
        dummy = jnp.zeros((points, self.count), dtype)
        return tuple(cast(self._over(g, lambda law, _: jax.tree.map(jnp.asarray, law.init()), dummy), dtype) for g in self.groups)

    def __call__(self, f: Any, past: Tree) -> tuple[Any, Tree, Array]:
        """Stress, next history, and where the laws admit the load, (Q, M); load and stress by components (Q, M), nested tuples."""
        stress: Any = None
        following: list = []
        admissible: Any = True

        for g, history in zip(self.groups, past, strict=True):
            own = self._own(g)
            P, new, fine = self._over(g, lambda law, f, p: law.by_components(f, p), _seen(f, own), history)
            admissible &= fine if own is None else fine | ~own[None]
            stress = P if stress is None or own is None else _where(own, P, stress)
            following.append(new if own is None else _where(own, new, history))
        return stress, tuple(following), admissible

    def margin(self, f: Any, past: Tree) -> Float[Array, "Q M"]:
        """The laws' margins at every point."""
        out: Any = None
        for g, history in zip(self.groups, past, strict=True):
            own = self._own(g)
            margin = self._over(g, lambda law, f, p: law.margin(whole(f), p), _seen(f, own), history)
            out = margin if out is None or own is None else jnp.where(own[None], margin, out)
        return out

    def undeformed_tangent(self, load_shape: tuple[int, ...], dtype) -> Float[Array, "..."]:
        """dP/dF of the undeformed virgin medium, (d, d, d, d, M) or (d, d, M)."""
        still = undeformed(jnp.zeros(load_shape, dtype))
        f = jax.tree.map(lambda x: jnp.broadcast_to(x, (1, self.count)), parts(still))
        out: Any = None

        def slope(law, f, p):
            return jax.jacfwd(lambda x: law.answer(x, p)[0])(whole(f))

        for g, history in zip(self.groups, self.init(1, dtype), strict=True):
            own = self._own(g)
            A = self._over(g, slope, f, history)
            out = A if out is None or own is None else jnp.where(own, A, out)
        return out[..., 0, :]


def _where(own: Array, a: Tree, b: Tree) -> Tree:
    return jax.tree.map(lambda x, y: jnp.where(own, x, y), a, b)


def _seen(f: Any, own: Array | None) -> Any:
    """The load on the voxels that are a law's own; no load elsewhere, so that no law meets a load not meant for it."""
    if own is None:
        return f
    if not isinstance(f[0], tuple):
        return tuple(jnp.where(own, x, 0) for x in f)
    return tuple(tuple(jnp.where(own, x, float(i == j)) for j, x in enumerate(row)) for i, row in enumerate(f))


def undeformed(F: Float[Array, "..."]) -> Float[Array, "..."]:
    """No load."""
    return jnp.eye(F.shape[0], dtype=F.dtype) if F.ndim == 2 else jnp.zeros_like(F)
