"""Minimization under a few inequalities, of many unknowns between bounds: the method of moving asymptotes."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._precision import full_precision

_INNER = 50
"""Newton steps on the dual at one barrier; it takes some five."""


class Approximation(NamedTuple):
    """The convex, separable problem around a point.

    The sum over j of p_j / (U_j - x_j) + q_j / (x_j - L_j), under the same of P and Q at most b, for x between alpha and beta.
    """

    p: Float[Array, " n"]
    q: Float[Array, " n"]
    P: Float[Array, "m n"]
    Q: Float[Array, "m n"]
    b: Float[Array, " m"]
    L: Float[Array, " n"]
    U: Float[Array, " n"]
    alpha: Float[Array, " n"]
    beta: Float[Array, " n"]


class Asymptotes(eqx.Module):
    """What the method remembers from step to step.

    Attributes:
        before: the last point and the one before it.
        lower: asymptotes below the unknowns.
        upper: those above.
        count: steps taken.
        multipliers: of the constraints, at the point that was found last.
    """

    before: tuple[Float[Array, " n"], Float[Array, " n"]]
    lower: Float[Array, " n"]
    upper: Float[Array, " n"]
    count: Int[Array, ""]
    multipliers: Float[Array, " m"]


def _floats(x: Any) -> Float[Array, "..."]:
    return jnp.asarray(x, jnp.result_type(float))


class MovingAsymptotes(eqx.Module):
    """Minimize f(x) under g(x) <= 0 and bounds, with slopes of f and g: a step solves a convex, separable approximation.

        method = MovingAsymptotes(0.0, 1.0)
        memory = method.start(x, constraints=2)
        x, memory = method.step(memory, x, slope, g, slopes)    # until x stands still

    A step is a pure function, to be compiled and batched. No line search guards the descent of f; where the constraints cannot all
    be met they are broken as little as they can be. What is not finite in a slope is not finite in the next point.

    Valid: f and g scaled so that their values are of order 1 to 100, unknowns so that their bounds are of order 1 apart.
    Source: Svanberg, Int. J. Numer. Methods Eng. 24 (1987) 359, with the constants of his "MMA and GCMMA - two methods for
        nonlinear optimization" (2007); the dual by an interior point, as in Aage and Lazarov, Struct. Multidisc. Optim. 47
        (2013) 493.

    Attributes:
        low: bounds of the unknowns from below, a number or one each.
        high: from above.
        move: the longest step, over the distance of the bounds.
        first: the distance of the first asymptotes, over that of the bounds.
        grow: factor of an asymptote's distance where an unknown goes on in one direction.
        shrink: where it turns.
        penalty: of a broken constraint, well above every multiplier.
    """

    low: Float[Array, "..."] = eqx.field(converter=_floats)
    high: Float[Array, "..."] = eqx.field(converter=_floats)
    move: float = eqx.field(default=0.5, kw_only=True)
    first: float = eqx.field(default=0.5, kw_only=True)
    grow: float = eqx.field(default=1.2, kw_only=True)
    shrink: float = eqx.field(default=0.7, kw_only=True)
    penalty: float = eqx.field(default=1000.0, kw_only=True)

    def __check_init__(self):
        if not isinstance(self.low + self.high, jax.core.Tracer) and not bool(jnp.all(self.low < self.high)):
            raise ValueError(f"Argument `low` must be below `high` everywhere, but they are {self.low} and {self.high}.")

    def start(self, x: Float[Array, " n"], *, constraints: int) -> Asymptotes:
        """The memory of no step, with the number of inequalities."""
        if constraints < 1:
            raise ValueError(f"Argument `constraints` must be at least 1, but it is {constraints}: add one that is never active.")
        return Asymptotes((x, x), x, x, jnp.asarray(0, jnp.int32), jnp.zeros(constraints, x.dtype))

    @full_precision
    def step(
        self,
        memory: Asymptotes,
        x: Float[Array, " n"],
        slope: Float[Array, " n"],
        g: Float[Array, " m"],
        slopes: Float[Array, "m n"],
    ) -> tuple[Float[Array, " n"], Asymptotes]:
        """The next point.

        Args:
            memory: of the last step.
            x: where the slopes are taken.
            slope: of the objective.
            g: the constraints, fulfilled where not positive.
            slopes: of the constraints.
        """
        L, U = self._asymptotes(memory, x)
        problem = self._approximation(x, L, U, slope, g, slopes)
        multipliers = dual_solution(problem, jnp.asarray(self.penalty, x.dtype))
        memory = Asymptotes((x, memory.before[0]), L, U, memory.count + 1, multipliers)
        return minimizer(problem, multipliers)[0], memory

    def _asymptotes(self, memory: Asymptotes, x: Float[Array, " n"]) -> tuple[Array, Array]:
        """Nearer where an unknown swings, further away where it goes on."""
        span = jnp.broadcast_to(self.high - self.low, x.shape).astype(x.dtype)
        last, earlier = memory.before
        turned = (x - last) * (last - earlier)
        factor = jnp.where(turned > 0, self.grow, jnp.where(turned < 0, self.shrink, 1)).astype(x.dtype)
        young = memory.count < 2
        below = jnp.where(young, self.first * span, jnp.clip(factor * (last - memory.lower), 0.01 * span, 10 * span))
        above = jnp.where(young, self.first * span, jnp.clip(factor * (memory.upper - last), 0.01 * span, 10 * span))
        return x - below, x + above

    def _approximation(self, x, L, U, slope, g, slopes) -> Approximation:
        low, high = (jnp.broadcast_to(v, x.shape).astype(x.dtype) for v in (self.low, self.high))
        span = high - low
        # Nearer to an asymptote than a tenth the approximation says little.
        alpha = jnp.clip(jnp.maximum(L + 0.1 * (x - L), x - self.move * span), low, high)
        beta = jnp.clip(jnp.minimum(U - 0.1 * (U - x), x + self.move * span), low, high)

        def sides(slope):
            up, down = jnp.maximum(slope, 0), jnp.maximum(-slope, 0)
            # A little of both, so that every term is strictly convex.
            least = 0.001 * (up + down) + 1e-5 / span
            return (U - x) ** 2 * (up + least), (x - L) ** 2 * (down + least)

        (p, q), (P, Q) = sides(slope), jax.vmap(sides)(slopes)
        b = jnp.sum(P / (U - x)[None] + Q / (x - L)[None], 1) - g
        return Approximation(p, q, P, Q, b, L, U, alpha, beta)


def minimizer(problem: Approximation, multipliers: Float[Array, " m"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Where the Lagrangian of the approximation is least, and its curvature there (infinite for an unknown held by its bound)."""
    p, q = problem.p + multipliers @ problem.P, problem.q + multipliers @ problem.Q
    up, down = jnp.sqrt(p), jnp.sqrt(q)
    free = (up * problem.L + down * problem.U) / (up + down)
    x = jnp.clip(free, problem.alpha, problem.beta)
    curvature = 2 * p / (problem.U - x) ** 3 + 2 * q / (x - problem.L) ** 3
    return x, jnp.where((free > problem.alpha) & (free < problem.beta), curvature, jnp.inf)


class _Dual(NamedTuple):
    """Multipliers, their slacks, the barrier, the residual at it, and the steps taken at it."""

    multipliers: Float[Array, " m"]
    slacks: Float[Array, " m"]
    barrier: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, ""]


def dual_solution(problem: Approximation, penalty: Float[Array, ""]) -> Float[Array, " m"]:
    """The multipliers that maximize the least value of the Lagrangian, by Newton steps on a barrier that falls.

    A constraint may be broken by y at the cost of penalty y + y^2 / 2, so that there is always an answer.
    """
    m, dtype = problem.b.size, problem.p.dtype
    least = jnp.asarray(max(1e-9, 2 * float(jnp.finfo(dtype).eps)), dtype)

    def slope(multipliers):
        """Of the dual: what the constraints are broken by, and its own slope."""
        x, curvature = minimizer(problem, multipliers)
        up, down = (problem.U - x)[None], (x - problem.L)[None]
        broken = jnp.maximum(multipliers - penalty, 0)
        value = jnp.sum(problem.P / up + problem.Q / down, 1) - problem.b - broken
        h = problem.P / up**2 - problem.Q / down**2
        return value, -(h / curvature[None]) @ h.T - jnp.diag((multipliers > penalty).astype(dtype))

    def residual(value, multipliers, slacks, barrier):
        return jnp.sqrt(jnp.sum(jnp.square(value + slacks)) + jnp.sum(jnp.square(multipliers * slacks - barrier)))

    def newton(now: _Dual) -> _Dual:
        value, hessian = slope(now.multipliers)
        matrix = hessian - jnp.diag(now.slacks / now.multipliers)
        change = jnp.linalg.solve(matrix, -(value + now.barrier / now.multipliers))
        slack_change = (now.barrier - now.slacks * change) / now.multipliers - now.slacks
        # Both stay positive.
        shrunk = jnp.concatenate([-change / now.multipliers, -slack_change / now.slacks])
        size = jnp.minimum(1, 0.95 / jnp.max(jnp.maximum(shrunk, 1e-12)))
        multipliers, slacks = now.multipliers + size * change, now.slacks + size * slack_change
        left = residual(slope(multipliers)[0], multipliers, slacks, now.barrier)
        return _Dual(multipliers, slacks, now.barrier, left, now.steps + 1)

    def going(now: _Dual) -> Bool[Array, ""]:
        return (now.residual > 0.9 * now.barrier) & (now.steps < _INNER)

    def lower(now: _Dual) -> _Dual:
        fresh = now._replace(residual=jnp.full_like(now.residual, jnp.inf), steps=jnp.zeros_like(now.steps))
        found = lax.while_loop(going, newton, fresh)
        return found._replace(barrier=0.1 * found.barrier)

    one = jnp.ones((), dtype)
    start = _Dual(jnp.ones(m, dtype), jnp.ones(m, dtype), one, jnp.full_like(one, jnp.inf), jnp.asarray(0, jnp.int32))
    return lax.while_loop(lambda now: now.barrier > least, lower, start).multipliers
