"""Variants of a gene in a population: mutation, selection and chance."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import betaln
from jaxtyping import Array, Float, Key

from .._model import AbstractNoisyRate
from ._ionic import Number, Values, parameter


class MutationSelection(AbstractNoisyRate):
    """The fraction q of a harmful variant: forward and back mutation, selection, and the chance of a finite population.

    dq = [mu (1 - q) - nu q - s q (1 - q) (h + (1 - 2 h) q) / wbar] dt + sqrt(q (1 - q) / (2 N)) dw, time in generations; haploid
    where `h` is None: -s q (1 - q) / (1 - s q), and N in place of 2 N. `weak` leaves the mean fitness wbar out, as the diffusion
    limit does.

    Valid: selection and mutation weak enough that a generation is a small step; `WrightFisher` goes generation by generation.
    Source: J. Crow, M. Kimura, An Introduction to Population Genetics Theory (1970), chapters 6 and 8.

    Attributes:
        mu, nu: mutations from the healthy to the harmful variant and back, per generation.
        s: how much less fit the harmful one is (homozygous, if diploid).
        h: dominance of the harmful variant; None: haploid.
        N: individuals; inf: no chance.
    """

    mu: Number = parameter(1e-3, "1/generation")
    nu: Number = parameter(0.0, "1/generation")
    s: Number = parameter(0.05)
    h: Number | None = eqx.field(default=None, converter=lambda x: None if x is None else jnp.asarray(x, float))
    N: Number = parameter(float("inf"))
    weak: bool = eqx.field(static=True, default=False)

    def __call__(self, t, fine, load):
        del t, load
        q = fine
        return self.mu * (1 - q) - self.nu * q + selection(q, self.s, self.h, weak=self.weak)

    def noise(self, t, fine, load, dw):
        del t, load
        copies = self.N if self.h is None else 2 * self.N
        return jnp.sqrt(jnp.clip(fine * (1 - fine), 0.0) / copies) * dw

    def equilibrium(self) -> Float[Array, "..."]:
        """The fraction at rest, haploid and `weak`: the root of mu (1 - q) - nu q = s q (1 - q) in [0, 1]."""
        b = self.s + self.mu + self.nu
        # The smaller root, in the form that loses no digits where back mutation or selection vanishes.
        return 2 * self.mu / (b + jnp.sqrt(b**2 - 4 * self.s * self.mu))


def selection(q: Values, s: Number, h: Number | None, *, weak: bool = False) -> Values:
    """The change of the fraction of a harmful variant in a generation, by selection alone."""
    if h is None:
        return -s * q * (1 - q) / (1.0 if weak else 1 - s * q)
    mean = 1.0 if weak else 1 - 2 * h * s * q * (1 - q) - s * q**2
    return -s * q * (1 - q) * (h + (1 - 2 * h) * q) / mean


class WrightFisher(eqx.Module):
    """Generations that do not overlap: the parents' genes after selection and mutation are drawn N times.

    `WrightFisher(mu, nu, s, N)(key, q) -> q` is the next generation, exactly: a binomial draw.

    Source: S. Wright, Genetics 16 (1931) 97.

    Attributes:
        mu, nu, s: as in `MutationSelection`, haploid.
        N: genes drawn, a whole number.
    """

    mu: Number = parameter(1e-3, "1/generation")
    nu: Number = parameter(0.0, "1/generation")
    s: Number = parameter(0.05)
    N: Number = parameter(100.0)

    def expected(self, q: Values) -> Values:
        """The fraction of the harmful variant among the genes that may be drawn."""
        q = q + selection(q, self.s, None)
        return q + self.mu * (1 - q) - self.nu * q

    def __call__(self, key: Key[Array, ""], q: Values) -> Values:
        p = self.expected(q)
        return jax.random.binomial(key, jnp.broadcast_to(self.N, jnp.shape(p)), p) / self.N


def stationary_moments(mu: Any, nu: Any, s: Any, N: Any, *, points: int = 4000) -> tuple[Array, Array]:
    """Mean and standard deviation of the stationary density phi ~ exp(-2 N s q) q^(2 N mu - 1) (1 - q)^(2 N nu - 1).

    By quadrature, in a variable in which the ends are smooth; differentiable in all arguments.

    Source: S. Wright, Proc. Natl. Acad. Sci. 24 (1938) 253.
    """
    a, b = jnp.asarray(2 * N * mu, float), jnp.asarray(2 * N * nu, float)
    # q from a double exponential: its density goes to zero at both ends faster than any power grows.
    x = jnp.linspace(-1.0, 1.0, points) * 6.0
    u = jnp.pi / 2 * jnp.sinh(x)
    log_q, log_p = -jnp.logaddexp(0.0, -2 * u), -jnp.logaddexp(0.0, 2 * u)
    log_weight = a * log_q + b * log_p - 2 * N * s * jnp.exp(log_q) + jnp.log(jnp.cosh(x)) - betaln(a, b)
    weight = jnp.exp(log_weight - jax.lax.stop_gradient(jnp.max(log_weight)))
    q = jnp.exp(log_q)
    mean = jnp.sum(weight * q) / jnp.sum(weight)
    return mean, jnp.sqrt(jnp.sum(weight * (q - mean) ** 2) / jnp.sum(weight))
