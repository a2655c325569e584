"""Cells that skip their solve where they stay elastic, and tangents that start from the last one's columns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import PeriodicCell, batched, rollout
from jaxmsm.bridges import Skipping
from jaxmsm.solids import J2, Elastic, Linear, NeoHookean, Prager
from jaxmsm.solve import NewtonKrylov

IMAGE = (np.random.default_rng(1).random((4, 4)) < 0.3).astype(int)
WAY = np.array([[1.0, 0.3], [0.2, -0.4]])
LOADS = jnp.asarray(np.eye(2) + np.array([0.0005, 0.0007, 0.0009, 0.002, 0.003, 0.0026, 0.00255])[:, None, None] * WAY)


def cell(sy=0.1, rtol=1e-10):
    matrix = J2(lam=50.0, mu=26.0, hardening=Linear(sy=sy, H=1.5), kinematic=Prager(C=0.5))
    return PeriodicCell(IMAGE, [matrix, Elastic(lam=44.0, mu=44.0)], solver=NewtonKrylov(rtol=rtol))


def path(make):
    return jax.jit(lambda sy: rollout(make(cell(sy)), LOADS)[1])


def slope(make):
    def both(sy):
        solution = rollout(make(cell(sy)), LOADS)[1]
        return solution.value, solution

    return jax.jit(lambda sy: jax.jvp(both, (sy,), (1.0,), has_aux=True))


@pytest.fixture(scope="module")
def whole():
    return slope(lambda x: x)(0.1)


def test_a_path_with_skipped_solves_is_that_of_the_cell(whole):
    some, whole = path(Skipping)(0.1), whole[2]
    assert list(np.asarray(some.stats["skipped"])) == [False, True, True, False, False, False, True]
    np.testing.assert_allclose(some.value, whole.value, rtol=0, atol=1e-9 * np.abs(whole.value).max())  # ten tolerances of the cell
    for a, b in zip(jax.tree.leaves(some.state.cell), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


def test_derivatives_are_those_of_the_cell(whole):
    found = slope(Skipping)(0.1)[1]
    np.testing.assert_allclose(found, whole[1], rtol=0, atol=1e-7 * np.abs(found).max())  # the tolerance over the softest mode


def test_nothing_flows_within_the_radius_and_something_not_far_beyond():
    one = Skipping(cell())
    start = eqx.filter_jit(one)(LOADS[0]).state
    ways = np.random.default_rng(2).normal(size=(40, 2, 2))
    ways = ways + ways.transpose(0, 2, 1)
    ways /= np.linalg.norm(ways, axis=(1, 2), keepdims=True)
    far = jax.jit(lambda F: batched(one.cell)(F, jax.tree.map(lambda x: jnp.stack([x] * len(ways)), start.cell)).state)
    flown = lambda factor: np.asarray(far(np.asarray(LOADS[0]) + factor * float(start.radius) * ways)[0].alpha).max((1, 2))
    assert start.radius > 1e-4
    assert flown(1.0).max() == 0
    assert flown(1.5).max() > 0  # in the worst of the directions the radius is not half of what it could be


def test_a_skipped_tangent_is_the_elastic_one():
    one = Skipping(cell())
    tangent = jax.jit(lambda F, s, g: one.linearize(F, s, guess=g))
    first, A = tangent(LOADS[0], one.init(LOADS[0]), one.primed(LOADS[0]))
    second, B = tangent(LOADS[1], first.state, first.guess)
    assert not bool(first.stats["skipped"]) and bool(second.stats["skipped"])
    np.testing.assert_allclose(B, A, rtol=0, atol=1e-8 * np.abs(A).max())  # columns to 1e-5, the tangent to their square


def test_a_tangent_starts_from_the_columns_of_the_last_one():
    one = cell()
    tangent = jax.jit(lambda F, g: one.linearize(F, guess=g))
    first, A = tangent(LOADS[0], one.primed(LOADS[0]))
    second, B = tangent(LOADS[0], first.guess)
    assert int(first.stats["linear"]) > 10 and int(second.stats["linear"]) == 0
    np.testing.assert_allclose(B, A, rtol=0, atol=1e-12 * np.abs(A).max())  # round-off


def test_members_of_a_batch_skip_each_for_itself_and_one_with_other_numbers_never():
    # The elastic answer was that of other numbers: the new cell's own comes out.
    @jax.jit
    def second(mu):
        one = Skipping(cell())
        many = batched(eqx.tree_at(lambda s: s.cell.laws[1].mu, one, mu))
        first = many(LOADS[np.array([0, 4])])
        return many(LOADS[np.array([1, 5])], first.state, guess=first.guess), many.scale.cell(LOADS[1]).value

    found, alone = second(44.0)
    assert list(np.asarray(found.stats["skipped"])) == [True, False]
    found, other = second(60.0)
    assert not np.any(found.stats["skipped"])
    assert np.abs(other - alone).max() > 1e-3 * np.abs(alone).max()
    np.testing.assert_allclose(found.value[0], other, rtol=0, atol=1e-8 * np.abs(other).max())


def test_what_is_not_affine_is_refused():
    with pytest.raises(ValueError, match="small strain"):
        Skipping(PeriodicCell(IMAGE, [NeoHookean(lam=1.0, mu=1.0), Elastic(lam=1.0, mu=1.0)]))
    with pytest.raises(TypeError, match="PeriodicCell"):
        Skipping(Elastic(lam=1.0, mu=1.0))
