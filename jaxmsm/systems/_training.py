"""Networks trained to be the law of a cell: on what, how, and how far from it they may be trusted."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from .._scale import rollout
from .._typing import Tree
from ..bridges import Closed, Nearest
from ..solids import AbstractLaw, InputConvex, PlasticNetwork, Polyconvex
from ._console import Console

_TURNS = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]], float)
"""What leaves a square as it is and takes a symmetric tensor to another one (the others do to it what one of these does)."""

_SAYS = 20
"""How often a training tells how far it is."""

_MOST = 4000
"""Points of work that an indicator holds."""


def rays(random: np.random.Generator, count: int, steps: int, size: float) -> np.ndarray:
    """Stretches U = exp(E) along straight paths of E in random directions, (count, steps, 2, 2), up to |E| = `size`."""
    ends = random.standard_normal((count, 1, 3))
    ends *= size / np.linalg.norm(ends, axis=-1, keepdims=True)
    E = symmetric(ends * np.linspace(0, 1, steps + 1)[1:, None])
    value, axes = np.linalg.eigh(E)
    return (axes * np.exp(value)[..., None, :]) @ np.swapaxes(axes, -1, -2)


def walks(random: np.random.Generator, count: int, steps: int, size: float, turns: int = 5) -> np.ndarray:
    """I + strain along straight pieces between random strains of a ball, (count, steps, 2, 2).

    The radius of a path's ball is `size` or less, down to a tenth: what yields first has the size of the elastic strain. Changes of
    area are `size` or less, down to a hundredth: flow makes none, and the stress against them would drown that of the flow.
    """
    corners = random.standard_normal((count, turns, 3))
    corners *= random.uniform(0, 1, (count, turns, 1)) ** (1 / 3) / np.linalg.norm(corners, axis=-1, keepdims=True)
    corners *= size * 10 ** -random.uniform(0, 1, (count, 1, 1))
    area = np.mean(corners[..., :2], -1, keepdims=True) * [1, 1, 0]
    corners -= area * (1 - 10 ** -random.uniform(0, 2, (count, 1, 1)))
    corners = np.concatenate([np.zeros((count, 1, 3)), corners], 1)
    at = np.linspace(0, turns, steps + 1)[1:]
    before = np.minimum(at.astype(int), turns - 1)
    part = (at - before)[None, :, None]
    return np.eye(2) + symmetric((1 - part) * corners[:, before] + part * corners[:, before + 1])


def symmetric(x: np.ndarray) -> np.ndarray:
    """The tensors of components 11, 22 and the root of two times 12."""
    return np.stack([np.stack([x[..., 0], x[..., 2] / 2**0.5], -1), np.stack([x[..., 2] / 2**0.5, x[..., 1]], -1)], -2)


def turned(A: np.ndarray) -> np.ndarray:
    """Tensors (m, ..., 2, 2) and their copies by the symmetry of the square, (4 m, ..., 2, 2)."""
    return np.concatenate([np.einsum("ij,...jk,lk->...il", Q, A, Q) for Q in _TURNS])


def stresses(law: AbstractLaw, loads: Float[Array, "m t d d"]) -> Float[Array, "m t d d"]:
    """What a law answers along paths."""
    return jax.vmap(lambda path: rollout(Closed(law), path)[1].value)(loads)


def _squares(law: AbstractLaw, loads: Array, stress: Array) -> Float[Array, " m"]:
    """The squared misfit of every path by itself, so that small ones count as much as large ones."""
    axes = (1, 2, 3)
    return jnp.sum((stresses(law, loads) - stress) ** 2, axes) / jnp.sum(stress**2, axes)


def misfit(law: AbstractLaw, loads: Array, stress: Array) -> Float[Array, ""]:
    """The root mean square error of the stress, over that of the stress."""
    return jnp.sqrt(jnp.sum((stresses(law, loads) - stress) ** 2) / jnp.sum(stress**2))


def train(
    make: Callable[[Tree], AbstractLaw],
    weights: Tree,
    data: tuple[Array, Array],
    console: Console,
    label: str,
    *,
    steps: int,
    rate: float,
    batch: int,
    seed: int,
) -> tuple[AbstractLaw, np.ndarray]:
    """The law of the trained weights, and the misfit on the way: Adam on random batches of paths, its rate falling to zero."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, steps)))
    total = len(data[0])
    pieces = min(_SAYS, steps)

    @jax.jit
    def piece(carry, keys, data):
        def step(carry, key):
            weights, state = carry
            rows = jax.random.choice(key, total, (min(batch, total),), replace=False)
            loads, stress = (x[rows] for x in data)
            square = lambda weights: jnp.mean(_squares(make(weights), loads, stress))
            cost, slope = jax.value_and_grad(square)(weights)
            change, state = optimizer.update(slope, state, weights)
            return (optax.apply_updates(weights, change), state), jnp.sqrt(cost)

        return jax.lax.scan(step, carry, keys)

    carry, course = (weights, optimizer.init(weights)), []
    keys = jax.random.split(jax.random.key(seed), steps // pieces * pieces).reshape(pieces, -1)
    with console.progress(f"{label} (the first step compiles)", pieces) as moved:
        for own in keys:
            carry, found = piece(carry, own, data)
            course.append(np.asarray(found))
            moved(1, f"{label}: misfit {course[-1][-1]:.3g}")
    return make(carry[0]), np.concatenate(course)


def elastic_network(data: tuple[Array, Array], width: int, seed: int) -> tuple[Callable[[Tree], AbstractLaw], Tree]:
    """A polyconvex law with the symmetry of the square, and the weights to start from."""
    random = Polyconvex(InputConvex(key=jax.random.key(seed), width=width, depth=1, inputs=7), cubic=True)
    first = stresses(random, data[0])
    scale = jnp.sum(first * data[1]) / jnp.sum(first**2)

    def make(weights):
        own, growth, log_scale = weights
        # The unit of stress is positive whatever the weights are.
        return eqx.tree_at(lambda x: (x.weights, x.growth, x.scale), random, (own, growth, jnp.exp(log_scale)))

    return make, (random.weights, random.growth, jnp.log(jnp.maximum(scale, 1e-3)))


def plastic_network(
    data: tuple[Array, Array], stiffness: Array, units: int, seed: int
) -> tuple[Callable[[Tree], AbstractLaw], Tree]:
    """A law of units that flow, and the weights to start from, of the cell's stiffness."""
    size = lambda x: jnp.sqrt(jnp.mean(jnp.sum(x**2, (-2, -1))))
    scale, width = size(data[1]), size(data[0] - jnp.eye(2)[None, None])
    random = PlasticNetwork(key=jax.random.key(seed), units=units, stiffness=stiffness, scale=scale, width=width)
    return lambda weights: eqx.tree_at(lambda x: x.weights, random, weights), random.weights


def green(load: Array, solution: Any) -> Float[Array, "3"]:
    """The Green strain, 11, 22 and the root of two times 12."""
    del solution
    (a, b), (c, d) = load
    return jnp.stack([(a * a + c * c - 1) / 2, (b * b + d * d - 1) / 2, (a * b + c * d) / 2**0.5])


def strain_and_stress(load: Array, solution: Any) -> Float[Array, "6"]:
    """The small strain and the network's stress, which tells of the path; each 11, 22 and the root of two times 12."""
    P = solution.value
    e = [load[0, 0] - 1, load[1, 1] - 1, (load[0, 1] + load[1, 0]) / 2**0.5]
    return jnp.stack([*e, P[0, 0], P[1, 1], (P[0, 1] + P[1, 0]) / 2**0.5])


def indicator(law: AbstractLaw, features: Callable, trained: np.ndarray, held_out: np.ndarray, seed: int) -> Nearest:
    """The distance to the points of the training paths; one is what 99 of 100 points of the paths held out are nearer than."""

    def points(paths):
        found = jax.vmap(lambda path: jax.vmap(features)(path, rollout(Closed(law), path)[1]))(jnp.asarray(paths))
        return found.reshape(-1, found.shape[-1])

    rows = np.asarray(jax.jit(points)(turned(trained)))
    rows = np.random.default_rng(seed).permutation(rows)[:_MOST]
    rms = np.sqrt(np.mean(rows**2, 0))
    near = Nearest(jnp.asarray(rows), jnp.asarray(rms), features)
    away = jax.jit(lambda x: jax.lax.map(near.distance, x))(points(held_out))
    return Nearest(near.points, near.widths * jnp.quantile(away, 0.99), features)
