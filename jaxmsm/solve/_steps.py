"""Steps in time: explicit, exponential, stochastic."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._typing import Tree
from ._exponential import rates, relaxed


class AbstractStep(eqx.Module):
    """A step: `step(terms, t, y, dt) -> y` at t + dt, where `terms(t, y)` are rates; some steps solve `Relaxing` terms exactly."""

    @abc.abstractmethod
    def __call__(self, terms: Callable[[Any, Any], Any], t: Any, y: Any, dt: Any) -> Any:
        """y at t + dt."""


class RushLarsen(AbstractStep):
    """What relaxes with target and time as they are at the start, the rest by an Euler step.

    Error: first order; what relaxes is stable whatever the step.
    Source: S. Rush, H. Larsen, IEEE Trans. Biomed. Eng. 25 (1978) 389.
    """

    def __call__(self, terms, t, y, dt):
        return relaxed(terms(t, y), y, dt)


class RushLarsenMidpoint(AbstractStep):
    """The same with target, time and rates as they are in the middle, which half a step has found; twice the price.

    Error: second order.
    Source: M. Perego, A. Veneziani, Electron. Trans. Numer. Anal. 35 (2009) 234; J. Sundnes et al., IEEE Trans. Biomed. Eng. 56
        (2009) 2546.
    """

    def __call__(self, terms, t, y, dt):
        middle = relaxed(terms(t, y), y, 0.5 * dt)
        return relaxed(terms(t + 0.5 * dt, middle), y, dt)


class RungeKutta4(AbstractStep):
    """The classical four stages; what relaxes is a rate like any other.

    Error: fourth order.
    """

    def __call__(self, terms, t, y, dt):
        rate = lambda t, y: rates(terms(t, y), y)
        k1 = rate(t, y)
        k2 = rate(t + 0.5 * dt, _plus(y, 0.5 * dt, k1))
        k3 = rate(t + 0.5 * dt, _plus(y, 0.5 * dt, k2))
        k4 = rate(t + dt, _plus(y, dt, k3))
        return jax.tree.map(lambda y, a, b, c, d: y + dt / 6 * (a + 2 * b + 2 * c + d), y, k1, k2, k3, k4)


class AbstractNoisyStep(eqx.Module):
    """A step with noise: `step(terms, noise, t, y, dt, dw) -> y` at t + dt; `noise(t, y, dw)` is linear in the increments."""

    @abc.abstractmethod
    def __call__(self, terms: Callable, noise: Callable, t: Any, y: Any, dt: Any, dw: Any) -> Any:
        """y at t + dt."""


class EulerMaruyama(AbstractNoisyStep):
    """Ito: y + rate dt + noise(y) dw; what relaxes is solved exactly between the noise.

    Error: strong order 1/2 (1 where the noise does not depend on y), weak order 1.
    Source: P. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations (1992), section 10.2.
    """

    def __call__(self, terms, noise, t, y, dt, dw):
        return _plus(relaxed(terms(t, y), y, dt), 1, noise(t, y, dw))


class Milstein(AbstractNoisyStep):
    """Ito, to strong order one: Euler-Maruyama and 1/2 (d noise/dy noise)(dw dw - dt).

    Valid: noise in which every unknown has its own source and no other ("diagonal"), the default of `AbstractNoisyRate`.
    Error: strong and weak order 1.
    Source: P. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations (1992), section 10.3.
    """

    def __call__(self, terms, noise, t, y, dt, dw):
        ones = jax.tree.map(jnp.ones_like, dw)
        drift = relaxed(terms(t, y), y, dt)
        size, slope = jax.jvp(lambda y: noise(t, y, ones), (y,), (noise(t, y, ones),))
        second = jax.tree.map(lambda s, w: 0.5 * s * (w**2 - dt), slope, dw)
        return _plus(_plus(drift, 1, jax.tree.map(lambda s, w: s * w, size, dw)), 1, second)


class StochasticHeun(AbstractNoisyStep):
    """Stratonovich: the mean of rate and noise at both ends, the far one found by an Euler step.

    Error: strong order 1 for noise that commutes (diagonal, or of one source), 1/2 otherwise; weak order 1; without noise 2.
    Source: W. Ruemelin, SIAM J. Numer. Anal. 19 (1982) 604.
    """

    def __call__(self, terms, noise, t, y, dt, dw):
        rate = lambda t, y: rates(terms(t, y), y)
        first, shake = rate(t, y), noise(t, y, dw)
        guess = _plus(_plus(y, dt, first), 1, shake)
        mean = lambda a, b: jax.tree.map(lambda a, b: 0.5 * (a + b), a, b)
        return _plus(_plus(y, dt, mean(first, rate(t + dt, guess))), 1, mean(shake, noise(t + dt, guess, dw)))


def _plus(y: Tree, by: Any, rate: Tree) -> Tree:
    return jax.tree.map(lambda y, r: y + by * r, y, rate)
