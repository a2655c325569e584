"""The voxel RVE as a scale: an image and its laws, answering a mean deformation with a mean stress."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._model import Mixed, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, Solution, hold
from .._typing import Tree
from ..solids import AbstractLaw, Medium, acoustic_eigenvalue, cast, parts, whole
from ..solve import NewtonKrylov
from ..space import AbstractBoundary, AbstractRule, Full, Periodic, Voxels, merge_voxels
from ._cell_solve import Guess, as_mixed, virgin
from ._cell_tangent import consistent_tangent
from ._kernel import Kernel
from ._load import checked_load, split_time
from ._precondition import AbstractPreconditioner, Automatic
from ._substeps import solve


class PeriodicCell(AbstractScale):
    """A representative volume of voxels: `cell(F) -> Solution` with the mean first Piola stress as value.

    Solves div P(F + grad u) = 0 for the fluctuation u of one multilinear element a voxel, preconditioned by the discrete
    Green operator of a homogeneous medium.

    Valid: any dimension of 2 or 3, any contrast, pores at zero stiffness. In 2D the laws are in plane strain unless wrapped in
        `PlaneStress`. With a law of conduction the load is a mean gradient (d,) and the value the mean response of the law. A
        `Span` around a load tells timed laws how long the step is; sub-steps divide it in proportion.
    Fails: `out_of_range` (a load that no law admits), `nonfinite`, `nonfinite_input`, `line_search_failed`,
        `nonlinear_max_steps_reached`, `stagnation`, `mechanism` (a stress imposed where there is no stiffness), `indefinite`.
        `no_load_path` comes with the valid answer zero.
    Error: first order in the voxel size at sharp phase boundaries; with periodic faces, none for layers along the grid.
    Source: Leute et al. 2022, Ladecky et al. 2023 (displacement PCG with the discrete Green operator).

    Attributes:
        image: phase labels, shape (n1, ..., nd), or a mask (labels 0 and 1); None where `laws` holds one law whose leaves are
            fields over `grid`.
        laws: one law a label.
        spacing: edge lengths of a voxel; only their ratios matter.
        grid: the number of voxels an axis, where there is no image.
        boundary: `Periodic()`, `LinearDisplacement()` or `UniformTraction()`.
        rule: `Full()`, `Reduced()` or `MeanDilatation()`.
        solver: tolerances, Krylov solver and precision.
        preconditioner: `Green()`, `GreenJacobi()` or `Automatic()`.
        substeps: the most sub-steps of one load step. With more than one, a step that fails is cut in halves and grows again;
            the state then also holds the load it belongs to.
        acoustic: `linearize` also reports the smallest eigenvalue of the acoustic tensor, `stats["acoustic"]`.
    """

    image: Int[Array, "..."] | None
    laws: tuple[AbstractLaw, ...]
    spacing: tuple[float, ...] = eqx.field(static=True)
    grid: tuple[int, ...] = eqx.field(static=True)
    boundary: AbstractBoundary
    rule: AbstractRule
    solver: NewtonKrylov
    preconditioner: AbstractPreconditioner
    substeps: int = eqx.field(static=True)
    acoustic: bool = eqx.field(static=True)
    slack: Float[Array, ""] | None

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
        preconditioner: AbstractPreconditioner | None = None,
        substeps: int = 1,
        acoustic: bool = False,
    ):
        self.laws = (laws,) if isinstance(laws, AbstractLaw) else tuple(laws)
        if image is None and grid is None:
            raise ValueError("Argument `grid` must hold the number of voxels an axis where there is no image, but it is None.")
        if image is not None and grid is not None:
            raise ValueError("Argument `grid` must be left out where there is an image, whose shape it is.")
        if image is None and len(self.laws) > 1:
            raise ValueError(f"Argument `laws` must be one law of fields where there is no image, but it holds {len(self.laws)}.")
        if substeps < 1:
            raise ValueError(f"Argument `substeps` must be at least 1, but it is {substeps}.")
        self.image = None if image is None else _labels(image, len(self.laws))
        self.grid = tuple(grid or ()) if self.image is None else self.image.shape
        d = len(self.grid)
        if d not in (2, 3) or min(self.grid) < 2:
            raise ValueError(f"Argument `image` must have 2 or 3 axes of at least 2 voxels, but its shape is {self.grid}.")
        if spacing is not None and (len(spacing) != d or not min(spacing) > 0):
            raise ValueError(f"Argument `spacing` must hold {d} positive lengths, one an axis, but it is {tuple(spacing)}.")
        if len({law.scalar for law in self.laws}) > 1:
            raise ValueError("Argument `laws` must be all of conduction or all of mechanics, but it mixes them.")
        self.spacing = (1.0,) * d if spacing is None else tuple(float(s) / min(spacing) for s in spacing)
        self.boundary = Periodic() if boundary is None else boundary
        self.rule = Full() if rule is None else rule
        self.solver = NewtonKrylov() if solver is None else solver
        self.preconditioner = Automatic() if preconditioner is None else preconditioner
        self.substeps = substeps
        self.acoustic = acoustic
        self.slack = None

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

    @property
    def timed(self) -> bool:
        """Loads must be a `Span`."""
        return any(law.timed for law in self.laws)

    def medium(self, dtype) -> Medium:
        """The laws as parameter fields over the voxels."""
        laws = cast(self.laws, dtype)
        if self.image is None:
            return Medium.of_field(laws[0], tuple(self.grid))
        return Medium.of_phases(laws, self.image.reshape(-1))

    def init(self, load, *, key=None):
        del key
        return virgin(self, as_mixed(self._checked(load)))

    def cold(self, load, *, columns: bool = False):
        load = as_mixed(self._checked(load))
        u, e = self.kernel.zero(load.F.dtype)
        like = lambda x: jnp.zeros((*load.F.shape, *x.shape), x.dtype)
        return Guess(u, e, load.F, (like(u), like(e)) if columns else None)

    def primed(self, load):
        return self.cold(load, columns=True)

    def with_slack(self, slack):
        return eqx.tree_at(lambda cell: cell.slack, self, slack, is_leaf=lambda x: x is None)

    def _checked(self, load: Tree) -> Tree:
        return checked_load(split_time(load)[0], (self.kernel.load_shape,))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        return self._solve(load, state, guess)[0]

    def _solve(self, load, state, guess):
        return solve(self, self._checked(load), state, guess, split_time(load)[1])

    @full_precision
    def linearize(self, load, state=None, *, guess=None):
        """The answer and dP/dF, shape (d, d, d, d), or (d, d) for conduction; for a `Mixed` load, by differentiation.

        The columns are solved to the root of the tolerance and corrected by their residual, which makes the error of a
        symmetric tangent quadratic in theirs. The guess returned holds the columns, unless one without came in (a guess keeps
        its tree; `primed(load)` is one with): the next solve starts from a first-order prediction and the next columns from
        these. While nothing flows and the laws are those of small strain both are found as they are, by their residuals, and
        nothing is solved. Of a `Span` the slope is one, with the slopes in the times by one more solve.
        """
        whole, (load, dt) = load, split_time(load)
        load = self._checked(load)
        if isinstance(load, Mixed) and self.acoustic and not self.kernel.scalar:
            raise ValueError("Argument `load` must be a deformation where `acoustic` is asked for, but it is `Mixed`.")
        if isinstance(load, Mixed) or self.substeps > 1:
            return self._with_acoustic(*AbstractScale.linearize(self, whole, state, guess=guess))

        def answered(dt):
            solution, z, given = solve(self, load, state, guess, dt)
            return solution.value, (solution, z, given)

        if dt is None:
            solution, z, given = answered(None)[1]
        else:
            _, rate, (solution, z, given) = jax.jvp(answered, (dt,), (jnp.ones_like(dt),), has_aux=True)
        slope, columns, steps, converged = consistent_tangent(self, z, given, None if guess is None else guess.columns)
        ok = solution.ok & converged
        slope = jnp.where(ok, slope, jnp.nan)
        result = RESULTS.where(solution.ok & ~converged, RESULTS.stagnation, solution.result)
        stats = solution.stats | {"linear": solution.stats["linear"] + steps, "cost": solution.stats["cost"] + steps}
        found = solution.guess
        if guess is None or guess.columns is not None:
            found = Guess(found.u, found.e, found.load, hold(columns))
        slope = slope if dt is None else Span(*jnp.where(ok, jnp.stack([-rate, rate]), jnp.nan), slope)
        return self._with_acoustic(Solution(solution.value, solution.state, found, result, stats), slope)

    def _with_acoustic(self, solution, slope):
        """The solution with the smallest eigenvalue of the acoustic tensor, where that is asked for, and the slope."""
        if not self.acoustic or self.kernel.scalar:
            return solution, slope
        tangent = slope.drive if isinstance(slope, Span) else slope
        stats = solution.stats | {"acoustic": acoustic_eigenvalue(hold(tangent))}
        return eqx.tree_at(lambda s: s.stats, solution, stats), slope

    def fields(self, load, state=None, *, guess=None) -> dict[str, Array]:
        """The fields of the answer, voxel averages: `F` and `P` of shape (*load, *grid), `u` the fluctuation on all corners."""
        solution, z, given = self._solve(load, state, guess)
        kernel = self.kernel
        outer = kernel.mean(z, given.load)
        still = parts(jnp.zeros_like(outer))
        local = kernel.evaluate(z[0], outer, given, lambda x: (x.displaced(still)[0], x.P[0]))[2]
        mean = jax.tree.map(lambda x: jnp.where(solution.ok, jnp.mean(x, -2), jnp.nan), merge_voxels(local))
        F, P = (whole(x).reshape(*given.load.F.shape, *self.grid) for x in mean)
        return {"F": F, "P": P, "u": jnp.where(solution.ok, kernel.boundary.expand(z[0]), jnp.nan)}


def _labels(image, laws: int) -> Int[Array, "..."]:
    image = image if isinstance(image, jax.Array) else np.asarray(image)
    if not (np.issubdtype(image.dtype, np.integer) or image.dtype == bool):
        raise ValueError(f"Argument `image` must hold integer phase labels, but its dtype is {image.dtype}. Segment it first.")
    if not isinstance(image, jax.core.Tracer):
        # As numpy, which stays concrete inside a jitted function.
        low, high = int(np.asarray(image).min()), int(np.asarray(image).max())
        if low < 0 or high >= laws:
            raise ValueError(f"Argument `image` must hold labels 0 to {laws - 1} (one law each), but it holds {low} to {high}.")
    return jnp.asarray(image, jnp.int32)
