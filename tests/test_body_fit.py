"""Standard errors of fits through both scales are those of repeated data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, chi2

from jaxmsm.inference import LevenbergMarquardt, fit
from jaxmsm.systems._fe2_fit import Forces, Misfit, Options

DRAWS = 60
NOISE = 0.001  # so little that the forces are linear in what is left of it


@pytest.fixture(scope="module")
def fits():
    options = Options(parts=(1, 1), voxels=4, steps=6)
    model = Forces(options, options.voxels)
    truth = np.log(options.truth)
    clean = np.asarray(jax.jit(model)(jnp.asarray(truth))[0])
    sigma = NOISE * np.max(np.abs(clean), axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        misfit = Misfit(model, jnp.asarray(clean + sigma * rng.normal(size=clean.shape)), jnp.asarray(sigma))
        method = LevenbergMarquardt(rtol=1e-8, xtol=1e-5)
        logs, how = fit(misfit, jnp.asarray(truth), method=method, weights=1.0, absolute=True)
        assert how.ok
        found.append((np.asarray(logs) - truth, np.asarray(how.errors), how.covariance, how.cost[-1]))
    return [np.stack(x) for x in zip(*found, strict=True)]


def test_standard_errors_cover_the_truth_as_often_as_they_say(fits):
    off, errors, covariance, cost = fits
    inside = np.sum(np.abs(off) < errors, 0)
    print(
        "inside one standard error:",
        inside,
        "of",
        DRAWS,
        "; mean, deviation of the scores:",
        (off / errors).mean(0),
        (off / errors).std(0),
    )
    low, high = binom.interval(0.999, DRAWS, 0.6827)
    assert np.all((low <= inside) & (inside <= high))
    joint = np.sum([x @ np.linalg.solve(c, x) for x, c in zip(off, covariance, strict=True)])
    low, high = chi2.interval(0.999, 4 * DRAWS)
    assert low < joint < high
    low, high = chi2.interval(0.999, DRAWS * (2 * 9 - 4))
    assert low < 2 * np.sum(cost) < high
