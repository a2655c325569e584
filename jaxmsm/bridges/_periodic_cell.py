"""The voxel RVE as a scale: an image and its laws, answering a mean deformation with a mean stress."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from .._model import Mixed
from .._results import RESULTS
from .._scale import AbstractScale, Solution, choose, hold
from .._typing import Tree
from ..solids import AbstractLaw, acoustic_eigenvalue
from ..solve import CG, GMRES, NewtonKrylov, Problem, equilibrium, implicit, norm, stationary
from ..space import AbstractBoundary, AbstractRule, Full, Periodic, Voxels
from ._kernel import Conditions, Kernel, Unknown
from ._phases import Medium, cast


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


class PeriodicCell(AbstractScale):
    """A representative volume of voxels: `cell(F) -> Solution` with the mean first Piola stress as value.

    Solves div P(F + grad u) = 0 for the fluctuation u of one multilinear element a voxel, preconditioned by the discrete
    Green operator of a homogeneous medium.

    Valid: any dimension of 2 or 3, any contrast, pores at zero stiffness. In 2D the laws are in plane strain unless wrapped in
        `PlaneStress`. With a law of conduction the load is a mean gradient (d,) and the value the mean response of the law.
    Fails: `out_of_range` (a load that no law admits), `nonfinite`, `nonfinite_input`, `line_search_failed`,
        `nonlinear_max_steps_reached`, `stagnation`, `mechanism` (a stress imposed where there is no stiffness), `indefinite`.
        `no_load_path` comes with the valid answer zero.
    Error: first order in the voxel size at sharp phase boundaries; exact for laminates along the grid.
    Source: Leute et al. 2022, Ladecky et al. 2023 (displacement PCG with the discrete Green operator).

    Attributes:
        image: phase labels, shape (n1, ..., nd); None where `laws` holds one law whose leaves are fields over `grid`.
        laws: one law a label.
        spacing: edge lengths of a voxel; only their ratios matter.
        grid: the number of voxels an axis, where there is no image.
        boundary: `Periodic()`, `LinearDisplacement()` or `UniformTraction()`.
        rule: `Full()`, `Reduced()` or `MeanDilatation()`.
        solver: tolerances, Krylov solver and precision.
        acoustic: `linearize` also reports the smallest eigenvalue of the acoustic tensor.
    """

    image: Int[Array, "..."] | None
    laws: tuple[AbstractLaw, ...]
    spacing: tuple[float, ...] = eqx.field(static=True)
    grid: tuple[int, ...] = eqx.field(static=True)
    boundary: AbstractBoundary
    rule: AbstractRule
    solver: NewtonKrylov
    acoustic: bool = eqx.field(static=True)

    def __init__(
        self,
        image: Any,
        laws: Sequence[AbstractLaw] | AbstractLaw,
        *,
        spacing: Sequence[float] | None = None,
        grid: Sequence[int] | None = None,
        boundary: AbstractBoundary | None = None,
        rule: AbstractRule | None = None,
        solver: NewtonKrylov | None = None,
        acoustic: bool = False,
    ):
        self.laws = (laws,) if isinstance(laws, AbstractLaw) else tuple(laws)
        self.image = None if image is None else _checked(image, len(self.laws))
        self.grid = tuple(grid) if image is None else self.image.shape
        d = len(self.grid)
        if d not in (2, 3) or min(self.grid) < 2:
            raise ValueError(f"Argument `image` must have 2 or 3 axes of at least 2 voxels, but its shape is {self.grid}.")
        if len({law.scalar for law in self.laws}) > 1:
            raise ValueError("Argument `laws` must be all of conduction or all of mechanics, but it mixes them.")
        self.spacing = (1.0,) * d if spacing is None else tuple(float(s) / min(spacing) for s in spacing)
        self.boundary = Periodic() if boundary is None else boundary
        self.rule = Full() if rule is None else rule
        self.solver = NewtonKrylov() if solver is None else solver
        self.acoustic = acoustic

    @property
    def kernel(self) -> Kernel:
        """The equations, without the numbers."""
        small = all(law.small for law in self.laws)
        linear = all(law.linear for law in self.laws)
        voxels = Voxels(tuple(self.grid), self.spacing, self.rule)
        return Kernel(voxels, self.boundary, small, linear, self.laws[0].scalar)

    @property
    def symmetric(self) -> bool:
        """Every law has a symmetric tangent."""
        return all(law.symmetric for law in self.laws)

    def medium(self, dtype) -> Medium:
        """The laws as parameter fields over the voxels."""
        laws = cast(self.laws, dtype)
        if self.image is None:
            return Medium.of_field(laws[0], tuple(self.grid))
        return Medium.of_phases(laws, self.image.reshape(-1))

    def init(self, load, *, key=None):
        del key
        load = _mixed(load)
        kernel = self.kernel
        return self.medium(load.F.dtype).init(kernel.grid.points, kernel.grid.count, load.F.dtype)

    def cold(self, load):
        load = _mixed(load)
        return Guess(*self.kernel.zero(load.F.dtype), jnp.zeros_like(load.F))

    def __call__(self, load, state=None, *, guess=None):
        solution, _, _ = self._solve(load, state, guess)
        return solution

    def linearize(self, load, state=None, *, guess=None):
        """The answer and dP/dF, shape (d, d, d, d), or (d, d) for conduction; for a `Mixed` load, by differentiation.

        The columns are solved to the root of the tolerance and corrected by their residual, which makes the error of a
        symmetric tangent quadratic in theirs.
        """
        if isinstance(load, Mixed):
            return AbstractScale.linearize(self, load, state, guess=guess)
        solution, z, given = self._solve(load, state, guess)
        slope, columns, steps, converged = _slope(self, z, given)
        ok = solution.ok & converged
        slope = jnp.where(ok, slope, jnp.nan)
        result = RESULTS.where(solution.ok & ~converged, RESULTS.stagnation, solution.result)
        stats = solution.stats | {"linear": solution.stats["linear"] + steps, "cost": solution.stats["cost"] + steps}
        if self.acoustic:
            stats["acoustic"] = acoustic_eigenvalue(slope)
        guess = eqx.tree_at(lambda g: g.columns, solution.guess, hold(columns), is_leaf=lambda x: x is None)
        return Solution(solution.value, solution.state, guess, result, stats), slope

    def _solve(self, load, state, guess):
        kernel = self.kernel
        mixed = _mixed(load)
        dtype = mixed.F.dtype
        state = self.init(mixed) if state is None else state
        medium = self.medium(dtype)
        given = Conditions(medium, mixed, state)
        z, report, C0 = _search(self, kernel, hold(given), hold(guess))
        z, report = hold(z), hold(report)
        ok = report.result == RESULTS.successful
        # A member that failed is differentiated at the undeformed state, where everything is finite, and then masked.
        safe = Conditions(
            _finite(ok, medium),
            Mixed(_undeformed(ok, mixed.F), jnp.where(ok, mixed.P, 0), mixed.mask | ~ok),
            choose(ok, state, medium.init(kernel.grid.points, kernel.grid.count, dtype)),
        )
        z = choose(ok, z, kernel.zero(dtype))
        z = implicit(kernel.residual, _adjoint(self, kernel), z, safe, symmetric=self.symmetric)
        P, following, _, F = kernel.respond(z, safe)
        mean = kernel.grid.mean(P)
        residual = kernel.balance(P, safe.load)
        result = _loaded(report.result, mean, safe)
        stats = {
            "newton": report.newton,
            "linear": report.linear,
            "cost": report.newton + report.linear,
            "deformation": jnp.where(ok, kernel.mean(z, safe.load), jnp.nan),
            **hold(_consistency(kernel, P, F, mean, residual, C0, safe, report, ok)),
        }
        new = Guess(*hold(z), hold(safe.load.F))
        value = jnp.where(ok, mean, jnp.nan)
        return Solution(value, choose(ok, following, state), new, result, stats), z, safe


def _checked(image, laws: int) -> Int[Array, "..."]:
    image = image if isinstance(image, jax.Array) else np.asarray(image)
    if not np.issubdtype(image.dtype, np.integer):
        raise ValueError(f"Argument `image` must hold integer phase labels, but its dtype is {image.dtype}. Segment it first.")
    if not isinstance(image, jax.core.Tracer):
        low, high = int(np.min(image)), int(np.max(image))
        if low < 0 or high >= laws:
            raise ValueError(f"Argument `image` must hold labels 0 to {laws - 1} (one law each), but it holds {low} to {high}.")
    return jnp.asarray(image, jnp.int32)


def _mixed(load) -> Mixed:
    if isinstance(load, Mixed):
        F = jnp.asarray(load.F)
        return Mixed(F, jnp.asarray(load.P, F.dtype), jnp.asarray(load.mask))
    F = jnp.asarray(load)
    if not jnp.issubdtype(F.dtype, jnp.inexact):
        F = F.astype(jnp.result_type(float))
    return Mixed(F, jnp.zeros_like(F), jnp.ones(F.shape, bool))


def _undeformed(ok, F):
    return jnp.where(ok, F, jnp.eye(F.shape[0], dtype=F.dtype) if F.ndim == 2 else jnp.zeros_like(F))


def _finite(ok, tree):
    """The tree with one for every number of a failed member that is none."""
    return jax.tree.map(
        lambda x: jnp.where(ok | jnp.isfinite(x), x, 1) if eqx.is_inexact_array(x) else x, tree
    )


def _linear_solver(cell: PeriodicCell):
    if cell.solver.linear is not None:
        return cell.solver.linear
    return CG() if cell.symmetric else GMRES()


def _search(cell: PeriodicCell, kernel: Kernel, given: Conditions, guess: Guess | None):
    """Equilibrium without derivatives, from the guess where it is admissible and from no fluctuation elsewhere."""
    dtype = given.load.F.dtype
    inner = cell.solver.inner or dtype
    C0 = kernel.reference(given)
    scale, floor = kernel.norms(given)
    cold = kernel.zero(dtype)
    start = cold
    if guess is not None:
        warm = guess.start(given.load.F)
        good = kernel.respond(warm, given)[2] & jnp.isfinite(norm(warm))
        start = choose(good, warm, cold)

    def residual(z):
        P, _, admissible, _ = kernel.respond(z, given)
        return kernel.balance(P, given.load), admissible

    if kernel.linear:
        stiffness = kernel.stiffness(cast(given, inner))
        operator = lambda z, dtype: stiffness  # noqa: E731
    else:
        operator = lambda z, dtype: kernel.tangent(z, given, dtype)  # noqa: E731
    problem = Problem(
        residual, operator, kernel.precondition(C0.astype(inner), given.load.mask), scale, floor, kernel.linear
    )
    how = eqx.tree_at(lambda s: s.linear, cell.solver, _linear_solver(cell), is_leaf=lambda x: x is None)
    z, report = equilibrium(problem, start, how)
    finite = jnp.all(jnp.isfinite(given.load.F)) & jnp.all(jnp.isfinite(given.load.P))
    result = RESULTS.where(finite, report.result, RESULTS.nonfinite_input)
    return z, eqx.tree_at(lambda r: r.result, report, result), C0


def _adjoint(cell: PeriodicCell, kernel: Kernel):
    """The linear solve of derivatives: to the tolerance of the cell, NaN where its recomputed residual misses it."""
    solver = _linear_solver(cell)

    def solve(matvec, rhs, z, given):
        del z
        dtype = given.load.F.dtype
        tolerance = cell.solver.tolerance(dtype)
        precondition = kernel.precondition(kernel.reference(given), given.load.mask)
        return _refined(solver, matvec, rhs, precondition, tolerance)[0]

    return solve


def _refined(solver, matvec, rhs, precondition, tolerance):
    """x with |matvec(x) - rhs| <= tolerance |rhs|, in up to three passes; NaN and False where it is missed."""
    size = norm(rhs)
    target = tolerance * size

    def going(carry):
        _, _, left, tries, _ = carry
        return (left > target) & (tries < 3)

    def step(carry):
        x, r, left, tries, steps = carry
        dx, report = solver(matvec, jax.tree.map(lambda y: y / left, r), precondition, 0.5 * target / left)
        x = jax.tree.map(lambda a, b: a + left * b, x, dx)
        r = jax.tree.map(lambda b, k: b - k, rhs, matvec(x))
        return x, r, norm(r), tries + 1, steps + report.steps

    zero = jax.tree.map(lambda b: 0 * b, rhs)
    count = jnp.zeros_like(size, jnp.int32)
    x, _, left, _, steps = lax.while_loop(going, step, (zero, rhs, size, count, count))
    # An exact zero, or a residual at the round-off of a vanishing right-hand side, is as good as it gets.
    good = left <= target
    return jax.tree.map(lambda a: jnp.where(good, a, jnp.nan), x), good, steps


def _loaded(result: RESULTS, mean, given: Conditions) -> RESULTS:
    """`no_load_path` where an answer vanishes against what the phases would carry if they deformed alike."""
    affine = jnp.broadcast_to(given.load.F[..., None, None], (*given.load.F.shape, 1, given.medium.count or 1))
    virgin = given.medium.init(1, affine.shape[-1], affine.dtype)
    would = jnp.sqrt(jnp.sum(jnp.square(jnp.mean(given.medium(affine, virgin)[0], (-1, -2)))))
    nothing = (jnp.sqrt(jnp.sum(jnp.square(mean))) <= 1e-6 * would) & (would > 0) & jnp.all(given.load.mask)
    return RESULTS.where(nothing & (result == RESULTS.successful), RESULTS.no_load_path, result)


def _consistency(kernel, P, F, mean, residual, C0, given, report, ok):
    """Recomputed residual, the bound on the energy error that it implies, and the Hill-Mandel defect."""
    eye = _undeformed(jnp.asarray(False), given.load.F)
    axes = tuple(range(given.load.F.ndim))
    H = F - eye[..., None, None]
    work = kernel.grid.mean(jnp.sum(P * H, axes))
    outer = jnp.sum(mean * (kernel.grid.mean(F) - eye))
    size = kernel.grid.mean(jnp.sqrt(jnp.sum(P * P, axes) * jnp.sum(H * H, axes)))
    scale, _ = kernel.norms(given)
    raw = kernel.precondition(C0, given.load.mask)(residual)
    error = 0.5 * jnp.sum(raw[0] * residual[0]) + 0.5 * jnp.sum(raw[1] * residual[1])
    softest = given.medium.softest(C0)
    nan = jnp.asarray(jnp.nan, mean.dtype)
    relative = norm(residual) / jnp.where(scale > 0, scale, 1)
    return {
        "residual": jnp.where(ok, relative, report.residual / jnp.where(scale > 0, scale, 1)),
        "energy_error": jnp.where(ok, error / softest, nan),
        "hill_mandel": jnp.where(ok, jnp.abs(work - outer) / jnp.where(size > 0, size, 1), nan),
    }


def _slope(cell: PeriodicCell, z: Unknown, given: Conditions):
    """The consistent tangent, the columns dz/dF, the iterations they took, and whether all of them converged."""
    kernel = cell.kernel
    load = given.load.F
    basis = jnp.asarray(_directions(load.shape, kernel.small), load.dtype)
    tolerance = cell.solver.tolerance(load.dtype)
    # The correction squares the error of the columns; a tangent that is not symmetric has none.
    column_tolerance = max(0.1 * tolerance**0.5, tolerance) if cell.symmetric else tolerance
    solver = _linear_solver(cell)

    def forces(column, direction, params):
        """Residual and mean stress of a change of load with the unknowns following by `column`."""
        z, given = params

        def both(z, F):
            here = eqx.tree_at(lambda g: g.load.F, given, F)
            P, _, _, _ = kernel.respond(z, here)
            return kernel.balance(P, here.load), kernel.grid.mean(P)

        return jax.jvp(both, (z, given.load.F), (column, direction))[1]

    def residuals(columns, params):
        return lax.map(lambda args: forces(*args, params)[0], (columns, basis))

    def solve(columns, params):
        z, given = params
        matvec = kernel.tangent(z, given, load.dtype)
        precondition = kernel.precondition(kernel.reference(given), given.load.mask)
        zero = kernel.zero(load.dtype)

        def one(direction):
            rhs = jax.tree.map(lambda r: -r, forces(zero, direction, params)[0])
            # A homogeneous medium leaves round-off alone to solve for, which is no system to be solved.
            quiet = norm(rhs) <= 1e-13 * 0
            del quiet
            return _refined(solver, matvec, rhs, precondition, column_tolerance)

        del columns
        return lax.map(one, basis)

    params = (z, given)
    columns, good, steps = solve(None, hold(params))
    converged = jnp.all(good)
    columns = jax.tree.map(lambda x: jnp.where(converged, x, 0), columns)

    def energy(columns, params):
        def column(args):
            x, direction = args
            force, stress = forces(x, direction, params)
            inner = jax.vmap(lambda y, t: sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), y, force))) + jnp.sum(t * stress))
            return inner(columns, basis)

        return lax.map(column, (columns, basis)).T

    def stress(columns, params):
        return lax.map(lambda args: jnp.tensordot(basis, forces(*args, params)[1], load.ndim), (columns, basis)).T

    def stacked(matvec, rhs, columns, params):
        del columns
        precondition = kernel.precondition(kernel.reference(params[1]), params[1].load.mask)
        return _refined(solver, matvec, rhs, jax.vmap(precondition), tolerance)[0]

    if cell.symmetric:
        matrix = stationary(energy, residuals, stacked, columns, params)
    else:
        matrix = stress(implicit(residuals, stacked, columns, params), params)
    slope = jnp.einsum("r...,rs,s...->...", basis, matrix, basis) if load.ndim == 1 else None
    flat = basis.reshape(len(basis), -1)
    slope = (flat.T @ matrix @ flat).reshape(*load.shape, *load.shape)
    spread = jax.tree.map(lambda x: jnp.tensordot(flat.T, x, 1).reshape(*load.shape, *x.shape[1:]), columns)
    return slope, spread, jnp.sum(steps), converged


def _directions(shape: tuple[int, ...], small: bool) -> np.ndarray:
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
