"""The consistent tangent of a voxel cell: one linear solve a column, corrected by its residual."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._scale import hold
from ..solve import implicit, norm, stationary
from ._cell_solve import Cell, linear_solver, reference, refined
from ._kernel import Conditions, Unknown
from ._precondition import preconditioner


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
        return lax.map(lambda x: change(*x), (columns, basis))

    def residuals(columns, params):
        return forces(columns, params)[0]

    def energy(columns, params):
        force, stress = forces(columns, params)
        inner = columns.reshape(len(basis), -1) @ force.reshape(len(basis), -1).T
        return inner + basis.reshape(len(basis), -1) @ stress.reshape(len(basis), -1).T

    def stress(columns, params):
        return basis.reshape(len(basis), -1) @ forces(columns, params)[1].reshape(len(basis), -1).T

    tolerance = cell.solver.tolerance(load.dtype)
    loose = max(tolerance**0.5, tolerance) if cell.symmetric else tolerance
    columns, good, steps = _columns(cell, residuals, hold(params), basis, loose)
    converged = jnp.all(good)
    columns = hold(jnp.where(converged, columns, 0))

    def stacked(matvec, rhs, columns, params):
        del matvec, columns
        apply, solver, floor = _operator(cell, params)
        return lax.map(lambda b: refined(*solver, b, apply, tolerance, floor)[0], rhs)

    def refine(columns, params):
        rhs = forces(jnp.zeros_like(columns), params)[0]
        left = residuals(columns, params)
        apply, solver, floor = _operator(cell, params)

        def one(b, r, x):
            # As accurate as a solve of the whole right-hand side b to the full tolerance.
            return x + refined(*solver, -r, apply, 0.0, jnp.maximum(tolerance * norm(b), floor))[0]

        return lax.map(lambda args: one(*args), (rhs, left, columns))

    if cell.symmetric:
        matrix = stationary(energy, residuals, stacked, refine, columns, params)
    else:
        matrix = stress(implicit(residuals, stacked, columns, params), params)
    flat = basis.reshape(len(basis), -1)
    slope = (flat.T @ matrix @ flat).reshape(*load.shape, *load.shape)
    spread = jnp.tensordot(flat.T, columns, 1).reshape(*load.shape, *columns.shape[1:])
    still = jnp.zeros((*load.shape, *load.shape), load.dtype)
    return slope, (spread, still), jnp.sum(steps), converged


def _operator(cell, params):
    """Preconditioner, solver and matvec on fluctuations alone, and the residual that round-off alone makes."""
    kernel = cell.kernel
    z, given = params
    ref = reference(cell, kernel, given)
    change = kernel.linearized(z, given)
    still = jnp.zeros_like(given.load.F)
    both = preconditioner(kernel, ref.C0, ref.weights, given.load)
    # A homogeneous medium leaves round-off alone to solve for, which is no system to be solved.
    eps = float(jnp.finfo(still.dtype).eps)
    floor = 100 * eps * norm(ref.C0) / (min(kernel.grid.spacing) * kernel.grid.count**0.5)
    return lambda r: both((r, still))[0], (linear_solver(cell), lambda x: change(x, still)[0]), floor


def _columns(cell, residuals, params, basis, tolerance):
    """The change of the fluctuation with each load of the basis."""
    u = params[0][0]
    apply, solver, floor = _operator(cell, params)
    rhs = -residuals(jnp.zeros((len(basis), *u.shape), u.dtype), params)
    return lax.map(lambda b: refined(*solver, b, apply, tolerance, floor), rhs)


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
