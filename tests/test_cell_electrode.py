"""Windows of a real tomography (a battery electrode) against scikit-fem, stored beside the command that made the numbers."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import PeriodicCell, names
from jaxmsm.solids import Conductivity, Elastic, to_voigt
from jaxmsm.solve import NewtonKrylov

STORED = json.loads((pathlib.Path(__file__).parent / "oracles" / "electrode.json").read_text())
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


@pytest.mark.parametrize("n", [16, 64])
def test_ionic_conductivity(electrode, n):
    laws = [Conductivity(k) for k in CONDUCTING]
    slope, result, ok = linearized(PeriodicCell(window(electrode, n), laws, solver=NewtonKrylov(rtol=1e-11)), jnp.zeros(3))
    assert ok, names(result)
    expected = np.array(STORED["conductivity"][str(n)])
    # As for the stiffness.
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
