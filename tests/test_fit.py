"""Fits: against linear least squares, past a region that no model admits, and of what the data cannot tell."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmsm as msm
from jaxmsm.inference import FirstOrder
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


def test_what_the_data_do_not_determine_has_no_finite_variance():
    found, how = msm.fit(lambda p: fine(jnp.stack([p[0] - 1.0, 2 * p[0] - 2.1, 0.0 * p[1]])), jnp.array([0.0, 3.0]))
    assert how.unidentifiable
    np.testing.assert_allclose(found, [1.04, 3.0], rtol=1e-8)
    assert np.isfinite(how.covariance[0, 0]) and how.covariance[1, 1] == np.inf
    assert np.isnan(how.covariance[0, 1]) and np.isnan(how.correlation[1, 1])


@pytest.mark.parametrize("method", [None, FirstOrder(optax.adam(0.05))], ids=["levenberg", "adam"])
def test_a_trial_in_a_forbidden_region_is_rejected(method):
    # The law admits stretches above zero only; from 1.5 the first full step of Levenberg-Marquardt lands below.
    law = msm.Closed(NeoHookean(1.0, 2.0))
    target = law(jnp.diag(jnp.array([0.3, 1.0]))).value[0, 0]

    def misfit(stretch):
        solution = law(jnp.diag(jnp.stack([stretch, jnp.ones_like(stretch)])))
        return (solution.value[0, 0] - target)[None], solution.result

    found, how = msm.fit(misfit, jnp.asarray(1.5), **({} if method is None else {"method": method, "max_steps": 400}))
    np.testing.assert_allclose(found, 0.3, rtol=1e-6 if method is None else 2e-2)
    if method is None:
        assert how.failed > 0


def test_a_guarded_member_that_fails_at_the_second_solve_says_so():
    class Once(msm.AbstractScale):
        """Succeeds from a cold start, and not from its own guess."""

        def init(self, load, *, key=None):
            return ()

        def cold(self, load):
            return jnp.zeros(())

        def __call__(self, load, state=None, *, guess=None):
            guess = jnp.zeros(()) if guess is None else guess
            code = msm.RESULTS.where(guess > 0, msm.RESULTS.stagnation, msm.RESULTS.successful)
            return msm.Solution(jnp.where(guess > 0, jnp.nan, load), (), guess + 1, code, {})

    solution = jax.jit(lambda x: msm.Guarded(Once(), jnp.asarray(1.0))(x))(jnp.asarray(2.0))
    assert not bool(solution.ok)
