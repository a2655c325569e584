"""Ionic cells: their rates against reference values, action potentials against published and computed durations."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import biology
from jaxmsm.biology import BuenoOrovio, FentonKarma, HodgkinHuxley, LuoRudy, MitchellSchaeffer, Pacing, TenTusscher
from jaxmsm.solve import RushLarsen, RushLarsenMidpoint, Steps, follow

FILES = {HodgkinHuxley: "hodgkin_huxley_1952", LuoRudy: "luo_rudy_1991", TenTusscher: "ten_tusscher_panfilov_2006"}
SIMPLE = {
    "mitchell_schaeffer_2003": MitchellSchaeffer,
    "aliev_panfilov_1996": biology.AlievPanfilov,
    "fenton_karma_1998_MLR1": FentonKarma,
    "bueno_orovio_2008_epi": BuenoOrovio,
    "bueno_orovio_2008_endo": BuenoOrovio.endocardium,
}


def read(shared, name):
    return json.loads((shared / "reference" / "ionic" / f"{name}.json").read_text())


@pytest.mark.parametrize("kind", FILES, ids=lambda k: k.__name__)
def test_rates_at_the_first_state(shared, kind):
    reference = read(shared, FILES[kind])
    cell = kind()
    start = [state["init"] for state in reference["states"].values()]
    np.testing.assert_array_equal(np.array(cell.rest()), start)
    expected = list(reference["check_rhs_at_initial_state_pace0"].values())
    np.testing.assert_allclose(np.array(cell(0.0, cell.rest(), None)), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", SIMPLE)
def test_rates_of_the_simple_cells(shared, name):
    reference = read(shared, "phenomenological")[name]
    cell = SIMPLE[name]()
    for key, value in reference["params"].items():
        assert float(getattr(cell, key.rstrip("_"))) == value, key
    assert dict(zip(cell.rest()._fields, map(float, cell.rest()))) == reference["states"]
    y = type(cell.rest())(**{k: jnp.asarray(v) for k, v in reference["check_rhs_at"].items()})
    found = cell(0.0, y, None)._asdict()
    for key, value in reference["check_rhs"].items():
        np.testing.assert_allclose(found[key], value, rtol=1e-12, err_msg=key)


START = 10.0
"""Of the stimulus, ms."""


@eqx.filter_jit
def potential(cell, pace, step, dt, n: int):
    """The potential after each of n steps from the first state."""

    advance = lambda t, y, dt: step(cell.driven(pace), t, y, dt)
    return follow(advance, cell.rest(), Steps(0.0, dt, n), sample=lambda t, y: y.v, every=1).samples


def beat(cell, amplitude, step=None, dt=0.01):
    return np.asarray(potential(cell, Pacing(amplitude, START, 0.5), step or RushLarsenMidpoint(), dt, round(460 / dt)))


def falls(v, level, dt=0.01):
    """When the potential falls through a level after its peak; v[k] is at (k + 1) dt."""
    peak = np.argmax(v)
    k = peak + np.argmax(v[peak:] < level)
    return (k + 1 - (level - v[k]) / (v[k - 1] - v[k])) * dt


def apd90(cell, v):
    rest = float(cell.rest().v)
    return falls(v, v.max() - 0.9 * (v.max() - rest)) - START


@pytest.mark.parametrize(
    ("cell", "amplitude", "expected"),
    [
        (TenTusscher(), 94.0, 292.191),
        (TenTusscher.endocardium(), 94.0, 293.143),
        (TenTusscher(g_Kr=0.5 * 0.153), 94.0, 313.896),
        (TenTusscher(g_Ks=0.5 * 0.392), 94.0, 338.488),
        (TenTusscher(g_CaL=1.25 * 0.0398), 94.0, 308.124),
        (LuoRudy(), 80.0, 385.139),
    ],
    ids=["epi", "endo", "gKr/2", "gKs/2", "1.25 gCaL", "Luo-Rudy"],
)
def test_the_first_action_potential_lasts_as_long_as_cvode_says(cell, amplitude, expected):
    assert abs(apd90(cell, beat(cell, amplitude)) - expected) < 0.05


def test_repolarization_and_its_slopes():
    level, cell = -73.0, TenTusscher()
    t = falls(beat(cell, 94.0), level)
    assert abs(t - 302.1072) < 2e-3
    # The implicit-function rule: dt/dp = -(dv/dp) / (dv/dt).
    k = round(t / 0.01)
    where = lambda c: (c.g_Kr, c.g_Ks, c.g_to)

    @jax.jit
    def slope(way):
        def run(s):
            changed = eqx.tree_at(where, cell, tuple(jnp.exp(s) * jnp.stack(where(cell))))
            return potential(changed, Pacing(94.0, START, 0.5), RushLarsenMidpoint(), 0.01, k + 1)

        v, dv = jax.jvp(run, (jnp.zeros(3),), (way,))
        return -dv[k - 1] / ((v[k] - v[k - 2]) / 0.02)

    found = [slope(way) for way in jnp.eye(3)]
    np.testing.assert_allclose(found, [-39.784, -67.685, -2.184], rtol=5e-3)


@pytest.mark.parametrize(("step", "order"), [(RushLarsen(), 1), (RushLarsenMidpoint(), 2)], ids=["Rush-Larsen", "midpoint"])
def test_orders_of_the_steps(step, order):
    # The plateau, smooth: from a depolarized state, without a stimulus.
    cell = TenTusscher()
    start = cell.rest()._replace(v=jnp.asarray(10.0), m=jnp.asarray(0.9), d=jnp.asarray(0.9), h=jnp.asarray(1e-3))

    def end(n):
        one = lambda y, k: (step(cell.driven(None), k, y, 16 / n), None)
        return np.array(jax.lax.scan(one, start, jnp.arange(n) * (16 / n))[0])[0]

    exact = end(65536)
    errors = [abs(end(n) - exact) for n in (1024, 2048, 4096)]
    found = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(found, order, atol=0.1)


def test_a_gate_may_be_shifted_and_slowed():
    cell = TenTusscher(x_s=biology.Tuning(shift=5.0, slow=2.0))
    plain, y = TenTusscher(), TenTusscher().rest()
    found, expected = cell.terms(y, 0.0).x_s, plain.terms(y._replace(v=y.v - 5.0), 0.0).x_s
    np.testing.assert_allclose([found.target, found.time], [expected.target, 2 * expected.time], rtol=1e-14)


def test_pulses_come_in_time():
    pace = Pacing(3.0, 10.0, 2.0, 100.0)
    assert [float(pace(t)) for t in (0.0, 9.9, 10.0, 11.9, 12.0, 109.0, 110.5, 113.0)] == [0, 0, 3, 3, 0, 0, 3, 0]
    once = Pacing(3.0, 10.0, 2.0, jnp.inf)
    assert [float(once(t)) for t in (9.9, 10.0, 11.9, 12.0, 1e6)] == [0, 3, 3, 0, 0]
