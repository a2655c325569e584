"""Diffusion on grids: exact modes, symmetry, conservation, orders; splittings; tissues against published velocities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm.biology import MitchellSchaeffer, Pacing, Region, Several, TenTusscher, Tissue
from jaxmsm.solve import Crossing, RungeKutta4, RushLarsenMidpoint, Steps, follow, godunov, strang
from jaxmsm.space import AnisotropicDiffusion, Diffusion, Held, Mirrored, Walled, Wrapped, fibers, largest_piece

H = 0.3


@pytest.mark.parametrize(
    ("end", "mode", "wave"),
    [
        (Mirrored(), lambda i, n: jnp.cos(2 * jnp.pi * i / (n - 1)), lambda n: 2 * np.pi / (n - 1)),
        (Walled(), lambda i, n: jnp.cos(2 * jnp.pi * (i + 0.5) / n), lambda n: 2 * np.pi / n),
        (Wrapped(), lambda i, n: jnp.sin(4 * jnp.pi * i / n), lambda n: 4 * np.pi / n),
        (Held(), lambda i, n: jnp.sin(3 * jnp.pi * (i + 1) / (n + 1)), lambda n: 3 * np.pi / (n + 1)),
    ],
    ids=["mirrored", "walled", "wrapped", "held"],
)
def test_modes_between_ends_decay_as_they_must(end, mode, wave):
    shape, D = (9, 12), jnp.array([0.7, 0.4])
    u = mode(jnp.arange(9), 9)[:, None] * mode(jnp.arange(12), 12)[None]
    decay = sum(d * (2 - 2 * np.cos(wave(n))) / H**2 for d, n in zip(D, shape, strict=True))
    operator = Diffusion(shape, D, H, end)
    np.testing.assert_allclose(operator(u), -decay * u, atol=1e-13)
    # A batch stands in front.
    np.testing.assert_allclose(operator(jnp.stack([u, 2 * u]))[1], 2 * operator(u), rtol=1e-14)


def test_a_held_end_pulls_towards_its_value():
    operator = Diffusion((5,), 1.0, 1.0, Held(2.0))
    np.testing.assert_allclose(operator(jnp.zeros(5)), [2, 0, 0, 0, 2])


def tensor(voxels, seed=0):
    """A random positive tensor in every voxel."""
    d = len(voxels)
    a = np.random.default_rng(seed).normal(size=(d, d, *voxels))
    return jnp.asarray(
        np.einsum("ik...,jk...->ij...", a, a) + 0.1 * np.eye(len(voxels)).reshape(len(voxels), len(voxels), *[1] * len(voxels))
    )


def matrix(operator):
    n = int(np.prod(operator.shape))
    return np.asarray(jax.vmap(operator)(jnp.eye(n).reshape(n, *operator.shape))).reshape(n, n).T


@pytest.mark.parametrize("wrapped", [False, True, (True, False)])
def test_the_anisotropic_operator_is_symmetric_conserves_and_never_grows(wrapped):
    inside = np.ones((5, 6), bool)
    inside[2:4, 2:5] = inside[0, 0] = False
    operator = AnisotropicDiffusion(tensor((5, 6)), H, inside=inside, wrapped=wrapped)
    volume = np.asarray(operator.volume).ravel()
    energy = -volume[:, None] * matrix(operator)
    np.testing.assert_allclose(energy, energy.T, atol=1e-12)
    np.testing.assert_allclose(energy.sum(axis=0), 0, atol=1e-12)
    values = np.linalg.eigvalsh(energy)
    # One constant mode, and one for every node outside; no other field is free of energy.
    assert values[0] > -1e-12 and np.sum(values < 1e-8) == 1 + np.sum(volume == 0)
    assert np.max(-np.linalg.eigvals(matrix(operator)).real) <= operator.fastest()


def test_in_three_dimensions_too():
    operator = AnisotropicDiffusion(tensor((2, 3, 2)), jnp.array([0.3, 0.2, 0.5]))
    energy = -np.asarray(operator.volume).ravel()[:, None] * matrix(operator)
    np.testing.assert_allclose(energy, energy.T, atol=1e-11)
    assert np.sum(np.linalg.eigvalsh(energy) < 1e-8) == 1
    # A linear field has the energy g.D g / 2 of every voxel.
    D, h, g = tensor((2, 3, 2)), np.array([0.3, 0.2, 0.5]), np.array([0.4, -1.0, 0.7])
    x = np.stack(np.meshgrid(*(np.arange(n) for n in (3, 4, 3)), indexing="ij")) * h[:, None, None, None]
    u = np.einsum("k,kxyz->xyz", g, x).ravel()
    np.testing.assert_allclose(u @ energy @ u, np.einsum("k,kl...,l->...", g, D, g).sum(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (5, 6), (4, 5, 3)])
def test_without_cross_terms_it_is_the_plain_operator(shape):
    u = jax.random.normal(jax.random.key(0), shape)
    D = jnp.array([0.7, 0.4, 1.3])[: len(shape)]
    wide = lambda x, voxels: jnp.broadcast_to(x.reshape(-1, *[1] * len(shape)), (len(shape), *voxels))
    voxels = tuple(n - 1 for n in shape)
    found = AnisotropicDiffusion(wide(D, voxels), H)(u)
    np.testing.assert_allclose(found, Diffusion(shape, D, H)(u), atol=1e-12)
    found = AnisotropicDiffusion(wide(D, shape), H, wrapped=True)(u)
    np.testing.assert_allclose(found, Diffusion(shape, D, H, Wrapped())(u), atol=1e-12)
    # And as a full tensor.
    full = jnp.eye(len(shape)).reshape(len(shape), len(shape), *[1] * len(shape)) * wide(D, voxels)[:, None]
    np.testing.assert_allclose(AnisotropicDiffusion(full, H)(u), Diffusion(shape, D, H)(u), atol=1e-12)


def test_a_channel_in_a_block_is_a_box_by_itself():
    D = fibers(jnp.array([2.0, 1.0]), 1.0, 0.2)[:, :, None, None] * jnp.ones((1, 1, 8, 9))
    inside = np.zeros((8, 9), bool)
    inside[2:6, 3:9] = True
    u = jax.random.normal(jax.random.key(0), (9, 10))
    found = AnisotropicDiffusion(D, H, inside=inside)(u)
    alone = AnisotropicDiffusion(D[:, :, 2:6, 3:9], H)(u[2:7, 3:10])
    np.testing.assert_allclose(found[2:7, 3:10], alone, atol=1e-13)
    np.testing.assert_array_equal(found[:2], 0)


def test_order_with_fibers_that_turn():
    # A manufactured field, periodic, D from voxel to voxel: div(D grad u) by differentiation.
    def D(x, y):
        angle = 0.6 * jnp.sin(2 * jnp.pi * x) * jnp.cos(2 * jnp.pi * y)
        return fibers(jnp.stack([jnp.cos(angle), jnp.sin(angle)]), 1.0, 0.15)

    u = lambda x, y: jnp.sin(2 * jnp.pi * x) * jnp.cos(4 * jnp.pi * y) + 0.3 * jnp.cos(2 * jnp.pi * y)

    def exact(x, y):
        flux = lambda x, y: D(x, y) @ jnp.stack(jax.grad(u, (0, 1))(x, y))
        return jax.jacfwd(flux, 0)(x, y)[0] + jax.jacfwd(flux, 1)(x, y)[1]

    def error(n):
        at = jnp.meshgrid(jnp.arange(n) / n, jnp.arange(n) / n, indexing="ij")
        operator = AnisotropicDiffusion(D(at[0] + 0.5 / n, at[1] + 0.5 / n), 1 / n, wrapped=True)
        wrong = operator(u(*at)) - jax.vmap(jax.vmap(exact))(*at)
        return float(jnp.sqrt(jnp.mean(wrong**2)))

    errors = np.array([error(n) for n in (32, 64, 128)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 2, atol=0.1)


def test_slopes_in_a_field_of_tensors():
    u, D = jax.random.normal(jax.random.key(0), (5, 6)), tensor((4, 5))
    energy = lambda D: jnp.sum(u**3 * AnisotropicDiffusion(D, H)(u))
    way = jax.random.normal(jax.random.key(1), D.shape)
    slope = jnp.sum(jax.grad(energy)(D) * way)
    difference = (energy(D + 1e-5 * way) - energy(D - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-8)


def test_malformed_grids_are_refused():
    inside = np.ones((4, 4), bool)
    inside[1] = False
    with pytest.raises(ValueError, match=r"2\. Keep the largest"):
        AnisotropicDiffusion(jnp.ones((2, 4, 4)), inside=inside)
    assert largest_piece(inside).sum() == 8
    with pytest.raises(ValueError, match="0"):
        AnisotropicDiffusion(jnp.ones((2, 4, 4)), inside=np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="one bool a voxel"):
        AnisotropicDiffusion(jnp.ones((2, 4, 4)), inside=np.ones((5, 5), bool))
    with pytest.raises(ValueError, match="`D`"):
        AnisotropicDiffusion(jnp.ones((3, 4, 4)))
    with pytest.raises(ValueError, match="`D`"):
        Diffusion((4, 4), -1.0)
    with pytest.raises(ValueError, match="`spacing`"):
        Diffusion((4, 4), 1.0, 0.0)
    with pytest.raises(ValueError, match="`ends`"):
        Diffusion((4, 4), 1.0, ends=[Held()])


@pytest.mark.parametrize(("split", "order"), [(godunov, 1), (strang, 2)])
def test_orders_of_the_splittings(split, order):
    # Diffusion and logistic growth whose speed varies in space: they do not commute.
    operator, r = Diffusion((33,), 1e-3, 1 / 32), 2 + jnp.cos(3 * jnp.linspace(0.0, 1.0, 33))
    grow = lambda t, u, dt: u / (u + (1 - u) * jnp.exp(-r * dt))

    def spread(t, u, dt):
        return follow(lambda t, u, h: RungeKutta4()(lambda t, u: operator(u), t, u, h), u, Steps(t, dt / 4, 4)).end

    start = 0.5 + 0.4 * jnp.sin(7 * jnp.linspace(0.0, 1.0, 33))
    end = jax.jit(lambda n: follow(split(spread, grow), start, Steps(0.0, 1 / n, n)).end, static_argnums=0)
    whole = follow(
        lambda t, u, h: RungeKutta4()(lambda t, u: operator(u) + r * u * (1 - u), t, u, h), start, Steps(0.0, 1e-3, 1000)
    ).end
    errors = np.array([np.linalg.norm(end(n) - whole) for n in (8, 16, 32)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), order, atol=0.1)


def fiber(dx, dt, span=45.0):
    """A fiber of 20 mm of ventricular cells, stimulated at one end; the velocity between 5 and 15 mm."""
    x = jnp.arange(round(20 / dx) + 1) * dx
    tissue = Tissue(TenTusscher(), Diffusion(x.shape, 0.0952984, dx))
    pulse = Region(Pacing(35.714, 0.0, 2.0, jnp.inf), jnp.where(x < 1.5 + 1e-9, 1.0, 0.0))
    advance = lambda t, y, dt: RushLarsenMidpoint()(tissue.driven(pulse), t, y, dt)
    (times,) = follow(advance, tissue.rest(), Steps(0.0, dt, round(span / dt)), watch=(Crossing(lambda y: y.v, 0.0),)).seen
    return 10 / (times[round(15 / dx)] - times[round(5 / dx)])


@pytest.mark.parametrize(("dx", "expected"), [(0.5, 0.42175), (0.2, 0.55841), (0.1, 0.59782), (0.05, 0.61072)])
def test_conduction_velocity(dx, expected):
    # The reference has steps of first order, which add up to 0.2 % at its 0.005 ms; here they are of second.
    found = jax.jit(lambda: fiber(dx, 0.005))()
    assert abs(found / expected - 1) < 2.5e-3
    if dx == 0.2:
        assert abs(jax.jit(lambda: fiber(dx, 0.01))() / found - 1) < 7e-4


def test_a_tissue_is_its_parts():
    tissue = Tissue(MitchellSchaeffer(), Diffusion((12, 9), 0.1, 0.5))
    first = jnp.broadcast_to(1.0 * (jnp.arange(12) < 3)[:, None], (12, 9))
    pulse = Several((Region(Pacing(0.2, 1.0, 2.0, jnp.inf), first), Region(0.01, 1 - first)))
    whole = lambda t, y, dt: RushLarsenMidpoint()(tissue.driven(pulse), t, y, dt)
    parts = strang(tissue.diffuse(), tissue.reaction(RushLarsenMidpoint(), pulse))
    ends = [follow(advance, tissue.rest(), Steps(0.0, 0.02, 1000)).end for advance in (whole, parts)]
    np.testing.assert_allclose(ends[0].u, ends[1].u, atol=2e-4)
    assert 0.5 < ends[0].u.max() < 1
    assert float(tissue.longest_step()) == pytest.approx(2 / (4 * 2 * 0.1 / 0.25))
