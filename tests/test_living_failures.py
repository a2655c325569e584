"""What goes wrong in living things: the member concerned is told by its code, the others go on; names are told by sentences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import biology
from jaxmsm.solve import RushLarsen, RushLarsenMidpoint
from jaxmsm.space import Diffusion


def span(t1, drive=None):
    return msm.Span(jnp.asarray(0.0), jnp.asarray(t1), drive)


def test_a_negative_concentration_or_none_at_all_fails_alone():
    cell = biology.TenTusscher()
    beat = msm.Stepped(cell, cell.rest(), RushLarsenMidpoint(), 100)
    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (3,)), cell.rest())
    states = states._replace(Ca_i=states.Ca_i.at[1].set(-1e-4), v=states.v.at[2].set(jnp.nan))
    loads = msm.Span(jnp.zeros(3), jnp.full(3, 2.0), None)
    solution = jax.jit(lambda loads, states: msm.batched(beat)(loads, states))(loads, states)
    assert list(msm.names(solution.result)) == ["successful", "nonfinite", "nonfinite_input"]
    alone = beat(span(2.0))
    np.testing.assert_allclose(solution.value.v[0], alone.value.v, rtol=1e-12)
    # What failed keeps its state.
    assert solution.state.Ca_i[1] == -1e-4


def test_a_step_beyond_stability_fails_alone():
    tissue = biology.Tissue(biology.MitchellSchaeffer(), Diffusion((16,), 0.1, 0.1))
    start = tissue.rest()._replace(u=jnp.where(jnp.arange(16) < 4, 1.0, 0.0))
    wave = msm.Stepped(tissue, start, RushLarsen(), 1000)
    limit = float(tissue.longest_step())
    times = 1000 * limit * jnp.array([0.5, 1.3])
    solution = jax.jit(lambda loads: msm.batched(wave)(loads))(msm.Span(jnp.zeros(2), times, None))
    assert list(msm.names(solution.result)) == ["successful", "nonfinite"]


def test_channels_by_name():
    cell = biology.TenTusscher()
    half = cell.scaled(g_Kr=0.5, g_CaL=jnp.array([1.0, 1.25]))
    np.testing.assert_allclose(half.g_Kr, 0.5 * cell.g_Kr)
    np.testing.assert_allclose(half.g_CaL, cell.g_CaL * np.array([1.0, 1.25]))
    with pytest.raises(ValueError, match=r"TenTusscher has no number `g_KR`; it has .* Did you mean `g_Kr`\?"):
        cell.scaled(g_KR=0.5)


def test_an_isolated_piece_of_tissue_is_told():
    from jaxmsm.space import AnisotropicDiffusion

    inside = np.ones((6, 6), bool)
    inside[:, 3] = False
    with pytest.raises(ValueError, match=r"falls into 2. Keep the largest"):
        AnisotropicDiffusion(jnp.ones((2, 6, 6)), inside=inside)
