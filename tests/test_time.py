"""Loads that take time: a law that depends on the length of a step, at a point, in layers, in a cell with sub-steps, as a law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import Span, solids
from jaxmsm.solve import NewtonKrylov

IMAGE = (np.random.default_rng(0).random((3, 3)) < 0.4).astype(int)
F = jnp.eye(2) + jnp.array([[0.01, 0.02], [0.02, -0.005]])
K, G, TAU = 1.0, 2.0, 1.5
TIGHT = NewtonKrylov(rtol=1e-12)


def maxwell(F, past, p):
    """A spring beside a Maxwell element, exact where the strain is linear in time."""
    e = 0.5 * (F + F.T) - jnp.eye(2)
    x = p["dt"] / TAU
    q = jnp.exp(-x) * past["q"] - jnp.expm1(-x) / x * p["G"] * (e - past["e"])
    return p["K"] * e + q, {"q": q, "e": e}


def short(F, past, p):
    del p
    return jnp.sum((0.5 * (F + F.T) - jnp.eye(2) - past["e"]) ** 2) < 0.015**2


def quickly(fn):
    return jax.jit(fn, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


def law(G=G, **how):
    zero = np.zeros((2, 2))
    return solids.Law(maxwell, {"K": K, "G": G}, init={"q": zero, "e": zero}, small=True, symmetric=True, timed=True, **how)


def closed_form(t):
    """The stress at the end of a ramp that takes t."""
    return (K + G * TAU / t * (1 - np.exp(-t / TAU))) * np.asarray(F - jnp.eye(2))


def span(t0, t1, drive=F):
    return Span(jnp.asarray(t0), jnp.asarray(t1), drive)


SCALES = {
    "a point": msm.Closed(law()),
    "layers": msm.Laminate([law(), law()], [0.3, 0.7], [1.0, 0.5]),
    "a cell": msm.PeriodicCell(IMAGE, [law(), law()], solver=TIGHT),
    "a cell in sub-steps": msm.PeriodicCell(IMAGE, [law(valid=short)] * 2, solver=TIGHT, substeps=8),
    "layers as a law": msm.Closed(msm.AsLaw(msm.Laminate([law(), law()], [0.3, 0.7], [1.0, 0.5]), jnp.eye(2))),
    "a wrapped law": msm.Closed(solids.Rotated.by_angle(law(), 0.3)),
}


@pytest.mark.parametrize("name", SCALES)
def test_a_ramp_in_closed_form_and_its_slopes(name):
    scale = SCALES[name]
    assert scale.timed
    answer = quickly(lambda load, state: scale(load, state))
    solution, slope = quickly(lambda load: scale.linearize(load))(span(3.0, 3.7))
    assert solution.ok and (name != "a cell in sub-steps" or solution.stats["substeps"] > 1)
    np.testing.assert_allclose(solution.value, closed_form(0.7), atol=1e-13)
    # In two steps of unequal length along the same ramp: the same.
    half = answer(span(0.0, 0.2, jnp.eye(2) + 2 / 7 * (F - jnp.eye(2))), scale.init(F))
    np.testing.assert_allclose(answer(span(0.2, 0.7), half.state).value, closed_form(0.7), atol=1e-13)
    assert msm.names(answer(span(0.0, jnp.nan), scale.init(F)).result) == "nonfinite_input"
    x = 0.7 / TAU
    rate = (G / 0.7 * np.exp(-x) - G / 0.7 * (1 - np.exp(-x)) / x) * np.asarray(F - jnp.eye(2))
    np.testing.assert_allclose(slope.t1, rate, atol=1e-12)
    np.testing.assert_allclose(slope.t0, -rate, atol=1e-12)
    stretch = jnp.tensordot(slope.drive, F - jnp.eye(2), 2)
    np.testing.assert_allclose(stretch, closed_form(0.7), atol=1e-11)  # linear in the strain; the columns to the root of 1e-12


def test_substeps_divide_the_time_also_in_slopes():
    laws = [law(1.0, valid=short), law(8.0, valid=short)]
    cell = msm.PeriodicCell(IMAGE, laws, solver=TIGHT, substeps=16)
    stress = quickly(lambda t: cell(span(0.0, t)))
    solution, rate = quickly(lambda t: jax.jvp(lambda t: cell(span(0.0, t)), (t,), (jnp.ones_like(t),)))(jnp.asarray(0.7))
    assert solution.ok and solution.stats["substeps"] > 2
    h = 1e-4
    difference = (stress(0.7 + h).value - stress(0.7 - h).value) / (2 * h)
    np.testing.assert_allclose(rate.value, difference, rtol=1e-7)  # h^2, and the solver's 1e-12 over h


def test_a_path_of_spans_and_a_batch():
    scale = SCALES["a point"]
    ends = jnp.array([0.0, 0.2, 0.7])
    drives = jnp.eye(2)[None] + ends[1:, None, None] / 0.7 * (F - jnp.eye(2))[None]
    _, steps = msm.rollout(scale, Span(ends[:-1], ends[1:], drives))
    np.testing.assert_allclose(steps.value[-1], closed_form(0.7), atol=1e-14)
    many = msm.batched(scale)(Span(jnp.zeros(2), jnp.array([0.7, 1.4]), jnp.stack([F, F])))
    np.testing.assert_allclose(many.value, [closed_form(0.7), closed_form(1.4)], atol=1e-14)


def test_mixed_loads_take_time():
    mask = jnp.array([[True, True], [True, False]])
    load = msm.Mixed(F, jnp.zeros((2, 2)), mask)
    solution = SCALES["a point"](span(0.0, 0.7, load))
    assert solution.ok
    np.testing.assert_allclose(solution.value, closed_form(0.7) * np.array([[1, 1], [1, 0]]), atol=1e-12)


def test_time_is_ignored_where_nothing_depends_on_it():
    for scale in (
        msm.Closed(solids.NeoHookean(mu=1.0, lam=2.0)),
        msm.PeriodicCell(IMAGE, [solids.NeoHookean(mu=1.0, lam=2.0)] * 2, solver=TIGHT),
    ):
        assert not scale.timed
        plain, slope = quickly(lambda F, scale=scale: scale.linearize(F))(F)
        timed, slopes = quickly(lambda load, scale=scale: scale.linearize(load))(span(0.0, jnp.nan))
        np.testing.assert_array_equal(plain.value, timed.value)
        np.testing.assert_array_equal(slope, slopes.drive)
        assert not np.any(slopes.t0) and not np.any(slopes.t1)


def test_what_is_refused():
    for scale in SCALES.values():
        with pytest.raises(ValueError, match=r"^Argument `load` must be a `Span\(t0, t1, drive\)` where a law depends on time"):
            jax.eval_shape(lambda load, scale=scale: scale(load), F)
        with pytest.raises(ValueError, match=r"^Argument `load` must be a `Span` between two numbers, but .* `rollout"):
            jax.eval_shape(lambda load, scale=scale: scale(load), span(0.0, jnp.ones(2)))
    with pytest.raises(TypeError, match="Argument `parameters` must be a dictionary where `timed`"):
        solids.Law(maxwell, (), timed=True)
