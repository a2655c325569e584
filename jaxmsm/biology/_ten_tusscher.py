"""The human ventricular cell."""

from typing import NamedTuple

import jax.numpy as jnp

from ..solve import Relaxing
from ._ionic import AbstractCell, Tuning, Values, parameter, ratio, tuned


class TenTusscherState(NamedTuple):
    """Transmembrane potential (mV), concentrations (mM: cytoplasm, reticulum, subspace), gates, and the release channel."""

    v: Values
    Ca_i: Values
    Ca_SR: Values
    Ca_SS: Values
    Na_i: Values
    K_i: Values
    m: Values
    h: Values
    j: Values
    x_r1: Values
    x_r2: Values
    x_s: Values
    r: Values
    s: Values
    d: Values
    f: Values
    f2: Values
    f_Ca: Values
    R: Values


class TenTusscher(AbstractCell):
    """The human ventricular cell, 2006, of the epicardium; `endocardium()` and `midmyocardium()` are the others. 37 C.

    Conductances are per capacitance. With `late_s` the gate s of the transient outward current recovers as in the endocardium.

    Source: K. ten Tusscher, A. Panfilov, Am. J. Physiol. Heart 291 (2006) H1088; gates and pumps from K. ten Tusscher et al.,
        Am. J. Physiol. Heart 286 (2004) H1573.
    """

    g_Na: Values = parameter(14.838, "mS/uF")
    g_K1: Values = parameter(5.405, "mS/uF")
    g_to: Values = parameter(0.294, "mS/uF")
    g_Kr: Values = parameter(0.153, "mS/uF")
    g_Ks: Values = parameter(0.392, "mS/uF")
    g_CaL: Values = parameter(0.0398, "L/F/s")
    g_pCa: Values = parameter(0.1238, "A/F")
    g_pK: Values = parameter(0.0146, "mS/uF")
    g_bCa: Values = parameter(0.000592, "mS/uF")
    g_bNa: Values = parameter(0.00029, "mS/uF")
    P_NaK: Values = parameter(2.724, "A/F")
    K_mNa: Values = parameter(40.0, "mM")
    K_mK: Values = parameter(1.0, "mM")
    K_NaCa: Values = parameter(1000.0, "A/F")
    K_mCa: Values = parameter(1.38, "mM")
    K_mNai: Values = parameter(87.5, "mM")
    K_sat: Values = parameter(0.1)
    alpha: Values = parameter(2.5)
    gamma: Values = parameter(0.35)
    K_pCa: Values = parameter(0.0005, "mM")
    p_KNa: Values = parameter(0.03)
    K_o: Values = parameter(5.4, "mM")
    Na_o: Values = parameter(140.0, "mM")
    Ca_o: Values = parameter(2.0, "mM")
    V_rel: Values = parameter(0.102, "1/ms")
    V_leak: Values = parameter(0.00036, "1/ms")
    V_xfer: Values = parameter(0.0038, "1/ms")
    V_maxup: Values = parameter(0.006375, "mM/ms")
    K_up: Values = parameter(0.00025, "mM")
    max_SR: Values = parameter(2.5)
    min_SR: Values = parameter(1.0)
    EC: Values = parameter(1.5, "mM")
    k1: Values = parameter(0.15, "1/mM2/ms")
    k2: Values = parameter(0.045, "1/mM/ms")
    k3: Values = parameter(0.06, "1/ms")
    k4: Values = parameter(0.005, "1/ms")
    Buf_c: Values = parameter(0.2, "mM")
    K_buf_c: Values = parameter(0.001, "mM")
    Buf_SR: Values = parameter(10.0, "mM")
    K_buf_SR: Values = parameter(0.3, "mM")
    Buf_SS: Values = parameter(0.4, "mM")
    K_buf_SS: Values = parameter(0.00025, "mM")
    V_c: Values = parameter(16404.0, "um3")
    V_SR: Values = parameter(1094.0, "um3")
    V_SS: Values = parameter(54.68, "um3")
    capacitance: Values = parameter(185.0, "pF")
    R_gas: Values = parameter(8.314, "J/mol/K")
    T: Values = parameter(310.0, "K")
    F: Values = parameter(96.485, "C/mmol")
    late_s: Values = parameter(0.0)
    m: Tuning = tuned()
    h: Tuning = tuned()
    j: Tuning = tuned()
    x_r1: Tuning = tuned()
    x_r2: Tuning = tuned()
    x_s: Tuning = tuned()
    r: Tuning = tuned()
    s: Tuning = tuned()
    d: Tuning = tuned()
    f: Tuning = tuned()
    f2: Tuning = tuned()

    @classmethod
    def endocardium(cls, **more) -> "TenTusscher":
        """The cell of the endocardium: a weaker transient outward current that recovers later."""
        return cls(**({"g_to": 0.073, "late_s": 1.0} | more))

    @classmethod
    def midmyocardium(cls, **more) -> "TenTusscher":
        """The M cell: a weaker slow delayed current."""
        return cls(**({"g_Ks": 0.098} | more))

    def rest(self):
        start = TenTusscherState(
            v=-85.23, Ca_i=0.000126, Ca_SR=3.64, Ca_SS=0.00036, Na_i=8.604, K_i=136.89, m=0.00172, h=0.7444, j=0.7045,
            x_r1=0.00621, x_r2=0.4712, x_s=0.0095, r=2.42e-8, s=0.999998, d=3.373e-5, f=0.7888, f2=0.9755, f_Ca=0.9953, R=0.9073,
        )  # fmt: skip
        return TenTusscherState(*map(jnp.asarray, start))

    def terms(self, y, current):
        v, RTF = y.v, self.R_gas * self.T / self.F
        E_Na = RTF * jnp.log(self.Na_o / y.Na_i)
        E_K = RTF * jnp.log(self.K_o / y.K_i)
        E_Ks = RTF * jnp.log((self.K_o + self.p_KNa * self.Na_o) / (y.K_i + self.p_KNa * y.Na_i))
        E_Ca = 0.5 * RTF * jnp.log(self.Ca_o / y.Ca_i)
        root = jnp.sqrt(self.K_o / 5.4)
        i_Na = self.g_Na * y.m**3 * y.h * y.j * (v - E_Na)
        i_bNa = self.g_bNa * (v - E_Na)
        i_K1 = self.g_K1 * root * _inward(v - E_K) * (v - E_K)
        i_to = self.g_to * y.r * y.s * (v - E_K)
        i_Kr = self.g_Kr * root * y.x_r1 * y.x_r2 * (v - E_K)
        i_Ks = self.g_Ks * y.x_s**2 * (v - E_Ks)
        i_pK = self.g_pK * (v - E_K) / (1 + jnp.exp((25 - v) / 5.98))
        i_CaL = self.g_CaL * y.d * y.f * y.f2 * y.f_Ca * self._driven(v, y.Ca_SS, RTF)
        i_bCa = self.g_bCa * (v - E_Ca)
        i_pCa = self.g_pCa * y.Ca_i / (self.K_pCa + y.Ca_i)
        i_NaK, i_NaCa = self._pump(v, y.Na_i, RTF), self._exchanger(v, y, RTF)
        potassium = i_K1 + i_to + i_Kr + i_Ks + i_pK - 2 * i_NaK
        sodium = i_Na + i_bNa + 3 * i_NaK + 3 * i_NaCa
        total = potassium + sodium - 2 * i_NaCa + i_CaL + i_bCa + i_pCa
        per_volume = self.capacitance / (self.V_c * self.F)
        calcium = self._calcium(y, i_CaL, 0.5 * per_volume * (i_bCa + i_pCa - 2 * i_NaCa))
        low = 1 / (1 + (y.Ca_SS / 0.05) ** 2)
        return TenTusscherState(
            current - total,
            *calcium[:3],
            -per_volume * sodium,
            -per_volume * (potassium - current),
            self.m(_m, v),
            self.h(_h, v),
            self.j(_j, v),
            self.x_r1(_x_r1, v),
            self.x_r2(_x_r2, v),
            self.x_s(_x_s, v),
            self.r(_r, v),
            self.s(self._s, v),
            self.d(_d, v),
            self.f(_f, v),
            self.f2(_f2, v),
            Relaxing(0.6 * low + 0.4, 80 * low + 2),
            calcium[3],
        )

    def _driven(self, v, Ca_SS, RTF):
        """What drives the L-type current, 2 F x (c e^x / 4 - c_o) / (e^x - 1) with x = 2 (v - 15) F / (R T)."""
        x = 2 * (v - 15) / RTF
        return 2 * self.F * (0.25 * Ca_SS * ratio(x) - self.Ca_o * ratio(-x))

    def _pump(self, v, Na_i, RTF):
        block = 1 + 0.1245 * jnp.exp(-0.1 * v / RTF) + 0.0353 * jnp.exp(-v / RTF)
        return self.P_NaK * self.K_o * Na_i / ((self.K_o + self.K_mK) * (Na_i + self.K_mNa) * block)

    def _exchanger(self, v, y, RTF):
        back = jnp.exp((self.gamma - 1) * v / RTF)
        top = jnp.exp(self.gamma * v / RTF) * y.Na_i**3 * self.Ca_o - back * self.Na_o**3 * y.Ca_i * self.alpha
        below = (self.K_mNai**3 + self.Na_o**3) * (self.K_mCa + self.Ca_o) * (1 + self.K_sat * back)
        return self.K_NaCa * top / below

    def _calcium(self, y, i_CaL, out):
        """The rates of calcium in the cytoplasm, the reticulum and the subspace, and that of the release channel."""
        kcasr = self.max_SR - (self.max_SR - self.min_SR) / (1 + (self.EC / y.Ca_SR) ** 2)
        binding = self.k1 / kcasr * y.Ca_SS**2
        release = self.V_rel * binding * y.R / (self.k3 + binding) * (y.Ca_SR - y.Ca_SS)
        leak = self.V_leak * (y.Ca_SR - y.Ca_i)
        uptake = self.V_maxup / (1 + (self.K_up / y.Ca_i) ** 2)
        transfer = self.V_xfer * (y.Ca_SS - y.Ca_i)
        free = lambda c, buffer, K: 1 / (1 + buffer * K / (c + K) ** 2)
        entry = i_CaL * self.capacitance / (2 * self.V_SS * self.F)
        closes = self.k2 * kcasr * y.Ca_SS
        return (
            free(y.Ca_i, self.Buf_c, self.K_buf_c) * ((leak - uptake) * self.V_SR / self.V_c + transfer - out),
            free(y.Ca_SR, self.Buf_SR, self.K_buf_SR) * (uptake - release - leak),
            free(y.Ca_SS, self.Buf_SS, self.K_buf_SS) * (release * self.V_SR / self.V_SS - transfer * self.V_c / self.V_SS - entry),
            Relaxing(self.k4 / (closes + self.k4), 1 / (closes + self.k4)),
        )

    def _s(self, v):
        early = _boltzmann(v, -20, -5), 85 * jnp.exp(-((v + 45) ** 2) / 320) + 5 / (1 + jnp.exp((v - 20) / 5)) + 3
        late = _boltzmann(v, -28, -5), 1000 * jnp.exp(-((v + 67) ** 2) / 1000) + 8
        return tuple(a + self.late_s * (b - a) for a, b in zip(early, late, strict=True))


def _boltzmann(v, half, slope):
    return 1 / (1 + jnp.exp((half - v) / slope))


def _inward(x):
    alpha = 0.1 / (1 + jnp.exp(0.06 * (x - 200)))
    beta = (3 * jnp.exp(0.0002 * (x + 100)) + jnp.exp(0.1 * (x - 10))) / (1 + jnp.exp(-0.5 * x))
    return alpha / (alpha + beta)


def _m(v):
    below = 0.1 * _boltzmann(v, -35, -5) + 0.1 * _boltzmann(v, 50, -200)
    return _boltzmann(v, -56.86, 9.03) ** 2, _boltzmann(v, -60, 5) * below


def _h(v):
    high, w = v >= -40, jnp.minimum(v, -40.0)
    opens = 0.057 * jnp.exp(-(w + 80) / 6.8) + 2.7 * jnp.exp(0.079 * w) + 3.1e5 * jnp.exp(0.3485 * w)
    closes = 0.77 / (0.13 * (1 + jnp.exp(-(v + 10.66) / 11.1)))
    return _boltzmann(v, -71.55, -7.43) ** 2, 1 / jnp.where(high, closes, opens)


def _j(v):
    high, w = v >= -40, jnp.minimum(v, -40.0)
    opens = (-2.5428e4 * jnp.exp(0.2444 * w) - 6.948e-6 * jnp.exp(-0.04391 * w)) * (w + 37.78) / (1 + jnp.exp(0.311 * (w + 79.23)))
    opens = opens + 0.02424 * jnp.exp(-0.01052 * w) / (1 + jnp.exp(-0.1378 * (w + 40.14)))
    closes = 0.6 * jnp.exp(0.057 * v) / (1 + jnp.exp(-0.1 * (v + 32)))
    return _boltzmann(v, -71.55, -7.43) ** 2, 1 / jnp.where(high, closes, opens)


def _x_r1(v):
    return _boltzmann(v, -26, 7), 450 * _boltzmann(v, -45, 10) * 6 * _boltzmann(v, -30, -11.5)


def _x_r2(v):
    return _boltzmann(v, -88, -24), 3 * _boltzmann(v, -60, 20) * 1.12 * _boltzmann(v, 60, -20)


def _x_s(v):
    return _boltzmann(v, -5, 14), 1400 / jnp.sqrt(1 + jnp.exp((5 - v) / 6)) * _boltzmann(v, 35, -15) + 80


def _r(v):
    return _boltzmann(v, 20, 6), 9.5 * jnp.exp(-((v + 40) ** 2) / 1800) + 0.8


def _d(v):
    time = (1.4 * _boltzmann(v, -35, 13) + 0.25) * 1.4 * _boltzmann(v, -5, -5) + _boltzmann(v, 50, 20)
    return _boltzmann(v, -8, 7.5), time


def _f(v):
    time = 1102.5 * jnp.exp(-((v + 27) ** 2) / 225) + 200 * _boltzmann(v, 13, 10) + 180 * _boltzmann(v, -30, -10) + 20
    return _boltzmann(v, -20, -7), time


def _f2(v):
    time = 562 * jnp.exp(-((v + 27) ** 2) / 240) + 31 * _boltzmann(v, 25, 10) + 80 * _boltzmann(v, -30, -10)
    return 0.67 * _boltzmann(v, -35, -7) + 0.33, time
