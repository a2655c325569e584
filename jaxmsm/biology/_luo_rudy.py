"""The ventricular cell of the guinea pig."""

from typing import NamedTuple

import jax.numpy as jnp

from ._ionic import AbstractCell, Tuning, Values, opening, parameter, ratio, tuned


class LuoRudyState(NamedTuple):
    """Transmembrane potential (mV), gates, and calcium in the cell (mM)."""

    v: Values
    m: Values
    h: Values
    j: Values
    d: Values
    f: Values
    x: Values
    Ca_i: Values


class LuoRudy(AbstractCell):
    """The ventricular cell of the guinea pig, 1991: six currents, six gates, and calcium; 37 C.

    Source: C.-H. Luo, Y. Rudy, Circ. Res. 68 (1991) 1501, table 1; as it has come to be computed with a conductance of sodium of 16
        and the reversal potential of the slow inward current by Ca_i / Ca_o (the paper: 23, and by Ca_i in mM: `Ca_o=1.0`).
    """

    capacitance: Values = parameter(1.0, "uF/cm2")
    g_Na: Values = parameter(16.0, "mS/cm2")
    g_si: Values = parameter(0.09, "mS/cm2")
    g_K: Values = parameter(0.282, "mS/cm2")
    g_K1: Values = parameter(0.6047, "mS/cm2")
    g_Kp: Values = parameter(0.0183, "mS/cm2")
    g_b: Values = parameter(0.03921, "mS/cm2")
    E_b: Values = parameter(-59.87, "mV")
    P_NaK: Values = parameter(0.01833)
    K_o: Values = parameter(5.4, "mM")
    K_i: Values = parameter(145.0, "mM")
    Na_o: Values = parameter(140.0, "mM")
    Na_i: Values = parameter(10.0, "mM")
    Ca_o: Values = parameter(1.8, "mM")
    R: Values = parameter(8314.0, "mJ/mol/K")
    T: Values = parameter(310.0, "K")
    F: Values = parameter(96500.0, "C/mol")
    m: Tuning = tuned()
    h: Tuning = tuned()
    j: Tuning = tuned()
    d: Tuning = tuned()
    f: Tuning = tuned()
    x: Tuning = tuned()

    def rest(self):
        return LuoRudyState(*map(jnp.asarray, (-84.5286, 0.0017, 0.9832, 0.995484, 3e-6, 1.0, 0.0057, 2e-4)))

    def terms(self, y, current):
        v, RTF = y.v, self.R * self.T / self.F
        E_Na = RTF * jnp.log(self.Na_o / self.Na_i)
        E_K = RTF * jnp.log((self.K_o + self.P_NaK * self.Na_o) / (self.K_i + self.P_NaK * self.Na_i))
        E_K1 = RTF * jnp.log(self.K_o / self.K_i)
        E_si = 7.7 - 13.0287 * jnp.log(y.Ca_i / self.Ca_o)
        root = jnp.sqrt(self.K_o / 5.4)
        slow_inward = self.g_si * y.d * y.f * (v - E_si)
        total = (
            self.g_Na * y.m**3 * y.h * y.j * (v - E_Na)
            + slow_inward
            + self.g_K * root * y.x * _rectified(v) * (v - E_K)
            + self.g_K1 * root * _inward(v - E_K1) * (v - E_K1)
            + self.g_Kp / (1 + jnp.exp((7.488 - v) / 5.98)) * (v - E_K1)
            + self.g_b * (v - self.E_b)
        )
        return LuoRudyState(
            current - total / self.capacitance,
            self.m(_m, v),
            self.h(_h, v),
            self.j(_j, v),
            self.d(_d, v),
            self.f(_f, v),
            self.x(_x, v),
            -1e-4 * slow_inward + 0.07 * (1e-4 - y.Ca_i),
        )


def _rectified(v):
    """The part of the delayed current that is left by inward rectification."""
    x = v + 77
    small = jnp.abs(x) < 1e-7
    quotient = jnp.where(small, 0.04, jnp.expm1(0.04 * x) / jnp.where(small, 1.0, x))
    return jnp.where(v > -100, 2.837 * quotient / jnp.exp(0.04 * (v + 35)), 1.0)


def _inward(x):
    alpha = 1.02 / (1 + jnp.exp(0.2385 * (x - 59.215)))
    beta = (0.49124 * jnp.exp(0.08032 * (x + 5.476)) + jnp.exp(0.06175 * (x - 594.31))) / (1 + jnp.exp(-0.5143 * (x + 4.753)))
    return alpha / (alpha + beta)


def _m(v):
    return opening(0.32 * ratio(v + 47.13, 10.0), 0.08 * jnp.exp(-v / 11))


def _h(v):
    high = v >= -40
    w = jnp.minimum(v, -40.0)
    alpha = jnp.where(high, 0.0, 0.135 * jnp.exp(-(80 + w) / 6.8))
    beta = jnp.where(high, 1 / (0.13 * (1 + jnp.exp(-(v + 10.66) / 11.1))), 3.56 * jnp.exp(0.079 * w) + 3.1e5 * jnp.exp(0.35 * w))
    return opening(alpha, beta)


def _j(v):
    high = v >= -40
    w = jnp.minimum(v, -40.0)
    alpha = (-1.2714e5 * jnp.exp(0.2444 * w) - 3.474e-5 * jnp.exp(-0.04391 * w)) * (w + 37.78) / (1 + jnp.exp(0.311 * (w + 79.23)))
    low = 0.1212 * jnp.exp(-0.01052 * w) / (1 + jnp.exp(-0.1378 * (w + 40.14)))
    beta = jnp.where(high, 0.3 * jnp.exp(-2.535e-7 * v) / (1 + jnp.exp(-0.1 * (v + 32))), low)
    return opening(jnp.where(high, 0.0, alpha), beta)


def _d(v):
    alpha = 0.095 * jnp.exp(-0.01 * (v - 5)) / (1 + jnp.exp(-0.072 * (v - 5)))
    return opening(alpha, 0.07 * jnp.exp(-0.017 * (v + 44)) / (1 + jnp.exp(0.05 * (v + 44))))


def _f(v):
    alpha = 0.012 * jnp.exp(-0.008 * (v + 28)) / (1 + jnp.exp(0.15 * (v + 28)))
    return opening(alpha, 0.0065 * jnp.exp(-0.02 * (v + 30)) / (1 + jnp.exp(-0.2 * (v + 30))))


def _x(v):
    alpha = 0.0005 * jnp.exp(0.083 * (v + 50)) / (1 + jnp.exp(0.057 * (v + 50)))
    return opening(alpha, 0.0013 * jnp.exp(-0.06 * (v + 20)) / (1 + jnp.exp(-0.04 * (v + 20))))
