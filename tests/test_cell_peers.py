"""The voxel cell against codes that nobody here wrote: scikit-fem (live) and FElupe (stored beside the command)."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import peers

from jaxmsm import PeriodicCell
from jaxmsm.solids import Conductivity, Elastic, NeoHookean, to_voigt
from jaxmsm.solve import NewtonKrylov

ORACLES = pathlib.Path(__file__).parent / "oracles"
TIGHT = NewtonKrylov(rtol=1e-12)


def young(n, contrast, d=3, tripled=0.1, seed=0):
    """Young's moduli: a centered ball of a fifth of the volume, and a tenth of the voxels at random three times as stiff."""
    radius = (0.6 / (4 * np.pi)) ** (1 / 3) if d == 3 else (0.2 / np.pi) ** 0.5
    x = (np.arange(n) + 0.5) / n - 0.5
    square = sum(np.meshgrid(*[x**2] * d, indexing="ij"))
    E = np.where(square < radius**2, contrast, 1.0)
    return np.where(np.random.default_rng(seed).random(E.shape) < tripled, 3 * E, E)


def lame(E, nu=0.3):
    return E * nu / ((1 + nu) * (1 - 2 * nu)), E / (2 * (1 + nu))


def phases(E):
    """Labels, and the moduli they stand for."""
    values, image = np.unique(E, return_inverse=True)
    return image.reshape(E.shape), values


@jax.jit
def linearized(cell, load):
    solution, slope = cell.linearize(load)
    return solution.value, slope, solution.ok


@pytest.mark.parametrize("n", [8, 9])
def test_linear_in_space_by_scikit_fem(n):
    E = young(n, 100.0)
    image, values = phases(E)
    cell = PeriodicCell(image, [Elastic.from_young(v, 0.3) for v in values], solver=TIGHT)
    _, slope, ok = linearized(cell, jnp.eye(3))
    assert ok
    expected = peers.elastic(*lame(E))
    # Both residuals are at 1e-12 or below, both energies are quadratic in them; what is left is round-off.
    np.testing.assert_allclose(to_voigt(slope), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("n", [8, 9])
def test_linear_in_the_plane_by_scikit_fem(n):
    E = young(n, 100.0, d=2)
    image, values = phases(E)
    cell = PeriodicCell(image, [Elastic.from_young(v, 0.3) for v in values], solver=TIGHT)
    _, slope, ok = linearized(cell, jnp.eye(2))
    assert ok
    expected = peers.elastic(*lame(E))
    # As in space.
    np.testing.assert_allclose(to_voigt(slope), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_field_of_moduli_by_scikit_fem():
    # One law whose leaves are fields, without an image.
    E = np.exp(np.random.default_rng(4).normal(size=(6, 7)))
    lam, mu = lame(E)
    cell = PeriodicCell(None, Elastic(lam=jnp.asarray(lam), mu=jnp.asarray(mu)), grid=E.shape, solver=TIGHT)
    _, slope, ok = linearized(cell, jnp.eye(2))
    assert ok
    expected = peers.elastic(lam, mu)
    # As in space.
    np.testing.assert_allclose(to_voigt(slope), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_conduction_by_scikit_fem():
    k = young(7, 100.0)
    image, values = phases(k)
    cell = PeriodicCell(image, [Conductivity(v) for v in values], solver=TIGHT)
    _, slope, ok = linearized(cell, jnp.zeros(3))
    assert ok
    expected = peers.conducting(k)
    # As in space.
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_the_peer_itself_knows_a_laminate():
    # The assembly of the peer is ours, its elements are not: it must know an exact answer too.
    E = np.where(np.arange(4)[:, None] < 2, 1.0, 10.0) * np.ones((4, 3))
    C = peers.elastic(*lame(E))
    np.testing.assert_allclose(C[0, :2], [2.447552447552, 1.048951048951], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["8", "9"])
def test_rubber_by_felupe(name):
    case = json.loads((ORACLES / "felupe_rubber.json").read_text())["cases"][name]
    n = int(name)
    image, values = phases(np.array(case["E"]).reshape(n, n, n))
    laws = [NeoHookean.from_young(v, 0.3) for v in values]
    P, A, ok = linearized(PeriodicCell(image, laws, solver=NewtonKrylov(rtol=1e-11)), jnp.asarray(case["F"]))
    assert ok
    # FElupe stops at 1e-12 of the first residual, ours at 1e-11 of it.
    np.testing.assert_allclose(P, case["P"], rtol=0, atol=1e-10 * np.abs(case["P"]).max())
    expected = np.array(case["A"]).reshape(3, 3, 3, 3)
    np.testing.assert_allclose(A, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
