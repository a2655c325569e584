"""Bodies of cells: against one scale, against laminates in closed form, against structures with every inclusion meshed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import quickly

from jaxmsm import RESULTS, AbstractScale, PeriodicCell, Solution, batched, names, rollout
from jaxmsm.bridges import Skipping
from jaxmsm.io import Checkpoint
from jaxmsm.solids import (
    J2,
    Anisotropic,
    Body,
    Displacement,
    Elastic,
    Fixed,
    Linear,
    Moved,
    NeoHookean,
    Reaction,
    Symmetry,
    lame,
)
from jaxmsm.solve import CutBack, NewtonKrylov, march
from jaxmsm.space import QUAD9, Mesh, box

SOLVER = NewtonKrylov(rtol=1e-10)
IMAGE = (np.random.default_rng(5).random((4, 4)) < 0.4).astype(int)
PULLED = [Fixed("left"), Fixed("right", (1,)), Moved("right", (0,))]
# It yields, unloads and yields the other way.
PATH = jnp.array([0.004, 0.012, 0.009, -0.006])


def metal(sy=0.1, H=2.0):
    return J2(lam=50.0, mu=26.0, hardening=Linear(sy=sy, H=H))


def plate(law, parts=(2, 2), **more):
    return Body(box(parts), law, PULLED, observe={"force": Reaction("right"), "u": Displacement()}, solver=SOLVER, **more)


@pytest.mark.parametrize(
    ("law", "loads"), [(metal(), PATH), (NeoHookean(lam=5.0, mu=2.0), jnp.array([0.2, -0.2]))], ids=["J2", "NeoHookean"]
)
def test_cells_of_one_law_are_that_law(law, loads):
    cells = [PeriodicCell(IMAGE, [law, law], solver=SOLVER)]
    cells += [Skipping(cells[0])] if law.small else []
    path = lambda body: quickly(lambda loads: rollout(body, loads)[1])(loads)
    one = path(plate(law))
    assert one.ok.all()
    for cell in cells:
        many = path(plate(batched(cell)))
        assert many.ok.all() and np.all(many.stats["newton"] <= one.stats["newton"])
        for name, size in (("force", 1.0), ("u", 0.01)):
            np.testing.assert_allclose(many.value[name], one.value[name], rtol=0, atol=1e-9 * size)  # ten tolerances


def backus(one, two, part):
    """The plane stiffness of layers across the first axis, by hand: constant tractions there, constant strain along."""
    mean = lambda f: part * f(*one) + (1 - part) * f(*two)
    across = 1 / mean(lambda lam, mu: 1 / (lam + 2 * mu))
    shared = mean(lambda lam, mu: lam / (lam + 2 * mu))
    along = mean(lambda lam, mu: (lam + 2 * mu) - lam**2 / (lam + 2 * mu)) + shared**2 * across
    shear = 1 / mean(lambda lam, mu: 1 / mu)
    return across, shared * across, along, shear


def test_cells_of_layers_are_the_laminate():
    one, two = lame(1.0, 0.3), lame(20.0, 0.1)
    image = np.repeat([[0], [1], [1], [1]], 2, 1)
    cell = PeriodicCell(image, [Elastic(lam=m[0], mu=m[1]) for m in (one, two)], solver=SOLVER)
    a, b, c, s = backus(one, two, 0.25)
    C = np.array([[a, b, 0], [b, c, 0], [0, 0, s]])
    answer = lambda law: quickly(lambda load: plate(law, (3, 2))(load))(0.01)
    found, exact = answer(batched(cell)), answer(Anisotropic(C))
    found.unwrap()
    np.testing.assert_allclose(found.value["force"], exact.value["force"], rtol=0, atol=1e-9 * np.abs(exact.value["force"]).max())
    np.testing.assert_allclose(found.value["u"], exact.value["u"], rtol=0, atol=1e-9 * 0.01)


FINE = 8
CENTERS = (np.arange(FINE) + 0.5) / FINE - 0.5
ROUND = (np.add.outer(CENTERS**2, CENTERS**2) < 0.08).astype(int)


def phases(sy):
    return [metal(sy, 40.0), Elastic(lam=200.0, mu=150.0)]


def bent(mesh):
    """Moved unevenly and clamped at the right, mirrored elsewhere: no corner where fields are large."""
    nodes = mesh.nodes("right")
    y = np.asarray(mesh.points)[nodes, 1]
    inner = (y > 1e-9) & (y < 1 - 1e-9)
    u = np.stack([1 + 0.5 * np.cos(np.pi * y), 0.5 * np.sin(np.pi * y)], 1)
    planes = [Symmetry("left", (1, 0)), Symmetry("bottom", (0, 1)), Symmetry("top", (0, 1))]
    return [*planes, Moved(nodes[inner], (0, 1), u[inner]), Moved(nodes[~inner], (0,), u[~inner, :1])]


def meshed(count, sy):
    """The structure of count x count cells with every inclusion meshed as the voxels are."""
    mesh = box((count * FINE,) * 2)
    x = np.asarray(mesh.points)[np.asarray(mesh.blocks[0].nodes)].mean(1)
    label = np.tile(ROUND, (count, count))[tuple(np.floor(x * count * FINE).astype(int).T)]
    sets = {str(k): np.flatnonzero(label == k) for k in (0, 1)}
    mesh = Mesh(mesh.points, mesh.blocks, element_sets=sets, facet_sets=mesh.facet_sets)
    return Body(mesh, {str(k): law for k, law in enumerate(phases(sy))}, bent(mesh), observe=Reaction("right"))


def homogenized(sy):
    mesh = box((2, 2), element=QUAD9)
    return Body(mesh, batched(PeriodicCell(ROUND, phases(sy))), bent(mesh), observe=Reaction("right"))


def test_the_error_of_two_scales_falls_as_their_ratio():
    counts = (1, 2, 4)
    program = lambda make: quickly(lambda sy: rollout(make(sy), jnp.array([0.004, 0.008]))[1])
    programs = [program(homogenized), *(program(lambda sy, n=n: meshed(n, sy)) for n in counts)]
    for sy, size in ((1e9, 0.008), (0.02, 0.005)):
        coarse, *fine = [run(sy) for run in programs]
        assert all(s.ok.all() for s in (coarse, *fine))
        force = coarse.value[:, 0]
        errors = np.array([(s.value[:, 0] - force) / force for s in fine])
        assert np.all(np.abs(errors[0]) < size)
        slope = np.polyfit(np.log(counts), np.log(np.abs(errors)), 1)[0]
        print(f"sy {sy:g}: errors {errors.T}, exponents {slope}")
        np.testing.assert_allclose(slope, -1, atol=0.1)  # the next order, a tenth of the error at two cells


def forces(logs):
    sy, H, mu = jnp.exp(logs)
    cell = PeriodicCell(IMAGE, [metal(sy, H), Elastic(lam=44.0, mu=mu)], solver=NewtonKrylov(rtol=1e-12))
    body = Body(box((2, 1)), batched(cell), PULLED, observe=Reaction("right"), solver=NewtonKrylov(rtol=1e-12))
    return body


LOGS = jnp.log(jnp.array([0.1, 2.0, 44.0]))


def test_slopes_of_every_step_of_a_path_in_numbers_of_the_cell():
    path = lambda logs: rollout(forces(logs), PATH)[1].value[:, 0]
    program = quickly(lambda logs, way: jax.jvp(path, (logs,), (way,)))
    h = 1e-5
    for way in jnp.eye(3):
        (up, _), (down, _), (_, slope) = program(LOGS + h * way, way), program(LOGS - h * way, way), program(LOGS, way)
        scale = np.abs(slope).max()
        assert scale > 1e-4
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=0, atol=1e-6 * scale)


class Brittle(AbstractScale):
    """A cell that fails where a step is longer than it bears."""

    cell: PeriodicCell
    bears: float

    def init(self, load, *, key=None):
        return self.cell.init(load, key=key), jnp.eye(2)

    def cold(self, load):
        return self.cell.cold(load)

    def __call__(self, load, state=None, *, guess=None):
        past, before = self.init(load) if state is None else state
        found = self.cell(load, past, guess=guess)
        ok = jnp.sum((load - before) ** 2) < self.bears**2
        result = RESULTS.where(ok, found.result, RESULTS.line_search_failed)
        return Solution(jnp.where(ok, found.value, jnp.nan), (found.state, load), found.guess, result, found.stats)


class Killed(Exception):
    """The end of a process."""


def marched(folder: Any, until: int):
    """March a plate with one brittle element; returns the last state, the forces, failures and accepted parts."""
    cell = PeriodicCell(IMAGE, phases(0.1))
    mesh = box((2, 2))
    mesh = Mesh(mesh.points, mesh.blocks, element_sets={"sound": [0, 1, 3], "brittle": [2]}, facet_sets=mesh.facet_sets)
    laws = {"sound": batched(cell), "brittle": batched(Brittle(cell, 0.004))}
    body = Body(mesh, laws, PULLED, observe=Reaction("right"))
    failures, parts = [], {}

    def keep(step, solution):
        parts[step.number] = step.accepted
        if step.number == until:
            raise Killed

    def failed(k, solution):
        failures.append((k, str(names(solution.result)), int(solution.stats["point"])))

    state, steps, _ = march(
        body,
        jnp.array([0.002, 0.008, 0.010, 0.004]),
        cut_back=CutBack(4, jnp.zeros(())),
        checkpoint=Checkpoint(folder / "checkpoint.npz"),
        on_step=keep,
        on_failure=failed,
    )
    return state, steps, failures, parts


def test_a_failed_cell_cuts_the_step_and_a_killed_march_goes_on_with_the_same_bits(tmp_path):
    whole = marched(tmp_path / "whole", -1)
    assert np.all(whole[1].ok)
    # Two elements of four points go before; the brittle one is the whole of the second part.
    assert whole[2] and {(code, point) for _, code, point in whole[2]} <= {("line_search_failed", 12 + k) for k in range(4)}
    assert [len(whole[3][k]) > 1 for k in range(4)] == [False, True, False, True]
    until = int(np.random.default_rng().integers(0, 4))
    with pytest.raises(Killed):
        marched(tmp_path / "killed", until)
    rest = marched(tmp_path / "killed", -1)
    assert min(rest[3]) == until
    for a, b in zip(jax.tree.leaves(whole[:2]), jax.tree.leaves(rest[:2]), strict=True):
        np.testing.assert_array_equal(a, b)
