"""A formula as a scale, and a scale as a formula."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._model import Mixed, Span
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, Solution, choose, hold
from .._typing import Tree
from ..solids import AbstractLaw, cast, known
from ..solve import Newton, Report, dense_solve, implicit, less_residual, less_work, norm, root
from ._load import checked_load, in_step, load_shapes, split_time


class Closed(AbstractScale):
    """A law as a scale: `Closed(law)(F) -> Solution` with the first Piola stress as value, and its history as state.

    The load is a deformation gradient (d, d), or a gradient (d,) for a law of conduction, or `Mixed`, whose free components
    are found so that the stresses imposed are met; `stats["deformation"]` holds them. A `Span` around any of them tells a timed
    law how long the step is.

    Fails: `out_of_range` (the law does not admit the load), `law_failed` (its answer is not finite), `nonfinite_input`; with
        `Mixed` also `mechanism` (no stiffness against an imposed stress), `line_search_failed`, `singular`,
        `nonlinear_max_steps_reached`.
    """

    law: AbstractLaw
    solver: Newton = Newton()

    @property
    def symmetric(self) -> bool:
        """The law has a symmetric tangent."""
        return self.law.symmetric

    @property
    def timed(self) -> bool:
        """Loads must be a `Span`."""
        return self.law.timed

    def init(self, load, *, key=None):
        del key
        dtype = load_dtype(self._checked(load))
        return jax.tree.map(jnp.asarray, cast(self.law.init(), dtype))

    def cold(self, load):
        load = self._checked(load)
        return jnp.zeros_like(load.F) if isinstance(load, Mixed) else None

    def _checked(self, load: Tree) -> Tree:
        return checked_load(split_time(load)[0], load_shapes(None, self.law.scalar))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        (law,) = in_step((self.law,), split_time(load)[1])
        load = self._checked(load)
        state = self.init(load) if state is None else state
        law = cast(law, load_dtype(load))
        if isinstance(load, Mixed):
            return self._controlled(law, load, state, guess)
        P, following, admissible = law.answer(load, state)
        result = judged(admissible, (load, state), law, (P, following))
        return answer(P, following, state, None, result, uncounted(P.dtype) | {"deformation": load})

    def _controlled(self, law, load, state, guess):
        arrays, rest = eqx.partition((law, load, state), eqx.is_array)

        def respond(z, arrays):
            law, load, state = eqx.combine(arrays, rest)
            F = load.F + free(z.reshape(load.F.shape), load.mask)
            return F, *law.answer(F, state)

        def residual(z, arrays):
            load = eqx.combine(arrays, rest)[1]
            return balance(z.reshape(load.F.shape), respond(z, arrays)[1], load).reshape(-1)

        z, report, scale = self._find(respond, residual, hold(arrays), hold(load), hold(guess))
        z = implicit(residual, dense_solve, z, arrays)
        F, P, following, admissible = respond(z, arrays)
        result = choose_first(report.result, judged(admissible, (load, state), law, (P, following)))
        held = hold(arrays)
        K, A = jax.jacfwd(lambda z: (residual(z, held), respond(z, held)[1]))(lax.stop_gradient(z))
        result = RESULTS.where(loose(K, norm(A), load.mask) & speaks(result), RESULTS.mechanism, result)
        stats = counted(report, scale) | {"deformation": F}
        return answer(P, following, state, lax.stop_gradient(z).reshape(load.F.shape), result, stats)

    def _find(self, respond, residual, arrays, load, guess):
        def both(z):
            return residual(z, arrays), respond(z, arrays)[3]

        cold = jnp.zeros(load.F.size, load.F.dtype)
        start = cold if guess is None else warm(both, guess.reshape(-1), cold)
        scale = norm(respond(cold, arrays)[1]) + norm(load.P)
        accept = less_work(lambda r: r) if self.law.symmetric else less_residual
        return *root(both, start, self.solver, scale=scale, magnitude=norm(load.F), accept=accept), scale


class AsLaw(AbstractLaw):
    """A scale as a law, so that scales nest: a laminate of laminates, a body of cells.

    One evaluation is one solve. Of a solution the value, the state and whether it is valid survive: every failure inside is
    `out_of_range` outside. Codes, stats and guesses do not; each evaluation starts from a cold guess.

    Attributes:
        scale: any scale whose loads are deformation gradients (or gradients, for conduction).
        rest: the undeformed load, whose shape and dtype the history follows.
        dt: the length of a step (`during`), where the scale asks for one.
    """

    scale: AbstractScale
    rest: Float[Array, "..."]
    dt: Float[Array, "..."] | None = eqx.field(default=None, kw_only=True)

    @property
    def timed(self) -> bool:
        """As the scale says; one that does not say is taken for one without times."""
        return bool(getattr(self.scale, "timed", False))

    @property
    def symmetric(self) -> bool:
        """As the scale says; one that does not say is taken for one without a potential."""
        # The history that one sub-step hands to the next depends on the load, and that dependence has no potential.
        return bool(getattr(self.scale, "symmetric", False)) and getattr(self.scale, "substeps", 1) == 1

    @property
    def scalar(self) -> bool:
        """The load is a gradient."""
        return self.rest.ndim == 1

    @full_precision
    def __call__(self, F, past):
        return self.answer(F, past)[:2]

    def init(self):
        return self.scale.init(self.rest)

    def admissible(self, F, past):
        return self.answer(F, past)[2]

    def answer(self, F, past):
        solution = self.scale(F if self.dt is None else Span(jnp.zeros_like(self.dt), self.dt, F), past)
        return solution.value, solution.state, solution.ok


def load_dtype(load: Tree):
    """The dtype in which a checked load is answered."""
    return (load.F if isinstance(load, Mixed) else load).dtype


def finite(tree: Tree) -> Bool[Array, ""]:
    """True where every number of the tree is finite."""
    numbers = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree) if eqx.is_inexact_array(x)]
    return jnp.all(jnp.stack(numbers)) if numbers else jnp.asarray(True)


def judged(admissible: Array, given: Tree, laws: Tree, answered: Tree) -> RESULTS:
    """The code of what laws answer to what is given, a load and a state."""
    result = RESULTS.where(finite(answered), RESULTS.successful, RESULTS.law_failed)
    result = RESULTS.where(admissible, result, RESULTS.out_of_range)
    return RESULTS.where(finite(given) & known(laws), result, RESULTS.nonfinite_input)


def speaks(result: RESULTS) -> Bool[Array, ""]:
    """True where a missing stiffness is worth telling: the load itself was in order."""
    return (result != RESULTS.out_of_range) & (result != RESULTS.nonfinite_input)


def choose_first(first: RESULTS, second: RESULTS) -> RESULTS:
    """The first code where it is a failure, else the second; a load that is no number comes before both."""
    result = RESULTS.where(first == RESULTS.successful, second, first)
    return RESULTS.where(second == RESULTS.nonfinite_input, second, result)


def answer(value: Tree, following: Tree, state: Tree, guess: Tree, result: RESULTS, stats: dict) -> Solution:
    """The solution of one member: a failed one commits nothing and its value is not a number."""
    ok = result == RESULTS.successful
    value = jax.tree.map(lambda v: jnp.where(ok, v, jnp.nan), value)
    return Solution(value, choose(ok, following, state), guess, result, hold(stats))


def counted(report: Report, scale: Float[Array, ""]) -> dict:
    """The reserved figures of a search; the residual as a fraction of the scale that it was measured against."""
    residual = report.residual / jnp.where(scale > 0, scale, 1)
    return {"newton": report.newton, "linear": report.linear, "cost": report.newton, "residual": residual}


def uncounted(dtype) -> dict:
    """The reserved figures of what searches nothing."""
    zero = jnp.zeros((), jnp.int32)
    return {"newton": zero, "linear": zero, "cost": zero, "residual": jnp.zeros((), dtype)}


def warm(residual, guess: Float[Array, " n"], cold: Float[Array, " n"]) -> Float[Array, " n"]:
    """The guess where it is admissible, else the cold start."""
    r, admissible = residual(guess)
    return jnp.where(admissible & jnp.isfinite(norm(r)), guess, cold)


def free(z: Float[Array, "d d"], mask: Bool[Array, "d d"]) -> Float[Array, "d d"]:
    """The change of deformation that a mixed load leaves free; where both off-diagonal components are, a symmetric one."""
    both = ~mask & ~mask.T
    return jnp.where(both, 0.5 * (z + z.T), jnp.where(mask, 0, z))


def balance(z: Float[Array, "d d"], P: Float[Array, "d d"], load: Mixed) -> Float[Array, "d d"]:
    """The stress that is missing in the free components; elsewhere, what keeps the unknowns determinate."""
    return free(P - load.P, load.mask) + z - free(z, load.mask)


def loose(K: Float[Array, "n n"], size: Float[Array, ""], mask: Bool[Array, "d d"]) -> Bool[Array, ""]:
    """True where a change that the mixed load leaves free meets no stiffness.

    Args:
        K: slope of `balance` in z, on (d, d) flattened.
        size: norm of a stiffness to measure it against.
    """
    d = mask.shape[0]
    units = jnp.eye(d * d, dtype=K.dtype).reshape(-1, d, d)
    kept = jnp.eye(d * d, dtype=K.dtype) - jax.vmap(lambda z: free(z, mask))(units).reshape(d * d, d * d)
    stiffness = jnp.linalg.svd(K + (size - 1) * kept, compute_uv=False)
    return (stiffness[-1] <= float(jnp.finfo(K.dtype).eps) ** 0.5 * size) & ~jnp.all(mask)
