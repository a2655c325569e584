"""A fine scale that is always at the minimum of its energy."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from .._model import AbstractEnergy
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, hold
from .._typing import Tree
from ..solve import Newton, dense_solve_symmetric, descent_direction, flatness, implicit, less_energy, norm, root
from ._closed import answer, choose_first, counted, finite


class Relaxed(AbstractScale):
    """The fine unknowns minimize an energy under the load: `Relaxed(energy, start)(load) -> Solution`.

    fine* = argmin energy(fine, load), and the value is `energy.observe(fine*, load)`: by the envelope theorem the slope of the
    relaxed energy in the load.

    The state holds the minimizer, since an energy with several minima remembers which one it is in: the search starts there
    and runs downhill. There is no guess.

    Valid: up to some hundreds of unknowns (the Hessian is dense). Directions that cost no energy (a rigid shift) are left
        alone. Parameters are float leaves of the energy, or what its function closes over.
    Fails: `nonfinite` (the energy or its slope at the start), `nonfinite_input`, `line_search_failed`,
        `nonlinear_max_steps_reached`, `indefinite` (a saddle or a maximum was reached: start elsewhere).

    Attributes:
        energy: `energy(fine, load) -> scalar`.
        start: the first fine unknowns, any tree of float arrays; it fixes their shapes and their dtype.
    """

    energy: AbstractEnergy
    start: Tree
    solver: Newton = Newton()

    def init(self, load, *, key=None):
        del load, key
        return hold(jax.tree.map(jnp.asarray, self.start))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        state = self.init(load) if state is None else state
        begin, unravel = ravel_pytree(hold(state))
        arrays, rest = eqx.partition((self.energy, load), eqx.is_array)

        def energy(x, arrays):
            model, load = eqx.combine(arrays, rest)
            return model(unravel(x), load)

        slope = jax.grad(energy)
        held = hold(arrays)
        x, report, scale = _descend(lambda x: energy(x, held), begin, ravel_pytree(hold(self.start))[0], self.solver)
        x = implicit(slope, dense_solve_symmetric, x, arrays)
        bottom = lax.stop_gradient(x)
        curvature = jnp.linalg.eigvalsh(_no_nan(jax.hessian(lambda x: energy(x, held))(bottom)))
        size = jnp.sqrt(jnp.sum(jnp.square(curvature)))
        bent = curvature[0] < -flatness(x.size, x.dtype) * size
        model, load = eqx.combine(arrays, rest)
        fine = unravel(x)
        value = model.observe(fine, load)
        result = RESULTS.where(bent & (report.result == RESULTS.successful), RESULTS.indefinite, report.result)
        result = choose_first(result, RESULTS.where(finite(value), RESULTS.successful, RESULTS.nonfinite))
        result = RESULTS.where(finite((load, state)), result, RESULTS.nonfinite_input)
        stats = counted(report, scale) | {"energy": energy(bottom, held), "softest": curvature[0]}
        return answer(value, fine, state, None, result, stats)


def _descend(energy, begin, anchor, how):
    """The minimum downhill of `begin`; the slope is measured against the one at `anchor`, which no history changes."""
    slope = jax.grad(energy)

    def residual(x):
        r = slope(x)
        return r, jnp.isfinite(energy(x))

    scale = norm(slope(anchor))
    x, report = root(residual, begin, how, scale=scale, direction=descent_direction, accept=less_energy(energy))
    # No range is known to an energy: a start without a finite one is a number that is none.
    result = RESULTS.where(report.result == RESULTS.out_of_range, RESULTS.nonfinite, report.result)
    return x, eqx.tree_at(lambda r: r.result, report, result), scale


def _no_nan(H):
    """A failed member's tangent, made fit for an eigensolver that would stop at a number that is none."""
    return jnp.where(jnp.isfinite(H), H, 0)
