"""The periodic voxel problem by scikit-fem: assembled, reduced to periodic nodes, solved by conjugate gradients of SciPy."""

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from skfem import Basis, BilinearForm, ElementHex1, ElementQuad1, ElementVector, MeshHex, MeshQuad
from skfem.helpers import ddot, dot, eye, grad, sym_grad, trace

RTOL = 1e-13


def mesh_of(shape):
    """Unit voxels."""
    axes = [np.arange(n + 1.0) for n in shape]
    return MeshQuad.init_tensor(*axes) if len(shape) == 2 else MeshHex.init_tensor(*axes)


def place(mesh, image):
    """The image's value in every element of the mesh."""
    centers = np.floor(mesh.p[:, mesh.t].mean(1)).astype(int)
    return image[tuple(centers)]


def periodic_map(mesh, shape, components):
    """The matrix that spreads periodic nodal values onto all nodes; degrees of freedom run over components first."""
    node = np.round(mesh.p).astype(int) % np.array(shape)[:, None]
    index = np.ravel_multi_index(tuple(node), shape)
    n = mesh.p.shape[1]
    rows = (components * np.arange(n)[:, None] + np.arange(components)).ravel()
    columns = (components * index[:, None] + np.arange(components)).ravel()
    return sp.csr_matrix((np.ones(rows.size), (rows, columns)), (components * n, components * int(np.prod(shape))))


def effective(K, mesh, shape, affine):
    """Energies per volume of the affine fields (columns) plus their periodic fluctuations."""
    T = periodic_map(mesh, shape, affine.shape[0] // mesh.p.shape[1])
    A = (T.T @ K @ T).tocsr()
    diagonal = A.diagonal()
    inverse = sp.diags(np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0))
    total = np.empty_like(affine)
    for k, x in enumerate(affine.T):
        b = -(T.T @ (K @ x))
        v, info = sla.cg(A, b, rtol=RTOL, atol=0.0, M=inverse, maxiter=100_000) if np.any(b) else (0 * b, 0)
        assert info == 0
        total[:, k] = x + T @ v
    return total.T @ (K @ total) / np.prod(shape)


PAIRS = {2: ((0, 0), (1, 1), (0, 1)), 3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))}


def elastic(lam, mu, one_point=False):
    """The effective stiffness in Voigt's order (11, 22, 33, 23, 13, 12) of voxel fields of the Lame constants."""
    shape = lam.shape
    d = len(shape)
    mesh = mesh_of(shape)
    how = {"quadrature": (np.full((d, 1), 0.5), np.ones(1))} if one_point else {"intorder": 3}
    basis = Basis(mesh, ElementVector(ElementQuad1() if d == 2 else ElementHex1()), **how)

    @BilinearForm
    def form(u, v, w):
        e = sym_grad(u)
        return ddot(w.lam * eye(trace(e), d) + 2 * w.mu * e, sym_grad(v))

    spread = lambda field: np.broadcast_to(place(mesh, field)[:, None], (mesh.t.shape[1], len(basis.W)))
    K = form.assemble(basis, lam=spread(lam), mu=spread(mu))
    affine = []
    for i, j in PAIRS[d]:
        E = np.zeros((d, d))
        E[i, j] += 0.5
        E[j, i] += 0.5
        affine.append((E @ mesh.p).T.ravel())
    return effective(K, mesh, shape, np.stack(affine, 1))


def conducting(k):
    """The effective conductivity of a voxel field."""
    shape = k.shape
    mesh = mesh_of(shape)
    basis = Basis(mesh, ElementQuad1() if len(shape) == 2 else ElementHex1(), intorder=3)

    @BilinearForm
    def form(u, v, w):
        return w.k * dot(grad(u), grad(v))

    K = form.assemble(basis, k=np.broadcast_to(place(mesh, k)[:, None], (mesh.t.shape[1], len(basis.W))))
    return effective(K, mesh, shape, mesh.p.T)
