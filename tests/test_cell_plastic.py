"""Plastic cells over a path with unloading: tangent, gradient of a path in every parameter, rollbacks of failed steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import PeriodicCell, names, rollout
from jaxmsm.solids import J2, Linear
from jaxmsm.solve import NewtonKrylov

IMAGE = np.random.default_rng(2).integers(0, 2, (6, 6))
# lam, mu, sy, H of two phases.
NUMBERS = jnp.array([[1.5, 1.0, 0.004, 0.1], [4.0, 3.0, 0.02, 0.3]])
# Loading, unloading, loading the other way; every point is away from a switch of yielding at the last step.
SHEAR = jnp.array([0.003, 0.006, 0.005, 0.003, -0.004])
LOADS = jnp.eye(2)[None] + SHEAR[:, None, None] * jnp.array([[[0.6, 1.0], [1.0, -0.3]]])


def cell(numbers):
    laws = [J2(lam=lam, mu=mu, hardening=Linear(sy=sy, H=H)) for lam, mu, sy, H in numbers]
    return PeriodicCell(IMAGE, laws, solver=NewtonKrylov(rtol=1e-13))


@jax.jit
def path(numbers):
    return rollout(cell(numbers), LOADS)


@jax.jit
def value(numbers, load, state, guess):
    solution = cell(numbers)(load, state, guess=guess)
    return solution.value, solution.ok


@jax.jit
def linearized(numbers, load, state, guess):
    return cell(numbers).linearize(load, state, guess=guess)


@pytest.fixture(scope="module")
def walked():
    """The solution of every step, and the state and the guess before the last one."""
    _, steps = path(NUMBERS)
    assert steps.ok.all(), names(steps.result)
    before = jax.tree.map(lambda x: x[-2], (steps.state, steps.guess))
    return steps, *before


def test_path_has_flow_and_elastic_unloading(walked):
    steps = walked[0]
    alpha = np.concatenate([np.asarray(group.alpha) for group in steps.state], -1)
    grown = (np.diff(alpha, axis=0) > 1e-12).mean((1, 2))
    # The second and the last step flow in most points; the first step of unloading is elastic in most.
    assert grown[0] > 0.5 and grown[-1] > 0.5 and grown[1] < 0.2
    # Hill-Mandel holds whatever the law.
    assert np.all(steps.stats["hill_mandel"] < 1e-12)


def _differences(fn, h):
    return (8 * (fn(h) - fn(-h)) - (fn(2 * h) - fn(-2 * h))) / (12 * h)


def test_tangent_is_consistent(walked):
    _, state, guess = walked
    solution, slope = linearized(NUMBERS, LOADS[-1], state, guess)
    assert solution.ok
    direction = jnp.array([[0.4, 0.7], [0.7, -1.0]])

    def stress(h):
        P, ok = value(NUMBERS, LOADS[-1] + h * direction, state, guess)
        assert ok
        return np.asarray(P)

    # A step small against the yield strain of 4e-3, whose truncation is of fourth order; the solver leaves 1e-13 / 1e-5.
    expected = _differences(stress, 2e-5)
    along = np.tensordot(np.asarray(slope), np.asarray(direction), 2)
    assert np.linalg.norm(along - expected) < 1e-8 * np.linalg.norm(expected)
    C = np.asarray(slope).reshape(4, 4)
    # Associative flow has a potential over a step.
    assert np.abs(C - C.T).max() < 1e-10 * np.abs(C).max()


@jax.jit
def loss(numbers):
    _, steps = rollout(cell(numbers), LOADS)
    target = jnp.array([[[0.01, 0.02], [0.02, -0.01]]])
    return jnp.sum(jnp.square(steps.value - target)) * 1e3, steps.ok


def test_gradient_of_a_path_in_every_parameter():
    gradient, ok = jax.jit(jax.grad(loss, has_aux=True))(NUMBERS)
    assert ok.all()
    for k in range(NUMBERS.size):
        unit = jnp.zeros(NUMBERS.size).at[k].set(NUMBERS.ravel()[k]).reshape(NUMBERS.shape)
        expected = _differences(lambda h, unit=unit: float(loss(NUMBERS + h * unit)[0]), 3e-4)
        found = float(jnp.sum(gradient * unit))
        # The steps' own tolerance of 1e-13 adds up over the path; differences of a loss of order one leave 1e-10.
        assert abs(found - expected) < 1e-7 * float(jnp.linalg.norm(gradient * NUMBERS)), (k, found, expected)


def test_a_failed_step_commits_nothing(walked):
    _, state, guess = walked

    @jax.jit
    def step(load):
        return cell(NUMBERS)(load, state, guess=guess)

    bad = step(LOADS[-1] * jnp.nan)
    assert names(bad.result) == "nonfinite_input"
    # The same bits: what was committed before.
    assert eqx.tree_equal(bad.state, state)
    assert np.all(np.isnan(bad.value))
    assert step(LOADS[-1]).ok
