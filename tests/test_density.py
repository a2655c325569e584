"""Densities that are designed: what the filter, the step and the symmetry keep, and how stiff a density is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm.solids import Elastic, ramp, reuss, simp, voigt
from jaxmsm.space import ConeFilter, smoothed_step, symmetrized

ROUND_OFF = 1e-13


def field(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape))


@pytest.mark.parametrize(("shape", "radius"), [((8, 11), 3.0), ((6, 7), 1.5), ((6, 5, 8), 2.3)])
def test_the_filter_is_the_weighted_mean_of_neighbors(shape, radius):
    x = np.asarray(field(shape))
    near = range(-int(radius), int(radius) + 1)
    total, mass = np.zeros(shape), 0.0
    for step in np.ndindex(*(len(near),) * len(shape)):
        offset = np.array([near[k] for k in step])
        weight = max(0.0, radius - np.linalg.norm(offset))
        total += weight * np.roll(x, offset, range(len(shape)))
        mass += weight
    np.testing.assert_allclose(ConeFilter(shape, radius)(jnp.asarray(x)), total / mass, rtol=ROUND_OFF)


def test_the_filter_keeps_the_volume_and_is_its_own_adjoint():
    smooth = ConeFilter((8, 10), 2.6)
    x, y = field((8, 10)), field((8, 10), 1)
    np.testing.assert_allclose(jnp.mean(smooth(x)), jnp.mean(x), rtol=ROUND_OFF)
    np.testing.assert_allclose(jnp.vdot(y, smooth(x)), jnp.vdot(smooth(y), x), rtol=ROUND_OFF)
    # Hence its transpose, as reverse mode has it.
    np.testing.assert_allclose(jax.vjp(smooth, x)[1](y)[0], smooth(y), rtol=ROUND_OFF)
    assert smooth(x.astype(np.float32)).dtype == np.float32


def test_a_checkerboard_does_not_pass_the_filter():
    board = jnp.asarray(np.indices((8, 8)).sum(0) % 2, float)
    # 3 voxels: of the weights 3, 4 (3 - 1), 4 (3 - sqrt 2), 4 (3 - 2), 8 (3 - sqrt 5), 4 (3 - 2 sqrt 2) the signed sum.
    w = np.array([3, 4 * 2, 4 * (3 - 2**0.5), 4 * 1, 8 * (3 - 5**0.5), 4 * (3 - 8**0.5)])
    left = abs(np.sum(w * [1, -1, 1, 1, -1, 1])) / np.sum(w)
    np.testing.assert_allclose(jnp.ptp(ConeFilter((8, 8), 3.0)(board)), left, rtol=1e-12)
    assert left < 0.03


def test_a_radius_of_a_voxel_filters_nothing_and_one_past_the_cell_is_refused():
    x = field((5, 6))
    np.testing.assert_allclose(ConeFilter((5, 6), 1.0)(x), x, rtol=ROUND_OFF)
    np.testing.assert_allclose(ConeFilter((5, 6), 0.0)(x), x, rtol=ROUND_OFF)
    for radius in (2.6, -1.0):
        with pytest.raises(ValueError, match=r"Argument `radius` must lie between 0 and half the shortest edge, 2.5 voxels"):
            ConeFilter((5, 6), radius)


def test_the_step_lies_between_the_identity_and_a_step():
    x = jnp.linspace(0, 1, 9)
    # tanh(b) = b to b^2 / 3.
    np.testing.assert_allclose(smoothed_step(x, 1e-4), x, atol=1e-8)
    np.testing.assert_allclose(smoothed_step(x, 1e3), [0, 0, 0, 0, 0.5, 1, 1, 1, 1], atol=ROUND_OFF)
    for threshold in (0.3, 0.5, 0.7):
        np.testing.assert_allclose(smoothed_step(x, 7.0, threshold=threshold)[jnp.asarray([0, -1])], [0, 1], atol=ROUND_OFF)
    np.testing.assert_allclose(smoothed_step(x, 1e3, threshold=0.7), (x > 0.7).astype(float), atol=ROUND_OFF)
    # By hand at b = 2, t = 1/2: (tanh 1 + tanh(1/2)) / (2 tanh 1) at x = 3/4.
    np.testing.assert_allclose(smoothed_step(jnp.asarray(0.75), 2.0), 0.5 + np.tanh(0.5) / (2 * np.tanh(1)), rtol=ROUND_OFF)


@pytest.mark.parametrize("d", [2, 3])
def test_a_symmetrized_field_has_the_symmetries_and_keeps_the_mean(d):
    x = field((4,) * d)
    y = symmetrized(x)
    for axis in range(d):
        np.testing.assert_allclose(jnp.flip(y, axis), y, rtol=ROUND_OFF)
        np.testing.assert_allclose(jnp.swapaxes(y, 0, axis), y, rtol=ROUND_OFF)
    np.testing.assert_allclose(symmetrized(y), y, rtol=ROUND_OFF)
    np.testing.assert_allclose(jnp.mean(y), jnp.mean(x), rtol=ROUND_OFF)
    # Of the corners the mean is left.
    np.testing.assert_allclose(y[(0,) * d], jnp.mean(x[np.ix_(*([0, -1],) * d)]), rtol=ROUND_OFF)
    with pytest.raises(ValueError, match=r"Argument `field` must have axes of one length, but its shape is \(2, 3\)"):
        symmetrized(jnp.zeros((2, 3)))


def test_what_is_half_full_is_worth_less_than_any_mixture():
    """Bendsoe and Sigmund (1999): at nu = 1/3 a power of 3 keeps below Hashin and Shtrikman's upper bound, rho E / (3 - 2 rho)."""
    rho = jnp.linspace(0, 1, 21)
    assert np.all(simp(rho) <= rho / (3 - 2 * rho) + ROUND_OFF)
    assert np.any(simp(rho, power=2.5) > rho / (3 - 2 * rho))
    # The same for RAMP, where a slope of 2 is that bound.
    np.testing.assert_allclose(ramp(rho, slope=2.0), rho / (3 - 2 * rho), rtol=ROUND_OFF)
    for law in (simp, ramp):
        np.testing.assert_allclose(law(rho, void=0.01)[jnp.asarray([0, -1])], [0.01, 1], rtol=ROUND_OFF)
    np.testing.assert_allclose(simp(rho, power=1.0), ramp(rho, slope=0.0), rtol=ROUND_OFF)


def test_a_power_of_one_is_the_bound_of_voigt():
    phases = jnp.stack([jax.jacfwd(lambda F, s=s: Elastic(lam=1.5 * s, mu=s)(F, ())[0])(jnp.eye(2)) for s in (1e-3, 1.0)])
    f = jnp.asarray([0.4, 0.6])
    np.testing.assert_allclose(voigt(f, phases), phases[1] * simp(f[1], power=1.0, void=1e-3), rtol=ROUND_OFF)
    # Phases in proportion: Reuss is RAMP of the slope (1 - void) / void.
    np.testing.assert_allclose(reuss(f, phases), phases[1] * ramp(f[1], slope=999.0, void=1e-3), rtol=1e-10, atol=1e-15)
