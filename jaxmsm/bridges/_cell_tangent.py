"""The consistent tangent of a voxel cell: one linear solve a column, corrected by its residual."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._scale import hold
from ..solve import each, implicit, stationary
from ._cell_solve import Cell, Inverse
from ._kernel import Conditions, Unknown


def consistent_tangent(cell: Cell, z: Unknown, given: Conditions) -> tuple[Float[Array, "..."], Unknown, Array, Array]:
    """dP/dF at equilibrium, the columns dz/dF, the iterations they took, and whether all of them converged.

    For a symmetric tangent the entries are the stationary values of the bilinear form a(e_r + x_r, e_s + x_s) of the columns x,
    so their first derivative needs no adjoint solve and their error is the product of two columns' errors.
    """
    kernel, load = cell.kernel, given.load.F
    # A numpy array: what the shared rules are handed must close over no tracer.
    basis = directions(load.shape, kernel.small).astype(load.dtype)
    params = (z, given)

    def forces(columns, params):
        z, given = params
        change = kernel.linearized(z, given)
        return each(lambda x: change(*x), (columns, basis))

    def residuals(columns, params):
        return forces(columns, params)[0]

    def energy(columns, params):
        force, stress = forces(columns, params)
        return _inner(columns, force) + _inner(basis, stress)

    def stress(columns, params):
        return _inner(basis, forces(columns, params)[1])

    tolerance = cell.solver.tolerance(load.dtype)

    def solve(rhs, whole, params, *, to_root: bool):
        """As accurate as a solve of the whole right-hand side, whatever is left of it."""
        z, given = params
        inverse = Inverse(cell, kernel, z, given)
        # The entries err by the energy of the columns' error, which is at most |r|^2 / softest.
        level = jnp.maximum(jnp.sqrt(tolerance * inverse.softest), tolerance) if to_root else tolerance
        still = jnp.zeros_like(given.load.F)

        def one(args):
            b, size = args
            # A homogeneous medium leaves round-off alone to solve for, which is no system to be solved.
            x, good, steps = inverse((b, still), 0.0, level * size + inverse.floor)
            return x[0], good, steps

        return each(one, (rhs, jnp.sqrt(jnp.sum(jnp.square(whole.reshape(len(whole), -1)), 1))))

    start = jnp.zeros((len(basis), *z[0].shape), load.dtype)
    whole = residuals(start, hold(params))
    columns, good, steps = solve(-whole, whole, hold(params), to_root=cell.symmetric)
    converged = jnp.all(good)
    columns = hold(jnp.where(converged, columns, 0))

    def stacked(matvec, rhs, columns, params):
        del matvec, columns
        z, given = params
        inverse, still = Inverse(cell, kernel, z, given), jnp.zeros_like(given.load.F)
        return each(lambda b: inverse((b, still), tolerance)[0][0], rhs)

    def refine(columns, params):
        whole = residuals(jnp.zeros_like(columns), params)
        return columns + solve(-residuals(columns, params), whole, params, to_root=False)[0]

    if cell.symmetric:
        matrix = stationary(energy, residuals, stacked, refine, columns, params)
    else:
        matrix = stress(implicit(residuals, stacked, columns, params), params)
    flat = basis.reshape(len(basis), -1)
    slope = (flat.T @ matrix @ flat).reshape(*load.shape, *load.shape)
    spread = jnp.tensordot(flat.T, columns, 1).reshape(*load.shape, *columns.shape[1:])
    still = jnp.zeros((*load.shape, *load.shape), load.dtype)
    return slope, (spread, still), jnp.sum(steps), converged


def _inner(a: Array | np.ndarray, b: Array) -> Float[Array, "n n"]:
    """The inner products of two stacks."""
    return jnp.asarray(a.reshape(len(a), -1)) @ b.reshape(len(b), -1).T


def directions(shape: tuple[int, ...], small: bool) -> np.ndarray:
    """An orthonormal basis of the loads that a law sees: symmetric ones at small strain."""
    if len(shape) == 1:
        return np.eye(shape[0])
    d = shape[0]
    units = []
    for i in range(d):
        for j in range(d):
            unit = np.zeros((d, d))
            unit[i, j] = 1
            if small and i != j:
                if i > j:
                    continue
                unit = (unit + unit.T) / np.sqrt(2)
            units.append(unit)
    return np.stack(units)
