"""Moving asymptotes against published optima, and their approximations against another solver."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm.solve import MovingAsymptotes
from jaxmsm.solve._asymptotes import dual_solution, minimizer


def cantilever(x):
    """Svanberg (1987), section 5: the weight of five hollow segments, and the deflection of the tip."""
    stiff = jnp.asarray([61.0, 37.0, 19.0, 7.0, 1.0], x.dtype)
    return jnp.concatenate([0.0624 * jnp.sum(x)[None], jnp.sum(stiff / x**3)[None] - 1])


def truss(x):
    """The same: the weight of two bars by section and half distance, and the stress in each."""
    long = jnp.sqrt(1 + x[1] ** 2)
    stress = 0.124 * long * (8 / x[0] + jnp.asarray([1, -1], x.dtype) / (x[0] * x[1]))
    return jnp.concatenate([(x[0] * long)[None], stress - 1])


def run(functions, x, low, high, steps):
    method = MovingAsymptotes(low, high)

    @jax.jit
    def step(x, memory):
        v, J = functions(x), jax.jacrev(functions)(x)
        return method.step(memory, x, J[0], v[1:], J[1:])

    memory = method.start(x, constraints=functions(x).size - 1)
    for _ in range(steps):
        x, memory = step(x, memory)
    return x, functions(x), memory


# float32: round-off of the constraint, of terms of order one, seen through its slope.
@pytest.mark.parametrize(("dtype", "off", "held"), [(np.float64, 5e-6, 1e-6), (np.float32, 1e-5, 1e-5)])
def test_the_cantilever_of_svanberg(dtype, off, held):
    x, v, memory = run(cantilever, jnp.full(5, 5.0, dtype), 1.0, 10.0, 12)
    assert x.dtype == dtype
    # Published: 1.33996 (rounded, hence 5e-6) at 6.016, 5.309, 4.494, 3.502, 2.153.
    assert abs(float(v[0]) - 1.33996) < off
    np.testing.assert_allclose(x, [6.016, 5.309, 4.494, 3.502, 2.153], atol=6e-4)
    assert abs(float(v[1])) < held
    # At the optimum slope + multiplier * slope of the constraint vanishes: 0.0624 x^4 / 3 c.
    np.testing.assert_allclose(memory.multipliers, 0.0624 * x[0] ** 4 / (3 * 61), rtol=1e-3)  # steps of 1e-5 left


def test_the_two_bars_of_svanberg():
    low, high = jnp.asarray([0.2, 0.1]), jnp.asarray([4.0, 1.6])
    x, v, memory = run(truss, jnp.asarray([1.5, 0.5]), low, high, 12)
    # Published: 1.51 at (1.41, 0.38), the first stress at its limit and the second not.
    np.testing.assert_allclose([v[0], *x], [1.51, 1.41, 0.38], atol=5e-3)
    assert abs(float(v[1])) < 1e-6 and v[2] < -0.4
    assert memory.multipliers[0] > 1 and memory.multipliers[1] < 1e-6


def _approximation(seed, n=12, m=3, slack=0.1):
    random = np.random.default_rng(seed)
    x, slope, slopes = random.uniform(0.2, 0.8, n), random.standard_normal(n), random.standard_normal((m, n))
    method = MovingAsymptotes(0.0, 1.0)
    x, slope, slopes = map(jnp.asarray, (x, slope, slopes))
    return method._approximation(x, x - 0.5, x + 0.5, slope, jnp.full(m, slack), slopes)


@pytest.mark.parametrize("seed", range(4))
def test_an_approximation_is_solved(seed):
    from scipy.optimize import minimize

    problem = _approximation(seed)
    L, U = map(np.asarray, (problem.L, problem.U))

    def parts(x):
        return 1 / (U - x), 1 / (x - L)

    def value(x):
        up, down = parts(x)
        return problem.p @ up + problem.q @ down, np.asarray(problem.p * up**2 - problem.q * down**2)

    def left(x):
        up, down = parts(x)
        return np.asarray(problem.b - problem.P @ up - problem.Q @ down)

    bounds = list(zip(np.asarray(problem.alpha), np.asarray(problem.beta), strict=True))
    found = minimize(
        value, (U + L) / 2, jac=True, bounds=bounds, method="SLSQP", constraints={"type": "ineq", "fun": left},
        options={"ftol": 1e-13, "maxiter": 200},
    )  # fmt: skip
    assert found.success
    x = minimizer(problem, dual_solution(problem, jnp.asarray(1000.0)))[0]
    # SLSQP stops at 1e-13 of the value, that is 1e-6 of the point; its constraints hold to 1e-9.
    np.testing.assert_allclose(value(np.asarray(x))[0], found.fun, rtol=1e-7)
    np.testing.assert_allclose(x, found.x, atol=1e-4)
    assert np.all(left(np.asarray(x)) > -1e-7)
    # Some of it is bound by a constraint and some by the box, or this shows nothing.
    assert np.any(left(np.asarray(x)) < 1e-6) and np.any((x == problem.alpha) | (x == problem.beta))


def test_what_cannot_be_met_is_broken_least():
    def functions(x):
        return jnp.stack([jnp.sum(x), 2 - x[0], x[1] - 5])

    x, _, memory = run(functions, jnp.asarray([0.5, 0.5]), 0.0, 1.0, 10)
    # x0 >= 2 cannot be: x0 = 1 is the least evil, and x1 goes its own way.
    np.testing.assert_allclose(x, [1, 0], atol=1e-6)
    # The penalty, and the breach.
    np.testing.assert_allclose(memory.multipliers, [1001, 0], rtol=1e-6, atol=1e-6)


def test_a_batch_is_a_loop():
    method = MovingAsymptotes(1.0, 10.0)

    def advance(x):
        memory = method.start(x, constraints=1)
        for _ in range(3):
            J = jax.jacrev(cantilever)(x)
            x, memory = method.step(memory, x, J[0], cantilever(x)[1:], J[1:])
        return x

    starts = jnp.stack([jnp.full(5, 5.0), jnp.linspace(3.0, 7.0, 5)])
    one = jax.jit(advance)
    many = jax.jit(jax.vmap(advance))(starts)
    np.testing.assert_allclose(many, jnp.stack([one(x) for x in starts]), rtol=1e-10)  # round-off of 1e-8 barriers


def test_what_is_no_number_ends():
    method = MovingAsymptotes(0.0, 1.0)
    x = jnp.full(3, 0.5)
    bad = jnp.asarray([1.0, jnp.nan, 1.0])
    found, _ = eqx.filter_jit(method.step)(method.start(x, constraints=1), x, bad, jnp.asarray([0.1]), bad[None])
    assert np.isnan(found[1])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Argument `low` must be below `high` everywhere"):
        MovingAsymptotes(1.0, jnp.asarray([2.0, 1.0]))
    with pytest.raises(ValueError, match="Argument `constraints` must be at least 1, but it is 0: add one that is never active"):
        MovingAsymptotes(0.0, 1.0).start(jnp.zeros(2), constraints=0)
