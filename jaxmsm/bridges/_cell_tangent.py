"""The consistent tangent of a voxel cell: one linear solve a column, corrected by its residual."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._scale import hold
from ..solve import each, implicit, stationary
from ._cell_solve import Cell, Inverse
from ._kernel import Conditions, Unknown


def consistent_tangent(
    cell: Cell, z: Unknown, given: Conditions, start: Unknown | None
) -> tuple[Float[Array, "..."], Unknown, Array, Array]:
    """dP/dF at equilibrium, the columns dz/dF (from `start`), the iterations they took, and whether all of them converged.

    For a symmetric tangent the entries are the stationary values of the bilinear form a(e_r + x_r, e_s + x_s) of the columns x,
    so their first derivative needs no adjoint solve and their error is the product of two columns' errors.
    """
    load, params = given.load.F, (z, given)
    system = _Columns(cell, directions(load.shape, cell.kernel.small).astype(load.dtype))
    whole, stress = system.forces(system.none(hold(params)), hold(params))
    near, force = system.none(hold(params)), whole
    if start is not None:
        near = jnp.tensordot(system.basis, jnp.where(jnp.all(jnp.isfinite(start[0])), start[0], 0), load.ndim)
        force, stress = system.forces(near, hold(params))
    slack = None if cell.slack is None else hold(cell.slack).astype(load.dtype)
    change, left, good, steps = system.solve(-force, whole, hold(params), slack, to_root=cell.symmetric)
    converged = jnp.all(good)
    columns = hold(jnp.where(converged, near + change, 0))
    if cell.symmetric:
        # The energy by what is known, f and s being force and stress of the first columns y: a(e_r + x_r, e_s + y_s) = e_r : s_s +
        # x_r . f_s, and of the change a(e_r + x_r, x_s - y_s) = -left_r . (x_s - y_s).
        matrix = _inner(system.basis, stress) + _inner(columns, force) - _inner(left, change)
        matrix = stationary(system.energy, system.residuals, system.derived, system.refine, matrix, columns, params)
    else:
        matrix = system.stress(implicit(system.residuals, system.derived, columns, params), params)
    flat = system.basis.reshape(len(system.basis), -1)
    slope = (flat.T @ matrix @ flat).reshape(*load.shape, *load.shape)
    spread = jnp.tensordot(flat.T, columns, 1).reshape(*load.shape, *columns.shape[1:])
    still = jnp.zeros((*load.shape, *load.shape), load.dtype)
    return slope, (spread, still), jnp.sum(steps), converged


class _Columns:
    """The linear systems of the columns; `params` are the unknowns at equilibrium and the conditions.

    Attributes:
        basis: loads of unit size, a numpy array: what the shared rules are handed must close over no tracer.
    """

    def __init__(self, cell: Cell, basis: np.ndarray):
        self._cell, self.basis = cell, basis
        self._tolerance = cell.solver.tolerance(basis.dtype)

    def none(self, params) -> Float[Array, "..."]:
        """No change of the fluctuation, whatever the load."""
        u = params[0][0]
        return jnp.zeros((len(self.basis), *u.shape), u.dtype)

    def forces(self, columns, params):
        """Nodal forces and mean stress of each load of the basis with its column."""
        change = self._cell.kernel.linearized(*params)
        return each(lambda x: change(*x), (columns, self.basis))

    def residuals(self, columns, params):
        """Zero at the columns."""
        return self.forces(columns, params)[0]

    def energy(self, columns, params):
        """a(e_r + x_r, e_s + x_s), stationary at the columns."""
        force, stress = self.forces(columns, params)
        return _inner(columns, force) + _inner(self.basis, stress)

    def stress(self, columns, params):
        """The mean stress of each load in the basis."""
        return _inner(self.basis, self.forces(columns, params)[1])

    def solve(self, rhs, whole, params, slack=None, *, to_root: bool):
        """The columns that answer `rhs`, as accurate as a solve of the whole right-hand side, whatever is left of it."""
        inverse = Inverse(self._cell, self._cell.kernel, *params)
        # The entries err by the energy of the columns' error, which is at most |r|^2 / softest.
        tolerance = self._tolerance if slack is None else jnp.maximum(slack, self._tolerance)
        level = jnp.maximum(jnp.sqrt(tolerance * inverse.softest), tolerance) if to_root else tolerance

        def one(args):
            b, size = args
            # A homogeneous medium leaves round-off alone to solve for, which is no system to be solved.
            x, left, good, steps = inverse((b, jnp.zeros_like(params[1].load.F)), 0.0, level * size + inverse.floor)
            return x[0], left[0], good, steps

        return each(one, (rhs, jnp.sqrt(jnp.sum(jnp.square(whole.reshape(len(whole), -1)), 1))))

    def refine(self, columns, params):
        """The columns at the full tolerance."""
        whole = self.residuals(self.none(params), params)
        return columns + self.solve(-self.residuals(columns, params), whole, params, to_root=False)[0]

    def derived(self, matvec, rhs, columns, params):
        """The linear solve of derivatives; NaN where it is missed."""
        del matvec, columns
        inverse = Inverse(self._cell, self._cell.kernel, *params)
        return each(lambda b: inverse((b, jnp.zeros_like(params[1].load.F)), self._tolerance)[0][0], rhs)


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
