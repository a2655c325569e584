"""One load step of a voxel cell: the search for equilibrium, and the answer as a differentiable function of all it depends on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._model import Mixed
from .._results import RESULTS
from .._scale import Solution, choose, hold
from .._typing import Tree
from ..solids import cast, undeformed
from ..solve import CG, GMRES, Problem, Report, axpy, equilibrium, implicit, norm, scaled
from ..space import merge_voxels
from ._closed import finite
from ._consistency import energy_error, hill_mandel, softest, work_and_size
from ._kernel import Conditions, Kernel, Unknown
from ._precondition import preconditioner

type Cell = Any
"""A `PeriodicCell`, which stands above this file."""


class Guess(eqx.Module):
    """Where a cell may start: the unknowns, the load they belong to, and their slope in it where that is known."""

    u: Float[Array, "..."]
    e: Float[Array, "..."]
    load: Float[Array, "..."]
    columns: Unknown | None = None

    def start(self, load: Float[Array, "..."]) -> Unknown:
        """The unknowns predicted for a load, to first order where the slope is known."""
        if self.columns is None:
            return self.u, self.e
        step = load - self.load
        axes = step.ndim
        return self.u + jnp.tensordot(step, self.columns[0], axes), self.e + jnp.tensordot(step, self.columns[1], axes)


class Reference(eqx.Module):
    """What a search is preconditioned and judged by: the undeformed medium."""

    tangents: Float[Array, "..."]
    C0: Float[Array, "..."]
    weights: Float[Array, "..."] | None
    scale: Float[Array, ""]
    floor: Float[Array, ""]


def undeformed_medium(cell: Cell, kernel: Kernel, given: Conditions) -> tuple[Array, Array, Array | None]:
    """The tangents of a member's phases, their fractions, and the nodal weights."""
    palette = given.medium.palette
    tangents = palette.undeformed_tangent(kernel.load_shape, given.load.F.dtype)
    return tangents, palette.fractions.astype(tangents.dtype), cell.preconditioner.weights(kernel, tangents, given)


def reference(cell: Cell, kernel: Kernel, given: Conditions) -> Reference:
    """The mean stiffness, the nodal weights and the norms of a member."""
    tangents, fractions, weights = undeformed_medium(cell, kernel, given)
    scale, floor = kernel.norms(given)
    if not kernel.modal:
        # A deformation gradient is rounded to eps of one, however small the strain.
        floor += kernel.noise(2 * jnp.sqrt(_squares(tangents) @ fractions))
    return Reference(tangents, tangents @ fractions, weights, scale, floor)


def _squares(tangents: Float[Array, "..."]) -> Float[Array, " P"]:
    """The squared size of every tangent."""
    return jnp.sum(jnp.square(tangents), tuple(range(tangents.ndim - 1)))


def as_mixed(load: Tree) -> Mixed:
    """A checked load as a mixed one, with nothing free unless it is one."""
    if isinstance(load, Mixed):
        return Mixed(load.F, load.P.astype(load.F.dtype), jnp.asarray(load.mask, bool))
    return Mixed(load, jnp.zeros_like(load), jnp.ones(load.shape, bool))


def virgin(cell: Cell, load: Mixed) -> Tree:
    """The first state: the history of every point, and with sub-steps the load it belongs to (none)."""
    history = cell.medium(load.F.dtype).init(cell.kernel.grid.points, load.F.dtype)
    return history if cell.substeps == 1 else (history, undeformed(load.F), jnp.zeros_like(load.P))


def linear_solver(cell: Cell):
    """The Krylov solver asked for, or the one that the laws' symmetry calls for."""
    if cell.solver.linear is not None:
        return cell.solver.linear
    return CG() if cell.symmetric else GMRES()


def search(cell: Cell, kernel: Kernel, ref: Reference, given: Conditions, guess: Guess | None) -> tuple[Unknown, Report]:
    """Equilibrium without derivatives, from the guess where it is admissible and from no fluctuation elsewhere."""
    dtype = given.load.F.dtype
    inner = cell.solver.inner or dtype
    cold = kernel.zero(dtype)
    start = cold
    if guess is not None:
        warm = guess.start(given.load.F)
        good = kernel.judged(warm, given)[1] & jnp.isfinite(norm(warm))
        start = choose(good, warm, cold)

    if kernel.linear:
        stiffness = kernel.tangent(cold, given, inner)
        operator = lambda z, dtype: stiffness
    else:
        operator = lambda z, dtype: kernel.tangent(z, given, dtype)
    C0, weights = cast((ref.C0, ref.weights), inner)
    apply = preconditioner(kernel, C0, weights, given.load)
    problem = Problem(lambda z: kernel.judged(z, given), operator, apply, ref.scale, ref.floor, kernel.linear)
    how = eqx.tree_at(lambda s: s.linear, cell.solver, linear_solver(cell), is_leaf=lambda x: x is None)
    z, report = equilibrium(problem, start, how)
    result = RESULTS.where(given.medium.labelled, report.result, RESULTS.out_of_range)
    result = RESULTS.where(finite((given.load, given.past)) & given.medium.known, result, RESULTS.nonfinite_input)
    # Without an imposed stress no direction can be asked for that has no stiffness; what looks so is round-off.
    idle = jnp.all(given.load.mask) & (result == RESULTS.mechanism)
    result = RESULTS.where(idle, RESULTS.stagnation, result)
    return z, eqx.tree_at(lambda r: r.result, report, result)


def answer(
    cell: Cell, kernel: Kernel, ref: Reference, given: Conditions, z: Unknown, report: Report, guess: Guess | None
) -> tuple[Solution, Unknown, Conditions]:
    """The mean stress and the next history at the unknowns found, with their derivatives; a failed member is masked."""
    ok = report.result == RESULTS.successful
    dtype = given.load.F.dtype
    mixed, medium = given.load, given.medium
    # A member that failed is differentiated at the undeformed state, where everything is finite, and then masked.
    load = Mixed(jnp.where(ok, mixed.F, undeformed(mixed.F)), jnp.where(ok, mixed.P, 0), mixed.mask | ~ok)
    committed = given.past
    past = choose(ok, committed, medium.init(kernel.grid.points, dtype))
    given = Conditions(_finite(ok, medium), load, past)
    z = choose(ok, z, kernel.zero(dtype))
    z = implicit(kernel.residual, adjoint(cell, kernel), z, given, symmetric=cell.symmetric)
    outer = kernel.mean(z, load)
    still = undeformed(outer)
    forces, mean, (following, work) = kernel.evaluate(z[0], outer, given, lambda x: (x.following, work_and_size(x, still)))
    following = merge_voxels(following)
    residual = hold(kernel.balance(forces, mean, load))
    nan = jnp.asarray(jnp.nan, dtype)
    size = jnp.where(ref.scale > 0, ref.scale, 1)
    stats = {
        "newton": report.newton,
        "linear": report.linear,
        "cost": report.newton + report.linear,
        "residual": jnp.where(ok, norm(residual), report.residual) / size,
        "energy_error": jnp.where(ok, energy_error(kernel, residual, ref.C0, ref.tangents, hold(given)), nan),
        "hill_mandel": jnp.where(ok, hill_mandel(*hold((*work, mean, outer))), nan),
        "deformation": jnp.where(ok, outer, nan),
    }
    result = RESULTS.where(
        _unloaded(hold(mean), ref, hold(given), cell.solver.tolerance(dtype)), RESULTS.no_load_path, RESULTS.successful
    )
    result = RESULTS.where(ok, result, report.result)
    u, e = hold(z)
    # A guess keeps its tree, so that a scan can carry it: columns that were handed in stay as they are.
    found = Guess(u, e, hold(load.F), None if guess is None else hold(guess.columns))
    return Solution(jnp.where(ok, mean, nan), choose(ok, following, committed), found, result, stats), z, given


def adjoint(cell: Cell, kernel: Kernel):
    """The linear solve of derivatives: to the tolerance of the cell, NaN where its recomputed residual misses it."""

    def solve_linear(matvec, rhs, z, given):
        inverse = Inverse(cell, kernel, z, given, None if cell.symmetric else matvec)
        return inverse(rhs, cell.solver.tolerance(given.load.F.dtype))[0]

    return solve_linear


class Inverse:
    """The inverse of the tangent at z: a Krylov solve in the inner precision, refined by residuals in the full one.

    Attributes:
        floor: the residual that round-off alone makes of a change of load of size one.
        softest: a lower bound on the eigenvalues of the undeformed stiffness against the preconditioner's.
    """

    def __init__(self, cell: Cell, kernel: Kernel, z: Unknown, given: Conditions, matvec=None):
        dtype = given.load.F.dtype
        # A matvec that is handed in, such as a transpose, has one precision.
        inner = dtype if matvec is not None else cell.solver.inner or dtype
        # The norms of a load are not asked for: they cost as much to trace as a residual.
        tangents, fractions, weights = undeformed_medium(cell, kernel, given)
        C0 = tangents @ fractions
        self._kernel, self._solver, self._inner = kernel, linear_solver(cell), inner
        self._precondition = preconditioner(kernel, cast(C0, inner), cast(weights, inner), given.load)
        self._exact = kernel.tangent(z, given, dtype) if matvec is None else matvec
        self._quick = self._exact if inner == dtype else kernel.tangent(z, given, inner)
        self.softest = softest(tangents, C0)
        self.floor = kernel.noise(100 * norm(C0))

    def __call__(self, rhs: Unknown, tolerance, floor=0.0) -> tuple[Unknown, Unknown, Array, Array]:
        """x with |K x - rhs| <= tolerance |rhs| + floor, in passes that gain; NaN where it is missed.

        Returns:
            x, what is left of the right-hand side, whether x is good, and the iterations taken.
        """
        size = norm(rhs)
        rhs = (self._kernel.boundary.balanced(self._kernel.grid, rhs[0]), rhs[1])
        target = tolerance * size + floor
        single = jnp.finfo(self._inner).bits < jnp.finfo(size.dtype).bits

        def going(carry):
            _, _, left, gains, _ = carry
            return (left > target) & gains

        def step(carry):
            x, r, left, _, steps = carry
            eta = 0.7 * target / left
            eta = (jnp.maximum(eta, 1e-4) if single else eta).astype(self._inner)
            dx, report = self._solver(self._quick, cast(scaled(1 / left, r), self._inner), self._precondition, eta)
            x = axpy(left, cast(dx, size.dtype), x)
            r = jax.tree.map(lambda b, k: b - k, rhs, self._exact(x))
            # What has no answer, or is round-off, gains nothing from a second pass.
            return x, r, norm(r), norm(r) < 0.5 * left, steps + report.steps

        count = jnp.zeros_like(size, jnp.int32)
        start = (scaled(jnp.zeros_like(size), rhs), rhs, norm(rhs), jnp.ones_like(size, bool), count)
        x, r, left, _, steps = lax.while_loop(going, step, start)
        good = left <= target
        return jax.tree.map(lambda a: jnp.where(good, a, jnp.nan), x), r, good, steps


def _finite(ok, tree: Tree) -> Tree:
    """The tree with one for every number of a failed member that is none."""
    return jax.tree.map(lambda x: jnp.where(ok | jnp.isfinite(x), x, 1) if eqx.is_inexact_array(x) else x, tree)


def _unloaded(mean: Array, ref: Reference, given: Conditions, tolerance: float) -> Array:
    """True where a phase has no stiffness and nothing is carried of what the softest other phase would carry alone.

    The mean stress of a window without a load path is as large as the residual; its work is quadratic in that, and as round-off
    leaves it may be negative.
    """
    H = given.load.F - undeformed(given.load.F)
    alike = jnp.tensordot(ref.C0, H, H.ndim)
    idle = jnp.sum(mean * H) <= 1e-6 * softest(ref.tangents, ref.C0) * jnp.abs(jnp.sum(alike * H))
    idle &= norm(mean) <= max(1e-6, 10 * tolerance) * norm(alike)
    return jnp.any(_squares(ref.tangents) == 0) & jnp.all(given.load.mask) & (norm(H) > 0) & idle
