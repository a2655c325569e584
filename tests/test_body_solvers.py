"""Linear solvers of bodies agree; Krylov iterations do not grow with the mesh; Newton's method converges quadratically."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import at, irregular, quickly, solve

from jaxmsm import rollout
from jaxmsm.solids import (
    J2,
    Body,
    Displacement,
    Elastic,
    Fixed,
    Moved,
    NeoHookean,
    Pressure,
    Traction,
    Voce,
)
from jaxmsm.solve import Automatic, Dense, Krylov, NewtonKrylov, SparseDirect
from jaxmsm.space import HEX8, QUAD4, QUAD8, Full, MeanDilatation, box

TOLERANCE = 1e-11
SYSTEMS = {
    "krylov": (Krylov(), None),
    "one level": (Krylov(two_level=False), None),
    "sparse": (SparseDirect(), None),
    "mixed": (Krylov(), jnp.float32),
}


def pressed(v, system, inner):
    """A rubber block under a pressure whose edge is free: tangents without symmetry."""
    conditions = [Fixed("left"), Pressure("top", v["pressure"]), Moved(at(1, 0), 1, v["moved"])]
    solver = NewtonKrylov(rtol=TOLERANCE, inner=inner)
    body = Body(
        irregular((5, 5), QUAD4),
        NeoHookean(mu=1.0, lam=2.0),
        conditions,
        observe=Displacement("right"),
        system=system,
        solver=solver,
    )
    solution = body(1.0)
    return jnp.sum(solution.value * jnp.array([[1.0, 2.0]])[0]), solution


def valued(system, inner):
    values = {"pressure": jnp.asarray(0.1), "moved": jnp.asarray(-0.05)}
    (value, solution), slope = quickly(jax.value_and_grad(lambda v: pressed(v, system, inner), has_aux=True))(values)
    solution.unwrap()
    return value, slope


@pytest.fixture(scope="module")
def directly():
    return valued(Dense(), None)


@pytest.mark.parametrize("name", SYSTEMS)
def test_linear_solvers_agree_without_symmetry(directly, name):
    value, slope = valued(*SYSTEMS[name])
    np.testing.assert_allclose(value, directly[0], rtol=1e-9)  # Newton stops at 1e-11; the condition of a bent block
    for key, expected in directly[1].items():
        np.testing.assert_allclose(slope[key], expected, rtol=1e-8, err_msg=key)


def end_of_block(system, inner):
    conditions = [Fixed("left"), Traction("right", (0.1, 0.2, -0.1))]
    solver = NewtonKrylov(rtol=TOLERANCE, inner=inner)
    return solve(Body(irregular((2, 2, 2), HEX8), Elastic(lam=2.0, mu=1.0), conditions, system=system, solver=solver)).value


@pytest.fixture(scope="module")
def block_directly():
    return end_of_block(Dense(), None)


@pytest.mark.parametrize("name", SYSTEMS)
def test_linear_solvers_agree_with_symmetry(block_directly, name):
    np.testing.assert_allclose(end_of_block(*SYSTEMS[name]), block_directly, rtol=0, atol=1e-9)  # as above


def test_few_unknowns_are_solved_directly_and_many_are_not():
    conditions = [Fixed("left"), Traction("right", (0.1, 0.2))]
    body = lambda most: Body(box((4, 4)), Elastic(lam=2.0, mu=1.0), conditions, system=Automatic(most))
    few, many = solve(body(50)), solve(body(49))
    assert int(few.stats["linear"]) == 1 < int(many.stats["linear"])
    np.testing.assert_allclose(few.value, many.value, rtol=0, atol=1e-6)  # Newton stops at 1e-8


def bent(n, system):
    conditions = [Fixed("left"), Traction("right", (0.0, 0.1, 0.05))]
    return solve(Body(box((n, n, n)), Elastic.from_young(1.0, 0.3), conditions, observe=Displacement("right"), system=system))


def test_iterations_with_a_coarse_space_do_not_grow():
    with_it = [int(bent(n, Krylov()).stats["linear"]) for n in (8, 16)]
    without = [int(bent(n, Krylov(two_level=False)).stats["linear"]) for n in (8, 16)]
    print(with_it, without)
    assert max(with_it) <= 90
    assert with_it[1] < 1.3 * with_it[0]
    assert without[1] > 1.6 * without[0]


def exponent(solution, step=-1):
    """The last p of r_(k+1) = r_k^p above round-off, residuals as fractions of the forces."""
    trail = np.atleast_2d(solution.stats["trail"])[step][: int(np.atleast_1d(solution.stats["newton"])[step])]
    trail = np.append(trail, np.atleast_1d(solution.stats["residual"])[step])
    known = np.where(trail > 1e-13, trail, np.nan)
    orders = np.log(known[1:]) / np.log(known[:-1])
    print(trail, orders)
    return orders[np.isfinite(orders)][-1]


@pytest.mark.parametrize("rule", [Full(), MeanDilatation()], ids=lambda x: type(x).__name__)
def test_newtons_method_is_quadratic_at_finite_strain(rule):
    conditions = [Fixed("left"), Moved("right", (0, 1), (0.3, 0.4)), Pressure("top", 0.1)]
    solver = NewtonKrylov(rtol=1e-15)
    body = Body(irregular((3, 3), QUAD4), NeoHookean(mu=1.0, lam=5.0), conditions, rule=rule, solver=solver)
    assert exponent(quickly(lambda load: body(load))(1.0)) > 1.9


def test_newtons_method_is_quadratic_in_plasticity():
    law = J2.from_young(100.0, 0.3, Voce(sy=0.5, H=1.0, s_inf=0.8, delta=20.0))
    body = Body(irregular((3, 3), QUAD8), law, [Fixed("left"), Moved("right", 1, 0.02)], solver=NewtonKrylov(rtol=1e-15))
    _, path = quickly(lambda loads: rollout(body, loads))(jnp.array([0.5, 1.0]))
    assert exponent(path) > 1.9
