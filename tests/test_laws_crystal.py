"""A crystal at one point: tension along known axes in closed form, Taylor's factor, rates, rotations, symmetry, slopes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxmsm import solids
from jaxmsm.solids._slip import SYSTEMS

COPPER = solids.CrystalPlasticity.copper()
ELASTIC = {"C11": 170e3, "C12": 124e3, "C44": 75e3}
RATE, M = 1e-3, 0.012
RNG = np.random.default_rng(0)

quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


def crystal(**changed):
    return solids.CrystalPlasticity(
        **(ELASTIC | {"rate": RATE, "m": M, "g0": 16.0, "g_inf": 148.0, "h0": 180.0, "a": 1.0} | changed)
    )


@quickly
def step(law, F, past, dt):
    return law.during(dt).answer(jnp.asarray(F, float), past)


def cold(inverse, hardening=None):
    return solids.Crystal(jnp.asarray(inverse), jnp.zeros(12) if hardening is None else jnp.asarray(hardening), jnp.zeros(6))


def second_piola(P, F, inverse):
    return np.linalg.solve(np.asarray(F) @ inverse, np.asarray(P)) @ np.linalg.inv(inverse).T


def lattice(T):
    """The symmetric Fe under a second Piola stress."""
    compliance = np.linalg.inv(
        np.kron(np.eye(2), np.zeros((3, 3))) + np.diag([46e3] * 3 + [75e3] * 3) + 124e3 * np.pad(np.ones((3, 3)), (0, 3))
    )
    e = compliance @ [T[0, 0], T[1, 1], T[2, 2], T[1, 2], T[0, 2], T[0, 1]]
    E = np.diag(e[:3]) + 0.5 * np.array([[0, e[5], e[4]], [e[5], 0, e[3]], [e[4], e[3], 0]])
    return scipy.linalg.sqrtm(np.eye(3) + 2 * E)


def schmid(axis):
    e = np.asarray(axis) / np.linalg.norm(axis)
    return np.einsum("i, aij, j -> a", e, SYSTEMS, e)


def test_schmid_factors():
    # Textbooks: .408 of eight systems along [001], .272 of six along [111], .467 of one along [123].
    for axis, count, value in (([0, 0, 1], 8, 0.408), ([1, 1, 1], 6, 0.272), ([1, 0, 1], 4, 0.408), ([1, 2, 3], 1, 0.467)):
        found = np.sort(np.abs(schmid(axis)))[::-1]
        np.testing.assert_allclose(found[:count], value, atol=5e-4)
        assert found[count] < 0.9 * value
    np.testing.assert_allclose(np.trace(SYSTEMS, axis1=1, axis2=2), 0, atol=1e-16)


def pulled(ratio):
    """The slip of each of eight systems in a step of [001] tension to a length of `ratio`."""
    k = ratio**-1.5
    return np.sqrt(6) / 8 * (1 - k) / (1 + k / 2)


@pytest.mark.parametrize("dt", [1e-4, 10.0, 1e4])
def test_tension_along_001(dt):
    # Eight systems with t = .408 sigma; no hardening.
    law, ratio = crystal(g0=148.0), 1.02
    t = 148.0 * (pulled(ratio) / (RATE * dt)) ** M
    T = np.diag([0, 0, np.sqrt(6) * t])
    Fp = np.diag([1.1**-0.5, 1.1**-0.5, 1.1])
    F = lattice(T) @ np.diag([ratio**-0.5, ratio**-0.5, ratio]) @ Fp
    P, after, good = step(law, F, cold(np.linalg.inv(Fp)), dt)
    assert good
    np.testing.assert_allclose(second_piola(P, F, after.inverse), T, atol=1e-9)  # round-off of C11
    np.testing.assert_allclose(np.linalg.det(after.inverse), 1, atol=1e-14)
