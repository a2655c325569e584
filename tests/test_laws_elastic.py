"""Linear laws at one point: against Hooke's compliance, rotated tensors, and closed forms of thermal and plane stress."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import solids

EXACT = 1e-13  # a few sums of products of order one in float64


def tangent(law, d):
    return jax.jacfwd(lambda F: law(F, law.init())[0])(jnp.eye(d))


def hooke(law, e):
    return np.asarray(law(jnp.eye(len(e)) + jnp.asarray(e), ())[0])


def rotation(seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def test_uniaxial_stress_is_hooke():
    E, nu, s = 3.0, 0.3, 0.01
    law = solids.Elastic.from_young(E, nu)
    sigma = hooke(law, np.diag([s / E, -nu * s / E, -nu * s / E]))
    np.testing.assert_allclose(sigma, np.diag([s, 0, 0]), atol=EXACT)
    np.testing.assert_allclose(law.mu, E / (2 * (1 + nu)), rtol=EXACT)
    same = solids.Elastic.from_bulk(K=E / (3 * (1 - 2 * nu)), G=E / (2 * (1 + nu)))
    np.testing.assert_allclose(same.lam, law.lam, rtol=EXACT)


def test_the_spin_of_a_small_load_does_nothing():
    law = solids.Elastic(lam=1.0, mu=2.0)
    assert np.all(hooke(law, [[0, 0.3, 0], [-0.3, 0, 0.1], [0, -0.1, 0]]) == 0)


def test_cubic_compliance():
    # Nye (1957), page 147: S11 = (C11 + C12) / ((C11 - C12) (C11 + 2 C12)); copper's constants in GPa.
    C11, C12, C44 = 168.4, 121.4, 75.4
    S11 = (C11 + C12) / ((C11 - C12) * (C11 + 2 * C12))
    S12 = -C12 / ((C11 - C12) * (C11 + 2 * C12))
    law = solids.Cubic(C11=C11, C12=C12, C44=C44)
    np.testing.assert_allclose(hooke(law, np.diag([S11, S12, S12])), np.diag([1, 0, 0]), atol=EXACT)
    shear = np.zeros((3, 3))
    shear[0, 2] = shear[2, 0] = 1 / (2 * C44)
    sigma = hooke(law, shear)
    np.testing.assert_allclose(sigma[0, 2], 1, rtol=EXACT)
    assert abs(sigma).sum() == pytest.approx(2, rel=EXACT)


CONSTANTS = {"E1": 11.0, "E2": 7.0, "E3": 5.0, "nu12": 0.31, "nu13": 0.22, "nu23": 0.17, "G12": 3.0, "G13": 2.5, "G23": 2.0}


def test_orthotropic_is_the_inverse_of_its_compliance():
    c = CONSTANTS
    S = np.diag([1 / c["E1"], 1 / c["E2"], 1 / c["E3"], 1 / c["G23"], 1 / c["G13"], 1 / c["G12"]])
    S[0, 1] = S[1, 0] = -c["nu12"] / c["E1"]
    S[0, 2] = S[2, 0] = -c["nu13"] / c["E1"]
    S[1, 2] = S[2, 1] = -c["nu23"] / c["E2"]
    law = solids.Orthotropic.from_engineering(**c)
    M = np.asarray(solids.to_voigt(tangent(law, 3)))
    np.testing.assert_allclose(M, np.linalg.inv(S), atol=1e-12)
    same = solids.Anisotropic(np.linalg.inv(S))
    for d in (2, 3):
        np.testing.assert_allclose(tangent(same, d), tangent(law, d), atol=1e-12)
    plane = solids.Anisotropic(M[np.ix_([0, 1, 5], [0, 1, 5])])
    np.testing.assert_allclose(tangent(plane, 2), tangent(law, 2), atol=1e-12)


def test_rotated_is_the_rotated_tensor():
    R = rotation()
    law = solids.Cubic(C11=168.4, C12=121.4, C44=75.4)
    C = np.einsum("ia,jb,kc,ld,abcd->ijkl", R, R, R, R, tangent(law, 3))
    np.testing.assert_allclose(tangent(solids.Rotated(law, R), 3), C, rtol=1e-12, atol=1e-11)
    # Turned out of the plane, under plane strain: the in-plane block of the same tensor.
    np.testing.assert_allclose(tangent(solids.Rotated(law, R), 2), C[:2, :2, :2, :2], rtol=1e-12, atol=1e-11)
    a = 0.4
    Q = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    plane = np.einsum("ia,jb,kc,ld,abcd->ijkl", Q, Q, Q, Q, tangent(law, 2))
    np.testing.assert_allclose(tangent(solids.Rotated.by_angle(law, a), 2), plane, rtol=1e-12)


def test_conduction_rotates_as_a_tensor():
    K = np.array([[3.0, 0.5], [0.5, 1.0]])
    law = solids.Rotated.by_angle(solids.AnisotropicConductivity(K), 0.7)
    R = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    g = np.array([0.2, -1.3])
    np.testing.assert_allclose(law(jnp.asarray(g), ())[0], R @ K @ R.T @ g, rtol=EXACT)
    np.testing.assert_allclose(solids.Conductivity(2)(jnp.asarray(g), ())[0], 2 * g, rtol=EXACT)
    assert law.scalar and law.linear and law.symmetric and law.small


def test_thermal_expansion_is_free_of_stress():
    d, alpha, dT = 3, 1e-2, 20.0
    for law in (solids.Elastic(lam=1.0, mu=2.0), solids.NeoHookean(mu=2.0, lam=1.0)):
        warm = solids.Thermal(law, alpha=alpha, dT=dT)
        np.testing.assert_allclose(warm((1 + alpha * dT) * jnp.eye(d), ())[0], np.zeros((d, d)), atol=EXACT)
        hotter = eqx.tree_at(lambda law: law.dT, warm, jnp.asarray(2 * dT))
        np.testing.assert_allclose(hotter((1 + 2 * alpha * dT) * jnp.eye(d), ())[0], np.zeros((d, d)), atol=EXACT)


def test_held_thermal_expansion():
    E, nu, alpha, dT = 3.0, 0.3, 1e-3, 5.0
    warm = solids.Thermal(solids.Elastic.from_young(E, nu), alpha=alpha, dT=dT)
    held = -E * alpha * dT / (1 - 2 * nu)  # -3 K alpha dT, in the plane as in space: the plane is held out of it too
    for d in (2, 3):
        np.testing.assert_allclose(warm(jnp.eye(d), ())[0], held * np.eye(d), atol=EXACT)
    thin = solids.PlaneStress(warm)
    np.testing.assert_allclose(thin(jnp.eye(2), ())[0], -E * alpha * dT / (1 - nu) * np.eye(2), atol=EXACT)


def test_finite_eigenstrain_derives_from_its_energy():
    law = solids.NeoHookean(mu=2.0, lam=1.5)
    grown = solids.Eigenstrain(law, jnp.asarray([[0.2, 0.1, 0.0], [0.0, -0.1, 0.05], [0.0, 0.0, 0.3]]))
    F0 = np.eye(3) + np.asarray(grown.strain)

    def energy(F):
        Fe = F @ np.linalg.inv(F0)
        log_J = jnp.log(jnp.linalg.det(Fe))
        return np.linalg.det(F0) * (jnp.sum(Fe**2) - 2 * log_J + 0.75 * log_J**2)

    F = jnp.asarray(np.eye(3) + 0.1 * np.random.default_rng(3).normal(size=(3, 3)))
    np.testing.assert_allclose(grown(F, ())[0], jax.grad(energy)(F), rtol=1e-12, atol=1e-12)


def test_plane_stress_of_an_isotropic_solid():
    E, nu = 3.0, 0.3
    M = solids.to_voigt(tangent(solids.PlaneStress(solids.Elastic.from_young(E, nu)), 2))
    exact = E / (1 - nu**2) * np.array([[1, nu, 0], [nu, 1, 0], [0, 0, (1 - nu) / 2]])
    np.testing.assert_allclose(M, exact, atol=EXACT)


def test_a_pore_has_neither_stress_nor_slope_nor_nan():
    zero = solids.Orthotropic.from_engineering(**dict.fromkeys(CONSTANTS, 0.0))
    laws = [solids.Elastic.from_young(0.0, 0.3), solids.Cubic(C11=0, C12=0, C44=0), zero, solids.Anisotropic(jnp.zeros((6, 6)))]
    laws += [
        solids.NeoHookean(mu=0, lam=0),
        solids.SaintVenantKirchhoff(lam=0, mu=0),
        solids.J2(lam=0, mu=0, hardening=solids.Linear(sy=0, H=0)),
    ]
    laws += [
        solids.J2(
            lam=0,
            mu=0,
            hardening=solids.Voce(sy=0.0, H=0.0, s_inf=0.0, delta=0.0),
            kinematic=solids.ArmstrongFrederick(C=0, recall=0),
        )
    ]
    F = jnp.asarray([[1.1, 0.05], [0.0, 0.9]])
    for law in [*laws, *map(solids.PlaneStress, laws)]:

        def total(law, F):
            return jnp.sum(law(F, law.init())[0])

        value, slopes = jax.jit(jax.value_and_grad(total, (0, 1)))(law, F)
        assert value == 0
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(slopes)), type(law)
        assert np.all(slopes[1] == 0)
        assert law.admissible(F, law.init())


def test_young_modulus_of_a_pore_has_a_gradient():
    F = jnp.asarray([[1.1, 0.05], [0.0, 0.9]])
    slope = jax.grad(lambda E: solids.Elastic.from_young(E, 0.3)(F, ())[0][0, 0])(0.0)
    np.testing.assert_allclose(slope, solids.Elastic.from_young(1.0, 0.3)(F, ())[0][0, 0], rtol=EXACT)


def test_wrappers_follow_the_law_inside():
    inner = solids.J2(lam=1.0, mu=1.0, hardening=solids.Linear(sy=0.1), kinematic=solids.ArmstrongFrederick(C=1.0, recall=1.0))
    for law in (solids.Rotated(inner, jnp.eye(3)), solids.Eigenstrain(inner, jnp.zeros((3, 3))), solids.PlaneStress(inner)):
        assert (law.linear, law.small, law.symmetric, law.scalar) == (False, True, False, False)
    assert solids.PlaneStress(solids.Cubic(C11=2.0, C12=1.0, C44=1.0)).linear


def test_own_law_is_the_built_in_one():
    def fn(F, past, p):
        e = 0.5 * (F + F.T) - jnp.eye(len(F))
        return p["lam"] * jnp.trace(e) * jnp.eye(len(F)) + 2 * p["mu"] * e, past + 1

    own = solids.Law(fn, {"lam": 1, "mu": 2.0}, init=0.0, small=True, symmetric=True)
    F = jnp.asarray([[1.1, 0.05], [0.0, 0.9]])
    P, following = own(F, own.init())
    np.testing.assert_allclose(P, solids.Elastic(lam=1.0, mu=2.0)(F, ())[0], atol=EXACT)
    assert following == 1 and own.small and own.symmetric and not own.scalar
    assert solids.Law(fn, {}, linear=True).linear and not own.linear
    slope = jax.grad(lambda law: law(F, 0.0)[0][0, 1])(own)
    np.testing.assert_allclose(slope.parameters["mu"], 0.05, rtol=EXACT)


def test_malformed_stiffness():
    with pytest.raises(ValueError, match="Argument `C` must have shape"):
        solids.Anisotropic(jnp.zeros((4, 4)))
    with pytest.raises(ValueError, match="under a load of shape"):
        solids.Anisotropic(jnp.eye(3))(jnp.eye(3), ())
