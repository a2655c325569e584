"""J2 plasticity at small strain, by radial return."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._precision import full_precision
from .._scale import hold
from ..solve import implicit_scalar
from ._hardening import AbstractHardening, ArmstrongFrederick, Prager
from ._kinematics import Number, Parts, finite, number, parts
from ._law import ComponentLaw
from ._parameters import isotropic, lame, not_negative

_MAX_STEPS = 40

type Six = tuple[Array, ...]
"""The components 11, 22, 33, 23, 13, 12 of a symmetric tensor, each a scalar at the point."""


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


class J2(ComponentLaw):
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

    lam: Number = eqx.field(converter=number, kw_only=True)
    mu: Number = eqx.field(converter=number, kw_only=True)
    hardening: AbstractHardening = eqx.field(kw_only=True)
    kinematic: Prager | ArmstrongFrederick | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self):
        isotropic(self.lam, self.mu)

    @property
    def symmetric(self) -> bool:
        """Recall of the back stress has no potential."""
        return not isinstance(self.kinematic, ArmstrongFrederick)

    @classmethod
    def from_young(cls, E: Number, nu: Number, hardening: AbstractHardening, kinematic=None) -> "J2":
        """From Young's modulus and Poisson's ratio."""
        lam, mu = lame(E, nu)
        return cls(lam=lam, mu=mu, hardening=hardening, kinematic=kinematic)

    @classmethod
    def from_bulk(cls, *, K: Number, G: Number, hardening: AbstractHardening, kinematic=None) -> "J2":
        """From the bulk and the shear modulus."""
        not_negative(K=K, G=G)
        return cls(lam=K - 2 * G / 3, mu=G, hardening=hardening, kinematic=kinematic)

    def init(self):
        zero = jnp.zeros(6)
        return Plastic(zero, jnp.zeros(()), None if self.kinematic is None else zero)

    def by_components(self, f, past):
        trial, volumetric = self._trial(f, past)
        back = None if past.back is None else _split(past.back)
        _, step, converged = self._step(_Given(self, (trial, back), past.alpha))
        # The relative stress at the end of the step has the direction of the one that forgets first and then returns.
        xi = trial if back is None else _less(trial, back, self._kept(step))
        q = _mises(xi)
        size = 1.5 * step / (q + (q == 0))
        flow = tuple(size * x for x in xi)
        pressure = (self.lam + 2 / 3 * self.mu) * volumetric
        s = tuple(x - 2 * self.mu * y + (pressure if k < 3 else 0) for k, (x, y) in enumerate(zip(trial, flow, strict=True)))
        flow = jnp.stack(flow)
        if past.back is not None:
            back = self._kept(step) * (past.back + 2 / 3 * self.kinematic.C * flow)
        following = Plastic(past.strain + flow, past.alpha + step, back)
        return _tensor(s, len(f)), following, finite(f) & converged

    def margin(self, F, past):
        # The equivalent stress changes by at most sqrt(3/2) 2 mu times the norm of the strain.
        trial, _ = self._trial(parts(F), past)
        back = None if past.back is None else _split(past.back)
        left = -_excess(jnp.zeros_like(trial[0]), _Given(self, (trial, back), past.alpha))
        return jnp.maximum(left, 0) / (6**0.5 * self.mu)

    def _trial(self, f: Parts, past: Plastic) -> tuple[Six, Float[Array, ""]]:
        """The deviatoric stress if nothing flowed, and the change of volume."""
        e = _components(f)
        volumetric = e[0] + e[1] + e[2]
        deviator = (x - volumetric / 3 if k < 3 else x for k, x in enumerate(e))
        return tuple(2 * self.mu * (x - y) for x, y in zip(deviator, _split(past.strain), strict=True)), volumetric

    @property
    def _affine(self) -> bool:
        return self.hardening.affine and (self.kinematic is None or self.kinematic.affine)

    def _kept(self, step: Float[Array, ""]) -> Float[Array, ""]:
        """The fraction of the back stress that outlives a step."""
        assert self.kinematic is not None
        return 1 / (1 + self.kinematic.recall * step)

    def _step(self, given: "_Given") -> tuple[Bool[Array, ""], Float[Array, ""], Bool[Array, ""]]:
        """Whether the point flows, by how much alpha grows, and whether the iteration for that converged."""
        zero = jnp.zeros_like(given.stress[0][0])
        excess = _excess(zero, given)
        flowing = excess > 0
        if self._affine:
            slope = _slope(zero, given)
            return flowing, jnp.where(flowing, excess, 0) / -jnp.where(flowing, slope, -1), jnp.ones_like(flowing)
        step, converged = _find(hold(given), flowing)
        step = implicit_scalar(_excess, step, given)
        return flowing, jnp.where(flowing, step, 0), converged


class _Given(eqx.Module):
    """All that the size of a plastic step depends on: the law, the trial and the back stress, the plastic strain so far."""

    law: J2
    stress: tuple[Six, Six | None]
    alpha: Float[Array, ""]


def _excess(step: Float[Array, ""], given: _Given) -> Float[Array, ""]:
    """How far the relative stress stands beyond the yield stress after a plastic step."""
    trial, back = given.stress
    law = given.law
    stiffness = 3 * law.mu
    if back is not None and law.kinematic is not None:
        kept = law._kept(step)
        trial, stiffness = _less(trial, back, kept), stiffness + kept * law.kinematic.C
    return _mises(trial) - stiffness * step - law.hardening(given.alpha + step)


def _slope(step: Float[Array, ""], given: _Given) -> Float[Array, ""]:
    return jax.jvp(lambda x: _excess(x, given), (step,), (jnp.ones_like(step),))[1]


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


@jax.custom_jvp
def _mises(s: Six) -> Float[Array, ""]:
    """sqrt(3/2) |s|, with slope zero at zero."""
    return jnp.sqrt(1.5 * _inner(s, s))


@_mises.defjvp
@full_precision
def _mises_jvp(primals, tangents):
    (s,), (ds,) = primals, tangents
    q = _mises(s)
    return q, _inner(s, ds) * (1.5 / (q + (q == 0)))


def _inner(a: Six, b: Six) -> Float[Array, ""]:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + 2 * (a[3] * b[3] + a[4] * b[4] + a[5] * b[5])


def _less(a: Six, b: Six, factor: Any) -> Six:
    return tuple(x - factor * y for x, y in zip(a, b, strict=True))


def _split(s: Float[Array, "6"]) -> Six:
    return tuple(lax.index_in_dim(s, k, 0, False) for k in range(6))


def _components(f: Parts) -> Six:
    """The small strain."""
    shear = {(i, j): 0.5 * (f[i][j] + f[j][i]) for i in range(len(f)) for j in range(i)}
    normal = [f[i][i] - 1 for i in range(len(f))]
    zero = jnp.zeros_like(f[0][0])
    if len(f) == 2:
        return (*normal, zero, zero, zero, shear[1, 0])
    return (*normal, shear[2, 1], shear[2, 0], shear[1, 0])


def _tensor(s: Six, d: int) -> Parts:
    place = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
    return tuple(tuple(s[place[i][j]] for j in range(d)) for i in range(d))
