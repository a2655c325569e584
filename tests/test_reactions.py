"""Reactions among few molecules: exact distributions, the mean of a path, codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxmsm as msm
from jaxmsm import Jumping, Span, Stepped
from jaxmsm.biology import Reactions
from jaxmsm.solve import EulerMaruyama

CHANGE = jnp.array([[1.0, -1.0]])


def birth_and_death(made=12.0, lost=0.8):
    """One species, made at a constant rate and lost in proportion: Poisson at rest, of mean made / lost."""
    return Reactions(CHANGE, lambda x, load: jnp.stack([jnp.asarray(made), lost * x[0]]))


def many(scale, load, n, seed=0):
    keys = jax.random.split(jax.random.key(seed), n)
    return jax.jit(jax.vmap(lambda key: scale(load, scale.init(load, key=key))))(keys)


def test_jumps_are_poisson_at_rest_and_before():
    # From nothing the distribution is Poisson at every time, of mean (made / lost) (1 - exp(-lost t)).
    scale, n = Jumping(birth_and_death(), jnp.zeros(1)), 20_000
    for t in (0.7, 8.0):
        solution = many(scale, Span(0.0, t), n)
        assert bool(jnp.all(solution.ok))
        mean = 15 * (1 - np.exp(-0.8 * t))
        x = np.asarray(solution.value[:, 0])
        edges = np.arange(stats.poisson(mean).ppf(0.999) + 2)
        seen, _ = np.histogram(x, np.append(edges - 0.5, np.inf))
        expected = n * np.append(stats.poisson(mean).pmf(edges[:-1]), stats.poisson(mean).sf(edges[-2]))
        keep = expected > 10
        chi = np.sum((seen[keep] - expected[keep]) ** 2 / expected[keep])
        assert chi < stats.chi2(keep.sum() - 1).ppf(0.999)


def test_a_span_in_two_is_as_good_as_one():
    scale = Jumping(birth_and_death(), jnp.zeros(1))
    first = many(scale, Span(0.0, 0.5), 20_000, seed=3)
    rest = jax.jit(jax.vmap(lambda state: scale(Span(0.5, 1.0), state).value[0]))(first.state)
    mean = 15 * (1 - np.exp(-0.8))
    assert abs(rest.mean() - mean) < 4 * np.sqrt(mean / 20_000) and abs(rest.var() / mean - 1) < 0.05


def test_the_langevin_path_has_mean_and_variance_of_the_jumps():
    # Linear reactions: both moments of the Langevin equation are those of the jumps.
    scale = Stepped(birth_and_death(400.0), jnp.full(1, 500.0), EulerMaruyama(), 800)
    x = np.asarray(many(scale, Span(0.0, 8.0), 20_000).value[:, 0])
    assert abs(x.mean() - 500) < 4 * np.sqrt(500 / 20_000)
    # Steps of 0.01 add lost dt / 2 to the variance, relatively.
    assert abs(x.var() / 500 - 1.004) < 4 * np.sqrt(2 / 20_000)


def test_dimers_are_conserved_and_end():
    # 2 A -> B without a way back: from ten A five B, and then nothing happens any more.
    pairs = Reactions(jnp.array([[-2.0], [1.0]]), lambda x, load: jnp.reshape(load * x[0] * (x[0] - 1) / 2, (1,)))
    solution = Jumping(pairs, jnp.array([10.0, 0.0]))(Span(0.0, 1e6, jnp.asarray(1.0)))
    assert solution.unwrap().tolist() == [0.0, 5.0] and solution.stats["cost"] == 5


def test_too_many_jumps_are_a_code():
    scale = Jumping(birth_and_death(), jnp.zeros(1), most=10)
    solutions = many(scale, Span(0.0, 100.0), 3)
    assert list(msm.names(solutions.result)) == ["max_steps_reached"] * 3
    np.testing.assert_array_equal(solutions.state.fine, 0)
    assert str(msm.names(Jumping(birth_and_death(jnp.nan), jnp.zeros(1))(Span(0.0, 1.0)).result)) == "nonfinite"
    with pytest.raises(TypeError, match="Span"):
        scale(jnp.asarray(1.0))
