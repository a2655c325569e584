"""J2 plasticity at small strain, by radial return."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from .._scale import hold
from ..solve import implicit
from ._hardening import AbstractHardening, ArmstrongFrederick, Prager
from ._kinematics import Number, number, strain
from ._law import AbstractLaw

_MAX_STEPS = 40


class Plastic(eqx.Module):
    """What a plastic point remembers. Tensors are stored as their components 11, 22, 33, 23, 13, 12.

    Attributes:
        strain: plastic strain, without trace.
        alpha: accumulated plastic strain, that of a tension test.
        back: back stress, without trace; None without kinematic hardening.
    """

    strain: Float[Array, "6"]
    alpha: Float[Array, ""]
    back: Float[Array, "6"] | None


class J2(AbstractLaw):
    """Von Mises plasticity at small strain with isotropic and kinematic hardening.

    sigma = lam tr(e) I + 2 mu (e - ep). It flows where sqrt(3/2) |dev sigma - back| reaches the yield stress of the
    hardening, d ep = (3/2) (dev sigma - back) / q d alpha; one implicit Euler step a load (radial return). In the plane the
    strain is plane, the plastic strain is not.

    Valid: small strain. Zero moduli, and a yield stress that is huge or infinite (an elastic phase), are allowed. The slopes of the
        yield stress and of the back stress must not add up to less than -3 mu.
    Fails: not admissible where the local iteration of a curved hardening did not converge.
    Error: none for proportional loading; first order in the load step where the flow direction turns.
    Source: Simo and Hughes, Computational Inelasticity (1998), box 3.1, with their |dev sigma| = sqrt(2/3) times ours.

    Attributes:
        lam: first Lame constant, in the unit of stress.
        mu: shear modulus, in the unit of stress.
        hardening: `Linear` or `Voce`, or one's own.
        kinematic: None, `Prager` or `ArmstrongFrederick`.
    """

    small: ClassVar[bool] = True

    lam: Number = eqx.field(converter=number)
    mu: Number = eqx.field(converter=number)
    hardening: AbstractHardening
    kinematic: Prager | ArmstrongFrederick | None = None

    @property
    def symmetric(self) -> bool:
        """Recall of the back stress has no potential."""
        return not isinstance(self.kinematic, ArmstrongFrederick)

    @classmethod
    def from_young(cls, E: Number, nu: Number, hardening: AbstractHardening, kinematic=None) -> "J2":
        """From Young's modulus and Poisson's ratio."""
        return cls(E * nu / ((1 + nu) * (1 - 2 * nu)), E / (2 * (1 + nu)), hardening, kinematic)

    @classmethod
    def from_bulk(cls, K: Number, G: Number, hardening: AbstractHardening, kinematic=None) -> "J2":
        """From the bulk and the shear modulus."""
        return cls(K - 2 * G / 3, G, hardening, kinematic)

    def init(self):
        zero = jnp.zeros(6)
        return Plastic(zero, jnp.zeros(()), None if self.kinematic is None else zero)

    def __call__(self, F, past):
        e = _components(strain(F))
        volumetric = e[0] + e[1] + e[2]
        trial = 2 * self.mu * (e - _one(e) * (volumetric / 3) - past.strain)
        flowing, step, _ = self._step(trial, past)
        # The relative stress at the end of the step has the direction of the one that forgets first and then returns.
        xi = trial if past.back is None else trial - past.back * self._kept(step)
        q = _mises(xi)
        flow = jnp.where(flowing, step, 0) * 1.5 * xi / jnp.where(flowing & (q > 0), q, 1)
        s = trial - 2 * self.mu * flow
        back = None
        if past.back is not None:
            back = self._kept(step) * (past.back + 2 / 3 * self.kinematic.C * flow)
        P = _tensor(s + _one(e) * ((self.lam + 2 / 3 * self.mu) * volumetric), F.shape[0])
        return P, Plastic(past.strain + flow, past.alpha + step, back)

    def admissible(self, F, past):
        finite = jnp.all(jnp.isfinite(F))
        if self._affine:
            return finite
        e = _components(strain(F))
        trial = 2 * self.mu * (e - _one(e) * ((e[0] + e[1] + e[2]) / 3) - past.strain)
        return finite & self._step(trial, past)[2]

    @property
    def _affine(self) -> bool:
        return self.hardening.affine and (self.kinematic is None or self.kinematic.affine)

    def _kept(self, step: Float[Array, ""]) -> Float[Array, ""]:
        """The fraction of the back stress that outlives a step."""
        return 1 / (1 + self.kinematic.recall * step)

    def _step(self, trial: Float[Array, "6"], past: Plastic) -> tuple[Bool[Array, ""], Float[Array, ""], Bool[Array, ""]]:
        """Whether the point flows, by how much alpha grows, and whether the iteration for that converged."""
        q = _mises(trial if past.back is None else trial - past.back)
        flowing = q > self.hardening(past.alpha)
        given = _Given(self, jax.tree.map(lambda x: jnp.where(flowing, x, 0), (trial, past.back)), past.alpha)
        zero = jnp.zeros_like(q)
        if self._affine:
            start, slope = _excess(zero, given), _slope(zero, given)
            step = jnp.where(flowing, -start, 0) / jnp.where(flowing, slope, 1)
            return flowing, step, jnp.ones_like(flowing)
        step, converged = _find(hold(given), flowing)
        step = implicit(_excess, _solve, step, given)
        return flowing, jnp.where(flowing, step, 0), converged


class _Given(eqx.Module):
    """All that the size of a plastic step depends on."""

    law: J2
    stress: tuple[Float[Array, "6"], Float[Array, "6"] | None]
    alpha: Float[Array, ""]


def _excess(step: Float[Array, ""], given: _Given) -> Float[Array, ""]:
    """How far the relative stress stands beyond the yield stress after a plastic step."""
    trial, back = given.stress
    law = given.law
    stiffness = 3 * law.mu
    if back is not None:
        kept = law._kept(step)
        trial, stiffness = trial - kept * back, stiffness + kept * law.kinematic.C
    return _mises(trial) - stiffness * step - law.hardening(given.alpha + step)


def _slope(step: Float[Array, ""], given: _Given) -> Float[Array, ""]:
    return jax.jvp(lambda x: _excess(x, given), (step,), (jnp.ones_like(step),))[1]


def _solve(matvec, rhs, step, given):
    slope = matvec(jnp.ones_like(step))
    return rhs / jnp.where(slope == 0, 1, slope)


def _find(given: _Given, flowing: Bool[Array, ""]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The step at which nothing is left in excess, by Newton inside a bracket, and whether it was reached."""
    trial, back = given.stress
    size = _mises(trial) if back is None else _mises(trial) + _mises(back)
    tolerance = 32 * jnp.finfo(size.dtype).eps * (size + jnp.abs(given.law.hardening(given.alpha)))
    zero = jnp.zeros_like(size)
    most = jnp.where(flowing, size, 0) / jnp.where(flowing, 3 * given.law.mu, 1)

    def going(carry):
        _, _, _, excess, count = carry
        return flowing & ~(jnp.abs(excess) <= tolerance) & (count < _MAX_STEPS)

    def advance(carry):
        step, low, high, excess, count = carry
        low, high = jnp.where(excess > 0, step, low), jnp.where(excess > 0, high, step)
        slope = _slope(step, given)
        newton = step - excess / jnp.where(slope == 0, 1, slope)
        step = jnp.where((slope < 0) & (newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        return step, low, high, _excess(step, given), count + 1

    start = (zero, zero, most, _excess(zero, given), jnp.zeros_like(flowing, jnp.int32))
    step, _, _, excess, _ = lax.while_loop(going, advance, start)
    return step, ~flowing | (jnp.abs(excess) <= tolerance)


def _one(like: Float[Array, "6"]) -> Float[Array, "6"]:
    return jnp.asarray(np.array([1, 1, 1, 0, 0, 0]), like.dtype)


def _mises(s: Float[Array, "6"]) -> Float[Array, ""]:
    """sqrt(3/2) |s|, with slope zero at zero."""
    square = 1.5 * jnp.sum(jnp.asarray(np.array([1, 1, 1, 2, 2, 2]), s.dtype) * s * s)
    some = square > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)


def _components(e: Float[Array, "d d"]) -> Float[Array, "6"]:
    zero = jnp.zeros_like(e[0, 0])
    if e.shape[0] == 2:
        return jnp.stack([e[0, 0], e[1, 1], zero, zero, zero, e[0, 1]])
    return jnp.stack([e[0, 0], e[1, 1], e[2, 2], e[1, 2], e[0, 2], e[0, 1]])


def _tensor(s: Float[Array, "6"], d: int) -> Float[Array, "{d} {d}"]:
    place = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
    return jnp.stack([jnp.stack([s[place[i][j]] for j in range(d)]) for i in range(d)])
