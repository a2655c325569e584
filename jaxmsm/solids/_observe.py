"""What a body answers: displacements, reactions, mean stresses."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._typing import Tree
from ..space import Mesh
from ._conditions import as_where, where_of


class Fields(eqx.Module):
    """A body at equilibrium.

    Attributes:
        u: displacements of the nodes, (n, d).
        reaction: what supports exert on the nodes, (n, d); zero where a node is free.
        forces: internal less external forces of all nodes, (n, d).
        F, P: deformation that the laws see and first Piola stress, one (d, d, q, e) a part.
        weights: volumes of the points, one (q, e) a part (times the thickness in the plane).
        numbers: elements of the parts in the mesh.
        states: next states of the parts.
    """

    u: Float[Array, "n d"]
    reaction: Float[Array, "n d"]
    forces: Float[Array, "n d"]
    F: tuple[Array, ...]
    P: tuple[Array, ...]
    weights: tuple[Array, ...]
    numbers: tuple[Int[Array, " _"], ...]
    states: Tree

    def by_element(self, values: tuple[Array, ...]) -> Float[Array, "e ..."]:
        """Means over the elements, in the order of the mesh, of what is known at the points, one (..., q, e) a part."""
        shares = [w / jnp.sum(w, 0, keepdims=True) for w in self.weights]
        means = [jnp.einsum("...qe,qe->e...", x, w) for x, w in zip(values, shares, strict=True)]
        place = jnp.argsort(jnp.concatenate(self.numbers))
        return jnp.concatenate(means)[place]


class AbstractObserver(eqx.Module):
    """What is answered of a body's fields."""

    def place(self, mesh: Mesh) -> Tree:
        """Where it looks, found when a body is made."""
        del mesh
        return None

    @abc.abstractmethod
    def __call__(self, fields: Fields, place: Tree) -> Tree:
        """The answer."""


class Displacement(AbstractObserver):
    """The displacements of all nodes, (n, d), or their mean over a set, (d,)."""

    where: Any = eqx.field(converter=as_where, default=None)

    def place(self, mesh):
        return None if self.where is None else jnp.asarray(mesh.nodes(where_of(self)))

    def __call__(self, fields, place):
        return fields.u if place is None else jnp.mean(fields.u[place], 0)


class Reaction(AbstractObserver):
    """What supports exert on the body: at all nodes, (n, d), or in total on a set, (d,)."""

    where: Any = eqx.field(converter=as_where, default=None)

    def place(self, mesh):
        return None if self.where is None else jnp.asarray(mesh.nodes(where_of(self)))

    def __call__(self, fields, place):
        return fields.reaction if place is None else jnp.sum(fields.reaction[place], 0)


class MeanStress(AbstractObserver):
    """The first Piola stress, averaged over the volume, (d, d)."""

    def __call__(self, fields, place):
        work = [jnp.sum(P * w[None, None], (2, 3)) for P, w in zip(fields.P, fields.weights, strict=True)]
        return sum(work[1:], work[0]) / jnp.sum(jnp.stack([jnp.sum(w) for w in fields.weights]))


class ElementStress(AbstractObserver):
    """The first Piola stress, averaged over each element, (e, d, d)."""

    def __call__(self, fields, place):
        return fields.by_element(fields.P)


class ElementDeformation(AbstractObserver):
    """The deformation gradient that the laws see, averaged over each element, (e, d, d)."""

    def __call__(self, fields, place):
        return fields.by_element(fields.F)


class Deformation(AbstractObserver):
    """The deformation gradient that the laws see at the points, one (d, d, q, e) a part."""

    def __call__(self, fields, place):
        return fields.F


class Stress(AbstractObserver):
    """The first Piola stress at the points, one (d, d, q, e) a part."""

    def __call__(self, fields, place):
        return fields.P


def observed(observe: Tree, places: list, fields: Fields) -> Tree:
    """The answers of a tree of observers."""
    observers, structure = jax.tree.flatten(observe, is_leaf=lambda x: isinstance(x, AbstractObserver))
    return jax.tree.unflatten(structure, [one(fields, place) for one, place in zip(observers, places, strict=True)])


def placed(observe: Tree, mesh: Mesh) -> list:
    """Where the observers look."""
    observers = jax.tree.leaves(observe, is_leaf=lambda x: isinstance(x, AbstractObserver))
    for one in observers:
        if not isinstance(one, AbstractObserver):
            raise TypeError(f"Argument `observe` must be an observer or a tree of them, but it holds a {type(one).__name__}.")
    return [one.place(mesh) for one in observers]
