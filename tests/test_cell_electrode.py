"""Windows of a real tomography (a battery electrode) against scikit-fem and muGrid, stored beside the commands that made them."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import PeriodicCell, names
from jaxmsm.solids import Conductivity, Elastic, to_voigt
from jaxmsm.solve import NewtonKrylov

ORACLES = pathlib.Path(__file__).parent / "oracles"
STORED = json.loads((ORACLES / "electrode.json").read_text())
LARGE = json.loads((ORACLES / "electrode_64.json").read_text())
# As in `oracles/electrode.py`.
YOUNG, NU = [0.0, 140.0, 2.0], 0.3
CONDUCTING = [1.0, 0.0, 0.05]
CORNER = (100, 120, 140)


@pytest.fixture(scope="module")
def electrode():
    """0 pore, 1 particle, 2 binder, (251, 301, 301)."""
    path = pathlib.Path(__file__).parent.parent.parent / "shared" / "data" / "nmc-1-cal_generatedCBD_bridge.tif"
    if not path.exists():
        pytest.skip(f"The tomography is not here: {path}")
    return pytest.importorskip("tifffile").imread(path)


def window(image, n):
    return image[tuple(slice(c, c + n) for c in CORNER)].astype(int)


@jax.jit
def linearized(cell, load):
    solution, slope = cell.linearize(load)
    return slope, solution.result, solution.ok


@pytest.mark.parametrize("n", [16, 24])
def test_stiffness_with_pores(electrode, n):
    laws = [Elastic.from_young(E, NU) for E in YOUNG]
    slope, result, ok = linearized(PeriodicCell(window(electrode, n), laws, solver=NewtonKrylov(rtol=1e-11)), jnp.eye(3))
    assert ok, names(result)
    expected = np.array(STORED["stiffness"][str(n)])
    # scikit-fem stops at 1e-13 of the right-hand side, the columns here at 1e-6 of it, and energies are quadratic in both; the
    # contrast of the solids (70) stands before the square.
    np.testing.assert_allclose(to_voigt(slope), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@jax.jit
def answered(cell, load):
    solution = cell(load)
    return solution.value, solution.result, solution.ok


def test_stiffness_of_a_large_window_with_pores(electrode):
    # Six columns take three minutes of a core. One solve under a strain with all components sees every entry of the matrix.
    cell = PeriodicCell(window(electrode, 64), [Elastic.from_young(E, NU) for E in YOUNG], solver=NewtonKrylov(rtol=1e-7))
    strain = np.array([1.0, -0.6, 0.5, 0.8, 0.4, -0.7])
    e11, e22, e33, g23, g13, g12 = strain
    shear = np.array([[0, g12, g13], [0, 0, g23], [0, 0, 0]]) / 2
    stress, result, ok = answered(cell, jnp.asarray(np.eye(3) + np.diag([e11, e22, e33]) + shear + shear.T))
    assert ok, names(result)
    stress = np.asarray(stress)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    expected = np.array(LARGE["stiffness"]["64"]) @ strain
    # muGrid's columns are at 1e-8 and its entries corrected. A stress here errs as the residual does, 1e-7, the work as its square,
    # in front of which stands how much softer the window is than its solids.
    np.testing.assert_allclose(stress, expected, rtol=0, atol=3e-8 * np.abs(expected).max())
    np.testing.assert_allclose(stress @ strain, expected @ strain, rtol=3e-10)


@pytest.mark.parametrize("n", [16, 64])
def test_ionic_conductivity(electrode, n):
    laws = [Conductivity(k) for k in CONDUCTING]
    slope, result, ok = linearized(PeriodicCell(window(electrode, n), laws, solver=NewtonKrylov(rtol=1e-11)), jnp.zeros(3))
    assert ok, names(result)
    expected = np.array(STORED["conductivity"][str(n)])
    # As for the stiffness.
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
