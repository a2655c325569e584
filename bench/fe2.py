"""Target: a macroscopic iteration of FE2 fifty times faster than a loop over points with FElupe (G9).

A square of 5 x 5 elements (100 points), its left side held, its right side drawn by a twentieth; at each point a disk of a
fifth of a cell of 32^2 voxels, neo-Hookean, contrast 10. The peer is FElupe above and below: a user material that solves the cell
of one point after another, each started from what it found last, with the consistent tangent. Both go on until the macroscopic
residual has fallen by 1e-8. Then, for jaxmsm alone: solves of cells a second within the body over those of one batch of as many
cells that start from nothing, and, with J2 in the cells, the time beside a structure with every inclusion meshed and what its
reaction differs by. CPU seconds of one core, compile apart.

    python bench/fe2.py [--size 32]

A typical printout:

    AMD EPYC (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, felupe 11.3.0, scipy 1.18.1,
      --xla_cpu_prefer_vector_width=512
    100 points x 32^2
            seconds  passes  a pass  ratio a pass  force differs  compile
    jaxmsm    1.243       4  0.3107             1                   14.39
    FElupe    18.32       4    4.58         14.74        7.2e-11

    cells and tangents a second  within FE2  one batch  ratio
    100 x 32^2                        321.9      122.4  2.629

    three steps of J2      unknowns   Newton  compile  seconds   ratio  force off the last
    FE2, 36 points x 16^2        50  [4 4 3]    25.36   0.5524       1             5.6e-04
    whole, 4 x 4 cells         8450  [4 4 4]    5.827   0.4484  0.8118             4.6e-04
    whole, 8 x 8 cells        33282  [4 4 4]    6.016    5.202   9.417             0.0e+00
"""

from _side_by_side import alternate, compiled, lame, seconds, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse
from typing import Any

import felupe
import jax
import jax.numpy as jnp
import numpy as np
from _peers import Felupe, FelupePoints

from jaxmsm import PeriodicCell, batched, rollout
from jaxmsm.solids import J2, Body, Deformation, Elastic, Fixed, Linear, Moved, NeoHookean, Reaction, Symmetry
from jaxmsm.space import QUAD9, Mesh, box

DRAWN = 0.05
CONTRAST = 10.0


def drawn(mesh, law, **more) -> Body:
    """The left side is held, the right side moves across it."""
    return Body(mesh, law, [Fixed("left"), Fixed("right", (1,)), Moved("right", 0)], observe=Reaction("right"), **more)


def answer(body, load) -> tuple[Any, ...]:
    found = body(load)
    return found.value, found.ok, found.stats["newton"], found.stats["law"][0]


def peer(n: int, size: int) -> tuple[np.ndarray, int]:
    """The same by FElupe: the force on the right side, and the iterations."""
    lam, mu = (np.where(sphere(size, 2), b, a) for a, b in zip(lame(1.0), lame(CONTRAST)))
    mesh = felupe.Rectangle(n=n + 1)
    field = felupe.FieldContainer([felupe.FieldPlaneStrain(felupe.RegionQuad(mesh), dim=2)])
    umat = FelupePoints(lambda F: Felupe(mu, lam, F, 1e-8))
    body = felupe.SolidBody(umat, field)
    right = mesh.points[:, 0] == 1
    held = {
        "left": felupe.Boundary(field[0], fx=0.0),
        "across": felupe.Boundary(field[0], fx=1.0, skip=(1, 0)),
        "drawn": felupe.Boundary(field[0], fx=1.0, skip=(0, 1), value=DRAWN),
    }
    dof0, dof1 = felupe.dof.partition(field, held)
    ext0 = felupe.dof.apply(field, held, dof0)
    found = felupe.newtonraphson(items=[body], dof0=dof0, dof1=dof1, ext0=ext0, tol=1e-8, verbose=0)
    return found.fun.reshape(-1, 2)[right].sum(0), umat.passes


def iterations(n: int, size: int) -> None:
    laws = [NeoHookean.from_young(E, 0.3) for E in (1.0, CONTRAST)]
    cell = batched(PeriodicCell(sphere(size, 2), laws))
    body, load = drawn(box((n, n)), cell), jnp.asarray(DRAWN)
    program, built = compiled(answer, body, load)
    force, ok, newton, _ = program(body, load)
    assert ok
    time = alternate({"body": lambda: program(body, load)})["body"]
    kept = {}
    theirs = seconds(lambda: kept.update(zip(("force", "passes"), peer(n, size))))
    error = np.linalg.norm(kept["force"] - force) / np.linalg.norm(force)
    evaluated = int(newton) + 1
    rows = [
        ["jaxmsm", time, evaluated, time / evaluated, 1.0, "", built],
        ["FElupe", theirs, kept["passes"], theirs / kept["passes"], theirs / kept["passes"] * evaluated / time, f"{error:.1e}", ""],
    ]
    print(f"{4 * n * n} points x {size}^2")
    table(["", "seconds", "passes", "a pass", "ratio a pass", "force differs", "compile"], rows)

    # The same number of cells in one batch, from nothing to the loads that they end at.
    F = jax.jit(lambda body: Body.__call__(body, load).value)(drawn_at(n, cell))[0]
    loads = jnp.moveaxis(F.reshape(2, 2, -1), -1, 0)
    linearize = lambda cell, loads: cell.linearize(loads)[1]
    batch, _ = compiled(linearize, cell, loads)
    plain = alternate({"batch": lambda: batch(cell, loads)})["batch"]
    count = len(loads)
    table(
        ["cells and tangents a second", "within FE2", "one batch", "ratio"],
        [[f"{count} x {size}^2", evaluated * count / time, count / plain, evaluated * plain / time]],
    )


def drawn_at(n, cell) -> Body:
    body = drawn(box((n, n)), cell)
    return Body(body.mesh, cell, [Fixed("left"), Fixed("right", (1,)), Moved("right", 0)], observe=Deformation())


def bent(mesh, law) -> Body:
    """A quarter of a plate whose right side is drawn by a smooth displacement, so that no corner spoils either side."""
    nodes = mesh.nodes("right")
    y = np.asarray(mesh.points)[nodes, 1]
    u = np.stack([1 + 0.5 * np.cos(np.pi * y), 0.5 * np.sin(np.pi * y)], 1)
    inner = (y > 1e-9) & (y < 1 - 1e-9)
    walls = [Symmetry("left", (1, 0)), Symmetry("bottom", (0, 1)), Symmetry("top", (0, 1))]
    moved = [Moved(nodes[inner], (0, 1), u[inner]), Moved(nodes[~inner], (0,), u[~inner, :1])]
    return Body(mesh, law, [*walls, *moved], observe=Reaction("right"))


def whole(cells: int, size: int, laws) -> Body:
    """Every inclusion meshed."""
    n = cells * size
    plain = box((n, n))
    centers = np.asarray(plain.points)[np.asarray(plain.blocks[0].nodes)].mean(1)
    label = np.tile(sphere(size, 2), (cells, cells))[tuple(np.floor(centers * n).astype(int).T)]
    sets = {"soft": np.flatnonzero(label == 0), "hard": np.flatnonzero(label)}
    return bent(Mesh(plain.points, plain.blocks, facet_sets=plain.facet_sets, element_sets=sets), dict(zip(sets, laws)))


def resolved(size: int) -> None:
    laws = [J2(lam=50.0, mu=26.0, hardening=Linear(sy=0.02, H=40.0)), Elastic(lam=200.0, mu=150.0)]
    loads = jnp.asarray([0.004, 0.008, 0.006])
    path = lambda body, loads: (lambda s: (s.value[:, 0], s.ok, s.stats["newton"]))(rollout(body, loads)[1])
    rows, runs, forces = [], {}, {}
    bodies = {f"FE2, 36 points x {size}^2": bent(box((2, 2), element=QUAD9), batched(PeriodicCell(sphere(size, 2), laws)))}
    bodies |= {f"whole, {k} x {k} cells": whole(k, size, laws) for k in (4, 8)}
    for name, body in bodies.items():
        program, built = compiled(path, body, loads)
        forces[name], ok, newton = program(body, loads)
        assert ok.all()
        runs[name] = lambda program=program, body=body: program(body, loads)
        rows.append([name, 2 * len(body.mesh.points), str(newton), built])
    took, last = alternate(runs, rounds=1), forces[rows[-1][0]]
    for row in rows:
        off = np.linalg.norm(forces[row[0]] - last) / np.linalg.norm(last)
        row += [took[row[0]], took[row[0]] / took[rows[0][0]], f"{off:.1e}"]
    table(["three steps of J2", "unknowns", "Newton", "compile", "seconds", "ratio", "force off the last"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32, help="voxels a side of the cells")
    parser.add_argument("--elements", type=int, default=5, help="elements a side of the square")
    given = parser.parse_args()
    print(versions("jaxmsm", "felupe", "scipy"))
    iterations(given.elements, given.size)
    resolved(16)
