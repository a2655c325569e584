"""Neo-Hookean voxel cells by FElupe: mean stress and consistent tangent under a mean deformation gradient, periodic faces.

pip install felupe==11.3.0 scikit-fem==12.0.2
python tests/oracles/felupe_rubber.py > tests/oracles/felupe_rubber.json
"""

import json
import sys

import felupe
import numpy as np
import scipy.sparse.linalg as sla
from peers import periodic_map


def sphere(n, fraction=0.2):
    radius = (0.75 * fraction / np.pi) ** (1 / 3)
    x = (np.arange(n) + 0.5) / n - 0.5
    return (x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2 < radius**2).astype(int)


def solve(E, F, nu=0.3, tol=1e-12):
    """P and A of Young's moduli on voxels, sizes in voxels."""
    n = E.shape[0]
    mesh = felupe.Cube(b=(n, n, n), n=n + 1)
    # Cells and their place in the image.
    centers = np.floor(mesh.points[mesh.cells].mean(1)).astype(int)
    E = E[tuple(centers.T)]
    bodies = []
    for young in np.unique(E):
        part = felupe.Mesh(mesh.points, mesh.cells[young == E], mesh.cell_type)
        field = felupe.FieldContainer([felupe.Field(felupe.RegionHexahedron(part), dim=3)])
        law = felupe.NeoHookeCompressible(mu=young / (2 * (1 + nu)), lmbda=young * nu / ((1 + nu) * (1 - 2 * nu)))
        bodies.append(felupe.SolidBody(law, field))
    nodes = type("Nodes", (), {"p": mesh.points.T})
    T = periodic_map(nodes, (n, n, n), 3)
    free = np.arange(3, T.shape[1])
    total = mesh.points @ (F - np.eye(3)).T

    def force():
        for body in bodies:
            body.field[0].values[...] = total
        return sum(body.assemble.vector(body.field).toarray().ravel() for body in bodies)

    def reduced():
        K = sum(body.assemble.matrix(body.field).tocsr() for body in bodies)
        A = (T.T @ K @ T).tocsr()[free][:, free]
        return K, A

    def linear(A, b):
        x, info = sla.cg(A, b, rtol=1e-12, atol=0.0, M=sla.LinearOperator(A.shape, lambda r: r / A.diagonal()), maxiter=100_000)
        assert info == 0
        return x

    f = force()
    first = np.linalg.norm(T.T @ f)
    for _ in range(30):
        r = (T.T @ f)[free]
        print("residual", np.linalg.norm(r) / first, file=sys.stderr)
        if np.linalg.norm(r) < tol * first:
            break
        _, A = reduced()
        v = np.zeros(T.shape[1])
        v[free] = linear(A, -r)
        step, start = (T @ v).reshape(-1, 3), total
        for halvings in range(12):
            total = start + 0.5**halvings * step
            with np.errstate(invalid="ignore"):
                f = force()
            size = np.linalg.norm((T.T @ f)[free])
            if np.isfinite(size) and size < 2 * np.linalg.norm(r):
                break
    else:
        raise RuntimeError("Newton did not converge")
    volume = n**3
    P = np.tensordot(f.reshape(-1, 3), mesh.points, (0, 0)) / volume
    K, A = reduced()
    columns = []
    for k in range(3):
        for m in range(3):
            H = np.zeros((3, 3))
            H[k, m] = 1
            x = (mesh.points @ H.T).ravel()
            v = np.zeros(T.shape[1])
            v[free] = linear(A, -(T.T @ (K @ x))[free])
            columns.append(x + T @ v)
    columns = np.stack(columns, 1)
    return P, (columns.T @ (K @ columns) / volume).reshape(3, 3, 3, 3)


def cases():
    """Name, moduli and load."""
    shear = np.eye(3)
    shear[0, 1] = 0.1
    full = np.array([[1.1, 0.2, 0.05], [-0.1, 0.9, 0.1], [0.0, 0.15, 1.05]])
    rng = np.random.default_rng(0)
    for n, contrast, F in ((16, 10.0, shear), (8, 100.0, full), (9, 100.0, full)):
        E = np.where(sphere(n), contrast, 1.0)
        if n < 16:
            E = np.where(rng.random(E.shape) < 0.1, 3 * E, E)
        yield f"{n}", E, F


if __name__ == "__main__":
    out = {"versions": {"felupe": felupe.__version__, "numpy": np.__version__}, "cases": {}}
    for name, E, F in cases():
        P, A = solve(E, F)
        out["cases"][name] = {"E": E.ravel().tolist(), "F": F.tolist(), "P": P.tolist(), "A": A.ravel().tolist()}
        print(name, P[0], file=sys.stderr)
    print(json.dumps(out))
