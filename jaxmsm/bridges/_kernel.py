"""The equations of a voxel cell: deformation from the unknowns, residual, tangent, reference norms.

The unknown is z = (u, e): the free nodal fluctuation, and the mean deformation in the components where a stress is imposed,
scaled by the root of the voxel count so that both parts of the residual are of one size. A plain load has e = 0.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import Mixed
from .._typing import Tree
from ..solve import norm
from ..space import AbstractBoundary, Voxels, accumulate, add_stress, differences, gradient_of, modes
from ._phases import Medium, cast, rest

type Unknown = tuple[Array, Array]
"""(u, e): nodal fluctuation (c, *nodes) and scaled free mean deformation (shape of the load)."""

_MOST_ELEMENTS = 6
"""More phases than this make one matrix product a phase slower than the gradient, the law and the divergence."""


class Conditions(eqx.Module):
    """What one solve is given: the medium, the load, the committed history."""

    medium: Medium
    load: Mixed
    past: Tree


class Kernel(eqx.Module):
    """The grid, its faces and the kind of law; holds no numbers of the model."""

    grid: Voxels
    boundary: AbstractBoundary
    small: bool = eqx.field(static=True)
    linear: bool = eqx.field(static=True)
    scalar: bool = eqx.field(static=True)

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

    def deformation(self, u: Float[Array, "..."], mean: Float[Array, "..."]) -> Float[Array, "..."]:
        """The compatible deformation at every point, (*load, Q, M)."""
        gradient = self.grid.gradient(self.boundary.expand(u))
        return mean[..., None, None] + gradient.reshape(*self.load_shape, *gradient.shape[2:])

    def respond(self, F: Float[Array, "..."], given: Conditions) -> tuple[Float[Array, "..."], Tree, Array]:
        """Stress and history at every point of a compatible deformation, and whether all laws admit it."""
        if self.scalar or not self.grid.rule.coupled:
            return given.medium(F, given.past)
        seen, pull = jax.vjp(lambda x: self.grid.rule.strain(x, self.small), F)
        P, following, admissible = given.medium(seen, given.past)
        return pull(P)[0], following, admissible

    def forces(self, P: Float[Array, "..."]) -> Float[Array, "..."]:
        """Nodal forces of a stress field."""
        return self.boundary.close(self.grid.divergence(P[None] if self.scalar else P, self.boundary.join))

    def balance(self, forces: Float[Array, "..."], mean: Float[Array, "..."], load: Mixed) -> Unknown:
        """The residual: nodal forces, and the mean stress against the imposed one."""
        return forces, self.project(mean - load.P, load.mask) / self.grid.count**0.5

    def answer(self, u: Float[Array, "..."], mean: Float[Array, "..."], given: Conditions) -> tuple[Array, Array]:
        """Nodal forces and mean stress of a fluctuation and a mean deformation."""
        P = self.respond(self.deformation(u, mean), given)[0]
        return self.forces(P), self.grid.mean(P)

    def residual(self, z: Unknown, given: Conditions) -> Unknown:
        """Zero at equilibrium."""
        return self.balance(*self.answer(z[0], self.mean(z, given.load), given), given.load)

    def linearized(self, z: Unknown, given: Conditions) -> Callable[[Array, Array], tuple[Array, Array]]:
        """`(du, dF) -> (forces, mean stress)` of a change of fluctuation and of mean deformation at z, linearized once."""
        if self.linear and (self.scalar or not self.grid.rule.coupled):
            return self._by_modes(given.medium)
        if self.linear and given.medium.image is not None and given.medium.phases <= _MOST_ELEMENTS:
            return self._by_elements(given.medium)
        if self.linear:
            z = self.zero(given.load.F.dtype)
        return jax.linearize(lambda u, F: self.answer(u, F, given), z[0], self.mean(z, given.load))[1]

    def tangent(self, z: Unknown, given: Conditions, dtype) -> Callable[[Unknown], Unknown]:
        """The slope of the residual at z in a precision."""
        z, given = cast(z, dtype), cast(given, dtype)
        change = self.linearized(z, given)
        still = Mixed(jnp.zeros_like(given.load.F), jnp.zeros_like(given.load.P), given.load.mask)

        def matvec(dz: Unknown) -> Unknown:
            return self.balance(*change(dz[0], self.mean(dz, still)), still)

        return matvec

    def _by_modes(self, medium: Medium):
        """The answer of a linear medium by the orthogonal modes of every voxel's gradient."""
        grid = self.grid
        shape = (*self.load_shape, 1, grid.count)
        still = rest(shape, medium.dtype)
        law = jax.linearize(lambda F: medium(F, medium.init(1, medium.dtype))[0], still)[1]

        def apply(du, dF):
            fields = differences(self.boundary.expand(du))
            forces: dict = {}
            mean = jnp.zeros_like(dF)
            for S in modes(grid.d, full=grid.points > 1):
                G = gradient_of(S, fields, grid.spacing)
                if not S:
                    G = G + dF.reshape(-1, grid.d)[..., None]
                P = law(G.reshape(shape)).reshape(G.shape)
                if not S:
                    mean = jnp.mean(P, -1).reshape(dF.shape)
                forces = add_stress(S, P, forces, grid.spacing)
            f = accumulate(forces, grid.shape, self.boundary.join)
            return self.boundary.close(f) / grid.count, mean

        return apply

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

        The elastic answer to the whole load from the undeformed state, plus what the committed history alone is out of
        balance by; never the current residual, which shrinks as the guess improves.
        """
        grid, load = self.grid, given.load
        undeformed = rest((*self.load_shape, grid.points, grid.count), load.F.dtype)
        step = load.F[..., None, None] - undeformed
        still, elastic = jax.jvp(lambda F: given.medium(F, given.past)[0], (undeformed,), (step,))
        from_load = self.balance(self.forces(elastic), grid.mean(elastic), load)
        from_past = self.balance(self.forces(still), grid.mean(still), load)
        scale = jnp.maximum(norm(from_load), norm(from_past))
        size = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(elastic) + jnp.square(still), tuple(range(load.F.ndim)))))
        size = size + jnp.sqrt(jnp.sum(jnp.square(jnp.where(load.mask, 0, load.P))))
        floor = 100 * jnp.finfo(load.F.dtype).eps * size / (min(grid.spacing) * grid.count**0.5)
        return scale, floor
