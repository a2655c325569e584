"""Growth: the chemostat, what reassigned codons cost, the spread of a population over a landscape."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import AbstractRate
from ..solve import implicit_scalar
from ..space import AbstractDiffusion
from ._growth_laws import Logistic
from ._ionic import Number, Values, parameter


class ChemostatState(NamedTuple):
    """Substrate and biomass (mass / volume)."""

    S: Values
    X: Values


class Chemostat(AbstractRate):
    """A culture that is diluted as fast as it is fed: S' = D (S_0 - S) - mu X / Y, X' = (mu - D) X, mu = mu_max S / (K_s + S).

    The load is the dilution rate (1 / time).

    Source: J. Monod, Ann. Inst. Pasteur 79 (1950) 390.
    """

    mu_max: Number = parameter(1.0, "1/time")
    K_s: Number = parameter(0.2, "mass/volume")
    S_0: Number = parameter(2.0, "mass/volume")
    Y: Number = parameter(0.5)

    def growth(self, S: Number) -> Number:
        """The Monod law."""
        return self.mu_max * S / (self.K_s + S)

    def __call__(self, t, fine, load):
        del t
        grown = self.growth(fine.S) * fine.X
        return ChemostatState(load * (self.S_0 - fine.S) - grown / self.Y, grown - load * fine.X)

    def washout(self) -> Number:
        """The dilution rate at which the culture can no longer keep up."""
        return self.growth(self.S_0)

    def rest(self, load: Values) -> ChemostatState:
        """Where the culture comes to rest: S* = K_s D / (mu_max - D), X* = Y (S_0 - S*), or washed out."""
        lives = load < self.washout()
        S = jnp.where(lives, self.K_s * load / jnp.where(lives, self.mu_max - load, 1.0), self.S_0)
        return ChemostatState(S, self.Y * (self.S_0 - S))


class Recoding(eqx.Module):
    """What reassigning n codons costs: growth mu_0 (1 - eps)^n / (1 + n tau).

    Each reassigned codon leaves a fraction 1 - eps of the enzyme functional and delays translation by tau.

    Attributes:
        mu_0: growth without (1 / time).
        eps: fraction of enzyme lost to errors at each codon.
        tau: delay by each codon, as a fraction of the time without.
    """

    mu_0: Number = parameter(1.0, "1/time")
    eps: Number = parameter(0.01)
    tau: Number = parameter(0.02)

    def functional(self, n: Values) -> Values:
        """The fraction of enzyme that works."""
        return (1 - self.eps) ** n

    def __call__(self, n: Values) -> Values:
        return self.mu_0 * self.functional(n) / (1 + n * self.tau)

    def critical(self, washout: Any) -> Float[Array, ""]:
        """How many codons (a real number) bring growth down to what washes out: the root of mu(n) = washout, differentiable.

        NaN where growth is too slow with no codon at all.
        """

        def gap(n, args):
            model, washout = args
            return jnp.log(model(n)) - jnp.log(washout)

        # Growth falls as n grows, steeper than either factor alone: both bounds hold the root.
        excess = jnp.log(self.mu_0 / washout)
        high = jnp.minimum(excess / -jnp.log1p(-self.eps), jnp.expm1(excess) / self.tau)
        n = jax.lax.stop_gradient(_bisected(lambda n: gap(n, (self, washout)), high))
        return jnp.where(excess >= 0, implicit_scalar(gap, n, (self, washout)), jnp.nan)


def _bisected(gap: Any, high: Array) -> Array:
    """The root of a falling function between zero and a bound, to round-off."""

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        above = gap(middle) > 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros_like(high), high))
    return 0.5 * (low + high)


class Spread(AbstractRate):
    """A population that grows and moves: du/dt = div(D grad u) + growth(u); with logistic growth Fisher-KPP's.

    Source: R. Fisher, Ann. Eugen. 7 (1937) 355; A. Kolmogorov, I. Petrovsky, N. Piskunov, Bull. Univ. Moscow 1 (1937) 1.

    Attributes:
        motion: diffusion on a grid, heterogeneous or not.
        growth: any law of growth, its parameters numbers or one a node.
    """

    motion: AbstractDiffusion
    growth: AbstractRate = eqx.field(default_factory=Logistic)

    def __call__(self, t, fine, load):
        return self.motion(fine) + self.growth(t, fine, load)


def front_speed(r: Any, D: Any) -> Any:
    """The speed of a front of Fisher-KPP in the continuum: 2 sqrt(r D)."""
    return 2 * jnp.sqrt(r * D)


def front_speed_on_grid(r: Any, D: Any, dx: Any, dt: Any = 0.0) -> tuple[Array, Array]:
    """The speed and the decay lambda of a front on a grid of second differences, with explicit Euler steps (or exact ones, dt = 0).

    c = min over lambda of ln(1 + dt g) / (lambda dt), g = r + D (2 cosh(lambda dx) - 2) / dx^2; without a step g / lambda.
    """
    r, D, dx, dt = (jnp.asarray(x, float) for x in (r, D, dx, dt))

    def growth(lam):
        g = r + D * (2 * jnp.cosh(lam * dx) - 2) / dx**2
        # ln(1 + dt g) / dt tends to g.
        return jnp.where(dt > 0, jnp.log1p(dt * g) / jnp.where(dt > 0, dt, 1.0), g)

    # At the least speed its slope vanishes: growth'(lam) lam = growth(lam).
    def slope(lam, args):
        del args
        return jax.grad(growth)(lam) * lam - growth(lam)

    lam = jnp.sqrt(r / D)
    for _ in range(30):
        lam = jax.lax.stop_gradient(jnp.maximum(lam - slope(lam, None) / jax.grad(slope)(lam, None), 0.1 * lam))
    return growth(lam) / lam, lam


def bramson(speed: Any, lam: Any, t: Any) -> Any:
    """The speed of a front that began at time zero from nothing: c - 3 / (2 lambda t).

    Source: M. Bramson, Mem. Am. Math. Soc. 44 (1983) 285.
    """
    return speed - 1.5 / (lam * t)
