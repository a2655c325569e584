"""What is done to a body, each condition against a closed form or the balance of forces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import KINDS, at, irregular, name, quickly, solve
from scipy.optimize import brentq

from jaxmsm import Span, rollout
from jaxmsm.solids import (
    Body,
    BodyForce,
    Displacement,
    Elastic,
    Fixed,
    Force,
    MeanStress,
    Moved,
    NeoHookean,
    Pressure,
    Reaction,
    Springs,
    Symmetry,
    Table,
    Tied,
    Traction,
    Viscoelastic,
)
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import QUAD4, QUAD8, TET4, TRI3, Block, Mesh, box, integration, ring

TIGHT = NewtonKrylov(rtol=1e-12)
ROUND_OFF = 1e-11  # some hundred unknowns of order one, residuals of 1e-12
RUBBER = NeoHookean(mu=1.0, lam=2.0)


@pytest.fixture(scope="module")
def bar():
    """A bar on a spring, its program over loads by name: no lateral strain, so that it is one-dimensional."""
    E, k = 2.0, 3.0
    squared = lambda load: load["q"] ** 2
    table = Table([0.0, 1.0, 2.0], [0.0, 3.0, 1.0])
    conditions = [
        Fixed("bottom", (1,)),
        Springs("left", (k, 0.0)),
        Traction("right", (1.0, 0.0), by="t"),
        Traction("right", (1.0, 0.0), by=squared),
        Traction("right", (1.0, 0.0), by=lambda load: table(load["table"])),
        Force("right", (1.0, 0.0), by="f"),
        BodyForce((1.0, 0.0), by="b"),
        BodyForce(lambda x: jnp.stack([jnp.ones_like(x[..., 0]), 0 * x[..., 0]], -1), where="half", by="h"),
        Moved("top", 1, by="m"),
    ]
    mesh = box((4, 2), (2.0, 1.0))
    near = np.flatnonzero(np.asarray(mesh.points)[np.asarray(mesh.blocks[0].nodes)].mean(1)[:, 0] < 1)
    mesh = Mesh(mesh.points, mesh.blocks, facet_sets=mesh.facet_sets, element_sets={"half": near})
    observe = {"u": Displacement(), "held": Reaction("bottom"), "P": MeanStress(), "end": Displacement("right")}
    body = Body(mesh, Elastic(lam=0.0, mu=E / 2), conditions, observe=observe, thickness=0.5, solver=TIGHT)
    program = quickly(lambda load: body(load))
    none = dict.fromkeys(["t", "q", "table", "f", "b", "h", "m"], 0.0)
    return lambda **load: program(none | load).unwrap(), np.asarray(mesh.points)[:, 0], E, k


@pytest.mark.parametrize(
    ("load", "tension"),
    [
        ({"t": 0.7}, 0.7),
        ({"q": 0.5}, 0.25),  # a function of the load
        ({"table": 0.4}, 1.2),  # between the entries
        ({"table": 1.5}, 2.0),
        ({"table": 7.0}, 1.0),  # constant beyond the end
    ],
)
def test_forces_at_the_end_of_a_bar(bar, load, tension):
    solved, x, E, k = bar
    found = solved(**load)
    np.testing.assert_allclose(found["u"][:, 0], tension / k + tension * x / E, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["u"][:, 1], 0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["P"], [[tension, 0], [0, 0]], rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["end"], [tension / k + 2 * tension / E, 0], rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize(("load", "length"), [({"b": 0.7}, 2.0), ({"h": 0.7}, 1.0)])
def test_weights_of_a_bar_and_of_a_half_of_it(bar, load, length):
    solved, x, E, k = bar
    found, b = solved(**load), 0.7
    inside = np.minimum(x, length)
    exact = b * length / k + b * (length * inside - inside**2 / 2) / E  # linear elements hold it at their nodes
    np.testing.assert_allclose(found["u"][:, 0], exact, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["P"][0, 0], b * length**2 / 4, rtol=0, atol=ROUND_OFF)  # the mean over a length of 2


def test_a_side_moves_by_the_load_and_its_support_answers(bar):
    solved, x, E, _ = bar
    found = solved(m=0.02)
    strain = 0.02 * np.tile([0, 0.5, 1], len(x) // 3)
    np.testing.assert_allclose(found["u"], np.stack([0 * x, strain], 1), rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["P"], [[0, 0], [0, E * 0.02]], rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["held"], [0, -E * 0.02 * 2 * 0.5], rtol=0, atol=ROUND_OFF)  # length 2, thickness 1/2


def test_a_force_is_shared_by_its_nodes_whatever_the_thickness(bar):
    solved, *_ = bar
    found = solved(f=0.3)
    # The mean stress is the moment of the forces, 0.3 at x = 2, over the volume of 1; the spring at x = 0 has no arm.
    np.testing.assert_allclose(found["P"][0, 0], 0.6, rtol=0, atol=ROUND_OFF)


@pytest.fixture(scope="module")
def block():
    """A rubber block under dead and following forces by name."""
    mesh = irregular((2, 2), QUAD8)
    conditions = [
        Fixed("left"),
        Traction("right", (0.1, 0.05), by="t"),
        BodyForce((0.05, -0.1), by="b"),
        Force(at(1, 1), (0.02, 0.05), by="f"),
        Pressure("top", 0.1, by="p"),
    ]
    observe = {"u": Displacement(), "R": Reaction(), "sum": Reaction("left"), "P": MeanStress()}
    body = Body(mesh, RUBBER, conditions, observe=observe, thickness=0.5, solver=TIGHT)
    program = quickly(lambda load: body(load))
    none = dict.fromkeys("tbfp", 0.0)
    return lambda **load: program(none | load).unwrap(), np.asarray(mesh.points)


def _pushed(x, where):
    """The force of a pressure of one on a deformed side, from its end to its beginning (the top runs leftward)."""
    first, last = (x[where][i] for i in (0, -1))
    across = last - first
    return np.array([across[1], -across[0]])


@pytest.mark.parametrize(
    "load", [{"t": 1.0}, {"b": 1.0}, {"f": 1.0}, {"p": 1.0}, dict.fromkeys("tbfp", 1.0)], ids=lambda x: "".join(x)
)
def test_supports_answer_what_is_done_to_a_body(block, load):
    solved, X = block
    found = solved(**load)
    x = X + found["u"]
    size = {k: load.get(k, 0.0) for k in "tbfp"}
    outside = 0.5 * (size["t"] * np.array([0.1, 0.05]) + size["b"] * np.array([0.05, -0.1])) + size["f"] * np.array([0.02, 0.05])
    outside = outside + 0.5 * 0.1 * size["p"] * _pushed(x, np.flatnonzero(X[:, 1] > 1 - 1e-9)[np.argsort(X[X[:, 1] > 1 - 1e-9, 0])])
    np.testing.assert_allclose(found["sum"], -outside, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["R"].sum(0), found["sum"], rtol=0, atol=ROUND_OFF)
    free = X[:, 0] > 1e-9
    np.testing.assert_array_equal(found["R"][free], 0)
    assert np.linalg.norm(found["u"]) > 1e-2


def test_moments_balance_and_make_the_mean_stress(block):
    solved, X = block
    found = solved(f=1.0)
    x, R, force = X + found["u"], np.array(found["R"]), np.array([0.02, 0.05])
    own = np.argmin(np.sum((X - 1) ** 2, 1))
    R[own] += force
    moment = np.sum(x[:, 0] * R[:, 1] - x[:, 1] * R[:, 0])
    assert abs(moment) < ROUND_OFF < abs(np.cross(np.r_[x[own], 0], np.r_[force, 0])[2])
    # The mean of P is the sum of f (x) X over the volume, of 1/2 here.
    np.testing.assert_allclose(found["P"], 2 * R.T @ X, rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("kind", [QUAD8, TET4], ids=name)
def test_pressure_all_round_changes_the_size_alone(kind):
    # F = s I: mu (s - 1/s) + lam d ln s / s = -p s^(d-1), the pressure on the area that is left.
    d, p = kind.dim, 0.4
    s = brentq(lambda s: (s - 1 / s) + 2 * d * np.log(s) / s + p * s ** (d - 1), 0.5, 1.0, xtol=1e-15)
    mesh = irregular((2,) * d, kind)
    sides = ["left", "right", "bottom", "top", "back", "front"][: 2 * d]
    corners = [((0, 0, 0), (0, 1, 2)), ((1, 0, 0), (1, 2)), ((0, 1, 0), (2,))] if d == 3 else [((0, 0), (0, 1)), ((1, 0), (1,))]
    held = [Fixed(at(*place), axes) for place, axes in corners]
    body = Body(mesh, RUBBER, [*held, *(Pressure(side, p) for side in sides)], solver=TIGHT)
    np.testing.assert_allclose(solve(body).value, (s - 1) * mesh.points, rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_the_work_of_a_pressure_is_pressure_times_change_of_volume(kind):
    from jaxmsm.solids._conditions import facet_answers

    mesh = irregular((1,) * kind.dim, kind)
    u = 0.1 * jax.random.normal(jax.random.key(0), mesh.points.shape)

    def volume(u):
        return sum(jnp.sum(integration(mesh.points + u, b, 6).weights) for b in mesh.blocks)

    total = jnp.zeros_like(u)
    for facets in mesh.surface():
        total = total.at[facets.nodes].add(facet_answers(Pressure("all", 3.0), facets, mesh.points, u, jnp.asarray(0.5)))
    np.testing.assert_allclose(total, 1.5 * jax.grad(volume)(u), rtol=0, atol=1e-12)  # round-off: quadratures are exact


def test_an_inclined_plane_of_symmetry_is_half_a_body_with_two():
    load, angle = 0.3, np.pi / 4
    half, whole = ring((3, 2), 1.0, 2.0, QUAD4, angle=angle), ring((3, 4), 1.0, 2.0, QUAD4)
    mirror = (-np.sin(angle), np.cos(angle))
    inside, start, end = Pressure("inner", 1.0), Symmetry("start", (0, 2)), Symmetry("end", mirror)
    observe = {"u": Displacement(), "end": Reaction("end")}
    found = solve(Body(half, RUBBER, [inside, start, end], observe=observe, solver=TIGHT), load).value
    expected = solve(Body(whole, RUBBER, [inside, start, Fixed("end", (0,))], observe=observe, solver=TIGHT), load).value
    own = [int(np.argmin(np.sum((np.asarray(whole.points) - x) ** 2, 1))) for x in np.asarray(half.points)]
    np.testing.assert_allclose(found["u"], expected["u"][jnp.array(own)], rtol=0, atol=ROUND_OFF)
    # What the plane exerts is along its normal and keeps the other half away: the pressure on the inner radius that there is.
    radius = 1 + found["u"][half.nodes("inner")[0], 0]
    np.testing.assert_allclose(found["end"], load * radius * np.array(mirror), rtol=0, atol=ROUND_OFF)
    assert radius > 1.1


def test_a_plane_inclined_to_all_axes_lets_a_bar_thin():
    # Uniaxial tension along the normal (1, 2, 2) / 3 of the plane that the bar stands on.
    E, nu, strain = 2.0, 0.3, 0.1
    n = np.array([1, 2, 2]) / 3
    turn = np.linalg.qr(np.column_stack([n, [0, 1, 0], [0, 0, 1]]))[0]
    turn *= np.sign(turn[:, 0] @ n)
    turn[:, 2] *= np.linalg.det(turn)
    mesh = box((1, 2, 1), mapping=lambda x: x @ turn.T)
    h = strain * (np.outer(n, n) - nu * (np.eye(3) - np.outer(n, n)))
    exact = np.asarray(mesh.points) @ h.T
    place = lambda *x: mesh.nodes(at(*(turn @ x)))
    first, second = place(1, 0, 0), place(1, 1, 0)
    held = [Moved(first, (0, 1), exact[first, :2]), Moved(second, (2,), exact[second, 2:])]
    conditions = [Symmetry("left", 5 * n), *held, Traction("right", E * strain * n)]
    observe = {"u": Displacement(), "R": Reaction("left"), "held": Reaction(np.r_[first, second])}
    found = solve(Body(mesh, Elastic.from_young(E, nu), conditions, observe=observe, solver=TIGHT)).value
    np.testing.assert_allclose(found["u"], exact, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["R"], -E * strain * n, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(found["held"], 0, atol=ROUND_OFF)


def test_an_inclined_plane_whose_nodes_are_tied_in_the_other_direction():
    # Plane strain in space: back and front move alike, which leaves the nodes of the inclined plane their frame.
    angle, law = np.pi / 4, Elastic(lam=2.0, mu=1.0)
    mirror = (-np.sin(angle), np.cos(angle))
    plane, thick = ring((3, 2), 1.0, 2.0, angle=angle), ring((3, 2, 1), 1.0, 2.0, angle=angle)
    still = np.flatnonzero(np.asarray(thick.points)[:, 1] < 1e-9)[:1]
    push, supports = (0.1, 0.05), [Fixed("start", (1,))]
    u = solve(Body(plane, law, [Traction("inner", push), *supports, Symmetry("end", mirror)], solver=TIGHT)).value
    leading = thick.nodes("end")
    leading = leading[np.asarray(thick.points)[leading, 2] < 1e-9]
    ties = [Tied("front", "back"), Fixed(still, (2,)), Symmetry(leading, (*mirror, 0))]
    v = solve(Body(thick, law, [Traction("inner", (*push, 0)), *supports, *ties], solver=TIGHT)).value
    x, y = np.asarray(plane.points), np.asarray(thick.points)
    own = [int(np.argmin(np.sum((x - p[:2]) ** 2, 1))) for p in y]
    np.testing.assert_allclose(v[:, :2], u[jnp.array(own)], rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(v[:, 2], 0, atol=ROUND_OFF)
    assert np.linalg.norm(u) > 0.1


# Layers normal to the second axis, of two stiffnesses.
LAM, MU = np.array([2.0, 0.5]), np.array([1.0, 4.0])


def _by_name(upper):
    return {"low": Elastic(lam=LAM[0], mu=MU[0]), "high": Elastic(lam=LAM[1], mu=MU[1])}


def _by_field(upper):
    return Elastic(lam=jnp.asarray(LAM)[upper], mu=jnp.asarray(MU)[upper])


@pytest.mark.parametrize("corners", ["twice", "once"])
@pytest.mark.parametrize("law", [_by_name, _by_field])
def test_periodic_layers(law, corners):
    mesh = box((2, 4))
    centers = np.asarray(mesh.points)[np.asarray(mesh.blocks[0].nodes)].mean(1)
    upper = (centers[:, 1] > 0.5).astype(int)
    sets = {"low": np.flatnonzero(upper == 0), "high": np.flatnonzero(upper == 1)}
    mesh = Mesh(mesh.points, mesh.blocks, facet_sets=mesh.facet_sets, element_sets=sets)
    top = "top", "bottom"
    if corners == "once":
        top = tuple(mesh.nodes(side)[:-1] for side in top)
    ties = [Tied("right", "left", (1.0, 0.0), by="stretch"), Tied(*top, (1.0, 0.0), by="shear")]
    body = Body(mesh, law(jnp.asarray(upper)), [*ties, Fixed(at(0, 0))], observe=(MeanStress(), Displacement()), solver=TIGHT)
    program = quickly(lambda load: body(load))
    P, u = program({"stretch": 0.0, "shear": 0.1}).unwrap()
    tau = 0.1 / np.mean(1 / MU)
    np.testing.assert_allclose(P, [[0, tau], [tau, 0]], rtol=0, atol=ROUND_OFF)
    heights = np.array([0, 0.25, 0.5, 0.75, 1.0])
    exact = np.interp(heights, [0, 0.5, 1], [0, 0.5 * tau / MU[0], 0.1])
    np.testing.assert_allclose(u, np.stack([np.tile(exact, 3), np.zeros(15)], 1), rtol=0, atol=ROUND_OFF)
    # Stretched along the layers: one lateral stress, no lateral strain in the mean.
    P, u = program({"stretch": 0.1, "shear": 0.0}).unwrap()
    M = LAM + 2 * MU
    lateral = 0.1 * np.mean(LAM / M) / np.mean(1 / M)
    e = (lateral - LAM * 0.1) / M
    np.testing.assert_allclose(P, [[np.mean(M * 0.1 + LAM * e), 0], [0, lateral]], rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(u[:, 0], 0.1 * mesh.points[:, 0], rtol=0, atol=ROUND_OFF)


def test_triangles_and_quadrilaterals_in_one_mesh():
    flat = irregular((4, 2), QUAD4, (2.0, 1.0))
    x, nodes = np.asarray(flat.points), np.asarray(flat.blocks[0].nodes)
    cut = x[nodes].mean(1)[:, 0] > 1
    halves = np.concatenate([nodes[cut][:, [0, 1, 2]], nodes[cut][:, [0, 2, 3]]])
    mesh = Mesh(x, [Block(halves, TRI3), Block(nodes[~cut], QUAD4)])
    h = np.array([[0.1, 0.05], [-0.03, 0.08]])
    edge = lambda x: np.any((x < 1e-9) | (x > np.array([2, 1]) - 1e-9), 1)
    given = Moved(mesh.nodes(edge), (0, 1), np.asarray(mesh.points)[mesh.nodes(edge)] @ h.T)
    u, P = solve(Body(mesh, RUBBER, [given], observe=(Displacement(), MeanStress()), solver=TIGHT)).value
    np.testing.assert_allclose(u, x @ h.T, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(P, RUBBER(jnp.eye(2) + h, ())[0], rtol=0, atol=ROUND_OFF)


def test_a_held_bar_relaxes_in_time():
    # One Maxwell element beside a spring: a ramp of length t1 to the strain e, which then is held.
    E, E1, tau, t1, t2, e = 1.0, 3.0, 2.0, 0.5, 3.0, 0.02
    law = Viscoelastic.from_prony(K=E / 3, G=E / 2, bulk=[(E1 / 3, tau)], shear=[(E1 / 2, tau)])
    mesh = box((1, 1))
    moved = Moved("right", 0, 1.0, by=Table([0.0, t1], [0.0, e]))
    body = Body(mesh, law, [Fixed("left", (0,)), moved, Fixed("bottom", (1,))], observe=Reaction("right"), solver=TIGHT)
    loads = Span(jnp.array([0.0, t1]), jnp.array([t1, t1 + t2]), None)
    _, found = quickly(lambda loads: rollout(body, loads))(loads)
    ramp = E1 * e * (1 - np.exp(-t1 / tau)) / (t1 / tau)
    expected = E * e + ramp * np.array([1, np.exp(-t2 / tau)])
    np.testing.assert_allclose(found.unwrap()[:, 0], expected, rtol=1e-10)  # round-off


def test_a_scale_beside_a_law():
    from jaxmsm.bridges import Closed

    mesh = irregular((2, 2), QUAD4)
    mesh = Mesh(mesh.points, mesh.blocks, facet_sets=mesh.facet_sets, element_sets={"a": [0, 3], "b": [1, 2]})
    conditions = [Fixed("left"), Traction("right", (0.2, 0.1))]
    stiff = NeoHookean(mu=3.0, lam=1.0)
    u = solve(Body(mesh, {"a": RUBBER, "b": Closed(stiff)}, conditions, solver=TIGHT)).value
    v = solve(Body(mesh, {"a": RUBBER, "b": stiff}, conditions, solver=TIGHT)).value
    np.testing.assert_allclose(u, v, rtol=0, atol=ROUND_OFF)


def test_a_body_is_an_argument_of_a_compiled_program():
    program = jax.jit(lambda body, load: body(load).value)
    none = lambda load: 0 * load["t"]
    ends = [Fixed("left"), Fixed("right", (1,)), Moved("right", 0, by="t"), BodyForce(jnp.ones_like, by=none)]
    made = lambda mu: Body(box((1, 1)), Elastic(lam=0.0, mu=mu), ends, observe=Reaction("right"))
    for mu in (1.0, 3.0):
        np.testing.assert_allclose(program(made(mu), {"t": 0.1}), [0.2 * mu, 0], rtol=1e-9, atol=ROUND_OFF)
    assert program._cache_size() == 1
