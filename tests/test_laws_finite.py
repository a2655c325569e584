"""Finite-strain laws at one point: closed forms, objectivity, tangents, and what a network's energy promises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import PeriodicCell, solids
from jaxmsm.solids._kinematics import cofactor, det, inverse_transpose, log_det
from jaxmsm.solve import NewtonKrylov

EXACT = 1e-13  # a few sums of products of order one in float64

LAWS = {
    "saint_venant": solids.SaintVenantKirchhoff(lam=1.3, mu=0.8),
    "neo_hooke": solids.NeoHookean(mu=0.8, lam=1.3),
    "network": solids.Polyconvex(key=jax.random.key(1)),
    "rotated": solids.Rotated.by_angle(solids.NeoHookean(mu=0.8, lam=1.3), 0.3),
    "swollen": solids.Thermal(solids.NeoHookean(mu=0.8, lam=1.3), alpha=0.01, dT=10.0),
    "thin": solids.PlaneStress(solids.NeoHookean(mu=0.8, lam=1.3)),
}


def deformation(d, seed=0, size=0.15):
    return jnp.asarray(np.eye(d) + size * np.random.default_rng(seed).normal(size=(d, d)))


@pytest.mark.parametrize("d", [2, 3])
def test_kinematics_against_numpy(d):
    F = deformation(d)
    G = np.linalg.inv(F).T
    np.testing.assert_allclose(det(F), np.linalg.det(F), rtol=EXACT)
    np.testing.assert_allclose(inverse_transpose(F), G, rtol=1e-12)
    np.testing.assert_allclose(cofactor(F), np.linalg.det(F) * G, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(log_det)(F), G, rtol=1e-12)
    # d2 ln J / dF_ij dF_kl = -G_il G_kj, and once more against differences.
    np.testing.assert_allclose(jax.hessian(log_det)(F), -np.einsum("il,kj->ijkl", G, G), rtol=1e-12)
    third = jax.jacfwd(jax.jacrev(jax.jacfwd(log_det)))
    h, dF = 1e-5, jnp.zeros((d, d)).at[0, 1].set(1)
    difference = (jax.hessian(log_det)(F + h * dF) - jax.hessian(log_det)(F - h * dF)) / (2 * h)
    np.testing.assert_allclose(third(F)[..., 0, 1], difference, atol=1e-8)  # differences: h^2 and eps / h


def test_neo_hooke_linearization_stores_the_inverse_and_a_scalar():
    law = solids.NeoHookean(mu=jnp.asarray(0.8), lam=jnp.asarray(1.3))
    slope = jax.jit(lambda law, F: jax.linearize(lambda F: law(F, ())[0], F)[1])(law, deformation(3))
    assert sum(np.size(x) for x in jax.tree.leaves(slope)) <= 9 + 3  # F^-T, the coefficient, mu and lam


def test_neo_hooke_closed_forms():
    mu, lam = 0.8, 1.3
    law = solids.NeoHookean(mu=mu, lam=lam)
    g = 0.7  # simple shear: J = 1, P = mu (F - F^-T)
    P = law(jnp.asarray([[1, g, 0], [0, 1, 0], [0, 0, 1.0]]), ())[0]
    np.testing.assert_allclose(P, mu * np.array([[0, g, 0], [g, 0, 0], [0, 0, 0]]), atol=EXACT)
    a, b = 1.4, 0.9  # stretches: tau_i = mu (l_i^2 - 1) + lam ln J
    P = law(jnp.diag(jnp.asarray([a, b, b])), ())[0]
    log_J = np.log(a * b * b)
    np.testing.assert_allclose(np.diag(P), [(mu * (x**2 - 1) + lam * log_J) / x for x in (a, b, b)], rtol=EXACT)
    E, nu = 2.0, 0.3
    by_name = solids.NeoHookean.from_young(E, nu)
    hooke = jax.jacfwd(lambda F: solids.Elastic.from_young(E, nu)(F, ())[0])(jnp.eye(3))
    np.testing.assert_allclose(jax.jacfwd(lambda F: by_name(F, ())[0])(jnp.eye(3)), hooke, atol=EXACT)


def test_saint_venant_closed_form():
    lam, mu = 1.3, 0.8
    F = np.asarray(deformation(3))
    E = 0.5 * (F.T @ F - np.eye(3))
    P = F @ (lam * np.trace(E) * np.eye(3) + 2 * mu * E)
    np.testing.assert_allclose(solids.SaintVenantKirchhoff(lam=lam, mu=mu)(jnp.asarray(F), ())[0], P, rtol=1e-12, atol=EXACT)


@pytest.mark.parametrize("name", LAWS)
def test_objectivity_and_tangent(name):
    law, d = LAWS[name], 2
    F = deformation(d, 1)
    Q = np.array([[np.cos(0.9), -np.sin(0.9)], [np.sin(0.9), np.cos(0.9)]])

    @jax.jit
    def stress(law, F):
        return law(F, ())[0]

    # At F near I the moduli are some units for the network: round-off and the tolerance of the thickness, 16 eps.
    np.testing.assert_allclose(stress(law, Q @ F), Q @ stress(law, F), atol=1e-12)
    A = jax.jit(jax.jacrev(stress, 1))(law, F)
    forward = jax.jit(jax.jacfwd(stress, 1))(law, F)
    np.testing.assert_allclose(A, forward, atol=1e-12)
    np.testing.assert_allclose(A, jnp.transpose(A, (2, 3, 0, 1)), atol=1e-11)
    h = 1e-5
    for i in range(d):
        for j in range(d):
            dF = jnp.zeros((d, d)).at[i, j].set(h)
            difference = (stress(law, F + dF) - stress(law, F - dF)) / (2 * h)
            np.testing.assert_allclose(A[:, :, i, j], difference, atol=2e-8)  # third derivatives times h^2


def test_orientation_must_be_kept():
    turned = jnp.asarray([[-1.0, 0.0], [0.0, 1.0]])
    for law in (LAWS["saint_venant"], LAWS["neo_hooke"], LAWS["network"], LAWS["swollen"]):
        P, A = jax.jit(lambda F, law=law: (law(F, ())[0], jax.jacfwd(lambda F: law(F, ())[0])(F)))(turned)
        assert np.all(np.isfinite(P)) and np.all(np.isfinite(A))
        assert not law.admissible(turned, ())
        assert not law.admissible(jnp.full((2, 2), jnp.nan), ())
        assert law.admissible(jnp.eye(2), ())
    flat = jnp.zeros((2, 2))
    assert np.all(np.isfinite(LAWS["neo_hooke"](flat, ())[0])) and not LAWS["neo_hooke"].admissible(flat, ())


@pytest.mark.parametrize("size", [0.05, 0.3, 0.6, 2.0, 8.0])
def test_thin_neo_hooke(size):
    mu, lam = 0.8, 1.3
    law = solids.PlaneStress(solids.NeoHookean(mu=mu, lam=lam))
    F = jnp.asarray([[size, 0.1], [0.0, 1.2]])
    t = law._thickness(F, ())[0]
    J = det(F) * t
    assert abs(mu * (t**2 - 1) + lam * jnp.log(J)) < 1e-13 * (1 + 2 * t**2)  # tau33, to the tolerance of the iteration
    G = np.linalg.inv(F).T
    np.testing.assert_allclose(law(F, ())[0], mu * (F - G) + lam * jnp.log(J) * G, rtol=1e-12)
    assert law.admissible(F, ())


def test_network_is_free_of_stress_and_convex():
    @jax.jit
    def energy_of(law, F, H, J):
        return law.scale * (law.network(jnp.stack([jnp.sum(F * F) - 3, jnp.sum(H * H) - 3, J - 1])))

    @jax.jit
    def stress(law, F):
        return law(F, ())[0]

    rng = np.random.default_rng(0)
    for seed in range(3):
        law = solids.Polyconvex(key=jax.random.key(seed), scale=3.0)
        for d in (2, 3):
            np.testing.assert_allclose(stress(law, jnp.eye(d)), np.zeros((d, d)), atol=1e-13)
        assert abs(law.energy(jnp.eye(3))) < EXACT
        for _ in range(30):
            a = [jnp.asarray(rng.normal(size=s)) for s in ((3, 3), (3, 3), ())]
            b = [jnp.asarray(rng.normal(size=s)) for s in ((3, 3), (3, 3), ())]
            middle = energy_of(law, *[0.5 * (x + y) for x, y in zip(a, b, strict=True)])
            assert middle <= 0.5 * (energy_of(law, *a) + energy_of(law, *b)) + EXACT
        # Rank-one convex, hence elliptic, away from F = I too.
        A = jax.jit(jax.jacfwd(stress, 1))(law, deformation(3, seed, 0.2))
        assert solids.acoustic_eigenvalue(A) > 0


def test_network_learns():
    law = solids.Polyconvex(key=jax.random.key(0))
    F = deformation(3)

    @eqx.filter_jit
    def loss(law):
        return jnp.sum(law(F, ())[0] ** 2)

    slope = eqx.filter_grad(loss)(law)
    leaves = jax.tree.leaves(slope)
    assert all(np.all(np.isfinite(x)) for x in leaves) and sum(float(jnp.sum(jnp.abs(x))) for x in leaves) > 0
    h = 1e-6
    up, down = (eqx.tree_at(lambda t: t.weights.forward[0], law, law.weights.forward[0].at[0, 0].add(s)) for s in (h, -h))
    np.testing.assert_allclose(slope.weights.forward[0][0, 0], (loss(up) - loss(down)) / (2 * h), rtol=1e-6)  # eps / h


def test_a_network_of_ones_own():
    # Of Equinox; one linear in the invariants is the energy of Mooney and Rivlin.
    linear = eqx.tree_at(
        lambda n: (n.weight, n.bias), eqx.nn.Linear(3, "scalar", key=jax.random.key(0)), (jnp.array([[0.3, 0.2, 0.7]]), jnp.ones(1))
    )
    law = solids.Polyconvex(linear)
    F = deformation(3)

    def energy(F):
        C, J = F.T @ F, jnp.linalg.det(F)
        second = 0.5 * (jnp.trace(C) ** 2 - jnp.trace(C @ C))
        return 0.3 * jnp.trace(C) + 0.2 * second - (2 * 0.3 + 4 * 0.2) * J + jax.nn.softplus(0.0) * (J + 1 / J - 2) ** 2

    np.testing.assert_allclose(law(F, ())[0], jax.grad(energy)(F), atol=1e-13)
    deep = solids.Polyconvex(eqx.nn.MLP(3, "scalar", 4, 2, activation=jax.nn.softplus, key=jax.random.key(0)), scale=2.0)
    cell = PeriodicCell(np.eye(4, dtype=int), [deep, deep], solver=NewtonKrylov(rtol=1e-9))
    found = cell(deformation(2))
    np.testing.assert_allclose(found.value, deep(deformation(2), ())[0], rtol=1e-8)


@pytest.mark.parametrize("d", [2, 3])
def test_acoustic_eigenvalue(d):
    A = jax.jacfwd(lambda F: solids.Elastic(lam=2.0, mu=0.7)(F, ())[0])(jnp.eye(d))
    np.testing.assert_allclose(solids.acoustic_eigenvalue(A), 0.7, rtol=1e-12)
    # Cubic, C11 - C12 < 2 C44: the softest wave travels along 110 and shears along 1-10, with modulus (C11 - C12) / 2.
    C = jax.jacfwd(lambda F: solids.Cubic(C11=168.4, C12=121.4, C44=75.4)(F, ())[0])(jnp.eye(d))
    smallest, slope = jax.jit(jax.value_and_grad(solids.acoustic_eigenvalue))(C)
    np.testing.assert_allclose(smallest, 23.5, rtol=1e-10)  # the direction is found to 1e-7, its error counts squared
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(jnp.sum(slope * C), smallest, rtol=1e-10)  # homogeneous of degree one
    assert np.isnan(solids.acoustic_eigenvalue(C * jnp.nan))


@pytest.mark.parametrize("name", ["saint_venant", "neo_hooke", "network", "thin"])
def test_single_precision(name):
    law = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if eqx.is_inexact_array(x) else x, LAWS[name])
    F = deformation(2, 1)
    P = law(F.astype(jnp.float32), ())[0]
    assert P.dtype == jnp.float32
    np.testing.assert_allclose(P, LAWS[name](F, ())[0], atol=2e-5)  # float32, stresses of some units
    assert law.admissible(F.astype(jnp.float32), ())
