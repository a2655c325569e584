"""Fits: against linear least squares, past a region that no model admits, and of what the data cannot tell."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

import jaxmsm as msm
from jaxmsm.inference import FirstOrder, LevenbergMarquardt
from jaxmsm.solids import NeoHookean

RNG = np.random.default_rng(0)
DESIGN = RNG.normal(size=(20, 3))
DATA = DESIGN @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.normal(size=20)


def fine(residual):
    """A misfit that cannot fail."""
    return residual, msm.RESULTS.successful


def straight(p):
    return fine(jnp.asarray(DESIGN) @ p - jnp.asarray(DATA))


def test_covariance_of_linear_least_squares():
    exact, (left,), *_ = np.linalg.lstsq(DESIGN, DATA)
    inverse = np.linalg.inv(DESIGN.T @ DESIGN)
    found, how = msm.fit(straight, jnp.zeros(3))
    np.testing.assert_allclose(found, exact, rtol=1e-8)
    np.testing.assert_allclose(how.covariance, left / 17 * inverse, rtol=1e-8)
    np.testing.assert_allclose(how.errors, np.sqrt(np.diag(left / 17 * inverse)), rtol=1e-8)
    absolute = msm.fit(straight, jnp.zeros(3), absolute=True)[1]
    np.testing.assert_allclose(absolute.covariance, inverse, rtol=1e-8)


def test_weighted_linear_least_squares():
    # In closed form: A'WA x = A'Wb, with the covariance (A'WA)^-1 where the weights are one over the variances.
    weights = np.linspace(0.5, 4.0, 20)
    inverse = np.linalg.inv(DESIGN.T @ (weights[:, None] * DESIGN))
    exact = inverse @ DESIGN.T @ (weights * DATA)
    left = np.sum(weights * (DESIGN @ exact - DATA) ** 2)
    for reverse in (False, True):
        method = LevenbergMarquardt(reverse=reverse)
        found, how = msm.fit(straight, jnp.zeros(3), weights=jnp.asarray(weights), method=method)
        np.testing.assert_allclose(found, exact, rtol=1e-8)
        np.testing.assert_allclose(how.covariance, left / 17 * inverse, rtol=1e-8)
        np.testing.assert_allclose(how.cost[-1], left / 2, rtol=1e-12)
    known = msm.fit(straight, jnp.zeros(3), weights=jnp.asarray(weights), absolute=True)[1]
    np.testing.assert_allclose(known.covariance, inverse, rtol=1e-8)
    # One number for all weighs the data against nothing: the same fit, the same errors, another absolute variance.
    one = msm.fit(straight, jnp.zeros(3), weights=4.0, absolute=True)[1]
    np.testing.assert_allclose(one.covariance, np.linalg.inv(DESIGN.T @ DESIGN) / 4, rtol=1e-8)


def test_a_first_order_method_finds_linear_least_squares():
    exact = np.linalg.lstsq(DESIGN, DATA)[0]
    found, how = msm.fit(straight, jnp.zeros(3), method=FirstOrder(optax.adam(0.05), gtol=1e-4), max_steps=1000)
    assert how.ok and how.covariance is None
    # The gradient fell by 1e-4, and the condition of the design squared is some 3.
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_as_many_data_as_parameters_leave_no_errors():
    def misfit(p):
        return fine(jnp.asarray(DESIGN[:3]) @ p - jnp.asarray(DATA[:3]))

    _, how = msm.fit(misfit, jnp.zeros(3))
    assert how.ok and not how.unidentifiable and np.isnan(how.errors).all() and np.isnan(how.covariance).all()
    inverse = np.linalg.inv(DESIGN[:3].T @ DESIGN[:3])
    known = msm.fit(misfit, jnp.zeros(3), absolute=True)[1]
    # The condition of the square of three rows.
    np.testing.assert_allclose(known.covariance, inverse, rtol=1e-8)


def test_what_the_data_do_not_determine_has_no_finite_variance():
    found, how = msm.fit(lambda p: fine(jnp.stack([p[0] - 1.0, 2 * p[0] - 2.1, 0.0 * p[1]])), jnp.array([0.0, 3.0]))
    assert how.unidentifiable
    np.testing.assert_allclose(found, [1.04, 3.0], rtol=1e-8)
    assert np.isfinite(how.covariance[0, 0]) and how.covariance[1, 1] == np.inf
    assert np.isnan(how.covariance[0, 1]) and np.isnan(how.correlation[1, 1])


@pytest.mark.parametrize(
    ("method", "close"),
    [(LevenbergMarquardt(), 1e-6), (FirstOrder(optax.sign_sgd(optax.exponential_decay(2.0, 2, 0.7))), 1e-6)],
    ids=["levenberg", "sign"],
)
def test_a_trial_in_a_forbidden_region_is_rejected(method, close):
    # The law admits stretches above zero only; from 1.5 the first full step of either method lands below.
    law = msm.Closed(NeoHookean(mu=1.0, lam=2.0))
    target = law(jnp.diag(jnp.array([0.3, 1.0]))).value[0, 0]

    def misfit(stretch):
        solution = law(jnp.diag(jnp.stack([stretch, jnp.ones_like(stretch)])))
        return (solution.value[0, 0] - target)[None], solution.result

    seen = []
    found, how = msm.fit(
        misfit, jnp.asarray(1.5), method=method, max_steps=400, on_step=lambda step, cost, x: seen.append(float(x))
    )
    np.testing.assert_allclose(found, 0.3, rtol=close)
    assert how.failed > 0 and how.rejected >= how.failed
    assert min(seen) > 0 and np.isfinite(how.cost).all()


class Straight(eqx.Module):
    """A misfit that hands in its data."""

    data: Array

    def __call__(self, p):
        TRACED.append(None)
        return straight_to(self.data, p)


TRACED: list = []


def straight_to(data, p):
    return fine(jnp.asarray(DESIGN) @ p - data)


def test_fits_to_other_data_share_a_program():
    found, _ = msm.fit(Straight(jnp.asarray(DATA)), jnp.zeros(3))
    traced = len(TRACED)
    other, how = msm.fit(Straight(jnp.asarray(2 * DATA)), jnp.zeros(3))
    assert how.ok and len(TRACED) == traced > 0
    np.testing.assert_allclose(other, 2 * found, rtol=1e-10)
    np.testing.assert_allclose(found, np.linalg.lstsq(DESIGN, DATA)[0], rtol=1e-8)
