"""Noise in flows with steps of their own choice: known paths and their orders, moments, slopes, what is refused."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import NoisyRate, Span

A, B = -0.5, 0.6
START = {"x": jnp.asarray(1.0), "w": jnp.asarray(0.0)}


class Shared(NoisyRate):
    """One process for both unknowns."""

    def sources(self, fine):
        return {"w": fine["w"]}


GEOMETRIC = Shared(
    lambda t, y, load: {"x": A * y["x"], "w": 0 * y["w"]}, lambda t, y, load, dw: {"x": B * y["x"] * dw["w"], "w": dw["w"]}
)
"""Geometric Brownian motion, and the Wiener process itself."""
PULLED = Shared(lambda t, y, load: {"x": -y["x"], "w": 0 * y["w"]}, lambda t, y, load, dw: {"x": B * dw["w"], "w": dw["w"]})


@eqx.filter_jit
def run(flow, keys, span):
    load = Span(jnp.asarray(0.0), span, None)
    return jax.vmap(lambda key: flow(load, flow.init(load, key=key)))(keys)


def ends(flow, members, span=1.0):
    """The ends of so many paths."""
    solution = run(flow, jax.random.split(jax.random.key(7), members), jnp.asarray(span))
    assert set(msm.names(solution.result)) == {"successful"}
    return solution


def flow(rate, solver, count=None, **options):
    steps = {} if count is None else {"steps": diffrax.ConstantStepSize(), "dt0": jnp.asarray(1 / count)}
    return msm.Flow(rate, START, solver=solver, adjoint=diffrax.RecursiveCheckpointAdjoint(), max_steps=4096, **steps, **options)


@pytest.mark.parametrize(
    ("solver", "ito", "order"),
    [(diffrax.Euler(), True, 0.5), (diffrax.EulerHeun(), False, 1.0), (diffrax.SPaRK(), False, 1.0)],
    ids=["Euler", "Euler-Heun", "SPaRK"],
)
def test_strong_orders_along_known_paths(solver, ito, order):
    counts, off = np.array([16, 32, 64, 128]), []
    for count in counts:
        end = ends(flow(GEOMETRIC, solver, count), 1000).value
        off.append(np.mean(np.abs(end["x"] - np.exp(A - ito * 0.5 * B**2 + B * np.asarray(end["w"])))))
    assert abs(-np.polyfit(np.log(counts), np.log(off), 1)[0] - order) < 0.1


def test_noise_that_does_not_depend_on_the_state_is_solved_to_a_higher_order():
    rate = Shared(lambda t, y, load: {"x": -(y["x"] ** 3), "w": 0 * y["w"]}, lambda t, y, load, dw: {"x": dw["w"], "w": dw["w"]})
    end = lambda n: np.asarray(ends(flow(rate, diffrax.ShARK(), n), 1000).value["x"])
    counts, best = (16, 32, 64), end(512)
    off = [np.mean(np.abs(end(n) - best)) for n in counts]
    assert abs(-np.polyfit(np.log(counts), np.log(off), 1)[0] - 1.5) < 0.1


def test_adaptive_steps_follow_the_same_path_at_any_tolerance():
    control = lambda rtol: diffrax.PIDController(rtol=rtol, atol=0.01 * rtol, pcoeff=0.1, icoeff=0.3, dtmin=2.0**-13)
    loose, tight, default = (
        ends(flow(GEOMETRIC, diffrax.SPaRK(), steps=steps), 300) for steps in (control(1e-2), control(1e-4), None)
    )
    np.testing.assert_allclose(loose.value["w"], tight.value["w"], atol=1e-9)
    np.testing.assert_allclose(default.value["w"], tight.value["w"], atol=1e-9)
    off = [np.mean(np.abs(s.value["x"] - np.exp(A + B * np.asarray(s.value["w"])))) for s in (loose, default, tight)]
    # Steps follow the third root of the tolerance, and so does the error of a solver of order one.
    assert off[0] > 10 ** (1 / 3) * off[1] > 10 ** (2 / 3) * off[2]
    assert off[2] < 2e-3
    assert np.mean(tight.stats["num_steps"]) > 4 * np.mean(loose.stats["num_steps"])


def test_moments_of_a_pulled_particle():
    members, span = 4000, 2.0
    found = np.asarray(ends(flow(PULLED, diffrax.ShARK(), 20), members, span).value["x"])
    mean, variance = np.exp(-span), 0.5 * B**2 * (1 - np.exp(-2 * span))
    assert abs(np.mean(found) - mean) < 3 * np.sqrt(variance / members)
    assert abs(np.var(found) - variance) < 3 * variance * np.sqrt(2 / members)


def test_spans_go_on_with_new_noise_and_keys_make_paths():
    one, load = flow(GEOMETRIC, diffrax.SPaRK(), 32), Span(jnp.asarray(0.0), jnp.asarray(1.0), None)
    step = jax.jit(lambda state: one(load, state))
    start = one.init(load, key=jax.random.key(1))
    first = step(start)
    assert step(start).value["w"] == first.value["w"]
    second = step(first.state)
    assert second.state.fine["w"] - first.value["w"] != first.value["w"]
    assert step(one.init(load, key=jax.random.key(2))).value["w"] != first.value["w"]


def test_slopes_of_paths_are_those_of_differences():
    rate = Shared(
        lambda t, y, k: {"x": k * (1 - y["x"]), "w": 0 * y["w"]}, lambda t, y, k, dw: {"x": k * y["x"] * dw["w"], "w": dw["w"]}
    )
    one = msm.Flow(rate, START, solver=diffrax.SPaRK(), steps=diffrax.ConstantStepSize(), dt0=1 / 32, max_steps=64)
    value = jax.jit(lambda k: one(Span(jnp.asarray(0.0), jnp.asarray(1.0), k)).value["x"])
    difference = (value(0.7 + 1e-5) - value(0.7 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.jacfwd(value))(0.7), difference, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(0.7), difference, rtol=1e-7)


def test_a_stiff_path_tells_its_stiffness_and_what_it_cannot_is_refused():
    load = Span(jnp.asarray(0.0), jnp.asarray(2.0), None)
    np.testing.assert_allclose(flow(PULLED, diffrax.SPaRK()).stiffness(load), 2.0)
    for solver in (diffrax.Tsit5(), diffrax.ItoMilstein(), diffrax.Kvaerno5()):
        with pytest.raises(TypeError, match=r"`solver` must be one for noise, .* for a Shared, but it is a"):
            msm.Flow(PULLED, START, solver=solver)
    noisy = flow(PULLED, diffrax.SPaRK())
    with pytest.raises(TypeError, match=r"takes a flow without noise, .*Crossing"):
        msm.FirstPassage(noisy, lambda t, y, load: y["x"])
    with pytest.raises(TypeError, match=r"`accepted` takes a flow without noise"):
        msm.accepted(noisy, load)
    few = msm.Flow(PULLED, START, solver=diffrax.SPaRK(), steps=diffrax.ConstantStepSize(), dt0=0.01, max_steps=20)
    assert msm.names(few(load).result) == "max_steps_reached"
