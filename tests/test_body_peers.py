"""Bodies side by side with scikit-fem on the same meshes, and with the stored numbers of FElupe."""

import json
import pathlib

import numpy as np
import scipy.sparse.linalg as sla
import skfem
from _bodies import at, irregular, solve
from skfem.helpers import ddot, eye, sym_grad, trace

from jaxmsm.solids import (
    Body,
    BodyForce,
    Displacement,
    Elastic,
    Fixed,
    Moved,
    NeoHookean,
    PlaneStress,
    Pressure,
    Reaction,
    Traction,
)
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import HEX8, QUAD9, TET4, Block, Mesh, cook

TIGHT = NewtonKrylov(rtol=1e-12)


def stiffness(basis, lam, mu):
    """The matrix of linear elasticity."""

    @skfem.BilinearForm
    def form(u, v, _):
        e = sym_grad(u)
        return ddot(lam * eye(trace(e), len(e)) + 2 * mu * e, sym_grad(v))

    return form.assemble(basis)


def solved(K, f, fixed):
    """Displacements with some unknowns held at zero."""
    return skfem.solve(*skfem.condense(K, f, D=fixed), solver=lambda A, b, **_: sla.spsolve(A, b))


def test_cooks_membrane_is_that_of_scikit_fem():
    n, E, nu = 4, 1.0, 1 / 3
    mesh = cook(n, QUAD9)
    grid = skfem.MeshQuad.init_tensor(np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 1))
    s, t = grid.p
    grid = skfem.MeshQuad(np.stack([48 * s, 44 * s + t * (44 - 28 * s)]), grid.t)
    element = skfem.ElementVector(skfem.ElementQuad2())
    basis = skfem.Basis(grid, element, intorder=5)  # the same points: where the map is not affine the integrand is no polynomial
    # Plane stress is plane strain with another first constant.
    lam, mu = E * nu / (1 - nu**2), E / (2 * (1 + nu))
    right = skfem.FacetBasis(grid, element, facets=grid.facets_satisfying(lambda x: x[0] > 48 - 1e-9))
    f = skfem.LinearForm(lambda v, _: v[1] / 16).assemble(right)
    K = stiffness(basis, lam, mu)
    u = solved(K, f, basis.get_dofs(lambda x: x[0] < 1e-9))
    law = PlaneStress(Elastic.from_young(E, nu))
    body = Body(mesh, law, [Fixed("left"), Traction("right", (0.0, 1 / 16))], observe=Displacement(at(48, 52)), solver=TIGHT)
    # The unknowns of the corner, its two components in order.
    own = np.flatnonzero(np.sum((basis.doflocs.T - [48, 52]) ** 2, 1) < 1e-9)
    np.testing.assert_allclose(solve(body).value, u[own], rtol=1e-10)  # both to round-off


def test_a_block_of_tetrahedra_is_that_of_scikit_fem():
    lam, mu = 2.0, 1.0
    mesh = irregular((2, 2, 2), TET4)
    grid = skfem.MeshTet(np.asarray(mesh.points).T, np.asarray(mesh.blocks[0].nodes).T)
    element = skfem.ElementVector(skfem.ElementTetP1())
    basis = skfem.Basis(grid, element)
    front = skfem.FacetBasis(grid, element, facets=grid.facets_satisfying(lambda x: x[0] > 1 - 1e-9))
    f = skfem.LinearForm(lambda v, _: 0.1 * v[1] - 0.2 * v[2]).assemble(front)
    f = f + skfem.LinearForm(lambda v, _: 0.3 * v[0]).assemble(basis)
    u = solved(stiffness(basis, lam, mu), f, basis.get_dofs(lambda x: x[0] < 1e-9))
    conditions = [Fixed("left"), Traction("right", (0.0, 0.1, -0.2)), BodyForce((0.3, 0.0, 0.0))]
    v = solve(Body(mesh, Elastic(lam=lam, mu=mu), conditions, solver=TIGHT)).value
    np.testing.assert_allclose(v, u[basis.nodal_dofs].T, rtol=0, atol=1e-11)  # both to round-off


def test_a_rubber_block_under_pressure_is_that_of_felupe():
    oracle = json.loads((pathlib.Path(__file__).parent / "oracles" / "felupe_body.json").read_text())
    mesh = Mesh(np.array(oracle["points"]), Block(np.array(oracle["cells"]), HEX8))
    left, right, top = (lambda x: x[:, 0] < 1e-9), (lambda x: x[:, 0] > 1 - 1e-9), (lambda x: x[:, 1] > 1 - 1e-9)
    conditions = [Fixed(left), Moved(right, (0, 1, 2), oracle["moved"]), Pressure(top, oracle["pressure"])]
    observe = (Displacement(), Reaction(left))
    u, force = solve(Body(mesh, NeoHookean(mu=oracle["mu"], lam=oracle["lam"]), conditions, observe=observe, solver=TIGHT)).value
    np.testing.assert_allclose(u, oracle["u"], rtol=0, atol=1e-11)  # both iterations end at 1e-12
    np.testing.assert_allclose(force, oracle["force"], rtol=0, atol=1e-11)
