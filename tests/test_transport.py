"""Implicit-explicit steps, implicit diffusion and advection: exact modes, measured orders, conservation to round-off."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmsm.biology import MitchellSchaeffer, Tissue
from jaxmsm.solve import RungeKutta4, RushLarsenMidpoint, Steps, Stiff, follow, imex, strang
from jaxmsm.space import Advection, AnisotropicDiffusion, Diffusion, Held, Mirrored, Walled, Wrapped, swirl

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "operator",
    [
        Diffusion((7, 6), jnp.array([0.7, 0.2]), 0.3, [Mirrored(), Walled()]),
        Diffusion((7, 6), 0.5, 0.3, [Held(2.0), Wrapped()]),
        AnisotropicDiffusion(
            jnp.broadcast_to(jnp.array([[1.0, 0.3], [0.3, 0.5]])[..., None, None], (2, 2, 6, 5)),
            0.3,
            inside=np.arange(30).reshape(6, 5) != 14,
        ),
    ],
    ids=["box", "held", "tensors"],
)
def test_an_implicit_step_solves_and_differentiates(operator):
    u = jnp.asarray(RNG.normal(size=operator.shape))
    solve = jax.jit(lambda u, h: operator.solve(u, h))
    w = solve(u, 3.0)
    assert_allclose(w - 3.0 * operator(w), u, atol=1e-9)
    slope = jax.jit(jax.grad(lambda h: jnp.sum(operator.solve(u, h) ** 2)))(3.0)
    value = lambda h: float(jnp.sum(solve(u, h) ** 2))
    assert_allclose(slope, (value(3.001) - value(2.999)) / 0.002, rtol=1e-5)


def schnakenberg(n, Dv=40.0, a=0.1, b=0.9, k=0.420537):
    dx = 2 * np.pi / k / n
    by = (Diffusion((n,), 1.0, dx, Wrapped()), Diffusion((n,), Dv, dx, Wrapped()))
    explicit = lambda t, y: (a - y[0] + y[0] ** 2 * y[1], b - y[0] ** 2 * y[1])
    stiff = Stiff(lambda y: (by[0](y[0]), by[1](y[1])), lambda y, h: (by[0].solve(y[0], h), by[1].solve(y[1], h)))
    return imex(stiff, explicit), dx


def test_a_turing_mode_grows_as_fast_as_it_must():
    n, k = 128, 0.420537
    advance, dx = schnakenberg(n)
    mode = 1e-7 * jnp.cos(2 * jnp.pi * jnp.arange(n) / n)
    y = (1.0 + mode, 0.9 - 0.3 * mode)
    path = follow(advance, y, Steps(0.0, 0.01, 2000), sample=lambda t, y: jnp.ptp(y[0]), every=1000)
    measured = np.log(path.samples[1] / path.samples[0]) / 10
    # The mode on the grid: the second difference in place of k^2.
    q = (2 - 2 * np.cos(k * dx)) / dx**2
    tangent = np.array([[-1 + 1.8 - q, 1.0], [-1.8, -1 - 40 * q]])
    exact = np.linalg.eigvals(tangent).real.max()
    assert abs(exact - 0.411011) < 2e-4
    assert_allclose(measured, exact, rtol=2e-5)


def test_order_of_the_steps_with_a_stiff_part():
    n = 32
    advance, _ = schnakenberg(n)
    x = jnp.arange(n) / n
    y = (1.0 + 0.3 * jnp.cos(2 * jnp.pi * x), 0.9 + 0.2 * jnp.sin(2 * jnp.pi * x))
    end = jax.jit(lambda count: follow(advance, y, Steps(0.0, 2.0 / count, count)).end[0], static_argnums=0)
    ends = [end(count) for count in (40, 80, 160, 1280)]
    off = [float(jnp.abs(e - ends[-1]).max()) for e in ends[:-1]]
    for coarse, fine in itertools.pairwise(off):
        assert abs(np.log2(coarse / fine) - 2) < 0.1


def test_a_tissue_in_steps_longer_than_explicit_diffusion_allows():
    tissue = Tissue(MitchellSchaeffer(), Diffusion((64,), 0.1, 0.1))
    x = jnp.arange(64)
    y = tissue.rest()._replace(u=jnp.where(x < 10, 1.0, 0.0))
    step = RushLarsenMidpoint()

    def wave(dt, implicit):
        advance = strang(tissue.diffuse(implicit=implicit), tissue.reaction(step, None))
        return jax.jit(lambda: follow(advance, y, Steps(0.0, dt, round(8 / dt))).end.u)()

    exact = wave(0.01, False)
    assert float(jnp.ptp(exact)) > 0.9
    assert tissue.longest_step() < 0.2
    assert not np.all(np.isfinite(wave(0.4, False)))
    off = [float(jnp.abs(wave(dt, True) - exact).max()) for dt in (0.2, 0.1)]
    assert off[0] < 0.1
    assert off[0] / off[1] > 2.5


def test_a_smooth_profile_is_carried_to_second_order():
    def off(n):
        dx = 1 / n
        advection = Advection([jnp.ones(n + 1)], dx, Wrapped())
        # Cell averages.
        edge = jnp.arange(n + 1) * dx
        u = 2 + jnp.diff(-jnp.cos(2 * jnp.pi * edge)) / (2 * jnp.pi * dx)
        step = RungeKutta4()
        advance = lambda t, u, dt: step(lambda t, u: advection(u), t, u, dt)
        end = jax.jit(lambda: follow(advance, u, Steps(0.0, 0.25 * dx, 4 * n)).end)()
        assert abs(float(jnp.sum(end - u))) < 1e-12 * n
        return float(jnp.mean(jnp.abs(end - u)))

    coarse, fine = off(64), off(128)
    assert abs(np.log2(coarse / fine) - 2) < 0.2


@pytest.mark.parametrize("end", [Walled(), Wrapped()])
def test_a_swirl_conserves_keeps_constants_and_makes_no_extrema(end):
    n, m = 24, 18
    x, y = jnp.linspace(0, 1, n + 1)[:, None], jnp.linspace(0, 1, m + 1)[None]
    stream = jnp.sin(2 * jnp.pi * x) * jnp.sin(2 * jnp.pi * y) / 5
    advection = Advection(swirl(stream, (1 / n, 1 / m)), (1 / n, 1 / m), end)
    assert_allclose(advection(jnp.full((n, m), 3.0)), 0, atol=1e-12)
    u = jnp.asarray(RNG.random((n, m)) > 0.5, float)
    dt = float(advection.longest_step())

    def advance(t, u, dt):
        # Heun's steps are means of Euler's, which make no extrema.
        once = u + dt * advection(u)
        return 0.5 * (u + once + dt * advection(once))

    path = follow(
        advance, u, Steps(0.0, 0.9 * dt, 200), sample=lambda t, u: jnp.stack([jnp.min(u), jnp.max(u), jnp.sum(u)]), every=1
    )
    low, high, total = path.samples.T
    assert np.all(low > -1e-12) and np.all(high < 1 + 1e-12)
    assert np.abs(total - jnp.sum(u)).max() < 1e-12 * float(jnp.sum(u))


def test_in_three_dimensions_with_what_comes_in():
    shape = (5, 4, 3)
    faces = [jnp.zeros(tuple(n + (k == axis) for k, n in enumerate(shape))) for axis in range(3)]
    faces[0] = faces[0] + 2.0
    advection = Advection(faces, 0.5, [Held(3.0), Walled(), Walled()])
    rate = advection(jnp.zeros(shape))
    assert_allclose(rate[0], 2.0 * 3.0 / 0.5)
    assert_allclose(rate[1:], 0)
    with pytest.raises(ValueError, match="that of axis 1 has the shape"):
        Advection([faces[0], faces[0], faces[2]])
