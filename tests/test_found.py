"""What is found by iteration is found, and its derivatives are those of all it depends on."""

import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm.solids import (
    J2,
    AbstractLaw,
    Anisotropic,
    AnisotropicConductivity,
    ArmstrongFrederick,
    Conductivity,
    Cubic,
    Elastic,
    Law,
    Linear,
    NeoHookean,
    Polyconvex,
    SaintVenantKirchhoff,
)
from jaxmsm.solve import Newton


# The value of an energy is its slope in the load: here minus the unknown.
@pytest.mark.parametrize(
    "scale, exact",
    [
        (msm.Steady(msm.Rate(lambda t, x, load: load - x**9), start=jnp.asarray(100.0)), 1.0),
        (msm.Steady(msm.Rate(lambda t, x, load: load - jnp.sinh(x)), start=jnp.asarray(40.0)), np.arcsinh(1.0)),
        (msm.Steady(msm.Rate(lambda t, x, load: load - x**2), start=jnp.asarray(1e9)), 1.0),
        (msm.Steady(msm.Rate(lambda t, x, load: 1e-6 * load - x**2), start=jnp.asarray(1e6)), 1e-3),
        (msm.Relaxed(msm.Energy(lambda x, load: x**10 / 10 - load * x), start=jnp.asarray(100.0)), -1.0),
    ],
)
def test_a_far_start_is_solved_or_said_to_fail(scale, exact):
    found = scale(jnp.asarray(1.0))
    # A residual small beside that of the start is not enough; x = 6.7 has 1e-11 of it.
    if bool(found.ok):
        np.testing.assert_allclose(found.value, exact, rtol=1e-8)
    else:
        assert msm.names(found.result) == "nonlinear_max_steps_reached"
    enough = eqx.tree_at(lambda s: s.solver, scale, type(scale.solver)(max_steps=200))(jnp.asarray(1.0))
    assert bool(enough.ok)
    np.testing.assert_allclose(enough.value, exact, rtol=1e-8)


def within(p):
    """A steady point x = p + y of a rate that asks a minimum y = p - x / 2 of an energy: x = 4 p / 3."""

    def deeper(y, x):
        return (y - p + x / 2) ** 2

    def rate(t, x, load):
        return p + msm.Relaxed(msm.Energy(deeper, lambda y, x: y), start=jnp.asarray(0.0))(x).value - x

    return msm.Steady(msm.Rate(rate), start=jnp.asarray(0.0))(jnp.asarray(0.0)).value


def through(p):
    class Hidden(msm.AbstractRate):
        def __call__(self, t, x, load):
            return p**2 - x * load

    return msm.Steady(Hidden(), start=jnp.asarray(1.0))(jnp.asarray(0.5)).value


def test_a_number_in_a_closure_is_differentiated_like_any_other():
    p, batch = jnp.asarray(1.3), jnp.array([0.7, 1.3])
    exact = lambda p: 2 * p**2
    of_a_batch = lambda f: lambda p: jnp.sum(jax.vmap(f)(p * batch))
    for derive in (lambda f: f, jax.jacfwd, jax.hessian, lambda f: jax.grad(of_a_batch(f))):
        np.testing.assert_allclose(jax.jit(derive(through))(p), derive(exact)(p), rtol=1e-12)
    np.testing.assert_allclose(through(1.3), exact(1.3), rtol=1e-12)
    # One scale inside the other, each closing over the number.
    np.testing.assert_allclose(jax.jit(jax.value_and_grad(within))(p), (4 * p / 3, 4 / 3), rtol=1e-12)


def test_a_law_refuses_a_number_in_a_closure_whose_gradient_would_be_lost():
    def law(p, hide=lambda fn: fn):
        double = hide(lambda F: p * F)
        return Law(lambda F, past, _: (double(F), past))(jnp.eye(2), ())[0][0, 0]

    bound = lambda p: Law(functools.partial(lambda p, F, past, _: (p * F, past), p))(jnp.eye(2), ())[0][0, 0]
    cases = [bound, law, lambda p: law(p, jax.jit), lambda p: law(p, lambda fn: [fn][0].__call__)]
    for case in cases:
        assert case(2.0) == case(np.asarray(2.0)) == case(jnp.asarray(2.0)) == 2  # constants, and meant so
        with pytest.raises(ValueError, match="close over a traced number"):
            jax.grad(case)(2.0)


def test_a_scale_as_a_law_says_what_it_is():
    image = (np.random.default_rng(0).random((4, 4)) < 0.4).astype(int)
    F = jnp.eye(2) + jnp.array([[0.01, 0.02], [0.0, -0.01]])

    def work(sy, wrap):
        metal = J2(lam=1.0, mu=0.8, hardening=Linear(sy=sy, H=0.05), kinematic=ArmstrongFrederick(C=0.1, recall=3.0))
        law = msm.AsLaw(msm.Closed(metal), jnp.eye(2)) if wrap else metal
        return jnp.sum(msm.PeriodicCell(image, [law, Elastic(lam=2.0, mu=3.0)])(F).value)

    plain, wrapped = (jax.value_and_grad(work)(0.005, wrap) for wrap in (False, True))
    forward = jax.jvp(lambda sy: work(sy, True), (0.005,), (1.0,))[1]
    np.testing.assert_allclose(wrapped[0], plain[0], rtol=1e-7)  # the tolerance of the solve
    # Recall of the back stress has no potential: as if it had, reverse mode is .05 % off.
    np.testing.assert_allclose([wrapped[1], forward], plain[1], rtol=1e-6)
    conduct = lambda k: msm.AsLaw(msm.Closed(Conductivity(k)), jnp.zeros(2))
    g = jnp.array([1.0, 0.5])
    nested, direct = (
        msm.PeriodicCell(image, laws)(g).value for laws in ([conduct(1.0), conduct(5.0)], [Conductivity(1.0), Conductivity(5.0)])
    )
    np.testing.assert_allclose(nested, direct, rtol=1e-7)


def test_a_law_that_does_not_say_so_has_no_symmetric_tangent():
    class Drag(AbstractLaw):
        def __call__(self, F, past):
            return F[:, ::-1], past

    assert not Drag().symmetric
    plain = [
        Elastic(lam=1.0, mu=2.0),
        Cubic(C11=3.0, C12=1.0, C44=1.0),
        Anisotropic(jnp.eye(3)),
        SaintVenantKirchhoff(lam=1.0, mu=2.0),
        NeoHookean(mu=1.0, lam=2.0),
    ]
    plain += [
        Polyconvex(key=jax.random.key(0)),
        Conductivity(1.0),
        AnisotropicConductivity(jnp.eye(2)),
        J2(lam=1.0, mu=0.8, hardening=Linear(sy=0.1, H=0.1)),
    ]
    assert all(law.symmetric for law in plain)
    cell = lambda n: msm.AsLaw(msm.PeriodicCell(np.zeros((2, 2), int), plain[-1:], substeps=n), jnp.eye(2))
    # What one sub-step leaves to the next depends on the load: at a point, two steps of J2 that turn are .2 % off symmetry.
    assert cell(1).symmetric and not cell(2).symmetric


class Spring(msm.AbstractScale):
    """A scale of one line that counts how often it is asked, and fails at a second asking where it is told to."""

    calls: ClassVar[list] = []
    unsteady: bool = False

    def init(self, load, *, key=None):
        return jnp.zeros_like(load)

    def cold(self, load):
        return jnp.zeros(())

    def __call__(self, load, state=None, *, guess=None):
        self.calls.append(1)
        again = jnp.zeros(()) if guess is None else guess
        ok = (load[0] > 0) & ~(self.unsteady & (again > 0) & (load[0] > 2))
        result = msm.RESULTS.where(ok, msm.RESULTS.successful, msm.RESULTS.nonlinear_max_steps_reached)
        return msm.Solution(jnp.where(ok, 2 * load, jnp.nan), state, again + 1, result, {})


def test_an_evaluation_of_a_nested_scale_is_one_solve():
    law = msm.AsLaw(Spring(), jnp.zeros(2))
    g = jnp.array([1.0, 0.5])
    for ask in (
        lambda: law.answer(g, law.init()),
        lambda: law.by_components((g[0], g[1]), law.init()),
        lambda: msm.Closed(law)(g),
    ):
        Spring.calls.clear()
        ask()
        assert len(Spring.calls) == 1
    assert not bool(law.answer(-g, law.init())[2]) and msm.names(msm.Closed(law)(-g).result) == "out_of_range"
    np.testing.assert_allclose(msm.Laminate([law, Conductivity(2.0)], [0.3, 0.7], [1.0, 0.0])(g).value, 2 * g, rtol=1e-14)


def test_a_guarded_member_whose_second_solve_fails_has_failed():
    guarded = msm.Guarded(Spring(unsteady=True), safe=jnp.ones(2))
    loads = jnp.array([[1.0, 0.5], [3.0, 0.5], [-1.0, 0.5]])
    found = jax.vmap(lambda load: guarded(load))(loads)
    missed = "nonlinear_max_steps_reached"
    assert list(msm.names(found.result)) == ["successful", missed, missed]
    np.testing.assert_array_equal(found.ok, jnp.all(jnp.isfinite(found.value), 1))
    np.testing.assert_array_equal(found.value[0], 2 * loads[0])


def test_a_code_speaks_of_options_that_exist_here():
    stuck = msm.Solution(jnp.full(2, jnp.nan), None, None, msm.RESULTS.stagnation, {})
    for unwrap in (stuck.unwrap, lambda: jax.block_until_ready(eqx.filter_jit(lambda s: s.unwrap())(stuck))):
        with pytest.raises(RuntimeError, match=r"preconditioner.*CG\(max_steps=") as raised:
            unwrap()
        assert "stagnation_iters" not in str(raised.value)


def test_the_residual_is_a_fraction_whatever_the_unit():
    def scales(unit):
        law, rest = NeoHookean(mu=unit, lam=2 * unit), jnp.eye(2)
        F = rest.at[0, 1].set(0.1)
        free = msm.Mixed(F, jnp.zeros((2, 2)), jnp.array([[True, True], [True, False]]))
        x = jnp.array([0.3, 0.4])
        few = Newton(max_steps=1)
        yield msm.Closed(law), F
        yield msm.Closed(law, solver=few), free
        yield msm.Laminate([law, law], [0.3, 0.7], [1.0, 0.0]), F
        yield msm.PeriodicCell(np.zeros((2, 2), int), [law]), F
        yield msm.Steady(msm.Rate(lambda t, x, load: unit * (load - x**3)), start=x, solver=few), x
        yield msm.Relaxed(msm.Energy(lambda x, load: unit * jnp.sum(x**4 / 4 - load * x)), start=x, solver=few), x
        yield msm.Flow(msm.Rate(lambda t, x, load: -x), start=x), msm.Span(jnp.asarray(0.0), jnp.asarray(1.0))

    for (scale, load), (other, _) in zip(scales(1.0), scales(1e6), strict=True):
        one, million = scale(load).stats, other(load).stats
        assert {"newton", "linear", "cost", "residual"} <= one.keys()
        np.testing.assert_allclose(one["residual"], million["residual"], rtol=1e-6, atol=1e-15)  # round-off where it is solved
