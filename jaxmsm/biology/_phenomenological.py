"""Cells of two to four unknowns, for tissues: Mitchell-Schaeffer, Aliev-Panfilov, Fenton-Karma, Bueno-Orovio."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from ..solve import Relaxing
from ._ionic import AbstractCell, Values, parameter


class MitchellSchaefferState(NamedTuple):
    """Potential (0 at rest, 1 at the most) and the gate of the inward current."""

    u: Values
    h: Values


class MitchellSchaeffer(AbstractCell):
    """Two currents and a gate: du/dt = h u^2 (1 - u) / tau_in - u / tau_out; times in ms, v = -80 mV + 100 mV u by custom.

    Valid: the duration of an action potential is tau_close ln(h / h_min), h_min = 4 tau_in / tau_out, as tau_in / tau_close -> 0.
    Source: C. Mitchell, D. Schaeffer, Bull. Math. Biol. 65 (2003) 767, equations 1 to 4.
    """

    tau_in: Values = parameter(0.3, "ms")
    tau_out: Values = parameter(6.0, "ms")
    tau_open: Values = parameter(120.0, "ms")
    tau_close: Values = parameter(150.0, "ms")
    u_gate: Values = parameter(0.13)

    def rest(self):
        return MitchellSchaefferState(jnp.asarray(0.0), jnp.asarray(1.0))

    def terms(self, y, current):
        du = y.h * y.u**2 * (1 - y.u) / self.tau_in - y.u / self.tau_out
        opens = y.u < self.u_gate
        gate = Relaxing(jnp.where(opens, 1.0, 0.0), jnp.where(opens, self.tau_open, self.tau_close))
        return MitchellSchaefferState(current + du, gate)


class AlievPanfilovState(NamedTuple):
    """Potential (0 at rest, 1 at the most) and recovery."""

    u: Values
    v: Values


class AlievPanfilov(AbstractCell):
    """A cubic current and a recovery whose speed depends on both: du/dt = k u (u - a) (1 - u) - u v.

    A unit of time is 12.9 ms, v = -80 mV + 100 mV u by custom.

    Source: R. Aliev, A. Panfilov, Chaos Solitons Fractals 7 (1996) 293, equations 1 and 2.
    """

    a: Values = parameter(0.1)
    k: Values = parameter(8.0)
    eps: Values = parameter(0.01)
    mu1: Values = parameter(0.2)
    mu2: Values = parameter(0.3)

    def rest(self):
        return AlievPanfilovState(jnp.asarray(0.0), jnp.asarray(0.0))

    def terms(self, y, current):
        du = self.k * y.u * (y.u - self.a) * (1 - y.u) - y.u * y.v
        dv = (self.eps + self.mu1 * y.v / (y.u + self.mu2)) * (-y.v - self.k * y.u * (y.u - self.a - 1))
        return AlievPanfilovState(current + du, dv)


class FentonKarmaState(NamedTuple):
    """Potential (0 at rest, 1 at the most), the fast and the slow gate."""

    u: Values
    v: Values
    w: Values


class FentonKarma(AbstractCell):
    """A fast inward, a slow inward and a slow outward current; the numbers are those of the modified Luo-Rudy I model.

    Source: F. Fenton, A. Karma, Chaos 8 (1998) 20, equations 1 to 8 and table I.
    """

    tau_r: Values = parameter(130.0, "ms")
    tau_o: Values = parameter(12.5, "ms")
    tau_d: Values = parameter(0.172, "ms")
    tau_si: Values = parameter(127.0, "ms")
    tau_v_m: Values = parameter(18.2, "ms")
    tau_v_p: Values = parameter(10.0, "ms")
    tau_w_m: Values = parameter(80.0, "ms")
    tau_w_p: Values = parameter(1020.0, "ms")
    k: Values = parameter(10.0)
    u_c: Values = parameter(0.13)
    uc_si: Values = parameter(0.85)

    def rest(self):
        return FentonKarmaState(*map(jnp.asarray, (0.0, 1.0, 1.0)))

    def terms(self, y, current):
        on = y.u >= self.u_c
        fast = jnp.where(on, -y.v * (1 - y.u) * (y.u - self.u_c) / self.tau_d, 0.0)
        out = jnp.where(on, 1 / self.tau_r, y.u / self.tau_o)
        slow = -y.w * (1 + jnp.tanh(self.k * (y.u - self.uc_si))) / (2 * self.tau_si)
        target = jnp.where(on, 0.0, 1.0)
        v = Relaxing(target, jnp.where(on, self.tau_v_p, self.tau_v_m))
        w = Relaxing(target, jnp.where(on, self.tau_w_p, self.tau_w_m))
        return FentonKarmaState(current - fast - out - slow, v, w)


class BuenoOrovioState(NamedTuple):
    """Potential (0 at rest) and the three gates."""

    u: Values
    v: Values
    w: Values
    s: Values


class BuenoOrovio(AbstractCell):
    """The minimal model of human ventricular cells; the numbers are those of the epicardium. v = -84 mV + 85.7 mV u.

    Source: A. Bueno-Orovio, E. Cherry, F. Fenton, J. Theor. Biol. 253 (2008) 544, equations 1 to 16 and table 1.
    """

    u_o: Values = parameter(0.0)
    u_u: Values = parameter(1.55)
    theta_v: Values = parameter(0.3)
    theta_w: Values = parameter(0.13)
    theta_v_m: Values = parameter(0.006)
    theta_o: Values = parameter(0.006)
    tau_v1_m: Values = parameter(60.0, "ms")
    tau_v2_m: Values = parameter(1150.0, "ms")
    tau_v_p: Values = parameter(1.4506, "ms")
    tau_w1_m: Values = parameter(60.0, "ms")
    tau_w2_m: Values = parameter(15.0, "ms")
    k_w_m: Values = parameter(65.0)
    u_w_m: Values = parameter(0.03)
    tau_w_p: Values = parameter(200.0, "ms")
    tau_fi: Values = parameter(0.11, "ms")
    tau_o1: Values = parameter(400.0, "ms")
    tau_o2: Values = parameter(6.0, "ms")
    tau_so1: Values = parameter(30.0181, "ms")
    tau_so2: Values = parameter(0.9957, "ms")
    k_so: Values = parameter(2.0458)
    u_so: Values = parameter(0.65)
    tau_s1: Values = parameter(2.7342, "ms")
    tau_s2: Values = parameter(16.0, "ms")
    k_s: Values = parameter(2.0994)
    u_s: Values = parameter(0.9087)
    tau_si: Values = parameter(1.8875, "ms")
    tau_w_inf: Values = parameter(0.07)
    w_inf: Values = parameter(0.94)

    @classmethod
    def endocardium(cls, **more) -> "BuenoOrovio":
        """The numbers of the endocardium, table 1."""
        numbers: dict[str, Any] = {
            "u_u": 1.56, "theta_v_m": 0.2, "tau_v1_m": 75.0, "tau_v2_m": 10.0, "tau_w1_m": 6.0, "tau_w2_m": 140.0, "k_w_m": 200.0,
            "u_w_m": 0.016, "tau_w_p": 280.0, "tau_fi": 0.1, "tau_o1": 470.0, "tau_so1": 40.0, "tau_so2": 1.2, "k_so": 2.0,
            "tau_s2": 2.0, "tau_si": 2.9013, "tau_w_inf": 0.0273, "w_inf": 0.78,
        }  # fmt: skip
        return cls(**(numbers | more))

    def rest(self):
        return BuenoOrovioState(*map(jnp.asarray, (0.0, 1.0, 1.0, 0.0)))

    def terms(self, y, current):
        u = y.u
        in_v, in_w, in_o, low = u >= self.theta_v, u >= self.theta_w, u >= self.theta_o, u < self.theta_v_m
        ramp = lambda k, center: 0.5 * (1 + jnp.tanh(k * (u - center)))
        tau_so = self.tau_so1 + (self.tau_so2 - self.tau_so1) * ramp(self.k_so, self.u_so)
        fast = jnp.where(in_v, -y.v * (u - self.theta_v) * (self.u_u - u) / self.tau_fi, 0.0)
        out = jnp.where(in_w, 1 / tau_so, (u - self.u_o) / jnp.where(in_o, self.tau_o2, self.tau_o1))
        slow = jnp.where(in_w, -y.w * y.s / self.tau_si, 0.0)
        tau_v_m = jnp.where(low, self.tau_v1_m, self.tau_v2_m)
        tau_w_m = self.tau_w1_m + (self.tau_w2_m - self.tau_w1_m) * ramp(self.k_w_m, self.u_w_m)
        open_w = jnp.where(in_o, self.w_inf, 1 - u / self.tau_w_inf)
        v = Relaxing(jnp.where(~in_v & low, 1.0, 0.0), jnp.where(in_v, self.tau_v_p, tau_v_m))
        w = Relaxing(jnp.where(in_w, 0.0, open_w), jnp.where(in_w, self.tau_w_p, tau_w_m))
        s = Relaxing(ramp(self.k_s, self.u_s), jnp.where(in_w, self.tau_s2, self.tau_s1))
        return BuenoOrovioState(current - fast - out - slow, v, w, s)
