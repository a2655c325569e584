"""A fine scale that is always at rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from .._model import AbstractRate
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, hold
from .._typing import Tree
from ..solve import Newton, dense_solve, implicit, norm, root
from ._closed import answer, choose_first, counted, finite


class Steady(AbstractScale):
    """The fine unknowns are where their rate vanishes: `Steady(rate, start)(load) -> Solution`.

    rate(t, fine*, load) = 0, and the value is `rate.observe(fine*, load)`, by default fine* itself.

    The state holds the steady point, since a rate with several of them (a toggle switch) remembers which one it is in: the
    search starts there. There is no guess. The search is a damped Newton iteration; it finds a nearby point of rest, which
    need not be the one that the flow would reach, nor stable: ask for `stability`.

    Valid: up to some hundreds of unknowns (the tangent is dense), and a rate without conserved quantities, whose tangent is
        singular: eliminate them first. Parameters are float leaves of the rate, or what its function closes over.
    Fails: `nonfinite`, `nonfinite_input`, `singular` (a conserved quantity, or a fold), `line_search_failed`,
        `nonlinear_max_steps_reached`.

    Attributes:
        rate: `rate(t, fine, load) -> d fine / dt`.
        start: the first fine unknowns, any tree of float arrays; it fixes their shapes and their dtype.
        t: the time at which the rate is taken.
        stability: also report `stats["growth"]`, the largest real part of the tangent's eigenvalues (negative: stable). The
            eigenvalues of a matrix without symmetry are computed on a CPU only and do not export for `cuda`.
    """

    rate: AbstractRate
    start: Tree
    t: float = 0.0
    stability: bool = eqx.field(static=True, default=False)
    solver: Newton = Newton()

    def init(self, load, *, key=None):
        del load, key
        return hold(jax.tree.map(jnp.asarray, self.start))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        del guess
        state = self.init(load) if state is None else state
        begin, unravel = ravel_pytree(hold(state))
        t = jnp.asarray(self.t, begin.dtype)
        arrays, rest = eqx.partition((self.rate, t, load), eqx.is_array)

        def rate(x, arrays):
            model, t, load = eqx.combine(arrays, rest)
            return ravel_pytree(model(t, unravel(x), load))[0]

        def residual(x):
            r = rate(x, hold(arrays))
            return r, jnp.ones_like(r[0], bool)

        scale = norm(residual(ravel_pytree(hold(self.start))[0])[0])
        x, report = root(residual, begin, self.solver, scale=scale)
        x = implicit(rate, dense_solve, x, arrays)
        model, _, load = eqx.combine(arrays, rest)
        fine = unravel(x)
        value = model.observe(fine, load)
        result = choose_first(report.result, RESULTS.where(finite(value), RESULTS.successful, RESULTS.nonfinite))
        result = RESULTS.where(finite((load, state)), result, RESULTS.nonfinite_input)
        stats = counted(report, scale)
        if self.stability:
            tangent = jax.jacfwd(lambda x: rate(x, hold(arrays)))(lax.stop_gradient(x))
            stats["growth"] = jnp.max(jnp.real(jnp.linalg.eigvals(tangent)))
        return answer(value, fine, state, None, result, stats)
