"""The RVE of finite elements as a scale: a mesh and its laws, answering a mean deformation with a mean stress."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._model import Mixed, Span
from .._precision import full_precision
from .._scale import AbstractScale, Solution, hold
from .._typing import Tree
from ..solids import (
    AbstractLaw,
    AbstractObserver,
    Body,
    Displacement,
    ElementDeformation,
    ElementStress,
    Fields,
    Force,
    always,
    undeformed,
)
from ..solve import AbstractSystem, NewtonKrylov
from ..space import AbstractBoundary, AbstractRule, Mesh, Periodic, UniformTraction
from ._cell_solve import as_mixed
from ._cell_tangent import directions
from ._load import checked_load, split_time
from ._mesh_faces import Box, Faces, affine, bounding_box, held_by, products


class _Balance(AbstractObserver):
    """Nodal forces, displacements, and the sum of |P| |F - I| over the volume."""

    def __call__(self, fields: Fields, place: Tree) -> tuple[Array, Array, Array]:
        sizes = [
            jnp.sum(
                w * jnp.sqrt(jnp.sum(P**2, (0, 1)) * jnp.sum((F - jnp.eye(len(F), dtype=F.dtype)[..., None, None]) ** 2, (0, 1)))
            )
            for P, F, w in zip(*hold((fields.P, fields.F, fields.weights)), strict=True)
        ]
        return fields.forces, fields.u, sum(sizes[1:], sizes[0])


class MeshCell(AbstractScale):
    """A representative volume of finite elements: `cell(F) -> Solution` with the mean first Piola stress as value.

    A `Body` whose faces follow the load: u = (F - I) x + a fluctuation that is alike on opposite faces, zero on all faces, or
    without a mean gradient over the faces. The value is the moment of the nodal forces over the volume of the bounding box, which
    is the mean of the stress with zero in pores.

    Valid: boxes of two dimensions (plane strain; plane stress by `PlaneStress` laws) and three, with pores inside. A pore may reach
        the surface, except where the tractions are uniform: it could not carry its share. Meshes of periodic cells need the same
        nodes on opposite faces. A `Span` around a load tells timed laws how long the step is.
    Fails: as `Body`; `mechanism` also where a stress is imposed and there is no stiffness.
    Error: of order 2 p in the stress for elements of degree p that follow the phase boundaries, of order 1 for those that do not.
    Source: Miehe and Koch, Arch. Appl. Mech. 72 (2002) 300, for the three kinds of faces.

    Attributes:
        body: the mesh with what stands at its points. Its mesh has d nodes more than the one handed in, which stand for the
            mean deformation where a stress is imposed.
        box: what the mesh fills, up to pores.
        boundary: `Periodic()`, `LinearDisplacement()` or `UniformTraction()`.
    """

    body: Body
    box: Box
    boundary: AbstractBoundary

    def __init__(
        self,
        mesh: Mesh,
        law: AbstractScale | AbstractLaw | Mapping[str, AbstractScale | AbstractLaw],
        *,
        boundary: AbstractBoundary | None = None,
        rule: AbstractRule | None = None,
        solver: NewtonKrylov | None = None,
        system: AbstractSystem | None = None,
    ):
        """A cell.

        Args:
            mesh: its elements.
            law: what stands at every point, or one for each set of elements by name: laws, or scales of a scale below.
            boundary: what the faces do (default: `Periodic()`).
            rule, solver, system: as those of `Body`.
        """
        for one in law.values() if isinstance(law, Mapping) else (law,):
            if isinstance(one, AbstractLaw) and one.scalar:
                raise ValueError(f"Argument `law` must hold laws of mechanics, but `{type(one).__name__}` is one of conduction.")
        self.boundary = Periodic() if boundary is None else boundary
        with jax.ensure_compile_time_eval():
            self.box, sides = bounding_box(mesh)
            n, center = len(mesh.points), np.mean(np.asarray(mesh.points)[np.asarray(self.box.ends)], (0, 1))
            whole = Mesh(
                np.vstack([np.asarray(mesh.points), np.tile(center, (mesh.d, 1))]), mesh.blocks, element_sets=mesh.element_sets
            )
            imposed = [Force(np.array([n + j]), jnp.zeros(mesh.d), always) for j in range(mesh.d)]
            conditions = [*held_by(self.boundary, mesh, sides), *imposed]
        self.body = Body(whole, law, conditions, observe=_Balance(), rule=rule, solver=solver, system=system)
        if isinstance(self.boundary, UniformTraction):
            self._refuse_open_faces()

    def _refuse_open_faces(self) -> None:
        """A uniform stress is in equilibrium with tractions on whole faces alone."""
        points = self.body.mesh.points
        seen, size = self.box.flux(points).seen, self.box.size(points)
        filled = np.diagonal(products(self.box.centered(points), seen)[:, : len(size)]) / np.prod(size)
        if np.min(filled) < 1 - 1e-6:
            raise ValueError(
                "Argument `mesh` must fill the faces of its box where their tractions are uniform, but it fills "
                f"{100 * np.min(filled):.3g} % of a pair. Take `Periodic()` or `LinearDisplacement()` where pores reach the faces."
            )

    @property
    def symmetric(self) -> bool:
        """Every law has a symmetric tangent."""
        return self.body.symmetric

    @property
    def d(self) -> int:
        """Dimension."""
        return self.body.mesh.d

    def init(self, load, *, key=None):
        return self.body.init(self._drive(self._checked(load), load), key=key)

    def cold(self, load):
        drive = self._drive(self._checked(load), load)
        x = self.box.centered(self.body.mesh.points).at[-self.d :].set(0)
        F = drive.drive if isinstance(drive, Span) else drive
        # Of a uniform deformation it is known whether the laws admit it.
        return eqx.tree_at(lambda g: g.u, self.body.cold(drive), affine(x, F - undeformed(F)))

    def _checked(self, load: Tree) -> Tree:
        return checked_load(split_time(load)[0], ((self.d, self.d),))

    def _drive(self, checked: Tree, load: Tree) -> Tree:
        """What the body sees of a load."""
        F = as_mixed(checked).F.astype(self.body.mesh.points.dtype)
        return Span(load.t0, load.t1, F) if isinstance(load, Span) else F

    def _held(self, checked: Tree) -> Body:
        """The body with faces that follow a load."""
        points = self.body.mesh.points
        x = self.box.centered(points).at[-self.d :].set(0)
        size = self.box.size(points)
        flux = self.box.flux(points) if isinstance(self.boundary, UniformTraction) else None
        faces = Faces(self.body.held, x, size[0], flux, self.box.corners, None)
        if not isinstance(checked, Mixed):
            return eqx.tree_at(lambda b: b.held, self.body, faces)
        mixed = as_mixed(checked)
        faces = eqx.tree_at(lambda f: f.mask, faces, mixed.mask, is_leaf=lambda leaf: leaf is None)
        work = mixed.P.astype(points.dtype) * jnp.prod(size) / size[0]
        body = eqx.tree_at(lambda b: [force.value for force, _ in b.forces], self.body, [work[:, j] for j in range(self.d)])
        return eqx.tree_at(lambda b: b.held, body, faces)

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        checked = self._checked(load)
        body, drive = self._held(checked), self._drive(checked, load)
        guess = self.cold(load) if guess is None else guess
        found = body(drive, state, guess=guess)
        return self._averaged(found, body.held, drive)

    def _averaged(self, found: Solution, faces: Faces, drive: Tree) -> Solution:
        """The solution with the mean stress as value."""
        forces, u, size = found.value
        points = self.body.mesh.points
        volume = jnp.prod(self.box.size(points))
        outer = faces.mean(u, drive)
        # The last nodes are none of the body.
        P = products(forces, faces.x) / volume
        H = outer - undeformed(outer)
        defect = jnp.abs(jnp.sum((forces * u)[: -self.d]) - volume * jnp.sum(P * H)) / jnp.where(size > 0, size, 1)
        stats = found.stats | hold({"deformation": outer, "hill_mandel": defect})
        return Solution(P, found.state, found.guess, found.result, stats)

    @full_precision
    def linearize(self, load, state=None, *, guess=None):
        """The answer and dP/dF, shape (d, d, d, d), by one linear solve a column with the tangent at equilibrium.

        All columns are solved at once; those of rotations are none where all laws are of small strain. Of a `Span` the slope is
        one, and of a `Mixed` load one as well.
        """
        checked = self._checked(load)
        if isinstance(checked, Mixed):
            solution, slope = AbstractScale.linearize(self, load, state, guess=guess)
            return solution, _known(solution, slope)
        small = all(part.small for part in self.body.parts)
        basis = jnp.asarray(directions((self.d, self.d), small), checked.dtype)
        times = jax.tree.map(lambda t: jnp.asarray(t, checked.dtype), (load.t0, load.t1)) if isinstance(load, Span) else None

        def value(moved):
            step, times = moved
            F = checked + jnp.tensordot(step, basis, 1)
            solution = self(F if times is None else Span(*times, F), state, guess=guess)
            return solution.value, solution

        (slope, rates), solution = jax.jacfwd(value, has_aux=True)((jnp.zeros(len(basis), checked.dtype), times))
        slope = jnp.tensordot(slope, basis, 1)
        return solution, _known(solution, slope if times is None else Span(*rates, slope))

    def fields(self, load, state=None, *, guess=None) -> dict[str, Array]:
        """The fields of the answer: `F` and `P` as means over the elements (e, d, d), `u` the fluctuation of the nodes (n, d)."""
        checked = self._checked(load)
        body, drive = self._held(checked), self._drive(checked, load)
        observe = {"F": ElementDeformation(), "P": ElementStress(), "u": Displacement()}
        body = eqx.tree_at(lambda b: (b.observe, b.places), body, (observe, [None] * 3), is_leaf=lambda x: x is None)
        found = body(drive, state, guess=self.cold(load) if guess is None else guess).value
        outer = body.held.mean(found["u"], drive)
        return found | {"u": (found["u"] - affine(body.held.x, outer - undeformed(outer)))[: -self.d]}


def _known(solution: Solution, slope: Tree) -> Tree:
    """The slope of a member that succeeded."""
    return jax.tree.map(lambda x: jnp.where(solution.ok, x, jnp.nan), slope)
