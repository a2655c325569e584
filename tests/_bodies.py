"""Meshes and programs that the tests of bodies share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxmsm.space import (
    HEX8,
    HEX20,
    HEX27,
    QUAD4,
    QUAD8,
    QUAD9,
    TET4,
    TET10,
    TRI3,
    TRI6,
    Block,
    Element,
    Mesh,
    box,
)

PLANE = [TRI3, TRI6, QUAD4, QUAD8, QUAD9]
SPACE = [TET4, TET10, HEX8, HEX20, HEX27]
KINDS = PLANE + SPACE

# Meshes are tiny here and programs many: what the compiler saves on optimizing is most of the time.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quickly(fn):
    """The function compiled without optimization."""
    return jax.jit(fn, compiler_options=QUICKLY)


@quickly
def answer(body, load):
    """The solution of one body; a body of the same shapes is not compiled again."""
    return body(load)


def arrays(tree):
    """The tree with its plain floats as arrays, so that they are arguments of a compiled program."""
    return jax.tree.map(lambda x: jnp.asarray(x, float) if isinstance(x, float) else x, tree)


def solve(body, load=1.0):
    """The answer of a body, which must have succeeded."""
    solution = _jitted(*eqx.partition(arrays(body), eqx.is_array), load)
    solution.unwrap()
    return solution


def _jitted(numbers, rest, load):
    return quickly(lambda numbers, load: eqx.combine(numbers, rest)(load))(numbers, load)


def irregular(shape, element: Element, lengths=None, amount=0.15, seed=0) -> Mesh:
    """A rectangle or a box whose inner corners lie off their places, with straight edges."""
    mesh = box(shape, lengths, element)
    x, (block,) = np.array(mesh.points), mesh.blocks
    nodes = np.asarray(block.nodes)
    size = np.ptp(x, axis=0)
    inside = np.all((x > 1e-9) & (x < size - 1e-9), 1)
    move = np.random.default_rng(seed).uniform(-amount, amount, x.shape) * size / np.array(shape)
    linear = {2: {True: TRI3, False: QUAD4}, 3: {True: TET4, False: HEX8}}[x.shape[1]][element.simplex]
    corners = nodes[:, : len(linear.nodes)]
    moved = np.where(inside[:, None], x + move, x)
    shape_at_nodes = linear.shape(np.array(element.nodes))
    for own, ends in zip(nodes, corners, strict=True):
        x[own] = shape_at_nodes @ moved[ends]
    return Mesh(x, Block(block.nodes, element), facet_sets=mesh.facet_sets)


def surface(x):
    """The nodes on the surface of a box from the origin."""
    return np.any((x < 1e-9) | (x > x.max(0) - 1e-9), 1)


def at(*place):
    """The node at a place."""
    return lambda x: np.sum((x - np.array(place)) ** 2, 1) < 1e-16


def name(x):
    """Of a test case."""
    return x.name if isinstance(x, Element) else type(x).__name__
