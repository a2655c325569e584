"""Noise along flows: Wiener processes that adaptive steps may ask at any time."""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from .._model import AbstractNoisyRate, AbstractRate, Span
from .._typing import Tree

ADDITIVE = (diffrax.SEA, diffrax.ShARK, diffrax.SRA1)
"""Solvers that want the noise as a matrix, once a step."""
MATRIX = (diffrax.ItoMilstein, diffrax.StratonovichMilstein)
"""Solvers that want a matrix for every leaf."""
AREAS = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
"""What may be known of a path within a step, the least first."""


class Noisy(NamedTuple):
    """The fine unknowns, and the key of the noise to come."""

    fine: Any
    key: Array


def fine_of(state: Tree) -> Tree:
    """The fine unknowns of a state, with or without a key."""
    return state.fine if isinstance(state, Noisy) else state


def begun(rate: AbstractRate, start: Tree, key: PRNGKeyArray | None) -> Tree:
    """The first state of a rate: its unknowns, and the key where it has noise."""
    fine = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), start)
    if not isinstance(rate, AbstractNoisyRate):
        return fine
    return Noisy(fine, jax.random.key_data(jax.random.key(0) if key is None else key))


def parted(key: Array) -> tuple[PRNGKeyArray, Array]:
    """The key of the noise of this span, and what the state keeps for the next."""
    now, later = jax.random.split(jax.random.wrap_key_data(key))
    return now, jax.random.key_data(later)


def wrapped(solver: Any) -> Any:
    """The solver that takes the steps, where another one halves them."""
    return getattr(solver, "solver", solver)


def refuse_noise(rate: AbstractRate, what: str) -> None:
    """Raise where a rate has noise and cannot."""
    if isinstance(rate, AbstractNoisyRate):
        raise TypeError(
            f"{what} takes a flow without noise, but the rate is a {type(rate).__name__}; the times of events along noisy paths "
            "are `Stepped(..., watch=(Crossing(...),))`."
        )


def check_solver(rate: AbstractRate, solver: Any) -> None:
    """Raise where a solver does not solve what the rate asks for."""
    if not isinstance(rate, AbstractNoisyRate):
        return
    inner = wrapped(solver)
    if isinstance(inner, MATRIX) or not isinstance(inner, diffrax.AbstractItoSolver | diffrax.AbstractStratonovichSolver):
        raise TypeError(
            f"Argument `solver` must be one for noise, `diffrax.SPaRK()` (Stratonovich, adaptive), `diffrax.ShARK()` (noise that "
            f"does not depend on the state) or `diffrax.Euler()` (Ito, with `dt0` and `steps=diffrax.ConstantStepSize()`), for a "
            f"{type(rate).__name__}, but it is a {type(inner).__name__}; `Stepped` has Milstein's."
        )


class _Wiener(diffrax.AbstractBrownianPath):
    """Wiener processes on a span: those of unit time, stretched, so that the answer has slopes in the ends of the span."""

    t0: Float[Array, ""]
    t1: Float[Array, ""]
    unit: diffrax.VirtualBrownianTree

    @property
    def levy_area(self):
        """What is known of the path within a step."""
        return self.unit.levy_area

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """The increments from t0 to t1, or the path at t0."""
        span = self.t1 - self.t0
        at = lambda t: lax.stop_gradient(jnp.clip((t - self.t0) / span, 0.0, 1.0))
        drawn = self.unit.evaluate(at(t0), None if t1 is None else at(t1), left, use_levy)
        scaled = jax.tree.map(lambda w: jnp.sqrt(span).astype(w.dtype) * w, drawn)
        if not use_levy:
            return scaled
        # Increments and areas scale as the root of the time, the duration as the time.
        return dataclasses.replace(scaled, dt=jax.tree.map(lambda dt: span.astype(dt.dtype) * dt, drawn.dt))


def noise_term(rate: Any, load: Span, fine: Tree, key: PRNGKeyArray, solver: Any, finest: float) -> diffrax.ControlTerm:
    """The noise of a rate as diffrax takes it, between the ends of the load."""
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), rate.sources(fine))
    inner = wrapped(solver)
    needs = getattr(inner, "minimal_levy_area", diffrax.AbstractBrownianIncrement)
    area = next(area for area in AREAS if issubclass(area, needs))
    unit = diffrax.VirtualBrownianTree(0.0, 1.0, finest, like, key, levy_area=area)

    def field(t, y, drive):
        along = lambda dw: rate.noise(t, y, drive, dw)
        if not isinstance(inner, ADDITIVE):
            return lx.FunctionLinearOperator(along, like)
        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return lx.PyTreeLinearOperator(jax.jacfwd(along)(zero), jax.eval_shape(lambda: y))

    return diffrax.ControlTerm(field, _Wiener(load.t0, load.t1, unit))
