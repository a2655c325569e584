"""Networks of genes: switches, oscillators, hormones that arrive late, and any network from a table of Hill terms."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import AbstractRate
from ._ionic import Number, Values, parameter


def activated(x: Values, K: Values, n: Values) -> Values:
    """The Hill function x^n / (K^n + x^n) of an activator; zero and without a slope at and below zero."""
    return 1 - repressed(x, K, n)


def repressed(x: Values, K: Values, n: Values) -> Values:
    """The Hill function K^n / (K^n + x^n) of a repressor; one at and below zero."""
    some = x > 0
    return jnp.where(some, 1 / (1 + jnp.exp(n * jnp.log(jnp.where(some, x, 1.0) / K))), 1.0)


class ToggleState(NamedTuple):
    """The two repressors, in units of their own constants of repression."""

    u: Values
    v: Values


class Toggle(AbstractRate):
    """The genetic toggle switch: u' = a1 / (1 + v^beta) - u, v' = a2 / (1 + (u / (1 + I/K)^eta)^gamma) - v.

    The load is the inducer I (M), which keeps u from repressing v. Time in units of the repressors' lifetime.

    Source: T. Gardner, C. Cantor, J. Collins, Nature 403 (2000) 339, equations 1 and figure 5.
    """

    a1: Number = parameter(156.25)
    a2: Number = parameter(15.6)
    beta: Number = parameter(2.5)
    gamma: Number = parameter(1.0)
    eta: Number = parameter(2.0015)
    K: Number = parameter(2.9618e-5, "M")

    def __call__(self, t, fine, load):
        del t
        free = fine.u / (1 + (0.0 if load is None else load) / self.K) ** self.eta
        one = jnp.asarray(1.0)
        du = self.a1 * repressed(fine.v, one, self.beta) - fine.u
        return ToggleState(du, self.a2 * repressed(free, one, self.gamma) - fine.v)

    @classmethod
    def symmetric(cls, a: Any, n: Any = 2.0) -> "Toggle":
        """Two genes alike: u' = a / (1 + v^n) - u, v' = a / (1 + u^n) - v."""
        return cls(a1=a, a2=a, beta=n, gamma=n)


class RepressilatorState(NamedTuple):
    """Messengers and proteins of the three genes, (3,) each."""

    m: Values
    p: Values


class Repressilator(AbstractRate):
    """Three genes, each repressing the next: m_i' = alpha_0 + alpha / (1 + p_(i-1)^n) - m_i, p_i' = beta (m_i - p_i).

    Time in units of the messenger's lifetime, proteins in units of their constant of repression.

    Source: M. Elowitz, S. Leibler, Nature 403 (2000) 335, box 1.
    """

    alpha: Number = parameter(216.0)
    alpha_0: Number = parameter(0.216)
    beta: Number = parameter(0.2)
    n: Number = parameter(2.0)

    def __call__(self, t, fine, load):
        del t, load
        made = self.alpha_0 + self.alpha * repressed(jnp.roll(fine.p, 1), jnp.asarray(1.0), self.n)
        return RepressilatorState(made - fine.m, self.beta * (fine.m - fine.p))


class Delay(eqx.Module):
    """A delay as a chain of linear steps: z_1' = (x - z_1) k / tau, z_j' = (z_(j-1) - z_j) k / tau; the last is what arrives.

    A signal comes out convolved with the gamma distribution of k stages, of mean tau and variance tau^2 / k.

    Source: N. MacDonald, Time Lags in Biological Models (1978), chapter 2.
    """

    tau: Number = parameter(1.0, "time")

    def __call__(self, z: Float[Array, "k ..."], x: Float[Array, "..."]) -> Float[Array, "k ..."]:
        """The rates of the k stages when x goes in."""
        before = jnp.concatenate([jnp.asarray(x)[None], z[:-1]])
        return (before - z) * (z.shape[0] / self.tau)


class HillNetwork(AbstractRate):
    """Genes that regulate each other: x_i' = basal_i + most_i prod_j h_ij(x_j) - decay_i x_i.

    h_ij is the Hill function of an activator where `effect[i, j]` is +1, of a repressor where it is -1, and one where it is 0.

    Attributes:
        basal, most, decay: of every gene (n,): what is made anyway, at most besides, and the rate of loss.
        K, hill: constant and exponent of j's effect on i, (n, n).
        effect: +1, -1 or 0, (n, n).
        names: of the genes.
    """

    basal: Float[Array, "..."]
    most: Float[Array, "..."]
    decay: Float[Array, "..."]
    K: Float[Array, "..."]
    hill: Float[Array, "..."]
    effect: Any
    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, t, fine, load):
        del t, load
        x = jnp.broadcast_to(fine[None], self.K.shape)
        off = repressed(x, self.K, self.hill)
        each = jnp.where(self.effect > 0, 1 - off, jnp.where(self.effect < 0, off, 1.0))
        return self.basal + self.most * jnp.prod(each, axis=1) - self.decay * fine
