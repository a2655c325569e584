"""The grid, its faces and its spectral symbols: transposes, exact inverses, modes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm.bridges._cell_solve import as_mixed, virgin
from jaxmsm.bridges._kernel import Conditions
from jaxmsm.solids import Conductivity, Cubic, Elastic, NeoHookean
from jaxmsm.space import Full, LinearDisplacement, MeanDilatation, Periodic, Reduced, UniformTraction, Voxels

BOUNDARIES = [Periodic(), LinearDisplacement(), UniformTraction()]
RULES = [Full(), Reduced(), MeanDilatation()]
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
    law = Cubic(3.0, 1.0, 0.7)
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
    for laws in ([Cubic(3.0, 1.0, 1.0), Elastic(1.0, 2.0)], [Conductivity(1.0), Conductivity(5.0)]):
        cell = msm.PeriodicCell(image, laws, rule=rule, boundary=boundary, spacing=(1.0, 2.0, 0.5)[:d])
        kernel = cell.kernel
        zero = kernel.zero(jnp.float64)
        load = jnp.zeros(kernel.load_shape) if kernel.scalar else jnp.eye(d)
        given = Conditions(cell.medium(jnp.float64), as_mixed(load), virgin(cell, as_mixed(load)))
        du, dF = jnp.asarray(rng.normal(size=zero[0].shape)), jnp.asarray(rng.normal(size=load.shape))
        quick = kernel.linearized(zero, given)(du, dF)
        points = jax.jvp(partial(kernel.answer, given=given), (zero[0], load), (du, dF))[1]
        for a, b in zip(quick, points, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-14)


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
