"""Beats: action potentials after many of them, their restitution, and what mutations do; against CVODE at a tolerance of 1e-9."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm.biology import LuoRudy, MitchellSchaeffer, Pacing, TenTusscher, crossing, duration, peak
from jaxmsm.solve import RungeKutta4, RushLarsenMidpoint, Steps, follow

DT, EVERY, ONSET = 0.01, 5, 10.0
"""Step (ms), steps between samples, and when the stimulus begins in every beat (ms)."""
AMPLITUDE = {TenTusscher: 94.0, LuoRudy: 80.0}
"""Of pulses of half a millisecond, mV/ms."""


def paced(cell, y, span, every=None):
    """The state after a span of beats of a second, and samples of the potential."""
    pace, step, count = Pacing(AMPLITUDE[type(cell)], ONSET, 0.5, 1000.0), RushLarsenMidpoint(), round(span / DT)
    advance = lambda t, y, dt: step(cell.driven(pace), t, y, dt)
    return follow(advance, y, Steps(0.0, DT, count), sample=lambda t, y: y.v, every=every)


def beat(cell, y, rest=None):
    """APD50, APD90 and peak of a beat, the potential at its onset, and the state after it."""
    path = paced(cell, y, 1000.0, EVERY)
    v = jnp.concatenate([y.v[None], path.samples])
    rest = v[round(ONSET / DT) // EVERY] if rest is None else rest
    half, most = (duration(v, EVERY * DT, fraction=f, onset=ONSET, rest=rest) for f in (0.5, 0.9))
    return (half, most, peak(v, EVERY * DT)[1], rest), path.end


def nineteen(cell):
    return paced(cell, cell.rest(), 19_000.0).end


@jax.jit
def history(cell):
    """Beats 1 and 20, and the state after twenty."""
    first, _ = beat(cell, cell.rest())
    last, end = beat(cell, nineteen(cell))
    return first, last, end


@partial(jax.jit, static_argnums=2)
def second(cell, end, interval):
    """APD90 of a beat an interval after the last of a train; its height counts from the rest of the train."""
    y = paced(cell, end, interval).end
    return beat(cell, y, rest=end.v)[0][1]


@pytest.fixture(scope="module")
def epicardium():
    return history(TenTusscher())


@pytest.fixture(scope="module")
def luo_rudy():
    return history(LuoRudy())


def test_the_twentieth_beat(epicardium, luo_rudy):
    first, last, _ = epicardium
    np.testing.assert_allclose(first[:2], [264.228, 292.191], atol=0.01)
    np.testing.assert_allclose(last, [278.537, 305.989, 36.99, -85.507], atol=0.01)
    first, last, _ = luo_rudy
    np.testing.assert_allclose(first[:2], [289.462, 385.139], atol=0.02)
    np.testing.assert_allclose(last, [284.756, 379.512, 45.43, -84.402], atol=0.05)


def test_mutations_and_drugs_after_twenty_beats():
    cells = [
        TenTusscher.endocardium(),
        TenTusscher(g_Kr=0.5 * 0.153),
        TenTusscher(g_Ks=0.5 * 0.392),
        TenTusscher(g_CaL=1.25 * 0.0398),
    ]
    _, last, _ = jax.vmap(history)(jax.tree.map(lambda *x: jnp.stack(x), *cells))
    np.testing.assert_allclose(last[1], [305.330, 326.949, 357.963, 323.243], atol=0.01)
    np.testing.assert_allclose([last[0][0], last[2][0]], [277.477, 38.44], atol=0.01)


@pytest.mark.parametrize(("interval", "expected"), [(1000.0, 305.877), (600.0, 292.671), (400.0, 231.653), (340.0, 171.619)])
def test_restitution_of_the_ventricular_cell(epicardium, interval, expected):
    assert abs(second(TenTusscher(), epicardium[2], interval) - expected) < 0.01


@pytest.mark.parametrize(("interval", "expected"), [(600.0, 350.880), (450.0, 300.715), (410.0, 264.132)])
def test_restitution_of_luo_rudy(luo_rudy, interval, expected):
    assert abs(second(LuoRudy(), luo_rudy[2], interval) - expected) < 0.01


@pytest.mark.parametrize(("scale", "count", "expected"), [(1.0, 40_000, 284.688), (0.1, 40_000, 250.857), (0.01, 400_000, 243.426)])
def test_mitchell_schaeffer_tends_to_its_limit(scale, count, expected):
    cell = MitchellSchaeffer(tau_in=0.3 * scale, tau_out=6.0 * scale)
    dt = 400 / count
    start = cell.rest()._replace(u=jnp.asarray(0.5))
    advance = lambda t, y, dt: RungeKutta4()(cell.driven(None), t, y, dt)
    u = follow(advance, start, Steps(0.0, dt, count), sample=lambda t, y: y.u, every=1).samples
    # The gate of the inward current opens again where the potential falls through u_gate.
    assert abs(dt + crossing(u, dt, cell.u_gate, after=20.0, falling=True) - expected) < 1e-3
    limit = 150 * np.log(6.0 / (4 * 0.3))
    assert abs(limit - 241.416) < 1e-3 and expected > limit


def test_markers_of_a_known_trace():
    t = 0.05 * jnp.arange(200)
    trace = lambda w: jnp.sin(w * t)
    when, top = peak(trace(0.5), 0.05)
    np.testing.assert_allclose([when, top], [np.pi, 1.0], atol=1e-5)
    falls = lambda w: crossing(trace(w), 0.05, 0.3, after=when, falling=True)
    exact = (np.pi - np.arcsin(0.3)) / 0.5
    np.testing.assert_allclose([falls(0.5), jax.grad(falls)(0.5)], [exact, -exact / 0.5], rtol=1e-6)
    assert abs(crossing(trace(0.5), 0.05, 0.3, falling=False) - np.arcsin(0.3) / 0.5) < 1e-6
    assert crossing(trace(0.5), 0.05, 1.2, falling=False) == jnp.inf
    assert jax.grad(lambda w: jnp.where(w > 1, crossing(trace(w), 0.05, 1.2, falling=False), w))(0.5) == 1.0
    # Half a sine is lost by nine tenths of its height at pi - arcsin(0.1).
    assert abs(duration(trace(0.5), 0.05, onset=0.0) - (np.pi - np.arcsin(0.1)) / 0.5) < 1e-5
