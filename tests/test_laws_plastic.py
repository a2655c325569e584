"""J2 plasticity at one point: tension curves in closed form, reversal, consistency, tangents, gradients, and a laminate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import solids

E, NU = 2.0, 0.3
SY, H, S_INF, DELTA, C, RECALL = 0.01, 0.05, 0.025, 40.0, 0.2, 30.0
EXACT = 1e-14  # sums of stresses of order .01 to 1
LINEAR, VOCE = solids.Linear(sy=SY, H=H), solids.Voce(sy=SY, H=H, s_inf=S_INF, delta=DELTA)
PRAGER, RECALLING = solids.Prager(C), solids.ArmstrongFrederick(C=C, recall=RECALL)
LAWS = {
    "linear": solids.J2.from_young(E, NU, LINEAR),
    "voce": solids.J2.from_young(E, NU, VOCE),
    "linear_prager": solids.J2.from_young(E, NU, LINEAR, PRAGER),
    "voce_prager": solids.J2.from_young(E, NU, VOCE, PRAGER),
    "voce_recalling": solids.J2.from_young(E, NU, VOCE, RECALLING),
}


@jax.jit
def step(law, F, past):
    return *law(F, past), law.admissible(F, past)


def tension(sigma, plastic):
    """The load under which a bar carries a stress along 1 and has a plastic strain along it."""
    lateral = -NU * sigma / E - plastic / 2
    return jnp.diag(jnp.asarray([1 + sigma / E + plastic, 1 + lateral, 1 + lateral]))


@pytest.mark.parametrize("hardening", [LINEAR, VOCE])
def test_tension_curve_and_unloading(hardening):
    law = solids.J2.from_young(E, NU, hardening)
    past = law.init()
    for plastic in (0.0, 1e-3, 4e-3, 0.03, 0.2):
        sigma = SY + H * plastic + (0 if hardening is LINEAR else (S_INF - SY) * (1 - np.exp(-DELTA * plastic)))
        P, past, good = step(law, tension(sigma, plastic), past)
        np.testing.assert_allclose(P, np.diag([sigma, 0, 0]), atol=EXACT)
        np.testing.assert_allclose(past.alpha, plastic, atol=10 * EXACT)
        np.testing.assert_allclose(past.strain, plastic * np.array([1, -0.5, -0.5, 0, 0, 0]), atol=10 * EXACT)
        assert good
    P, after, _ = step(law, tension(-0.9 * sigma, plastic), past)
    np.testing.assert_allclose(P, np.diag([-0.9 * sigma, 0, 0]), atol=EXACT)
    assert after.alpha == past.alpha
    # In one step, from the start: radial return is exact on a straight path.
    np.testing.assert_allclose(step(law, tension(sigma, plastic), law.init())[1].alpha, plastic, rtol=1e-13)


def test_bauschinger():
    law = solids.J2.from_young(E, NU, solids.Linear(sy=SY), PRAGER)
    top = SY + C * 0.03
    P, past, _ = step(law, tension(top, 0.03), law.init())
    np.testing.assert_allclose(P[0, 0], top, rtol=1e-13)
    # Reversed, it yields 2 sy below the top, not at -top.
    _, elastic, _ = step(law, tension(top - 1.999 * SY, 0.03), past)
    assert elastic.alpha == past.alpha
    sigma = C * 0.01 - SY
    P, back, _ = step(law, tension(sigma, 0.01), past)
    np.testing.assert_allclose(P, np.diag([sigma, 0, 0]), atol=EXACT)
    np.testing.assert_allclose(back.alpha, 0.03 + 0.02, rtol=1e-12)
    np.testing.assert_allclose(back.back, 2 / 3 * C * 0.01 * np.array([1, -0.5, -0.5, 0, 0, 0]), atol=EXACT)


def test_recalled_back_stress_converges_to_its_exponential():
    law = solids.J2.from_young(E, NU, solids.Linear(sy=SY), RECALLING)

    def error(steps):
        past, x = law.init(), 0.0
        for plastic in np.linspace(0, 0.05, steps + 1)[1:]:
            # The bar's stress with the implicit rule, so that the lateral stress vanishes at every step.
            x = (x + C * 0.05 / steps) / (1 + RECALL * 0.05 / steps)
            P, past, good = step(law, tension(SY + x, plastic), past)
            np.testing.assert_allclose(P, np.diag([SY + x, 0, 0]), atol=1e-13)
            assert good
        return abs(P[0, 0] - SY - C / RECALL * (1 - np.exp(-RECALL * 0.05)))

    coarse, fine = error(20), error(40)
    assert 1.8 < coarse / fine < 2.2  # first order


@pytest.mark.parametrize("name", LAWS)
def test_on_a_random_path_it_stays_on_the_yield_surface_and_dissipates(name):
    law, rng = LAWS[name], np.random.default_rng(0)
    past, F = law.init(), jnp.eye(3)
    for _ in range(8):
        F = F + 0.02 * jnp.asarray(rng.normal(size=(3, 3)))
        P, after, good = step(law, F, past)
        s = P - jnp.trace(P) / 3 * jnp.eye(3)
        back = jnp.zeros(6) if after.back is None else after.back
        xi = jnp.stack([s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]]) - back
        weight = jnp.asarray([1, 1, 1, 2, 2, 2])
        q = jnp.sqrt(1.5 * jnp.sum(weight * xi * xi))
        assert good and q <= law.hardening(after.alpha) * (1 + 1e-12)
        flow = after.strain - past.strain
        work = jnp.sum(weight * xi * flow)
        np.testing.assert_allclose(work, law.hardening(after.alpha) * (after.alpha - past.alpha), rtol=1e-11, atol=1e-15)
        assert work >= 0
        np.testing.assert_allclose(after.alpha - past.alpha, jnp.sqrt(2 / 3 * jnp.sum(weight * flow**2)), rtol=1e-11)
        np.testing.assert_allclose(P, P.T, atol=EXACT)
        past = after
    assert past.alpha > 0.05


def path(law, d, wrap=lambda law: law):
    """Stress at the end of a path with reversal."""
    law = wrap(law)
    past = law.init()
    D = jnp.asarray(np.random.default_rng(2).normal(size=(d, d)))
    for size in (0.02, 0.05, 0.01):
        P, past = law(jnp.eye(d) + size * D, past)
    return P


@pytest.mark.parametrize("name", LAWS)
def test_tangent_and_parameter_gradient(name):
    law = LAWS[name]
    past = step(law, tension(0.02, 0.01), law.init())[1]
    F = jnp.asarray(np.eye(3) + 0.03 * np.random.default_rng(1).normal(size=(3, 3)))
    stress = jax.jit(lambda law, F, past: law(F, past)[0])
    A = jax.jit(jax.jacfwd(stress, 1))(law, F, past)
    np.testing.assert_allclose(A, jax.jit(jax.jacrev(stress, 1))(law, F, past), atol=1e-13)
    assert law.symmetric == bool(jnp.max(jnp.abs(A - jnp.transpose(A, (2, 3, 0, 1)))) < 1e-13)
    h = 1e-6
    for i, j in ((0, 0), (0, 1), (2, 1)):
        dF = jnp.zeros((3, 3)).at[i, j].set(h)
        difference = (stress(law, F + dF, past) - stress(law, F - dF, past)) / (2 * h)
        np.testing.assert_allclose(A[:, :, i, j], difference, atol=2e-9)  # eps / h, and h^2 / strain^2
    leaves, tree = jax.tree.flatten(law)

    @jax.jit
    def answer(numbers):
        return path(jax.tree.unflatten(tree, numbers), 2)[0, 1]

    numbers = jnp.asarray(leaves)
    gradient = jax.jit(jax.grad(lambda x: answer(list(x))))
    slope = gradient(numbers)
    second = jax.jit(jax.jacfwd(gradient))(numbers)
    for k, x in enumerate(leaves):
        h = 1e-5 * x
        up, down = (numbers.at[k].add(s) for s in (h, -h))
        # The answer is some .01 to round-off 1e-18: eps / h, and h^2 of relative size 1e-10.
        np.testing.assert_allclose(slope[k], (answer(list(up)) - answer(list(down))) / (2 * h), rtol=1e-7, atol=1e-12)
        gradients = [gradient(y) for y in (up, down)]
        np.testing.assert_allclose(
            second[k], (gradients[0] - gradients[1]) / (2 * h), rtol=1e-5, atol=1e-6 * float(jnp.max(jnp.abs(second)))
        )


def test_plane_strain_is_the_plane_of_space():
    law = LAWS["voce_recalling"]
    F = jnp.asarray([[1.03, 0.02], [-0.01, 0.98]])
    full = jnp.eye(3).at[:2, :2].set(F)
    plane, history, _ = step(law, F, law.init())
    P, same, _ = step(law, full, law.init())
    np.testing.assert_allclose(plane, P[:2, :2], atol=EXACT)
    np.testing.assert_allclose(history.strain, same.strain, atol=EXACT)
    assert abs(history.strain[2]) > 1e-4  # the plastic strain leaves the plane


def test_thin_bar_in_tension():
    law = solids.PlaneStress(LAWS["voce"])
    past = law.init()
    for plastic in (1e-3, 0.03):
        sigma = SY + H * plastic + (S_INF - SY) * (1 - np.exp(-DELTA * plastic))
        P, past, good = step(law, tension(sigma, plastic)[:2, :2], past)
        np.testing.assert_allclose(P, np.diag([sigma, 0]), atol=1e-13)  # the thickness is found to 16 eps
        assert good


def test_elastic_phases_and_failures():
    F = jnp.asarray(np.eye(3) + 0.03 * np.random.default_rng(1).normal(size=(3, 3)))
    hooke = solids.Elastic.from_young(E, NU)(F, ())[0]
    for hardening in (solids.Linear(sy=1e30), solids.Linear(sy=jnp.inf, H=H), solids.Voce(sy=1e30, H=H, s_inf=2e30, delta=DELTA)):
        law = solids.J2.from_young(E, NU, hardening, PRAGER)
        P, past, good = step(law, F, law.init())
        np.testing.assert_allclose(P, hooke, atol=EXACT)
        assert past.alpha == 0 and good
        slopes = jax.jit(jax.grad(lambda law, F=F: law(F, law.init())[0][0, 1]))(law)
        assert all(np.isfinite(x) for x in jax.tree.leaves(slopes))
    slope = jax.jit(jax.jacrev(lambda F: LAWS["voce"](F, LAWS["voce"].init())[0]))(jnp.eye(3))
    np.testing.assert_allclose(slope, jax.jacfwd(lambda F: solids.Elastic.from_young(E, NU)(F, ())[0])(jnp.eye(3)), atol=EXACT)
    # A yield stress that falls below zero is met nowhere.
    gone = solids.J2.from_young(E, NU, solids.Voce(sy=SY, H=0.0, s_inf=-1.0, delta=1e4))
    assert not gone.admissible(F, gone.init())
    assert not LAWS["linear"].admissible(F * jnp.nan, LAWS["linear"].init())


def test_laminate_in_pure_shear():
    # Issue 2: mu = 1, sy .01 and H .05 in 26 layers of 31, the others elastic, eps12 = .05. The layers share tau, with
    # sqrt(3) tau = sy + H alpha (von Mises) in the plastic ones, and 2 eps12 = tau / mu + (26 / 31) sqrt(3) alpha.
    f = 26 / 31
    tau = (2 * 0.05 + f * np.sqrt(3) * SY / H) / (1 + 3 * f / H)
    F = jnp.asarray([[1, 0.05, 0], [0.05, 1, 0], [0, 0, 1.0]])
    for bulk in (1.0, 7.0):
        laws = [solids.J2.from_bulk(K=bulk, G=1.0, hardening=solids.Linear(sy=SY, H=H)), solids.Elastic.from_bulk(K=bulk, G=1.0)]
        P = msm.Laminate(laws, jnp.asarray([f, 1 - f]), jnp.asarray([1.0, 0, 0]))(F).unwrap()
        np.testing.assert_allclose(P[0, 1], tau, rtol=1e-12)
        np.testing.assert_allclose(P[0, 1], 0.0076094684, atol=5e-11)  # the digits printed


@pytest.mark.parametrize("name", ["linear", "voce_recalling"])
def test_single_precision(name):
    law = LAWS[name]
    F = jnp.asarray(np.eye(2) + 0.03 * np.random.default_rng(1).normal(size=(2, 2)))
    past = jax.tree.map(lambda x: x.astype(jnp.float32), law.init())
    P, after, good = step(law, F.astype(jnp.float32), past)
    assert good and {x.dtype for x in jax.tree.leaves((P, after))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(P, step(law, F, law.init())[0], atol=1e-6)  # float32 of a load of order one
