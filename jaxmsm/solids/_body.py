"""A body as a scale: a mesh, what stands at its points, and what is done to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._model import Span
from .._precision import full_precision
from .._scale import AbstractScale
from .._typing import Tree
from ..solve import AbstractSystem, Automatic, NewtonKrylov
from ..space import AbstractRule, Block, Full, Mesh, groups, incidence, integration
from ._body_solve import Guess, solve
from ._condition_shapes import check_shape
from ._conditions import AbstractCondition, AbstractFollower, AbstractForce, Constraints, amplitude, constraints, where_of
from ._law import AbstractLaw
from ._observe import Displacement, placed
from ._part import AbstractMaterial, Formula, Part, living
from ._shared import devices_of, solve_shared

_GROUP = {2: 25, 3: 125}
"""Nodes of a group of the coarse space."""

_COARSE = 1536
"""The most unknowns of the coarse space, which is inverted densely."""


class Body(AbstractScale):
    """A structure: `body(load) -> Solution` with what is observed as value.

    The law at its points is any scale: a law, a cell, a laminate, a network; the state holds the states of all points. Solves
    div P + b = 0 weakly on the undeformed mesh by Newton with the consistent tangent. The load is a number, or a dictionary of
    numbers, that scales the conditions (`by`), or a `Span` around it for laws that know time.

    Valid: two dimensions (plane strain; plane stress by `PlaneStress` laws) and three; small-strain laws see sym(grad u), others F.
    Fails: the code of the first point whose law or scale failed (`stats["point"]` is its number, -1 where the body itself failed);
        `line_search_failed`, `nonlinear_max_steps_reached`, `stagnation`, `mechanism` (a motion that nothing holds), `indefinite`,
        `nonfinite_input`. Apply the load in smaller steps (`march` with `CutBack`).
    Error: of order p + 1 in the displacement and p in the energy norm for elements of degree p.
    Source: Bonet and Wood, Nonlinear Continuum Mechanics for Finite Element Analysis (2008), chapters 8 and 9.

    Attributes:
        mesh: where the body is.
        parts: its elements by kind and material.
        solver: tolerances, Newton iterations and inner precision; its `linear` is the Krylov solver of `Krylov`.
        system: how linear systems are solved: `Automatic()`, `Krylov()`, `Dense()` or `SparseDirect()`.
        thickness: of a plane body.
    """

    mesh: Mesh
    parts: tuple[Part, ...]
    held: Constraints
    forces: tuple[tuple[AbstractForce, Tree], ...]
    followers: tuple[tuple[AbstractFollower, Block], ...]
    table: Array
    mapped: Array | None
    group: Array | None
    observe: Tree
    places: list
    solver: NewtonKrylov
    system: AbstractSystem
    thickness: Float[Array, ""]
    count: int = eqx.field(static=True)

    def __init__(
        self,
        mesh: Mesh,
        law: AbstractScale | AbstractLaw | Mapping[str, AbstractScale | AbstractLaw],
        conditions: Sequence[AbstractCondition] = (),
        *,
        observe: Tree = None,
        rule: AbstractRule | None = None,
        solver: NewtonKrylov | None = None,
        system: AbstractSystem | None = None,
        thickness: Any = None,
    ):
        """A body.

        Args:
            mesh: its elements.
            law: what stands at every point, or one for each set of elements by name. A scale is solved at all points in one batch;
                `batched(cell, ...)` says how: with `mesh` the points are divided among devices, and the whole solve of the body
                runs on all of them. A law may have fields over the elements as leaves. A scale whose laws soften needs a time in
                them (`viscosity`).
            conditions: supports, displacements and forces.
            observe: what is answered, an observer or a tree of them (default: `Displacement()`).
            rule: `Full()`, or `MeanDilatation()` against volumetric locking (B-bar for small strain, F-bar).
            solver, system: as the attributes.
            thickness: of a plane body (default: 1).
        """
        for condition in conditions:
            if not isinstance(condition, AbstractCondition):
                raise TypeError(f"Argument `conditions` must hold conditions, but it holds a {type(condition).__name__}.")
            check_shape(condition, mesh.d)
        n, d = mesh.points.shape
        if d == 3 and thickness is not None:
            raise ValueError("Argument `thickness` is for plane bodies, but the mesh is in 3D.")
        self.mesh = mesh
        self.observe = Displacement() if observe is None else observe
        self.solver = NewtonKrylov() if solver is None else solver
        self.system = Automatic() if system is None else system
        self.thickness = jnp.asarray(1.0 if thickness is None else thickness, float)
        self.count = max(1, min(n // _GROUP[d], _COARSE // (3 if d == 2 else 6)))
        # What is known of the mesh is found here and now, also where the body is made in a program that is traced.
        with jax.ensure_compile_time_eval():
            self.parts = tuple(_parts(mesh, law, Full() if rule is None else rule))
            self.held = _without_orphans(constraints(mesh, conditions), self.parts)
            self.forces = tuple((c, c.place(mesh)) for c in conditions if isinstance(c, AbstractForce))
            self.followers = tuple((c, b) for c in conditions if isinstance(c, AbstractFollower) for b in mesh.facets(where_of(c)))
            nodes = [np.asarray(b.nodes) for b in (*(p.block for p in self.parts), *(b for _, b in self.followers))]
            self.table = jnp.asarray(incidence(nodes, n))
            source = None if self.held.source is None else np.asarray(self.held.source)
            self.mapped = None if source is None else jnp.asarray(incidence([source[x] for x in nodes], n))
            self.places = placed(self.observe, mesh)
            self.group = jnp.asarray(groups(np.asarray(mesh.points), self.count))

    @property
    def symmetric(self) -> bool:
        """The tangent is symmetric."""
        return all(p.material.symmetric for p in self.parts) and all(f.symmetric for f, _ in self.followers)

    @property
    def linear(self) -> bool:
        """The answer is affine in the load."""
        formulas = all(p.material.linear and (p.small or not p.rule.coupled) for p in self.parts)
        return formulas and all(f.symmetric for f, _ in self.followers)

    def init(self, load, *, key=None):
        del key
        time = time_of(load)
        return tuple(p.material.init(p.deformation(p.local(jnp.zeros_like(self.mesh.points)), at), time) for p, at in self.points())

    def cold(self, load):
        time, still = time_of(load), jnp.zeros_like(self.mesh.points)
        return Guess(still, tuple(p.material.cold(p.deformation(p.local(still), at), time) for p, at in self.points()))

    def points(self):
        """The parts with their integration points."""
        return [(p, integration(self.mesh.points, p.block)) for p in self.parts]

    def locate(self, point: Any) -> tuple[int, np.ndarray]:
        """The element of a point (as `stats["point"]` numbers them), and where the point is in the undeformed body."""
        for part in self.parts:
            x, _ = part.block.element.quadrature()
            size = len(x) * len(part.block.nodes)
            if point < size:
                q, e = divmod(int(point), len(part.block.nodes))
                corners = np.asarray(self.mesh.points)[np.asarray(part.block.nodes)[e]]
                return int(np.asarray(part.numbers)[e]), part.block.element.shape(x[q : q + 1])[0] @ corners
            point -= size
        raise ValueError("Argument `point` must be the number of a point of the body, but there are not so many.")

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        load = _checked(load, self)
        state = self.init(load) if state is None else state
        guess = self.cold(load) if guess is None else guess
        devices = devices_of(self)
        return solve(self, load, state, guess)[0] if devices is None else solve_shared(self, load, state, guess, devices)


def time_of(load: Tree) -> Span | None:
    """The span of a load that has one."""
    return load if isinstance(load, Span) else None


def _checked(load: Tree, body: Body) -> Tree:
    """The load with its numbers in the precision of the mesh; every condition must find its own."""
    load = jax.tree.map(lambda x: jnp.asarray(x, body.mesh.points.dtype), load)
    for condition in (*(c for c, _ in body.held.imposed), *(c for c, _ in body.forces), *(c for c, _ in body.followers)):
        amplitude(load, condition.by)
    return load


def _parts(mesh: Mesh, law: Any, rule: AbstractRule) -> list[Part]:
    """The elements of each block, apart by material: all laws together, every scale alone."""
    chosen = law if isinstance(law, Mapping) else {None: law}
    laws = [x for x in chosen.values() if isinstance(x, AbstractLaw)]
    scales = [x for x in chosen.values() if isinstance(x, AbstractScale)]
    if len(laws) + len(scales) != len(chosen) or not chosen:
        raise TypeError("Argument `law` must be a law or a scale, or a dictionary of them by sets of elements.")
    conducts = lambda x: isinstance(x, AbstractLaw) and x.scalar
    for one in jax.tree.leaves([*laws, *scales], is_leaf=conducts):
        if conducts(one):
            raise ValueError(f"Argument `law` must deform, but it is or holds a `{type(one).__name__}`, which conducts.")
    owner = np.full(mesh.count, -1)
    for number, name in enumerate(chosen):
        own = np.arange(mesh.count) if name is None else mesh.elements(name)
        if np.any(owner[own] >= 0):
            raise ValueError(f"Argument `law` must give each element one law, but elements of {name!r} have one already.")
        owner[own] = number
    if np.any(owner < 0):
        raise ValueError(f"Argument `law` must give each element a law, but {np.sum(owner < 0)} of {mesh.count} have none.")
    found, start = [], 0
    formula = np.array([isinstance(x, AbstractLaw) for x in chosen.values()])
    table = np.where(formula, np.cumsum(formula) - 1, -1)
    for block in mesh.blocks:
        own = owner[start : start + len(block.nodes)]
        for number, one in [(-1, None), *enumerate(chosen.values())]:
            if isinstance(one, AbstractLaw):
                continue
            mask = table[own] >= 0 if one is None else own == number
            if not mask.any():
                continue
            material: AbstractMaterial
            if one is None:
                labels = None if len(chosen) == 1 else jnp.asarray(table[own[mask]])
                material = Formula(tuple(laws), labels)
            else:
                _refuse_softening(one)
                material = living(one)
            numbers = start + np.flatnonzero(mask)
            found.append(Part(Block(block.nodes[np.flatnonzero(mask)], block.element), jnp.asarray(numbers), material, rule))
        start += len(block.nodes)
    return found


def _refuse_softening(scale: AbstractScale) -> None:
    """What localizes below has no width above: the body would dissipate what its mesh says."""
    softens = lambda x: isinstance(x, AbstractLaw) and x.softening
    laws = [x for x in jax.tree.leaves(scale, is_leaf=softens) if softens(x)]
    if any(not law.timed for law in laws):
        raise ValueError(
            f"Argument `law` must not be a scale whose laws soften at once, but `{type(scale).__name__}` holds one that does: the "
            "width over which it localizes is that of an element, which it does not know. Give the law a `viscosity`, or hand the "
            "body a softening law itself, with the `size` of its elements (`mesh.sizes()`)."
        )


def _without_orphans(held: Constraints, parts: Sequence[Part]) -> Constraints:
    """Nodes that belong to no element are no unknowns."""
    used = np.zeros(held.free.shape[0], bool)
    for part in parts:
        used[np.asarray(part.block.nodes).ravel()] = True
    if held.source is not None:
        used[np.asarray(held.source)[used]] = True
    return eqx.tree_at(lambda h: h.free, held, held.free & jnp.asarray(used)[:, None])
