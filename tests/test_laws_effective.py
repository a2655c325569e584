"""Bounds and the reading of a stiffness: against two-phase closed forms, and stiffnesses of known symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import Laminate, solids

EXACT = 1e-12  # small inverses, of moderate condition


def stiffness(law, d=3):
    return jax.jacfwd(lambda F: law(F, ())[0])(jnp.eye(d))


def two_phase(f, x, shift):
    """x1 + f2 / (1 / (x2 - x1) + f1 shift), the usual form of Hashin and Shtrikman's bounds."""
    return x[0] + f[1] / (1 / (x[1] - x[0]) + f[0] * shift)


def test_hashin_shtrikman_in_space():
    f, K, G = np.array([0.65, 0.35]), np.array([1.0, 9.0]), np.array([0.6, 4.0])
    (K_low, K_up), (G_low, G_up) = solids.hashin_shtrikman(*map(jnp.asarray, (f, K, G)))

    def exact(o):
        k, g = K[o][0], G[o][0]
        bulk = two_phase(f[o], K[o], 3 / (3 * k + 4 * g))
        return bulk, two_phase(f[o], G[o], 6 * (k + 2 * g) / (5 * g * (3 * k + 4 * g)))

    np.testing.assert_allclose((K_low, G_low), exact([0, 1]), rtol=EXACT)
    np.testing.assert_allclose((K_up, G_up), exact([1, 0]), rtol=EXACT)


def test_hashin_shtrikman_in_the_plane():
    f, K, G = np.array([0.65, 0.35]), np.array([1.0, 9.0]), np.array([0.6, 4.0])
    (K_low, K_up), (G_low, G_up) = solids.hashin_shtrikman(*map(jnp.asarray, (f, K, G)), d=2)

    def exact(o):
        k, g = K[o][0], G[o][0]
        return two_phase(f[o], K[o], 1 / (k + g)), two_phase(f[o], G[o], (k + 2 * g) / (2 * g * (k + g)))

    np.testing.assert_allclose((K_low, G_low), exact([0, 1]), rtol=EXACT)
    np.testing.assert_allclose((K_up, G_up), exact([1, 0]), rtol=EXACT)


@pytest.mark.parametrize("d", [2, 3])
def test_hashin_shtrikman_of_conduction_and_of_pores(d):
    f, k = np.array([0.65, 0.35]), np.array([1.0, 9.0])
    low, up = solids.hashin_shtrikman_conductivity(jnp.asarray(f), jnp.asarray(k), d=d)
    np.testing.assert_allclose(low, two_phase(f, k, 1 / (d * k[0])), rtol=EXACT)
    np.testing.assert_allclose(up, two_phase(f[::-1], k[::-1], 1 / (d * k[1])), rtol=EXACT)
    pores = jnp.asarray([2.0, 0.0])
    low, up = solids.hashin_shtrikman_conductivity(jnp.asarray([0.7, 0.3]), pores, d=d)
    # Maxwell: k (1 - p) / (1 + p / (d - 1)).
    np.testing.assert_allclose((low, up), (0, 2 * 0.7 / (1 + 0.3 / (d - 1))), rtol=EXACT)
    (K_low, _), (G_low, _) = solids.hashin_shtrikman(jnp.asarray([0.7, 0.3]), pores, pores, d=d)
    assert K_low == 0 and G_low == 0
    slope = jax.grad(lambda k: solids.hashin_shtrikman(jnp.asarray([0.7, 0.3]), k, k, d=d)[0][1])(pores)
    assert np.all(np.isfinite(slope))


def test_equal_phases_have_no_gap():
    one = jnp.asarray([3.0, 3.0])
    (a, b), (c, d) = solids.hashin_shtrikman(jnp.asarray([0.4, 0.6]), one, one)
    np.testing.assert_allclose([a, b, c, d], 3, rtol=EXACT)


@pytest.mark.parametrize("d", [2, 3])
def test_voigt_and_reuss_of_isotropic_phases(d):
    f = jnp.asarray([0.3, 0.7])
    phases = [solids.Elastic(lam=1.0, mu=0.5), solids.Elastic(lam=6.0, mu=4.0)]
    Cs = jnp.stack([stiffness(law, d) for law in phases])
    np.testing.assert_allclose(solids.voigt(f, Cs), stiffness(solids.Elastic(lam=0.3 + 4.2, mu=0.15 + 2.8), d), rtol=EXACT)
    bulk = 1 / (0.3 / (1 + 2 * 0.5 / d) + 0.7 / (6 + 2 * 4.0 / d))
    mu = 1 / (0.3 / 0.5 + 0.7 / 4.0)
    np.testing.assert_allclose(
        solids.reuss(f, Cs), stiffness(solids.Elastic(lam=bulk - 2 * mu / d, mu=mu), d), rtol=EXACT, atol=EXACT
    )
    Ks = jnp.stack([jnp.eye(d), 4 * jnp.eye(d)])
    np.testing.assert_allclose(solids.reuss(f, Ks), np.eye(d) / (0.3 + 0.7 / 4), rtol=EXACT)
    np.testing.assert_allclose(solids.voigt(f, Ks), np.eye(d) * 3.1, rtol=EXACT)


def test_voigt_notation_round_trip_and_engineering_constants():
    given = {"E1": 11.0, "E2": 7.0, "E3": 5.0, "nu12": 0.31, "nu13": 0.22, "nu23": 0.17, "G12": 3.0, "G13": 2.5, "G23": 2.0}
    C = stiffness(solids.Orthotropic.from_engineering(**given))
    np.testing.assert_allclose(solids.from_voigt(solids.to_voigt(C)), C, rtol=EXACT, atol=EXACT)
    read = solids.engineering_constants(C)
    for name, x in given.items():
        np.testing.assert_allclose(read[name], x, rtol=EXACT)
    np.testing.assert_allclose(read["nu21"], given["nu12"] * given["E2"] / given["E1"], rtol=EXACT)
    E, nu = 3.0, 0.3
    plane = solids.engineering_constants(stiffness(solids.Elastic.from_young(E, nu), 2))
    np.testing.assert_allclose([plane["E1"], plane["nu12"]], [E / (1 - nu**2), nu / (1 - nu)], rtol=EXACT)


def orthotropic(**changes):
    return solids.Orthotropic(
        **({"C11": 9, "C22": 9, "C33": 9, "C12": 3, "C13": 3, "C23": 3, "C44": 3, "C55": 3, "C66": 3} | changes)
    )


TETRAGONAL = {"C22": 7, "C12": 2.5, "C23": 2.5, "C55": 2}  # about axis 2, whose plane 13 has C33 = C11 and C44 = C66
SYMMETRY = {
    "isotropic": orthotropic(),
    "cubic": orthotropic(C44=2, C55=2, C66=2),
    "transversely isotropic": orthotropic(**TETRAGONAL | {"C13": 3, "C55": 3, "C44": 2, "C66": 2}),
    "tetragonal": orthotropic(**TETRAGONAL),
    "orthotropic": orthotropic(C22=7, C33=8),
    "general": solids.Rotated(orthotropic(C22=7, C33=5), np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])),
}


@pytest.mark.parametrize("name", SYMMETRY)
def test_symmetry_class(name):
    C = stiffness(SYMMETRY[name])
    noise = 1e-4 * np.random.default_rng(0).normal(size=(6, 6))
    assert solids.symmetry_class(C) == name
    assert solids.symmetry_class(C + solids.from_voigt(jnp.asarray(noise + noise.T))) == name
    assert solids.symmetry_class(C, rtol=1.0) == "isotropic"


def test_symmetry_class_in_the_plane():
    for law, name in (
        (orthotropic(), "isotropic"),
        (orthotropic(C66=2), "square"),
        (orthotropic(C22=7), "orthotropic"),
        (SYMMETRY["general"], "general"),
    ):
        assert solids.symmetry_class(stiffness(law, 2)) == name


def test_plane_strain_laminate():
    # Issue 2, section 4: E = 1 and 10, nu = .3, half and half, normal x.
    laws = [solids.Elastic.from_young(1.0, 0.3), solids.Elastic.from_young(10.0, 0.3)]
    cell = msm.Laminate(laws, jnp.asarray([0.5, 0.5]), jnp.asarray([1.0, 0.0]))
    _, A = jax.jit(lambda F: cell.linearize(F))(jnp.eye(2))
    M = solids.to_voigt(A)
    read = [M[0, 0], M[0, 1], M[1, 1], M[2, 2]]
    np.testing.assert_allclose(read, [2.447552447552, 1.048951048951, 6.493506493506, 0.699300699301], atol=1e-12)


def test_oblique_laminates_in_closed_form():
    # Two layers: <C> - c1 c2 dC n (n (c2 C1 + c1 C2) n)^-1 n dC (Milton, The Theory of Composites, chapter 9).
    rng = np.random.default_rng(5)
    n, c = rng.normal(size=3), np.array([0.3, 0.7])
    n /= np.linalg.norm(n)
    stiffness = []
    for k in range(2):
        A = rng.normal(size=(6, 6))
        stiffness.append(jnp.asarray((1 + 4 * k) * (A @ A.T + np.eye(6))))
    F = np.eye(3) + 0.02 * rng.normal(size=(3, 3))
    found = Laminate([solids.Anisotropic(C) for C in stiffness], c, n)(jnp.asarray(F))
    C1, C2 = (np.asarray(solids.from_voigt(C)) for C in stiffness)
    dC = np.einsum("ijkl,l->ijk", C1 - C2, n)
    inner = np.linalg.inv(np.einsum("ijkl,j,l->ik", c[1] * C1 + c[0] * C2, n, n))
    expected = c[0] * C1 + c[1] * C2 - c[0] * c[1] * np.einsum("ija,ab,klb->ijkl", dC, inner, dC)
    strain = 0.5 * (F + F.T) - np.eye(3)
    # Newton stops at round-off of a linear problem.
    np.testing.assert_allclose(found.value, np.einsum("ijkl,kl->ij", expected, strain), atol=1e-12)

    k, g = np.array([1.0, 5.0]), rng.normal(size=3)
    flux = Laminate([solids.Conductivity(x) for x in k], c, n)(jnp.asarray(g)).value
    across, along = 1 / np.sum(c / k), np.sum(c * k)
    np.testing.assert_allclose(flux, along * g + (across - along) * n * (n @ g), atol=1e-12)
