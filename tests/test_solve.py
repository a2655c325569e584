"""Krylov solvers, the shared rules of differentiation, and the search for equilibrium."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm.solids import J2, Linear, NeoHookean
from jaxmsm.solve import CG, GMRES, NewtonKrylov, implicit_scalar, stationary


def matrix(n, seed=0):
    return jnp.asarray(3 * np.eye(n) + 2 * np.random.default_rng(seed).normal(size=(n, n)) / n**0.5)


@pytest.mark.parametrize("restart", [8, 60])
def test_gmres_solves_what_is_neither_symmetric_nor_definite(restart):
    A, b = matrix(50), jnp.asarray(np.random.default_rng(1).normal(size=50))
    A = A.at[0].multiply(-1)
    solve = lambda b: GMRES(restart=restart, max_steps=4000)(lambda v: A @ v, b, lambda v: v / 3, 1e-10)
    x, report = jax.jit(solve)(b)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), rtol=1e-8)  # 1e-10 in the residual
    assert report.residual <= 1e-10
    exported = jax.export.export(jax.jit(lambda b: solve(b)[0]), platforms=["cpu", "cuda"])(b)
    assert len(exported.serialize()) > 0


def test_gmres_in_a_batch_names_its_members():
    A, b = matrix(20), jnp.ones(20)
    x, report = jax.vmap(lambda b: GMRES()(lambda v: A @ v, b, lambda v: v, 1e-10))(jnp.stack([b, 0 * b, jnp.nan * b]))
    np.testing.assert_allclose(x[0], np.linalg.solve(A, b), rtol=1e-8)
    assert int(report.steps[1]) == 0 and bool(jnp.all(x[1] == 0))
    assert not bool(jnp.isfinite(report.residual[2]))


def test_cg_tells_a_right_hand_side_that_nothing_answers():
    K = jnp.diag(jnp.array([1.0, 2.0, 0.0]))
    _, report = CG()(lambda v: K @ v, jnp.ones(3), lambda v: v, 1e-10)
    assert bool(report.flat)
    x, report = CG()(lambda v: K @ v, jnp.array([1.0, 1.0, 0.0]), lambda v: v, 1e-10)
    np.testing.assert_allclose(x, [1.0, 0.5, 0.0], rtol=1e-9)
    assert not bool(report.flat)
    _, report = CG()(lambda v: -K @ v, jnp.ones(3), lambda v: v, 1e-10)
    assert bool(report.negative)


def test_a_scalar_root_has_exact_derivatives_of_both_orders():
    # x^3 = p q, found outside of the rule.
    def cube_root(p):
        return implicit_scalar(lambda x, p: x**3 - p["p"] * p["q"], (p["p"] * p["q"]) ** (1 / 3), p)

    p = {"p": jnp.asarray(2.0), "q": jnp.asarray(4.0)}
    exact = lambda p: (p["p"] * p["q"]) ** (1 / 3)
    for derive in (jax.grad, jax.jacfwd, jax.hessian):
        for a, b in zip(jax.tree.leaves(derive(cube_root)(p)), jax.tree.leaves(derive(exact)(p)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_stationary_value_refines_its_root_only_for_derivatives():
    # min over x of p x^2 / 2 - x: x = 1 / p, value -1 / (2 p).
    calls = []

    def refine(x, p):
        calls.append(1)
        return 1 / p

    f = lambda x, p: 0.5 * p * x**2 - x
    r = lambda x, p: p * x - 1
    solve = lambda matvec, b, x, p: b / p

    def value(p):
        root = 1 / p + 1e-4
        return stationary(f, r, solve, refine, f(root, p), root, p)

    p = jnp.asarray(2.0)
    np.testing.assert_allclose(value(p), -0.25, rtol=1e-7)  # quadratic in the error 1e-4 of the root
    assert not calls
    np.testing.assert_allclose(jax.grad(value)(p), 1 / (2 * p**2), rtol=1e-12)
    assert calls
    np.testing.assert_allclose(jax.grad(jax.grad(value))(p), -1 / p**3, rtol=1e-12)


IMAGE = (np.random.default_rng(0).random((6, 6)) < 0.4).astype(int)


def metal(p, **how):
    return msm.PeriodicCell(
        IMAGE,
        [J2(lam=1.0, mu=0.8, hardening=Linear(sy=p[0], H=p[1])), J2(lam=2.0, mu=3.0, hardening=Linear(sy=p[2], H=0.05))],
        **how,
    )


def test_substeps_reach_what_one_step_does_not_and_are_differentiated_through():
    p = jnp.array([0.01, 0.05, 0.2])
    path = jnp.stack([jnp.eye(2) + size * jnp.array([[0.02, 0.06], [0.06, -0.01]]) for size in (1.0, 2.0, 0.5)])
    few = NewtonKrylov(rtol=1e-11, max_steps=6)

    def answer(p, substeps):
        return msm.rollout(metal(p, substeps=substeps, solver=few), path)[1]

    one, many = jax.jit(answer, static_argnums=1)(p, 1), jax.jit(answer, static_argnums=1)(p, 8)
    assert not bool(jnp.all(one.ok)) and bool(jnp.all(many.ok))
    taken = np.asarray(many.stats["substeps"])
    assert taken.max() > 1
    for k, n in enumerate(taken):
        times = np.asarray(many.stats["times"][k])
        assert times[n - 1] == 1 and np.all(np.diff(times[:n]) > 0)
    loss = jax.jit(lambda p: jnp.sum(answer(p, 8).value[:, 0, 1] ** 2))
    slope = jax.jit(jax.grad(lambda p: jnp.sum(answer(p, 8).value[:, 0, 1] ** 2)))(p)
    for k in range(3):
        h = 1e-6 * p[k]
        central = (loss(p.at[k].add(h)) - loss(p.at[k].add(-h))) / (2 * h)
        np.testing.assert_allclose(slope[k], central, rtol=1e-6)  # differences of a solution at 1e-11


def test_the_columns_of_a_tangent_predict_the_next_solution_to_first_order():
    cell = msm.PeriodicCell(IMAGE, [NeoHookean(mu=1.0, lam=1.5), NeoHookean(mu=8.0, lam=10.0)])
    F = jnp.eye(2).at[0, 1].set(0.1)
    direction = jnp.array([[0.3, -0.2], [0.1, 0.4]])
    first, _ = jax.jit(lambda F: cell.linearize(F))(F)
    exact = jax.jit(lambda F: cell(F).guess.u)

    def misses(h):
        u = exact(F + h * direction)
        u = u - u.mean((1, 2), keepdims=True)
        guess = first.guess.start(F + h * direction)[0]
        return jnp.linalg.norm(guess - guess.mean((1, 2), keepdims=True) - u)

    assert misses(0.01) / misses(0.02) < 0.3  # a quarter, to second order
    cold, warm = cell(F + 0.01 * direction), cell(F + 0.01 * direction, guess=first.guess)
    np.testing.assert_allclose(warm.value, cold.value, atol=1e-8)
    assert int(warm.stats["newton"]) < int(cold.stats["newton"])


def test_mixed_precision_answers_as_double_does():
    F = jnp.eye(2).at[0, 1].set(0.1)
    laws = [NeoHookean(mu=1.0, lam=1.5), NeoHookean(mu=8.0, lam=10.0)]
    full, mixed = (msm.PeriodicCell(IMAGE, laws, solver=NewtonKrylov(rtol=1e-10, inner=inner)) for inner in (None, jnp.float32))
    a, A = jax.jit(lambda F: full.linearize(F))(F)
    b, B = jax.jit(lambda F: mixed.linearize(F))(F)
    np.testing.assert_allclose(a.value, b.value, atol=1e-9)
    np.testing.assert_allclose(A, B, rtol=1e-8)
    assert b.value.dtype == jnp.float64
    grad = lambda cell: jax.jit(jax.grad(lambda F: cell(F).value[0, 1]))(F)
    np.testing.assert_allclose(grad(full), grad(mixed), rtol=1e-8)
