"""The squid's giant axon."""

from typing import NamedTuple

import jax.numpy as jnp

from ._ionic import AbstractCell, Tuning, Values, opening, parameter, ratio, tuned


class HodgkinHuxleyState(NamedTuple):
    """Transmembrane potential (mV) and gates."""

    v: Values
    m: Values
    h: Values
    n: Values


class HodgkinHuxley(AbstractCell):
    """The squid's giant axon at 6.3 C, rest near -60 mV.

    C dv/dt = -g_Na m^3 h (v - E_Na) - g_K n^4 (v - E_K) - g_L (v - E_L).

    Source: A. Hodgkin, A. Huxley, J. Physiol. 117 (1952) 500, equations 3 to 26 and table 3.
    """

    capacitance: Values = parameter(1.0, "uF/cm2")
    g_Na: Values = parameter(120.0, "mS/cm2")
    g_K: Values = parameter(36.0, "mS/cm2")
    g_L: Values = parameter(0.3, "mS/cm2")
    E_Na: Values = parameter(55.0, "mV")
    E_K: Values = parameter(-72.0, "mV")
    E_L: Values = parameter(-50.613, "mV")
    m: Tuning = tuned()
    h: Tuning = tuned()
    n: Tuning = tuned()

    def rest(self):
        return HodgkinHuxleyState(*map(jnp.asarray, (-60.3, 0.051, 0.607, 0.313)))

    def terms(self, y, current):
        sodium = self.g_Na * y.m**3 * y.h * (y.v - self.E_Na)
        potassium = self.g_K * y.n**4 * (y.v - self.E_K)
        leak = self.g_L * (y.v - self.E_L)
        dv = current - (sodium + potassium + leak) / self.capacitance
        return HodgkinHuxleyState(dv, self.m(_m, y.v), self.h(_h, y.v), self.n(_n, y.v))


# The paper counts the depolarization from rest, which is -60 mV.


def _m(v):
    return opening(0.1 * ratio(v + 35, 10.0), 4 * jnp.exp(-(v + 60) / 18))


def _h(v):
    return opening(0.07 * jnp.exp(-(v + 60) / 20), 1 / (1 + jnp.exp(-(v + 30) / 10)))


def _n(v):
    return opening(0.01 * ratio(v + 50, 10.0), 0.125 * jnp.exp(-(v + 60) / 80))
