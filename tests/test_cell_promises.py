"""What a cell keeps: objectivity, small strains in single precision, the tree of a guess, sentences for bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxmsm as msm
from jaxmsm.solids import J2, Elastic, Law, Linear, NeoHookean, cast
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import AbstractRule

IMAGE = (np.random.default_rng(0).random((4, 4)) < 0.4).astype(int)


def rubber(**how):
    return msm.PeriodicCell(IMAGE, [NeoHookean(mu=1.0, lam=2.0), NeoHookean(mu=10.0, lam=20.0)], **how)


def test_a_rotated_load_is_solved_as_well_as_one_that_is_not():
    U = np.eye(2) + 1e-3 * np.array([[1.0, 0.4], [0.4, -0.7]])
    c, s = np.cos(3.0), np.sin(3.0)
    R = np.array([[c, -s], [s, c]])
    exact = np.asarray(rubber(solver=NewtonKrylov(rtol=1e-13))(jnp.asarray(U)).value)
    found = rubber()(jnp.asarray(R @ U))
    assert bool(found.ok)
    # The tolerance is relative to the stress of the stretch, 1e-3 of that of the rotation.
    np.testing.assert_allclose(R.T @ np.asarray(found.value), exact, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize("size", [1e-5, 1e-4, 1e-3])
def test_small_strains_in_single_precision(size):
    H = size * np.array([[1.0, 0.5], [0.5, -0.3]])
    laws = [Elastic.from_young(11000.0, 0.2), Elastic.from_young(2200.0, 0.2)]
    F = jnp.asarray(np.eye(2) + H, jnp.float32)
    found = cast(msm.PeriodicCell(IMAGE, laws), jnp.float32)(F)
    assert bool(found.ok), msm.names(found.result)
    exact = np.asarray(msm.PeriodicCell(IMAGE, laws)(jnp.asarray(F, jnp.float64)).value)
    # The load is the rounded one for both: what is left is round-off of the solve.
    np.testing.assert_allclose(found.value, exact, atol=2e-5 * np.abs(exact).max())
    # A law that is asked at its points sees F, rounded to eps of one; that much of its stress is lost, and no more.
    metal = [J2(lam=1000.0, mu=4000.0, hardening=Linear(sy=1e3, H=1.0)), J2(lam=300.0, mu=900.0, hardening=Linear(sy=1e3, H=1.0))]
    found = cast(msm.PeriodicCell(IMAGE, metal), jnp.float32)(F)
    exact = np.asarray(msm.PeriodicCell(IMAGE, metal)(jnp.asarray(F, jnp.float64)).value)
    assert bool(found.ok), msm.names(found.result)
    np.testing.assert_allclose(found.value, exact, atol=(2e-5 + 4 * 1.2e-7 / size) * np.abs(exact).max())


@pytest.mark.parametrize("rtol", [1e-6, 1e-9])
def test_single_precision_goes_as_far_as_it_gains(rtol):
    F = jnp.eye(2, dtype=jnp.float32).at[0, 1].set(0.1)
    laws = [Elastic(mu=1.0, lam=1.0), Elastic(mu=10.0, lam=10.0)]
    found = cast(msm.PeriodicCell(IMAGE, laws, solver=NewtonKrylov(rtol=rtol)), jnp.float32)(F)
    assert bool(found.ok), msm.names(found.result)
    # Sixteen roundings of the stress, whatever less is asked for.
    assert float(found.stats["residual"]) < max(rtol, 16 * 1.2e-7)


def test_a_guess_keeps_its_tree():
    cell = rubber()
    path = jnp.stack([jnp.eye(2).at[0, 1].set(size) for size in (0.01, 0.02, 0.03)])

    def step(guess, F):
        solution, slope = cell.linearize(F, guess=guess)
        return solution.guess, (solution.value, slope, solution.stats["newton"])

    plain, with_columns = (lax.scan(step, cell.cold(path[0], columns=c), path)[1] for c in (False, True))
    for a, b in zip(plain[:2], with_columns[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8 * np.abs(b).max())  # the tolerance of the solve
    assert int(with_columns[2].sum()) < int(plain[2].sum())  # the predictor is at work
    called = cell(path[1], guess=cell.linearize(path[0])[0].guess).guess
    assert jax.tree.structure(called) == jax.tree.structure(cell.linearize(path[0])[0].guess)


def test_the_acoustic_tensor_is_never_left_out_in_silence():
    F = jnp.eye(2).at[0, 1].set(0.01)
    stats = [rubber(acoustic=True, substeps=n).linearize(F)[0].stats["acoustic"] for n in (1, 2)]
    np.testing.assert_allclose(stats[0], stats[1], rtol=1e-6)
    with pytest.raises(ValueError, match="acoustic"):
        rubber(acoustic=True).linearize(msm.Mixed(F, jnp.zeros((2, 2)), jnp.ones((2, 2), bool)))


def test_a_soft_layer_with_a_pore_carries():
    image = np.tile([0, 0, 0, 1, 1, 1], (6, 1))
    image[0, 0] = 2
    cell = msm.PeriodicCell(image, [Elastic.from_young(1.0, 0.3), Elastic.from_young(1e-7, 0.3), Elastic(lam=0.0, mu=0.0)])
    found = cell(jnp.eye(2).at[1, 1].add(0.01))
    assert msm.names(found.result) == "successful"
    # Two stiff layers in series with a soft one of half the height.
    E = 1e-7 / (1 - 0.3**2)
    assert 1 < float(found.value[1, 1]) / (0.01 * E) < 3
    alone = msm.PeriodicCell(np.tile([0, 0, 1, 1], (4, 1)), [Elastic(lam=1.0, mu=1.0), Elastic(lam=0.0, mu=0.0)])
    assert msm.names(alone(jnp.eye(2).at[1, 1].add(0.01)).result) == "no_load_path"


def test_bad_input_gets_a_sentence():
    law = Elastic(lam=1.0, mu=1.0)
    for image, laws, how, word in (
        (None, [law, law], {"grid": (4, 4)}, "laws"),
        (IMAGE, [law, law], {"grid": (4, 4)}, "grid"),
        (IMAGE, [law, law], {"spacing": (1.0, -2.0)}, "spacing"),
        (IMAGE, [law, law], {"spacing": (1.0, 1.0, 1.0)}, "spacing"),
        (IMAGE, [law, law], {"substeps": 0}, "substeps"),
    ):
        with pytest.raises(ValueError, match=word):
            msm.PeriodicCell(image, laws, **how)
    # An image that is traced cannot be looked at; its labels are judged inside the program.
    traced = jax.jit(lambda image: msm.PeriodicCell(image, [law, law])(jnp.eye(2)).result)(jnp.asarray(IMAGE + 1))
    assert msm.names(traced) == "out_of_range"


def test_a_law_without_numbers_and_a_failed_field():
    cell = msm.PeriodicCell(IMAGE, [Law(lambda F, past, p: (F - jnp.eye(2), past))] * 2)
    assert bool(cell(jnp.eye(2).at[0, 0].add(0.1)).ok)
    fields = rubber().fields(jnp.diag(jnp.array([-1.0, 1.0])))
    assert all(bool(jnp.all(jnp.isnan(x))) for x in fields.values())


class Trapezoid(AbstractRule):
    """The law at the corners."""

    def points(self, d):
        return np.stack(np.meshgrid(*[[0.0, 1.0]] * d, indexing="ij"), -1).reshape(-1, d)


def test_a_rule_of_ones_own_is_not_asked_by_modes():
    F = jnp.eye(2).at[0, 1].set(0.01)
    elastic = [Elastic(lam=1.0, mu=2.0), Elastic(lam=5.0, mu=7.0)]
    hard = [J2(lam=law.lam, mu=law.mu, hardening=Linear(sy=1e3, H=1.0)) for law in elastic]
    linear, plastic = (msm.PeriodicCell(IMAGE, laws, rule=Trapezoid())(F) for laws in (elastic, hard))
    assert bool(linear.ok) and bool(plastic.ok)
    # The tolerance of the solve, which is one of the whole stress.
    np.testing.assert_allclose(linear.value, plastic.value, atol=1e-8 * np.abs(plastic.value).max())


def test_slopes_with_slack_err_by_no_more_and_cost_less():
    image = (np.random.default_rng(3).random((8, 8)) < 0.4).astype(int)
    F = jnp.array([[1.04, 0.02], [0.01, 0.97]])
    cell = msm.PeriodicCell(image, [NeoHookean(mu=1.0, lam=2.0), NeoHookean(mu=10.0, lam=20.0)])
    run = jax.jit(lambda cell, slack: cell.with_slack(slack).linearize(F))
    exact, slope = cell.linearize(F)
    steps = [int(exact.stats["linear"])]
    for slack in (1e-4, 1e-2):
        rough, found = run(cell, jnp.asarray(slack))
        assert rough.ok and np.linalg.norm(found - slope) <= slack * np.linalg.norm(slope)
        np.testing.assert_allclose(rough.value, exact.value, rtol=0, atol=1e-12)
        steps.append(int(rough.stats["linear"]))
    assert steps[0] > 1.2 * steps[1] > 1.5 * steps[2]
    # In a batch over images, all members share it.
    many = msm.batched(eqx.tree_at(lambda c: c.image, cell, jnp.stack([cell.image] * 2)), over=lambda c: c.image)
    rows = many.with_slack(jnp.asarray(1e-2)).linearize(jnp.stack([F, F]))[0]
    assert rows.stats["linear"].tolist() == [steps[2]] * 2
