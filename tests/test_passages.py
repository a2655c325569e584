"""Flows that end when something happens, and flows in steps that were accepted once."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxmsm as msm
from jaxmsm import Span, biology

TIGHT = diffrax.PIDController(rtol=1e-9, atol=1e-11)


def span(t1, drive=None):
    return Span(jnp.asarray(0.0), jnp.asarray(t1), drive)


def falling(limit=0.25, **how):
    rate = msm.Rate(lambda t, y, k: -k * y)
    return msm.FirstPassage(msm.Flow(rate, jnp.asarray(2.0), steps=TIGHT, max_steps=192), lambda t, y, k: y - limit, **how)


def test_the_time_of_a_threshold_and_its_slopes_in_closed_form():
    passage = falling()
    time = jax.jit(lambda k: passage(span(20.0, k)).value.time)
    assert_allclose(time(0.7), np.log(8) / 0.7, rtol=1e-8)
    assert_allclose(passage(span(20.0, jnp.asarray(0.7))).value.value, 0.25, rtol=1e-8)
    assert_allclose(jax.jit(jax.grad(lambda k: passage(span(20.0, k)).value.time))(0.7), -np.log(8) / 0.49, rtol=1e-7)
    assert_allclose(jax.jit(jax.jacfwd(lambda k: passage(span(20.0, k)).value.time))(0.7), -np.log(8) / 0.49, rtol=1e-7)
    by_start = jax.grad(lambda y: passage(span(20.0, jnp.asarray(0.7)), y).value.time)(jnp.asarray(2.0))
    assert_allclose(by_start, 1 / (0.7 * 2.0), rtol=1e-7)


def test_what_does_not_come_is_told_for_the_member_concerned():
    many = msm.batched(falling())
    solution = many(Span(jnp.zeros(4), jnp.full(4, 5.0), jnp.array([0.7, 0.1, jnp.nan, 2.0])))
    assert list(msm.names(solution.result)) == ["successful", "no_event", "nonfinite_input", "successful"]
    assert_allclose(solution.value.time[::3], np.log(8) / np.array([0.7, 2.0]), rtol=1e-7)
    upwards = falling(direction=True)
    assert msm.names(upwards(span(20.0, jnp.asarray(0.7))).result) == "no_event"


def test_a_chemostat_diluted_too_fast_is_washed_out_at_a_time_that_has_slopes():
    start = biology.ChemostatState(S=jnp.asarray(0.3), X=jnp.asarray(0.8))
    flow = msm.Flow(biology.Chemostat(), start, steps=TIGHT, max_steps=512, adjoint=diffrax.RecursiveCheckpointAdjoint())
    until = lambda x: msm.FirstPassage(flow, lambda t, y, D: jnp.log(y.X) - np.log(x))
    time = lambda D, x=1e-3: until(x)(span(500.0, D)).value.time
    value, slope = jax.jit(time), jax.jit(jax.grad(time))(1.1)
    assert_allclose(slope, (value(1.1001) - value(1.0999)) / 2e-4, rtol=1e-4)
    # Late in the washout the feed is all there is: X' = (mu(S_0) - D) X.
    decay = 1.1 - float(flow.rate.washout())
    assert_allclose(time(1.1, 1e-7) - time(1.1, 1e-6), np.log(10) / decay, rtol=1e-4)
    assert msm.names(until(1e-3)(span(500.0, 0.5)).result) == "no_event"


def oscillator(**how):
    rate = biology.Repressilator()
    start = biology.RepressilatorState(jnp.zeros(3), jnp.array([5.0, 0.0, 15.0]))
    return msm.Flow(rate, start, max_steps=1024, **how)


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Kvaerno3()], ids=["explicit", "implicit"])
def test_a_replay_and_its_slopes_are_the_flows(solver):
    flow = oscillator(solver=solver, adjoint=diffrax.RecursiveCheckpointAdjoint())
    load = span(20.0)
    replay = msm.Replayed(flow, msm.accepted(flow, load))

    def end(scale, where, log):
        tuned = eqx.tree_at(where, scale, where(scale) * jnp.exp(log))
        return jnp.sum(tuned(load).value.p)

    of_flow = jax.jit(jax.value_and_grad(lambda log: end(flow, lambda s: s.rate.alpha, log)))(0.0)
    of_replay = jax.jit(jax.value_and_grad(lambda log: end(replay, lambda s: s.flow.rate.alpha, log)))(0.0)
    assert_allclose(of_replay[0], of_flow[0], rtol=1e-9)
    assert_allclose(of_replay[1], of_flow[1], rtol=1e-7)
    assert replay(load).stats["num_steps"] <= flow(load).stats["num_steps"]
    assert replay(load).stats["error"] < 1e-3


def test_a_batch_replays_each_member_in_its_own_steps():
    flow = oscillator()
    loads = Span(jnp.zeros(3), jnp.array([2.0, 10.0, 20.0]), None)
    times = msm.accepted(flow, loads)
    assert times.shape[0] == 3
    solution = jax.jit(jax.vmap(lambda ts, load: msm.Replayed(flow, ts)(load)))(times, loads)
    alone = jax.vmap(flow)(loads)
    assert_allclose(solution.value.p, alone.value.p, rtol=1e-9)
    assert solution.stats["num_steps"][0] < solution.stats["num_steps"][2]
    with pytest.raises(RuntimeError, match=r"1 of 3 members failed .*max_steps_reached"):
        msm.accepted(flow, Span(loads.t0, jnp.array([2.0, 10.0, 1e5]), None))


def test_stiffness_tells_which_members_need_many_steps():
    rate = msm.Rate(lambda t, y, k: {"u": -k * (y["u"] - jnp.sin(t)), "v": y["u"]})
    flow = msm.Flow(
        rate, {"u": jnp.asarray(1.0), "v": jnp.asarray(0.0)}, max_steps=8192, adjoint=diffrax.RecursiveCheckpointAdjoint()
    )
    loads = Span(jnp.zeros(4), jnp.array([1.0, 1.0, 4.0, 1.0]), jnp.array([1.0, 900.0, 900.0, 30.0]))
    stiffness = jax.vmap(flow.stiffness)(loads)
    assert_allclose(stiffness, loads.t1 * np.sqrt(np.asarray(loads.drive) ** 2 + 1), rtol=1e-12)
    steps = msm.batched(flow, chunk=2, order=stiffness)(loads).stats["num_steps"]
    assert list(np.argsort(steps)) == list(np.argsort(stiffness)) == [0, 3, 1, 2]
