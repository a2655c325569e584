"""The common problem by other codes, each with its best settings; a call is the solve, meshes and tables stand outside."""

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla


class MuGrid:
    """Six columns of the stiffness by muGrid: fused C++ stiffness operator (Q1), discrete Green preconditioner, PocketFFT, float64.

    The symbol of the preconditioner is stored (on a host faster than evaluating it) and built once, outside the timing. With
    `corrected` the columns are solved to the root of the tolerance and the entries corrected by their residuals, as ours are;
    without, they are mean stresses of columns solved to the tolerance, as in muGrid's own example.
    """

    def __init__(self, lam: np.ndarray, mu: np.ndarray, rtol: float, *, corrected: bool = False):
        import muGrid
        from muGrid.Preconditioners import make_reference_stiffness_preconditioner

        n, d = lam.shape[0], lam.ndim
        self.rtol, self.corrected, self.d = rtol, corrected, d
        self.comm = muGrid.Communicator()
        spacing = [1 / n] * d
        self.op = muGrid.IsotropicStiffnessOperator(d, spacing, muGrid.FEMElement.q1)
        self.engine = muGrid.FFTEngine([n] * d, self.comm, ghosts=1)
        field = self.engine.real_space_field
        self.lam, self.mu = field("lambda"), field("mu")
        self.u, self.b, self.r = field("u", (d,)), field("b", (d,)), field("r", (d,))
        for where, values in ((self.lam, lam), (self.mu, mu)):
            where.p[...] = values
            self.engine.communicate_ghosts(where)
        self.precondition = make_reference_stiffness_preconditioner(
            self.engine,
            element=muGrid.FEMElement.q1,
            grid_spacing=spacing,
            lambda_ref=float(lam.mean()),
            mu_ref=float(mu.mean()),
            evaluate_symbol=False,
        )

    def _apply(self, u, f):
        self.engine.communicate_ghosts(u)
        self.op.apply(u, self.lam, self.mu, f)

    def __call__(self) -> np.ndarray:
        from muGrid.Solvers import conjugate_gradients

        pairs = [(i, i) for i in range(self.d)] + [(i, j) for i in range(self.d) for j in range(i + 1, self.d)]
        self.steps = 0
        loads, columns, rights, left, stress = [], [], [], [], []
        for i, j in pairs:
            E = np.zeros((self.d, self.d))
            E[i, j] += 0.5
            E[j, i] += 0.5
            self.op.apply_macro_rhs(self.lam, self.mu, E.ravel().tolist(), self.b)
            self.b.s[...] *= -1.0
            self.u.set_zero()
            count = []
            conjugate_gradients(
                self.comm,
                self.engine.real_space_collection,
                self.b,
                self.u,
                hessp=self._apply,
                prec=self.precondition,
                rtol=self.rtol**0.5 if self.corrected else self.rtol,
                residual=self.r,
                callback=lambda k, state, count=count: count.append(k),
            )
            self.steps += count[-1]
            loads.append(E)
            if self.corrected:
                columns.append(np.array(self.u.s).ravel())
                rights.append(np.array(self.b.s).ravel())
                left.append(np.array(self.r.s).ravel())
                self.u.set_zero()
            self.engine.communicate_ghosts(self.u)
            stress.append(np.reshape(self.op.average_stress(self.u, self.lam, self.mu, E.ravel().tolist()), E.shape))
        C = np.array([[np.sum(E * s) for s in stress] for E in loads])
        if self.corrected:
            X, B, R = np.stack(columns), np.stack(rights), np.stack(left)
            # a(e_r + x_r, e_s + x_s) with K x_s = b_s - r_s and -b the forces of the affine fields.
            C = C - B @ X.T - X @ R.T
        return C


class ScikitFem:
    """Six columns of the stiffness by scikit-fem and SciPy's conjugate gradients with Jacobi (faster than a factorization).

    Assembly is part of the solve (the moduli enter there); mesh, basis and periodic map are not. Entries are energies.
    """

    def __init__(self, lam: np.ndarray, mu: np.ndarray, rtol: float):
        from skfem import Basis, BilinearForm, ElementHex1, ElementVector, MeshHex
        from skfem.helpers import ddot, eye, sym_grad, trace

        self.shape, self.rtol = lam.shape, rtol
        mesh = MeshHex.init_tensor(*[np.arange(n + 1.0) for n in lam.shape])
        self.basis = Basis(mesh, ElementVector(ElementHex1()), intorder=3)
        where = tuple(np.floor(mesh.p[:, mesh.t].mean(1)).astype(int))
        points = self.basis.X.shape[1]
        self.fields = [np.broadcast_to(x[where][:, None], (mesh.t.shape[1], points)) for x in (lam, mu)]

        @BilinearForm
        def form(u, v, w):
            e = sym_grad(u)
            return ddot(w.lam * eye(trace(e), 3) + 2 * w.mu * e, sym_grad(v))

        self.form = form
        self.T = periodic_map(mesh.p, lam.shape)
        affine = []
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            E = np.zeros((3, 3))
            E[i, j] += 0.5
            E[j, i] += 0.5
            affine.append((E @ mesh.p).T.ravel())
        self.affine = np.stack(affine, 1)

    def __call__(self) -> np.ndarray:
        K = self.form.assemble(self.basis, lam=self.fields[0], mu=self.fields[1])
        A = (self.T.T @ K @ self.T).tocsr()
        inverse = sp.diags(1 / A.diagonal())
        total, count = np.empty_like(self.affine), []
        for k, x in enumerate(self.affine.T):
            b = -(self.T.T @ (K @ x))
            v, info = sla.cg(A, b, rtol=self.rtol, atol=0.0, M=inverse, maxiter=10_000, callback=count.append)
            assert info == 0
            total[:, k] = x + self.T @ v
        self.steps = len(count)
        return total.T @ (K @ total) / np.prod(self.shape)


def periodic_map(points: np.ndarray, shape: tuple[int, ...]) -> sp.csr_matrix:
    """Spreads periodic nodal values onto all nodes of unit voxels; degrees of freedom run over components first."""
    d = len(shape)
    index = np.ravel_multi_index(tuple(np.round(points).astype(int) % np.array(shape)[:, None]), shape)
    n = points.shape[1]
    rows = np.arange(d * n)
    columns = (d * index[:, None] + np.arange(d)).ravel()
    return sp.csr_matrix((np.ones(rows.size), (rows, columns)), (d * n, d * int(np.prod(shape))))


class Felupe:
    """A neo-Hookean cell by FElupe: Newton to a residual, then the consistent tangent; SciPy's conjugate gradients, Jacobi.

    One solid body a phase; the same law, P = mu (F - F^-T) + lam ln J F^-T. Regions are made outside the timing.
    """

    def __init__(self, mu: np.ndarray, lam: np.ndarray, F: np.ndarray, rtol: float):
        import felupe

        self.n, self.d = mu.shape[0], mu.ndim
        n, d = self.n, self.d
        self.rtol, self.F, self.total = rtol, F, None
        self.mesh = felupe.Cube(b=(n,) * 3, n=n + 1) if d == 3 else felupe.Rectangle(b=(n,) * 2, n=n + 1)
        where = tuple(np.floor(self.mesh.points[self.mesh.cells].mean(1)).astype(int).T)
        region = felupe.RegionHexahedron if d == 3 else felupe.RegionQuad
        field = felupe.Field if d == 3 else felupe.FieldPlaneStrain
        self.bodies = []
        for value in np.unique(mu):
            cells = mu[where] == value
            part = felupe.Mesh(self.mesh.points, self.mesh.cells[cells], self.mesh.cell_type)
            container = felupe.FieldContainer([field(region(part), dim=d)])
            law = felupe.NeoHookeCompressible(mu=value, lmbda=lam[where][cells][0])
            self.bodies.append(felupe.SolidBody(law, container))
        self.T = periodic_map(self.mesh.points.T, (n,) * d)
        # One node is held, which takes the translations away.
        self.free = np.arange(d, self.T.shape[1])

    def _force(self, total):
        for body in self.bodies:
            body.field[0].values[...] = total
        return sum(body.assemble.vector(body.field).toarray().ravel() for body in self.bodies)

    def _matrices(self):
        K = sum(body.assemble.matrix(body.field).tocsr() for body in self.bodies)
        return K, (self.T.T @ K @ self.T).tocsr()[self.free][:, self.free]

    def _linear(self, A, b, rtol):
        count = []
        inverse = sp.diags(1 / A.diagonal())
        x, info = sla.cg(A, b, rtol=rtol, atol=0.0, M=inverse, maxiter=10_000, callback=count.append)
        assert info == 0
        self.steps += len(count)
        full = np.zeros(self.T.shape[1])
        full[self.free] = x
        return self.T @ full

    def moved(self, F: np.ndarray) -> np.ndarray:
        """The mean stress at another deformation, from the fluctuation found last."""
        start = self.total + self.mesh.points @ (F - self.F).T
        self.F = F
        return self.solve(start)

    def solve(self, start: np.ndarray | None = None) -> np.ndarray:
        """The mean stress; the inner tolerance falls with the residual, as an inexact Newton method has it."""
        d = self.d
        self.steps, self.newton = 0, 0
        total = self.mesh.points @ (self.F - np.eye(d)).T if start is None else start
        f = self._force(total)
        first = size = np.linalg.norm((self.T.T @ f)[self.free])
        while size > self.rtol * first:
            _, A = self._matrices()
            eta = max(0.1 * self.rtol * first / size, min(1e-2, size / first))
            total = total + self._linear(A, -(self.T.T @ f)[self.free], eta).reshape(-1, d)
            f = self._force(total)
            size = np.linalg.norm((self.T.T @ f)[self.free])
            self.newton += 1
        self.total = total
        return np.tensordot(f.reshape(-1, d), self.mesh.points, (0, 0)) / self.n**d

    def tangent(self) -> np.ndarray:
        """The consistent tangent at what `solve` found, entries as energies of columns (errors are squared)."""
        d = self.d
        self._force(self.total)
        K, A = self._matrices()
        columns = []
        for i in range(d):
            for j in range(d):
                H = np.zeros((d, d))
                H[i, j] = 1
                x = (self.mesh.points @ H.T).ravel()
                columns.append(x + self._linear(A, -(self.T.T @ (K @ x))[self.free], 1e-5))
        X = np.stack(columns, 1)
        return (X.T @ (K @ X) / self.n**d).reshape((d,) * 4)


class FelupePoints:
    """A material of FElupe whose points hold cells, solved one after another, each from what it found last."""

    def __init__(self, make):
        self.make, self.cells, self.passes = make, {}, 0
        self.x = [np.eye(3), np.zeros(0)]

    def gradient(self, x):
        """Stresses of all points."""
        F, P = x[0], np.zeros_like(x[0])
        self.passes += 1
        for point in np.ndindex(F.shape[2:]):
            own = F[(slice(2), slice(2), *point)]
            if point in self.cells:
                P[(slice(2), slice(2), *point)] = self.cells[point].moved(own)
            else:
                self.cells[point] = self.make(own)
                P[(slice(2), slice(2), *point)] = self.cells[point].solve()
        return [P, x[-1]]

    def hessian(self, x):
        """Tangents of all points, where the stresses were asked for last."""
        A = np.zeros((3, 3, 3, 3, *x[0].shape[2:]))
        for point, cell in self.cells.items():
            A[(*[slice(2)] * 4, *point)] = cell.tangent()
        return [A]
