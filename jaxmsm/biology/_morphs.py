"""One genotype, two forms: an environmental cue, a hormone, a genetic switch, and the growth that follows."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from .._model import AbstractNoisyRate
from ._genes import activated, repressed
from ._ionic import Number, Values, parameter


class MorphState(NamedTuple):
    """Cue, hormone, the two genes of the switch, and size; and the Wiener process that the cue has seen."""

    c: Values
    h: Values
    u: Values
    v: Values
    size: Values
    w: Values


class Morphs(AbstractNoisyRate):
    """Individuals whose form is decided by a cue: SDE -> hormone -> toggle switch -> growth.

    dc = (m - c) dt / tau_c + s sqrt(2 / tau_c) dw (an Ornstein-Uhlenbeck process of mean m and standard deviation s);
    tau_h h' = c - h; u' = a (1 + eta h) / (1 + v^2) - u, v' = a / (1 + u^2) - v; and logistic growth to 1 at the rate
    g_v + (g_u - g_v) u^2 / (1 + u^2). Entries of the state are arrays over individuals.

    Attributes:
        m, s, tau_c: of the cue.
        tau_h: of the hormone.
        a: what each gene makes at most; two states for a > 2.
        eta: what the hormone does to the first gene.
        g_u, g_v: growth where u, where v wins.
    """

    m: Number = parameter(0.0)
    s: Number = parameter(1.0)
    tau_c: Number = parameter(2.0, "time")
    tau_h: Number = parameter(1.0, "time")
    a: Number = parameter(3.0)
    eta: Number = parameter(1e-3)
    g_u: Number = parameter(0.3, "1/time")
    g_v: Number = parameter(0.1, "1/time")

    def __call__(self, t, fine, load):
        del t, load
        one, two = jnp.asarray(1.0), jnp.asarray(2.0)
        grow = self.g_v + (self.g_u - self.g_v) * activated(fine.u, one, two)
        return MorphState(
            (self.m - fine.c) / self.tau_c,
            (fine.c - fine.h) / self.tau_h,
            self.a * (1 + self.eta * fine.h) * repressed(fine.v, one, two) - fine.u,
            self.a * repressed(fine.u, one, two) - fine.v,
            grow * fine.size * (1 - fine.size),
            jnp.zeros_like(fine.w),
        )

    def noise(self, t, fine, load, dw):
        del t, load
        none = jnp.zeros_like(fine.c)
        return MorphState(self.s * jnp.sqrt(2 / self.tau_c) * dw, none, none, none, none, dw)

    def sources(self, fine):
        return fine.c

    def saddle(self) -> Float[Array, ""]:
        """Where both genes are equal, between the two states: x = a / (1 + x^2)."""
        x = jnp.asarray(self.a) ** (1 / 3)
        for _ in range(30):
            x = x - (x * (1 + x**2) - self.a) / (1 + 3 * x**2)
        return x

    def unstable(self) -> Float[Array, ""]:
        """The rate lambda at which the switch leaves the saddle: 2 x^2 / (1 + x^2) - 1."""
        x = self.saddle()
        return 2 * x**2 / (1 + x**2) - 1

    def begin(self, z: Float[Array, " n"]) -> MorphState:
        """Individuals at the saddle, small, without hormone, each with a cue from its stationary distribution: m + s z.

        Args:
            z: standard normal numbers, one an individual.
        """
        still, x = jnp.zeros_like(z), self.saddle() * jnp.ones_like(z)
        return MorphState(self.m + self.s * z, still, x, x, jnp.full_like(z, 0.01), still)

    def frequency(self) -> Values:
        """How many become u, in closed form as eta -> 0: Phi((m / s) sqrt(1 + 1 / (lambda tau_c))).

        The switch leaves the saddle by the sign of the integral of exp(-lambda t) h(t), whose mean and variance are known.
        """
        return norm.cdf(self.m / self.s * jnp.sqrt(1 + 1 / (self.unstable() * self.tau_c)))


def won(y: MorphState) -> Float[Array, " n"]:
    """One where u has won. A step: its derivative along a path is zero, which is not that of the frequency."""
    return jnp.where(y.u > y.v, 1.0, 0.0)


def smoothed_win(y: MorphState, width: Any) -> Float[Array, " n"]:
    """The step made smooth: 1 / (1 + exp(-(u - v) / width)), whose derivative along the paths can be taken.

    Biased by the individuals within `width` of the divide, few where the switch has had time; but they are those who matter, so
    that the derivative's variance grows as the width falls.
    """
    return jax.nn.sigmoid((y.u - y.v) / width)


def score_of_mean(model: Morphs, z: Float[Array, " n"], y: MorphState) -> Float[Array, " n"]:
    """d ln p(path) / dm of every individual's cue: z / s + w / (s sqrt(2 tau_c)).

    The mean of `won * score` is an unbiased estimate of d frequency / dm, discontinuous as the outcome is (the score-function, or
    likelihood-ratio, estimator). From the start's normal density and, by Girsanov, the drift m / tau_c over the noise.

    Args:
        model: of whom.
        z: what `begin` was given.
        y: the end, with the Wiener process that the cue has seen.
    """
    return z / model.s + y.w / (model.s * jnp.sqrt(2 * model.tau_c))
