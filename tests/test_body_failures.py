"""Bodies that cannot be made, and loads that cannot be borne: what is said and who is named."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import at, irregular, name, quickly, solve, surface
from jaxtyping import Array, Float

from jaxmsm import names, rollout
from jaxmsm.bridges import PeriodicCell
from jaxmsm.solids import (
    J2,
    AbstractLaw,
    Body,
    Conductivity,
    Damage,
    Displacement,
    Elastic,
    Fixed,
    Linear,
    LinearSoftening,
    Moved,
    NeoHookean,
    Reaction,
    Stress,
    Symmetry,
    Tied,
    Traction,
)
from jaxmsm.solve import Dense, Krylov, NewtonKrylov, SparseDirect
from jaxmsm.space import HEX8, QUAD4, Mesh, box

SQUARE = box((2, 2))
LINEAR = Elastic(lam=1.0, mu=1.0)
NAMED = Mesh(SQUARE.points, SQUARE.blocks, facet_sets=SQUARE.facet_sets, element_sets={"a": [0, 1, 2], "b": [2, 3]})
DIAGONAL = lambda x: abs(x[:, 0] - x[:, 1]) < 1e-9


def _softening(**how):
    """A cell of which one phase softens."""
    law = Damage.from_young(1.0, 0.2, LinearSoftening(strength=0.1, energy=0.1), **how)
    return PeriodicCell(np.arange(4).reshape(2, 2) % 2, (LINEAR, law))


def _loaded(load, by=None):
    return Body(SQUARE, LINEAR, [Fixed("left"), Traction("right", (1.0, 0.0), by=by)])(load)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        (lambda: Body(SQUARE, LINEAR, [Fixed("left", (2,))]), ValueError, "`axes` must hold axes from 0 to 1, but"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("left"), Moved("top", 0)]), ValueError, "impose one displacement twice, but axis 0"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("left"), Symmetry(DIAGONAL, (1, -1))]), ValueError, "held already. Take them out"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("middle")]), ValueError, "must name a set of the mesh, one of .*, but it is 'middle'"),
        (lambda: Body(SQUARE, LINEAR, [Fixed(lambda x: x[:, 0] > 2)]), ValueError, "must select at least one node"),
        (lambda: Body(SQUARE, LINEAR, [Traction(at(0, 0), (1.0, 0.0))]), ValueError, "at least one facet of the surface"),
        (lambda: Body(SQUARE, LINEAR, [Tied("right", at(0, 0))]), ValueError, "sets of equal size, but they hold 3 and 1 nodes"),
        (lambda: Body(SQUARE, LINEAR, [Tied("right", "top")]), ValueError, "nodes at a constant offset, but some are off by"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("right"), Tied("right", "left")]), ValueError, "must not hold nodes that are tied"),
        (
            lambda: Body(SQUARE, LINEAR, [Tied("right", "left"), Tied("left", "right")]),
            ValueError,
            "must not tie nodes in a circle",
        ),
        (lambda: Body(SQUARE, {}), TypeError, "`law` must be a law or a scale"),
        (lambda: Body(NAMED, {"a": LINEAR}), ValueError, "give each element a law, but 1 of 4 have none"),
        (lambda: Body(NAMED, {"a": LINEAR, "b": LINEAR}), ValueError, "one law, but elements of 'b' have one already"),
        (lambda: Body(SQUARE, {"a": LINEAR}), ValueError, "must name a set of elements"),
        (
            lambda: Body(SQUARE, _softening(size=0.1)),
            ValueError,
            "must not be a scale whose laws soften at once, but `PeriodicCell`",
        ),
        (lambda: Body(SQUARE, LINEAR, [Moved("right", (0, 1), [1.0])]), ValueError, r"`Moved` must have shape \(\) or \(2,\), but"),
        (lambda: Body(SQUARE, LINEAR, [Traction("right", 1.0)]), ValueError, r"`Traction` must have shape \(2,\), but has \(\)"),
        (lambda: Body(SQUARE, Conductivity(k=2.0)), ValueError, "must deform, but it is or holds a `Conductivity`"),
        (lambda: Body(SQUARE, PeriodicCell(np.eye(2, dtype=int), [Conductivity(k=k) for k in (1.0, 2.0)])), ValueError, "holds a"),
        (lambda: Body(box((1, 1, 1)), LINEAR, thickness=0.5), ValueError, "`thickness` is for plane bodies"),
        (lambda: Body(SQUARE, LINEAR, observe="u"), TypeError, "`observe` must be an observer or a tree of them"),
        (lambda: Body(SQUARE, LINEAR).locate(16), ValueError, "the number of a point of the body"),
        (lambda: _loaded(1.0, by="t"), ValueError, "must be a dictionary with a number 't', but it holds no names"),
        (lambda: _loaded({"s": 1.0}, by="t"), ValueError, r"a number 't', but it holds \['s'\]"),
        (lambda: _loaded({"s": 1.0}), ValueError, r"without a name \(`by`\), but it has the names \['s'\]"),
        (lambda: _loaded(jnp.ones(3)), ValueError, r"it has shape \(3,\). A path of loads is for `rollout"),
    ],
)
def test_malformed_conditions_are_refused(wrong, error, sentence):
    with pytest.raises(error, match=sentence):
        wrong()


def test_cells_that_soften_in_time_are_taken():
    assert Body(SQUARE, _softening(viscosity=1.0)).count


class Brittle(AbstractLaw):
    """Linear elasticity that has no answer beyond a strain."""

    limit: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, F, past):
        e = 0.5 * (F + F.T) - jnp.eye(len(F))
        return jnp.where(jnp.sum(e**2) < self.limit**2, e, jnp.nan), past


def test_the_point_that_fails_is_named():
    # The elements are pulled alike, but one breaks sooner.
    mesh = box((3, 2))
    limit = jnp.array([1.0, 1.0, 1.0, 1.0, 0.05, 1.0])
    sides = [Fixed("left", (0,)), Fixed("bottom", (1,)), Moved("right", 0)]
    body = Body(mesh, Brittle(limit), sides, observe=(Displacement(), Reaction("right")))
    program = quickly(lambda loads: rollout(body, loads))
    _, found = program(jnp.array([0.04, 0.1, 0.045]))
    assert list(names(found.result)) == ["successful", "law_failed", "successful"]
    assert list(found.stats["point"]) == [-1, 4, -1]
    element, place = body.locate(found.stats["point"][1])
    assert element == 4
    x = np.asarray(mesh.points)[np.asarray(mesh.blocks[0].nodes)[4]]
    assert np.all(place > x.min(0)) and np.all(place < x.max(0))
    force = np.asarray(found.value[1])[:, 0]
    np.testing.assert_allclose(force[[0, 2]], [0.04, 0.045], rtol=1e-9)  # Newton stops at 1e-8, which is beyond a direct solve
    assert np.isnan(force[1]) and np.all(np.isnan(found.value[0][1]))


def test_a_collapsed_element_is_out_of_range():
    # Pushed through itself: no step along Newton's direction ends at a positive volume.
    body = Body(box((2, 2)), NeoHookean(mu=1.0, lam=2.0), [Fixed("left"), Moved("right", 0)])
    found = quickly(lambda load: body(load))(jnp.asarray(-1.5))
    assert names(found.result) in ("out_of_range", "line_search_failed")
    assert int(found.stats["point"]) >= 0


SYSTEMS = [Dense(), Krylov(), Krylov(two_level=False), SparseDirect()]


@pytest.mark.parametrize("system", SYSTEMS, ids=["dense", "krylov", "one level", "sparse"])
@pytest.mark.parametrize(
    ("law", "support"), [(LINEAR, Fixed("left", (0,))), (NeoHookean(mu=1.0, lam=2.0), Fixed(at(0, 0)))], ids=["slides", "turns"]
)
def test_a_body_that_nothing_holds_is_a_mechanism(law, support, system):
    # A huge step is what the linear solve answers; it must not pass for equilibrium because its own forces are huge.
    body = Body(irregular((4, 4), QUAD4), law, [support, Traction("right", (0.0, 0.1))], system=system)
    found = quickly(lambda load: body(load))(jnp.asarray(1.0))
    assert names(found.result) == "mechanism"
    assert np.all(np.isnan(found.value))


@pytest.mark.parametrize("load", [np.nan, np.inf])
def test_a_load_that_is_no_number_fails_alone_and_commits_nothing(load):
    law = J2.from_young(100.0, 0.3, Linear(sy=0.1, H=1.0))
    body = Body(box((2, 2)), law, [Fixed("left"), Moved("right", 0)], observe=Displacement("right"))
    state, found = quickly(lambda loads: rollout(body, loads))(jnp.array([0.01, load, 0.01]))
    assert list(names(found.result)) == ["successful", "nonfinite_input", "successful"]
    assert np.all(np.isnan(found.value[1]))
    np.testing.assert_array_equal(found.state[0][0].alpha[1], found.state[0][0].alpha[0])
    assert np.all(state[0][0].alpha > 0)
    np.testing.assert_allclose(found.value[2], found.value[0], rtol=0, atol=1e-9)  # the same load again


def test_missing_steps_of_newton_are_told():
    body = Body(box((2, 2)), NeoHookean(mu=1.0, lam=2.0), [Fixed("left"), Moved("right", 1)], solver=NewtonKrylov(max_steps=2))
    found = quickly(lambda load: body(load))(jnp.asarray(0.5))
    assert names(found.result) == "nonlinear_max_steps_reached"
    assert int(found.stats["newton"]) == 2


def in_single(tree):
    """The tree with its numbers in single precision."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, tree)


@pytest.mark.parametrize("law", [Elastic(lam=2.0, mu=1.0), NeoHookean(lam=2.0, mu=1.0)], ids=name)
def test_single_precision_holds_a_homogeneous_displacement(law):
    mesh = irregular((2, 2, 2), HEX8)
    h = jnp.array([[0.1, 0.05, 0.02], [-0.03, 0.08, 0.04], [0.06, -0.02, 0.12]])
    edge = mesh.nodes(surface)
    body = in_single(
        Body(mesh, law, [Moved(edge, (0, 1, 2), np.asarray(mesh.points)[edge] @ h.T)], observe=(Displacement(), Stress()))
    )
    u, (P,) = solve(body, jnp.float32(1.0)).value
    assert u.dtype == P.dtype == jnp.float32
    np.testing.assert_allclose(u, mesh.points @ h.T, rtol=0, atol=2e-6)  # some ten units of round-off of lengths of 1
    expected = law(jnp.eye(3) + h, ())[0]
    np.testing.assert_allclose(P, jnp.broadcast_to(expected[:, :, None, None], P.shape), rtol=0, atol=1e-5)  # times moduli of 4


def test_single_precision_flows_as_double():
    law = J2.from_young(100.0, 0.3, Linear(sy=0.5, H=5.0))
    body = Body(irregular((3, 3), QUAD4), law, [Fixed("left"), Moved("right", 0)], observe=Reaction("right"))
    loads = jnp.array([0.004, 0.012, 0.008])
    arrays, rest = eqx.partition(body, eqx.is_array)
    run = lambda arrays, loads: quickly(lambda a, x: rollout(eqx.combine(a, rest), x)[1])(arrays, loads)
    single, double = run(in_single(arrays), loads.astype(jnp.float32)), run(arrays, loads)
    assert single.value.dtype == jnp.float32
    force = np.asarray(double.unwrap())
    np.testing.assert_allclose(single.unwrap(), force, rtol=0, atol=1e-4 * abs(force).max())  # Newton stops at 1e-5
    alpha = [np.asarray(x.state[0][0].alpha) for x in (single, double)]
    assert alpha[1].max() > 5e-3
    np.testing.assert_allclose(*alpha, rtol=0, atol=1e-4 * alpha[1].max())
