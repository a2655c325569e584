"""The equations of a voxel cell: deformation from the unknowns, residual, tangent, preconditioner, reference norms.

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
from ..space import AbstractBoundary, Voxels
from ._phases import Medium, cast, rest

type Unknown = tuple[Array, Array]
"""(u, e): nodal fluctuation (c, *nodes) and scaled free mean deformation (shape of the load)."""


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

    def zero(self, dtype) -> Unknown:
        """No fluctuation."""
        c = 1 if self.scalar else self.grid.d
        return jnp.zeros((c, *self.boundary.nodes(self.grid.shape)), dtype), jnp.zeros(self.load_shape, dtype)

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

    def deformation(self, z: Unknown, load: Mixed) -> Float[Array, "..."]:
        """The compatible deformation at every point, (*load, Q, M)."""
        gradient = self.grid.gradient(self.boundary.expand(z[0]))
        gradient = gradient.reshape(*self.load_shape, *gradient.shape[2:])
        return self.mean(z, load)[..., None, None] + gradient

    def respond(self, z: Unknown, given: Conditions) -> tuple[Float[Array, "..."], Tree, Array, Float[Array, "..."]]:
        """Stress and history at every point, whether all laws admit it, and the compatible deformation."""
        F = self.deformation(z, given.load)
        if not self.grid.rule.coupled:
            return *given.medium(F, given.past), F
        seen, pull = jax.vjp(lambda x: self.grid.rule.strain(x, self.small), F)
        P, following, admissible = given.medium(seen, given.past)
        return pull(P)[0], following, admissible, F

    def balance(self, P: Float[Array, "..."], load: Mixed) -> Unknown:
        """The residual of a stress field: nodal forces, and the mean stress against the imposed one."""
        flux = P[None] if self.scalar else P
        forces = self.boundary.fold(self.grid.divergence(flux))
        return forces, self.project(self.grid.mean(P) - load.P, load.mask) / self.grid.count**0.5

    def residual(self, z: Unknown, given: Conditions) -> Unknown:
        """Zero at equilibrium."""
        return self.balance(self.respond(z, given)[0], given.load)

    def tangent(self, z: Unknown, given: Conditions, dtype) -> Callable[[Unknown], Unknown]:
        """The tangent at z in a precision, linearized once."""
        z, given = cast(z, dtype), cast(given, dtype)
        if self.linear:
            return self.stiffness(given)
        return jax.linearize(lambda x: self.residual(x, given), z)[1]

    def stiffness(self, given: Conditions) -> Callable[[Unknown], Unknown]:
        """The tangent of a linear medium, the same everywhere in the space of unknowns."""
        zero = self.zero(given.load.F.dtype)
        return jax.linearize(lambda x: self.residual(x, given), zero)[1]

    def reference(self, given: Conditions) -> Float[Array, "..."]:
        """The mean stiffness of the undeformed medium, (d, d, d, d) or (d, d)."""
        return given.medium.mean_tangent(self.load_shape, given.load.F.dtype)

    def precondition(self, C0: Float[Array, "..."], mask: Array) -> Callable[[Unknown], Unknown]:
        """The homogeneous medium's inverse on both parts of the unknown."""
        d = self.grid.d
        blocks = C0[None, :, None, :] if self.scalar else C0
        green = self.boundary.green(self.grid, blocks)
        size = jnp.trace(C0) / d if self.scalar else jnp.einsum("ijij->", C0) / d**2
        compliance = self.grid.count / jnp.where(size > 0, size, 1)

        def apply(r: Unknown) -> Unknown:
            return green(r[0]), self.project(compliance * r[1], mask)

        return apply

    def norms(self, given: Conditions) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What the residual is measured against, and what round-off makes of it.

        The elastic answer to the whole load from the undeformed state, plus what the committed history alone is out of
        balance by; never the current residual, which shrinks as the guess improves.
        """
        grid, load = self.grid, given.load
        shape = (*self.load_shape, grid.points, grid.count)
        undeformed = rest(shape, load.F.dtype)
        step = load.F[..., None, None] - undeformed
        still, elastic = jax.jvp(lambda F: given.medium(F, given.past)[0], (undeformed,), (step,))
        from_load, from_past = self.balance(elastic, load), self.balance(still, load)
        scale = jnp.maximum(_norm(from_load), _norm(from_past))
        size = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(elastic) + jnp.square(still), tuple(range(load.F.ndim)))))
        size = size + jnp.sqrt(jnp.sum(jnp.square(jnp.where(load.mask, 0, load.P))))
        floor = 100 * jnp.finfo(load.F.dtype).eps * size / (min(grid.spacing) * grid.count**0.5)
        return scale, floor


def _norm(z: Unknown) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(jnp.square(z[0])) + jnp.sum(jnp.square(z[1])))
