"""The grid, its faces and its spectral symbols: transposes, exact inverses, modes."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm.bridges import _kernel
from jaxmsm.bridges._cell_solve import as_mixed, virgin
from jaxmsm.bridges._kernel import Conditions
from jaxmsm.solids import J2, Conductivity, Cubic, Elastic, Linear, NeoHookean
from jaxmsm.space import Full, LinearDisplacement, MeanDilatation, Periodic, Reduced, UniformTraction, Voxels, merge_voxels

BOUNDARIES = [Periodic(), LinearDisplacement(), UniformTraction()]
RULES = [Full(), Reduced(), MeanDilatation()]
SLABBED = [
    [Elastic(lam=1.0, mu=2.0), Elastic(lam=3.0, mu=4.0)],
    [Conductivity(1.0), Conductivity(5.0)],
    [NeoHookean(mu=1.0, lam=2.0), NeoHookean(mu=3.0, lam=4.0)],
    [J2(lam=1.0, mu=2.0, hardening=Linear(sy=0.01, H=0.1)), J2(lam=1.0, mu=2.0, hardening=Linear(sy=0.03, H=0.2))],
]
name = lambda x: type(x).__name__


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
def test_forces_are_the_transpose_of_the_gradient(d, boundary):
    grid = Voxels((5, 4, 3)[:d], (1.0, 2.0, 0.5)[:d], Full())
    rng = np.random.default_rng(0)
    u = jnp.asarray(rng.normal(size=(d, *boundary.nodes(grid.shape))))
    P = jnp.asarray(rng.normal(size=(d, d, grid.points, grid.count)))
    work = jnp.mean(jnp.sum(P * grid.gradient(boundary.expand(u)), (0, 1)))
    forces = boundary.close(grid.divergence(P, boundary.join))
    np.testing.assert_allclose(jnp.sum(forces * u), work, rtol=1e-12)  # round-off
    # `close` after `join` is `fold` after plain assembly.
    plain = boundary.fold(grid.divergence(P, LinearDisplacement().join))
    np.testing.assert_allclose(forces, plain, atol=1e-15)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
def test_a_fluctuation_has_no_mean_gradient(boundary):
    grid = Voxels((5, 4), (1.0, 2.0), Full())
    u = jnp.asarray(np.random.default_rng(1).normal(size=(2, *boundary.nodes(grid.shape))))
    np.testing.assert_allclose(grid.mean(grid.gradient(boundary.expand(u))), 0, atol=1e-14)


@pytest.mark.parametrize("rule", [Full(), Reduced()], ids=name)
@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (4, 4, 3)])
def test_green_operator_inverts_a_homogeneous_medium(rule, shape):
    d = len(shape)
    grid, boundary = Voxels(shape, (1.0, 0.5, 2.0)[:d], rule), Periodic()
    law = Cubic(C11=3.0, C12=1.0, C44=0.7)
    C = jax.jacfwd(lambda F: law(F, ())[0])(jnp.eye(d))
    u = jnp.asarray(np.random.default_rng(2).normal(size=(d, *shape)))
    stress = jnp.einsum("ijkl,klqm->ijqm", C, grid.gradient(boundary.expand(u)))
    forces = boundary.close(grid.divergence(stress, boundary.join))
    found = boundary.green(grid, C)(forces)
    # Up to the modes without stiffness, which `balanced` takes out.
    np.testing.assert_allclose(found, boundary.balanced(grid, u), atol=1e-11)  # condition number times round-off


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
@pytest.mark.parametrize("rule", RULES, ids=name)
def test_linear_laws_answer_by_modes_as_by_points(d, boundary, rule):
    rng = np.random.default_rng(3)
    image = (rng.random((5, 4, 3)[:d]) < 0.4).astype(int)
    for laws in ([Cubic(C11=3.0, C12=1.0, C44=1.0), Elastic(lam=1.0, mu=2.0)], [Conductivity(1.0), Conductivity(5.0)]):
        cell = msm.PeriodicCell(image, laws, rule=rule, boundary=boundary, spacing=(1.0, 2.0, 0.5)[:d])
        kernel = cell.kernel
        zero = kernel.zero(jnp.float64)
        load = jnp.zeros(kernel.load_shape) if kernel.scalar else jnp.eye(d)
        given = Conditions(cell.medium(jnp.float64), as_mixed(load), virgin(cell, as_mixed(load)))
        du, dF = jnp.asarray(rng.normal(size=zero[0].shape)), jnp.asarray(rng.normal(size=load.shape))
        # The same law, if it is not known to be linear, is asked at the points.
        exact = replace(kernel, linear=False)
        at_points, by_modes = (jax.jvp(partial(k.answer, given=given), (zero[0], load), (du, dF))[1] for k in (exact, kernel))
        for found in (by_modes, kernel.linearized(zero, given)(du, dF)):
            for a, b in zip(found, at_points, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-14)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
@pytest.mark.parametrize("laws", SLABBED, ids=lambda laws: name(laws[0]))
def test_slabs_answer_as_the_whole_grid(laws, boundary, monkeypatch):
    rng = np.random.default_rng(4)
    cell = msm.PeriodicCell((rng.random((6, 4, 3)) < 0.4).astype(int), laws, boundary=boundary)
    kernel = cell.kernel
    zero = kernel.zero(jnp.float64)
    u, du = (jnp.asarray(0.02 * rng.normal(size=zero[0].shape)) for _ in range(2))
    load = jnp.asarray((0 if kernel.scalar else np.eye(3)) + 0.02 * rng.normal(size=zero[1].shape))

    def found(most):
        monkeypatch.setattr(_kernel, "_MOST_POINTS", most)

        @jax.jit
        def all_of_it(cell, u, du, load):
            given = Conditions(cell.medium(u.dtype), as_mixed(load), virgin(cell, as_mixed(load)))
            z = (u, zero[1])
            residual, pull = jax.vjp(kernel.residual, z, given)
            forces, _ = kernel.linearized(z, given)(du, load)
            local = kernel.evaluate(u, load, given, lambda x: (x.P[0], x.following))[2]
            inexact = eqx.filter(pull((du, zero[1])), eqx.is_inexact_array)
            return (
                residual,
                inexact,
                forces,
                kernel.norms(given),
                kernel.judged(z, given),
                kernel.advance(z, given),
                merge_voxels(local),
            )

        return kernel.slabs, all_of_it(cell, u, du, load)

    (one, whole), (many, slabs) = found(10_000), found(24)
    assert one == 1 and many in (3, 6)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(slabs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)  # round-off


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=name)
def test_a_homogeneous_cell_is_its_law(boundary):
    # Nothing is left to solve for but round-off, in the answer and in its derivatives.
    F = jnp.eye(2).at[0, 1].set(0.1)
    law = lambda E: NeoHookean.from_young(E, 0.3)
    cell = lambda E, F: msm.PeriodicCell(np.zeros((5, 4), int), [law(E)], boundary=boundary)(F).value
    exact = jax.jacfwd(lambda E, F: law(E)(F, ())[0], argnums=(0, 1))(1.3, F)
    for mode in (jax.jacfwd, jax.jacrev):
        for a, b in zip(jax.jit(mode(cell, argnums=(0, 1)))(1.3, F), exact, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-14)


@pytest.mark.parametrize("shape", [(3, 3), (4, 5), (2, 4, 3)])
@pytest.mark.parametrize("rule", [Full(), Reduced()], ids=name)
def test_balanced_forces_are_those_that_a_free_grid_answers(rule, shape):
    boundary, grid = UniformTraction(), Voxels(shape, (1.0,) * len(shape), rule)
    nodes = boundary.nodes(shape)
    rows = jax.jacfwd(lambda u: grid.gradient(boundary.expand(u[None])).ravel())(jnp.zeros(nodes)).reshape(-1, np.prod(nodes))
    _, size, motions = np.linalg.svd(np.asarray(rows))
    answered = motions[: int(np.sum(size > 1e-10))]
    f = np.random.default_rng(5).normal(size=nodes)
    # In this order: answered.T @ answered projects onto what the gradient sees.
    np.testing.assert_allclose(boundary.balanced(grid, f[None]).ravel(), answered.T @ (answered @ f.ravel()), atol=1e-13)


def test_one_point_a_voxel_on_a_free_grid_leaves_no_round_off_to_solve_for():
    F = jnp.eye(2) + 0.02 * jnp.arange(4.0).reshape(2, 2) / 2
    law = lambda mu: NeoHookean(mu=mu, lam=2.0)
    cell = lambda mu, F: msm.PeriodicCell(np.zeros((4, 5), int), [law(mu)], rule=Reduced(), boundary=UniformTraction())(F).value
    exact = jax.jacfwd(lambda mu, F: law(mu)(F, ())[0], argnums=(0, 1))(1.0, F)
    for mode in (jax.jacfwd, jax.jacrev):
        for a, b in zip(jax.jit(mode(cell, argnums=(0, 1)))(1.0, F), exact, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-13)
