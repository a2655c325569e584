"""The equations of a voxel cell: deformation from the unknowns, residual, tangent, reference norms.

The unknown is z = (u, e): the free nodal fluctuation, and the mean deformation in the components where a stress is imposed,
scaled by the root of the voxel count so that both parts of the residual are of one size. A plain load has e = 0.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import Mixed
from .._typing import Tree
from ..solids import Medium, cast, parts, undeformed, whole
from ..solve import each, norm
from ..space import (
    AbstractBoundary,
    Voxels,
    accumulate,
    add_stress,
    differences,
    gradient_of,
    joined,
    merge_forces,
    merge_voxels,
    modes,
    slab,
    slabs,
    split_corners,
    split_voxels,
)

type Unknown = tuple[Array, Array]
"""(u, e): nodal fluctuation (c, *nodes) and scaled free mean deformation (shape of the load)."""

_MOST_POINTS = 4096
"""Points (or voxels, by modes) of a slab: what stands between the nodes and the forces there fits a second-level cache."""

_MOST_ELEMENTS = 6
"""More phases than this make one matrix product a phase slower than the gradient, the law and the divergence."""


class Conditions(eqx.Module):
    """What one solve is given: the medium, the load, the committed history."""

    medium: Medium
    load: Mixed
    past: Tree

    def split(self, count: int) -> tuple[Tree, Callable[[Tree], "Conditions"]]:
        """What is known voxel by voxel as rows, one a slab, and the conditions of a slab from its row."""
        fields, shared = self.medium.fields

        def whole(row):
            return Conditions(eqx.combine(row[0], shared), self.load, row[1])

        return split_voxels((fields, self.past), count), whole


class Local(eqx.Module):
    """What is known on a slab: stress at the points or by modes, the deformation it answers, next history, admissibility.

    The deformation is that of `Kernel.gradients`; by modes its mean stands apart.
    """

    F: list[Any]
    P: list[Any]
    following: Tree
    admissible: Array

    def displaced(self, still: Any) -> list[Any]:
        """The deformation less what it is without a load, one entry for each of the stress."""
        first, *others = self.F
        first = jax.tree.map(jnp.subtract, first, still)
        if len(self.F) == len(self.P):
            return [first, *others]
        return [jax.tree.map(jnp.add, first, others[0]), *others[1:]]


class _Weighted(eqx.Module):
    """Conditions with a number at every point."""

    given: Conditions
    factor: Float[Array, "Q M"]

    def split(self, count: int) -> tuple[Tree, Callable[[Tree], "_Weighted"]]:
        rows, whole = self.given.split(count)
        return (rows, split_voxels(self.factor, count)), lambda row: _Weighted(whole(row[0]), row[1])


class _Stack(eqx.Module):
    """What was made slab by slab."""

    rows: Tree

    @property
    def first(self) -> Tree:
        return jax.tree.map(lambda x: x[0], self.rows)

    def split(self, count: int) -> tuple[Tree, Callable[[Tree], Tree]]:
        del count
        return self.rows, lambda row: row


class Kernel(eqx.Module):
    """The grid, its faces and the kind of law; holds no numbers of the model."""

    grid: Voxels
    boundary: AbstractBoundary
    small: bool = eqx.field(static=True)
    linear: bool = eqx.field(static=True)
    scalar: bool = eqx.field(static=True)
    cut: bool = eqx.field(static=True, default=False)
    """It is a slab, whose first and last planes of nodes stay apart."""

    @property
    def load_shape(self) -> tuple[int, ...]:
        """(d, d), or (d,) for conduction."""
        return (self.grid.d,) if self.scalar else (self.grid.d, self.grid.d)

    @property
    def components(self) -> int:
        """Unknowns a node."""
        return 1 if self.scalar else self.grid.d

    def zero(self, dtype) -> Unknown:
        """No fluctuation."""
        return jnp.zeros((self.components, *self.boundary.nodes(self.grid.shape)), dtype), jnp.zeros(self.load_shape, dtype)

    def project(self, X: Float[Array, "..."], mask: Array) -> Float[Array, "..."]:
        """The part of X in the free components; where a pair is free, its symmetric part (the rotation is fixed)."""
        free = jnp.where(mask, 0, X)
        if self.scalar:
            return free
        pair = ~mask & ~mask.T
        return jnp.where(pair, 0.5 * (free + free.T), free)

    def mean(self, z: Unknown, load: Mixed) -> Float[Array, "..."]:
        """The mean deformation."""
        return load.F + self.project(z[1], load.mask) / self.grid.count**0.5

    @property
    def modal(self) -> bool:
        """A linear law is asked for the orthogonal modes of a voxel's gradient instead of at its points."""
        return self.linear and self.grid.rule.modal and (self.scalar or not self.grid.rule.coupled)

    @property
    def slabs(self) -> int:
        """How many parts the grid is worked on in."""
        return slabs(self.grid, _MOST_POINTS if self.modal else max(1, _MOST_POINTS // self.grid.points))

    @property
    def part(self) -> "Kernel":
        """The kernel of one slab."""
        count = self.slabs
        if count == 1:
            return self
        return Kernel(slab(self.grid, count), self.boundary, self.small, self.linear, self.scalar, cut=True)

    def respond(self, f: Any, given: Conditions) -> tuple[Any, Tree, Array]:
        """Stress and history at every point of a compatible deformation, and whether all laws admit it; by components."""
        if self.scalar or not self.grid.rule.coupled:
            return given.medium(f, given.past)
        seen, pull = jax.vjp(lambda x: parts(self.grid.rule.strain(whole(x), self.small), 2), f)
        P, following, admissible = given.medium(seen, given.past)
        return pull(P)[0], following, admissible

    def balance(self, forces: Float[Array, "..."], mean: Float[Array, "..."], load: Mixed) -> Unknown:
        """The residual: nodal forces, and the mean stress against the imposed one."""
        return forces, self.project(mean - load.P, load.mask) / self.grid.count**0.5

    def evaluate(self, u: Float[Array, "..."], mean: Float[Array, "..."], given: Conditions, pick: Callable):
        """Nodal forces, mean stress and `pick(Local)` (averages; a field of histories) of a fluctuation and a mean deformation."""

        def local(part, corners, given):
            F = part.gradients(corners, mean)
            P, following, admissible = part.answers(F, given)
            return part.divergences(P), part.average(P[0]), pick(Local(F, P, following, admissible))

        return self._through(local, u, given)

    def answer(self, u: Float[Array, "..."], mean: Float[Array, "..."], given: Conditions) -> tuple[Array, Array]:
        """Nodal forces and mean stress of a fluctuation and a mean deformation."""
        return self.evaluate(u, mean, given, lambda _: ())[:2]

    def advance(self, z: Unknown, given: Conditions) -> Tree:
        """The next history."""
        following = self.evaluate(z[0], self.mean(z, given.load), given, lambda x: x.following)[2]
        return merge_voxels(following)

    def residual(self, z: Unknown, given: Conditions) -> Unknown:
        """Zero at equilibrium."""
        return self.balance(*self.answer(z[0], self.mean(z, given.load), given), given.load)

    def judged(self, z: Unknown, given: Conditions) -> tuple[Unknown, Array]:
        """The residual, and whether all laws admit the deformation."""
        forces, stress, admissible = self.evaluate(z[0], self.mean(z, given.load), given, lambda x: x.admissible)
        return self.balance(forces, stress, given.load), jnp.all(admissible)

    def reach(self, z: Unknown, given: Conditions, factor: Float[Array, "Q M"]) -> Float[Array, ""]:
        """The least of the laws' margins, each over its point's factor, at small strain."""
        mean = self.mean(z, given.load)

        def local(part, corners, weighted):
            f = parts(part.grid.gradient(corners) + mean[:, :, None, None], 2)
            if part.grid.rule.coupled:
                f = parts(part.grid.rule.strain(whole(f), True), 2)
            margin = weighted.given.medium.margin(f, weighted.given.past)
            return (), (), jnp.min(jnp.where(jnp.isfinite(weighted.factor), margin / weighted.factor, 0))

        return jnp.min(self._through(local, z[0], _Weighted(given, factor))[2])

    def gradients(self, corners: Float[Array, "..."], mean: Float[Array, "..."]) -> list[Any]:
        """The deformation at the points, by components (Q, M), or the mean and the modes of the rest, (1, M) each.

        Added to the mean, what is small beside one would lose its digits, which a linear law need not suffer.
        """
        grid = self.grid
        if self.modal:
            fields = differences(corners)
            found: list[Any] = [gradient_of(S, fields, grid.spacing) for S in modes(grid.d, full=grid.points > 1)]
        else:
            found = [parts(grid.gradient(corners), 2)]
        found = [f[0] if self.scalar else f for f in found]
        outer = parts(mean)
        if self.modal:
            return [jax.tree.map(lambda x: jnp.broadcast_to(x, (1, grid.count)), outer), *found]
        return [jax.tree.map(jnp.add, outer, found[0])]

    def answers(self, f: list[Any], given: Conditions) -> tuple[list[Any], Tree, Array]:
        """The stress of what `gradients` gives, the next history, and whether all laws admit it."""
        if not self.modal:
            P, following, admissible = self.respond(f[0], given)
            return [P], following, admissible

        def law(x):
            P, *others = given.medium(x, given.past)
            return P, others

        P, change, (following, admissible) = jax.linearize(law, f[0], has_aux=True)
        first, *others = map(change, f[1:])
        return [jax.tree.map(jnp.add, P, first), *others], following, admissible

    def changes(self, change: Callable[[Any], Any], f: list[Any]) -> list[Any]:
        """A linear law's answer to what `gradients` gives; in a change of load the mean and the first mode are one."""
        if not self.modal:
            return [change(f[0])]
        mean, first, *others = f
        return [change(jax.tree.map(jnp.add, mean, first)), *map(change, others)]

    def divergences(self, P: list[Any]) -> Float[Array, "..."]:
        """Nodal forces of the stress, joined; the modes that are left out are zero."""
        grid = self.grid
        join = joined(self.boundary, grid.d) if self.cut else self.boundary.join
        flux = [(x,) for x in P] if self.scalar else P
        if not self.modal:
            # Stacked as the product with the shape functions takes them; the transposes cancel.
            stacked = jnp.stack([jnp.stack([row[j] for row in flux[0]], 1) for j in range(grid.d)])
            return grid.divergence(jnp.transpose(stacked, (2, 0, 1, 3)), join)
        forces: dict = {}
        for S, x in zip(modes(grid.d, full=grid.points > 1), flux, strict=False):
            forces = add_stress(S, x, forces, grid.spacing)
        return accumulate(forces, grid.shape, join) / grid.count

    def average(self, P: Any) -> Float[Array, "..."]:
        """The mean over the points and voxels."""
        return whole(jax.tree.map(jnp.mean, P))

    def _through(self, local: Callable, u: Float[Array, "..."], fields: Any) -> tuple[Any, Any, Any]:
        """`local(part, corners, fields) -> (forces, mean stress, rest)` slab by slab: forces, mean stress, and rest by slab.

        Args:
            fields: what is known at every voxel, or `_Stack` of what was made slab by slab.
        """
        count, part = self.slabs, self.part
        corners = self.boundary.expand(u)
        if count == 1:
            found = local(self, corners, fields.first if isinstance(fields, _Stack) else fields)
            forces, stress, rest = jax.tree.map(lambda x: x[None], found)
            forces = jax.tree.map(lambda f: self.boundary.close(f[0]), forces)
        else:
            rows, whole = fields.split(count)
            forces, stress, rest = each(lambda row: local(part, row[0], whole(row[1])), (split_corners(corners, count), rows))
            forces = jax.tree.map(lambda f: self.boundary.close(merge_forces(f, self.boundary)) / count, forces)
        return forces, jax.tree.map(lambda x: jnp.mean(x, 0), stress), rest

    def linearized(self, z: Unknown, given: Conditions) -> Callable[[Array, Array], tuple[Array, Array]]:
        """`(du, dF) -> (forces, mean stress)` of a change of fluctuation and of mean deformation at z, linearized once."""
        if self.linear and not self.modal and given.medium.image is not None and given.medium.phases <= _MOST_ELEMENTS:
            return self._by_elements(given.medium)
        if self.linear:
            z = self.zero(given.load.F.dtype)
        outer = self.mean(z, given.load)
        made: list = []

        def slope(part, corners, given):
            F = part.gradients(corners, outer)[0]
            change = jax.linearize(lambda x: part.respond(x, given)[0], F)[1]
            leaves, structure = jax.tree.flatten(change)
            made.append(structure)
            return (), (), leaves

        stack = _Stack(self._through(slope, z[0], given)[2])

        def apply(du, dF):
            def local(part, corners, leaves):
                change = jax.tree.unflatten(made[0], leaves)
                P = part.changes(change, part.gradients(corners, dF))
                return part.divergences(P), part.average(P[0]), ()

            return self._through(local, du, stack)[:2]

        return apply

    def tangent(self, z: Unknown, given: Conditions, dtype) -> Callable[[Unknown], Unknown]:
        """The slope of the residual at z in a precision."""
        z, given = cast(z, dtype), cast(given, dtype)
        change = self.linearized(z, given)
        still = Mixed(jnp.zeros_like(given.load.F), jnp.zeros_like(given.load.P), given.load.mask)

        def matvec(dz: Unknown) -> Unknown:
            return self.balance(*change(dz[0], self.mean(dz, still)), still)

        return matvec

    def _by_elements(self, medium: Medium):
        """The answer of a linear medium by one element matrix a phase."""
        grid, c = self.grid, self.components
        dtype = medium.dtype
        matrices = self.elements(medium.palette.undeformed_tangent(self.load_shape, dtype))
        tall = matrices.reshape(-1, matrices.shape[-1])
        indicator = medium.indicator(dtype)
        offsets = jnp.asarray(grid.offsets, dtype)

        def apply(du, dF):
            corners = grid.corners(self.boundary.expand(du)) + grid.affine(dF.reshape(c, grid.d))[:, None]
            each = (tall @ corners).reshape(medium.phases, -1, grid.count)
            f = each[0] if medium.phases == 1 else jnp.sum(each * indicator[:, None, :], 0)
            mean = jnp.sum(f, -1).reshape(-1, c).T @ offsets
            return self.boundary.close(grid.assemble(f, self.boundary.join)), mean.reshape(self.load_shape)

        return apply

    def elements(self, A: Float[Array, "..."]) -> Float[Array, "phases n n"]:
        """Element stiffness matrices of tangents (*load, *load, phases), as parts of a cell of volume 1."""
        grid, c = self.grid, self.components
        A = A.reshape(c, grid.d, c, grid.d, -1)
        B = jnp.asarray(grid.gradient_matrix(c), A.dtype).reshape(c, grid.d, grid.points, -1)
        if grid.rule.coupled and not self.scalar:
            B = grid.rule.strain(B, True)
        return jnp.einsum("ijqa,ijklp,klqb->pab", B, A, B) / (grid.points * grid.count)

    def norms(self, given: Conditions) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What the residual is measured against, and what round-off makes of it.

        The elastic answer of virgin material to the whole load (its Green strain, which a rotation does not change), or what the
        committed history alone is out of balance by; never the current residual, which shrinks as the guess improves.
        """
        load = given.load
        still = undeformed(load.F)
        step = load.F - still if self.small else 0.5 * (load.F.T @ load.F - still)

        def local(part, _, given):
            # Every voxel deforms alike: of the modes the first is enough.
            shape = (1 if part.modal else part.grid.points, part.grid.count)
            f, df = jax.tree.map(lambda x: jnp.broadcast_to(x, shape), (parts(still), parts(step)))
            virgin = Conditions(given.medium, given.load, given.medium.init(shape[0], load.F.dtype))
            P, dP = jax.jvp(lambda x: part.respond(x, virgin)[0], (f,), (df,))
            pair = (part.respond(f, given)[0] if jax.tree.leaves(given.past) else P, dP)
            square = sum(jnp.mean(jnp.square(x)) for x in jax.tree.leaves(pair))
            return [part.divergences([P]) for P in pair], [part.average(P) for P in pair], square

        forces, stress, square = self._through(local, self.zero(load.F.dtype)[0], given)
        from_past, from_load = [self.balance(f, x, load) for f, x in zip(forces, stress, strict=True)]
        scale = jnp.maximum(norm(from_load), norm(from_past))
        size = jnp.sqrt(jnp.mean(square))
        size = size + jnp.sqrt(jnp.sum(jnp.square(jnp.where(load.mask, 0, load.P))))
        return scale, self.noise(100 * size)

    def noise(self, stress: Float[Array, ""]) -> Float[Array, ""]:
        """The norm of the nodal forces that the round-off of a stress of this size makes."""
        return jnp.finfo(stress.dtype).eps * stress / (min(self.grid.spacing) * self.grid.count**0.5)
