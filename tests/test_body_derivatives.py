"""Derivatives of bodies in all that they are made of: forward, reverse and by differences, batched, through plastic paths."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import at, irregular, quickly

from jaxmsm import rollout
from jaxmsm.solids import (
    J2,
    Body,
    BodyForce,
    Displacement,
    Elastic,
    Fixed,
    Linear,
    MeanStress,
    Moved,
    NeoHookean,
    PlaneStress,
    Pressure,
    Reaction,
    Springs,
    Symmetry,
    Tied,
    Traction,
)
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import QUAD4, box, ring

TIGHT = NewtonKrylov(rtol=1e-12)
STEP = 1e-4
DIFFERENCES = 1e-6  # of the derivative's norm: the step squared times a third derivative, and 1e-12 over the step
ROUND_OFF = 1e-9  # solves end at 1e-12; the condition of the bodies


def moved_points(body, amount):
    """The body of another shape: its points swing, those of the surface as well."""
    x = body.mesh.points
    swing = jnp.stack([jnp.sin(2 * x[:, 1] + 1) * x[:, 0], jnp.cos(3 * x[:, 0])], 1)
    return eqx.tree_at(lambda b: b.mesh.points, body, x + amount * swing)


def rubber(v):
    """A rubber block under everything at once: no symmetry, finite strain, no locking."""
    conditions = [
        Fixed("left"),
        Moved(at(1, 0), 1, v["moved"], by="size"),  # the edge of the pressure stays free: no symmetry
        Traction("right", jnp.stack([v["traction"], 0 * v["traction"]]), by="dead"),
        Pressure("top", v["pressure"], by="dead"),
        Springs("bottom", v["springs"]),
        BodyForce(jnp.stack([0 * v["weight"], v["weight"]]), by="dead"),
    ]
    law = NeoHookean(mu=v["mu"], lam=v["lam"])
    observe = (Displacement("top"), Reaction("left"), MeanStress())
    body = Body(irregular((2, 2), QUAD4), law, conditions, observe=observe, thickness=v["thickness"], solver=TIGHT)
    return moved_points(body, v["shape"])({"size": v["load"], "dead": jnp.asarray(1.0)})


RUBBER = {
    "moved": 0.2,
    "traction": 0.1,
    "pressure": 0.05,
    "springs": 0.1,
    "weight": -0.05,
    "mu": 1.0,
    "lam": 2.0,
    "thickness": 0.7,
    "shape": 0.05,
    "load": 0.5,
}


def turned(v):
    """A linear ring on an inclined plane of symmetry: frames of nodes, a symmetric system."""
    mirror = (-np.sin(np.pi / 4), np.cos(np.pi / 4))
    conditions = [Symmetry("start", (0, -1)), Symmetry("end", mirror), Traction("inner", jnp.stack([v["x"], v["y"]]))]
    law = PlaneStress(Elastic.from_young(v["E"], v["nu"]))
    body = Body(
        ring((2, 2), 1.0, 2.0, angle=np.pi / 4), law, conditions, observe=(Displacement("outer"), Reaction("end")), solver=TIGHT
    )
    return moved_points(body, v["shape"])(v["load"])


TURNED = {"x": 0.2, "y": 0.1, "E": 1.0, "nu": 0.3, "shape": 0.02, "load": 1.5}


def tied(v):
    """Periodic layers whose moduli are fields."""
    mesh = box((2, 3))
    law = Elastic(lam=v["lam"], mu=v["mu"] * jnp.linspace(1.0, 2.0, 6))
    ties = [
        Tied("right", "left", jnp.stack([v["stretch"], 0 * v["stretch"]])),
        Tied("top", "bottom", jnp.stack([v["shear"], v["shear"]])),
    ]
    body = Body(mesh, law, [Fixed(np.array([0])), *ties], observe=(MeanStress(), Displacement()), solver=TIGHT)
    return body(v["load"])


TIED = {"lam": 1.0, "mu": 1.0, "stretch": 0.1, "shear": 0.05, "load": 0.7}


def plastic(v):
    """A notched plate that is loaded, unloaded and loaded backward."""
    law = J2.from_young(v["E"], 0.3, Linear(sy=v["sy"], H=v["H"]))
    mesh = irregular((3, 2), QUAD4)
    body = Body(mesh, law, [Fixed("left"), Moved("right", 0)], observe=(Reaction("right"), Displacement("top")), solver=TIGHT)
    return rollout(body, v["load"] * jnp.array([0.01, 0.03, 0.02, -0.03]))[1]


PLASTIC = {"E": 100.0, "sy": 0.5, "H": 5.0, "load": 1.0}


@pytest.mark.parametrize(
    ("scale", "values"),
    [(rubber, RUBBER), (turned, TURNED), (tied, TIED), (plastic, PLASTIC)],
    ids=["rubber", "turned", "tied", "plastic"],
)
def test_forward_reverse_and_differences_agree(scale, values):
    values = {k: jnp.asarray(x) for k, x in values.items()}

    def answer(values):
        solution = scale(values)
        flat = jnp.concatenate([jnp.ravel(y) for y in jax.tree.leaves(solution.value)])
        return jax.random.normal(jax.random.key(0), flat.shape) @ flat, solution.ok

    program = quickly(jax.value_and_grad(answer, has_aux=True))
    (value, ok), reverse = program(values)
    assert np.all(ok)
    for key, x in values.items():
        near = [program(values | {key: x * (1 + sign * STEP)})[0][0] for sign in (-1, 1)]
        exact = (near[1] - near[0]) / (2 * STEP)
        assert abs(exact) > 1e-4 * abs(value), key
        np.testing.assert_allclose(x * reverse[key], exact, rtol=0, atol=DIFFERENCES * abs(exact), err_msg=key)
    # Forward along all of them at once, each by its own amount.
    ways = {k: x * (1 + 0.1 * i) for i, (k, x) in enumerate(values.items())}
    forward = quickly(lambda v, dv: jax.jvp(lambda v: answer(v)[0], (v,), (dv,))[1])(values, ways)
    np.testing.assert_allclose(forward, sum(reverse[k] * ways[k] for k in values), rtol=ROUND_OFF)


def test_a_batch_of_bodies_is_a_loop_and_has_second_derivatives():
    def energy(v):
        u, _ = turned(v).value
        return jnp.sum(u**2)

    values = {k: jnp.asarray(x) for k, x in TURNED.items()}
    slope = jax.grad(energy)
    way = {k: x * (1 + 0.1 * i) for i, (k, x) in enumerate(values.items())}
    both = lambda v: jax.jvp(slope, (v,), (way,))
    batch = quickly(jax.vmap(both))
    along = lambda a: jax.tree.map(lambda x, dx: x + a * dx, values, way)
    sizes = jnp.array([-STEP, 0.0, STEP, 0.1])
    slopes, second = batch(jax.vmap(along)(sizes))
    one, once = quickly(both)(along(0.1))
    for key in values:
        np.testing.assert_allclose(slopes[key][3], one[key], rtol=ROUND_OFF, err_msg=key)
        np.testing.assert_allclose(second[key][3], once[key], rtol=ROUND_OFF, err_msg=key)
        exact = (slopes[key][2] - slopes[key][0]) / (2 * STEP)
        np.testing.assert_allclose(second[key][1], exact, rtol=0, atol=DIFFERENCES * abs(exact), err_msg=key)
