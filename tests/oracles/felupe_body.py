"""A neo-Hookean block of distorted hexahedra by FElupe: one side held, the other moved, a pressure that follows the top.

pip install felupe==11.3.0
python tests/oracles/felupe_body.py > tests/oracles/felupe_body.json
"""

import json

import felupe
import numpy as np

MU, LAM, MOVED, PRESSURE, STEPS = 1.0, 2.0, (0.2, 0.1, -0.05), 0.15, 4


def distorted():
    """Eight elements whose inner node and nodes on edges and faces lie off their places, sides plane."""
    mesh = felupe.Cube(n=3)
    rng = np.random.default_rng(1)
    points = mesh.points.copy()
    inside = (points > 0.01) & (points < 0.99)
    points[inside] += rng.uniform(-0.1, 0.1, inside.sum())
    mesh.update(points=points)
    return mesh


def main():
    mesh = distorted()
    field = felupe.FieldContainer([felupe.Field(felupe.RegionHexahedron(mesh), dim=3)])
    body = felupe.SolidBody(felupe.NeoHookeCompressible(mu=MU, lmbda=LAM), field)
    top = felupe.RegionHexahedronBoundary(mesh, mask=mesh.points[:, 1] > 1 - 1e-9)
    surface = felupe.FieldContainer([felupe.Field(top, dim=3)])
    load = felupe.SolidBodyPressure(surface)
    left = felupe.Boundary(field[0], fx=lambda x: x < 1e-9)
    right = [felupe.Boundary(field[0], fx=lambda x: x > 1 - 1e-9, skip=[a != b for b in range(3)]) for a in range(3)]
    for step in range(1, STEPS + 1):
        for boundary, value in zip(right, MOVED, strict=True):
            boundary.value = value * step / STEPS
        load.update(PRESSURE * step / STEPS)
        bounds = {"left": left, **{f"right{a}": boundary for a, boundary in enumerate(right)}}
        dof0, dof1 = felupe.dof.partition(field, bounds)
        ext0 = felupe.dof.apply(field, bounds, dof0)
        found = felupe.newtonraphson(items=[body, load], dof0=dof0, dof1=dof1, ext0=ext0, tol=1e-12, verbose=0, x0=field, kwargs={})
    force = (body.assemble.vector(field) - load.assemble.vector(surface)).toarray().reshape(-1, 3)
    out = {
        "versions": {"felupe": felupe.__version__, "numpy": np.__version__},
        "points": mesh.points.tolist(),
        "cells": mesh.cells.tolist(),
        "mu": MU,
        "lam": LAM,
        "moved": MOVED,
        "pressure": PRESSURE,
        "u": found.x[0].values.tolist(),
        "force": force[mesh.points[:, 0] < 1e-9].sum(0).tolist(),
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
