"""Plasticity of face-centered cubic crystals at finite strain: slip on twelve systems that harden one another."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._precision import full_precision
from .._scale import hold
from ._finite import upright
from ._kinematics import PAIRS, Number, finite, flip, from_six, in_space, number, parts, product, total, whole
from ._law import ComponentLaw, length
from ._parameters import not_negative, positive
from ._slip import Step, eliminated, kept, residual, slips, solved, spread, stiff, stresses, tangent

_MAX_STEPS = 60


class Crystal(eqx.Module):
    """What a plastic crystal remembers, in its own axes.

    Attributes:
        inverse: Fp^-1, the inverse of the plastic deformation gradient.
        hardening: by how much the resistance of each slip system has grown, in the unit of stress.
        stress: second Piola stress of the lattice, components 11, 22, 33, 23, 13, 12; where the next search starts.
    """

    inverse: Float[Array, "3 3"]
    hardening: Float[Array, "12"]
    stress: Float[Array, "6"]


class CrystalPlasticity(ComponentLaw):
    """A face-centered cubic crystal that slips on {111}<110>: F = Fe Fp, dFp/dt Fp^-1 = sum of slip rates times m (x) n.

    T = C : (Fe^T Fe - I) / 2 with cubic C; the rate of a slip is rate |t/g|^(1/m) sign t with t = m T n; a resistance g grows by
    the sum over the systems of their h |slip rate|, h = h0 (1 - g/g_inf)^a and zero beyond g_inf, counted once for systems of the
    same plane and q times for others. The axes of the crystal are the coordinates: `Rotated(law, R)` turns it, also out of the
    plane of a plane load. One implicit step a load; its flow sees the resistances grown by their mean over the slips of the step,
    which has one solution, and each resistance then grows by its own.

    Valid: det F > 0; elastic strains small beside one, as in metals. Any m in 0 to 1 (1/m of some 80 for metals at room
        temperature); steps of some .1 of strain are found.
    Fails: not admissible where det F <= 0, where time runs backward, or where the local iteration did not converge (a step that
        is too large).
    Error: first order in the length of the step.
    Source: Kalidindi, Bronkhorst and Anand, J. Mech. Phys. Solids 40 (1992) 537.

    Attributes:
        C11, C12, C44: cubic stiffnesses, in the unit of stress.
        rate: the slip rate where t = g, per unit of the times of a `Span`.
        m: rate sensitivity.
        g0: first resistance of all systems, in the unit of stress.
        g_inf: the resistance at which a system hardens others no more, in the unit of stress.
        h0: first slope of the resistance in the slip, in the unit of stress.
        a: exponent of the hardening.
        q: latent over self hardening.
        dt: length of the step (`during`).
    """

    timed: ClassVar[bool] = True

    C11: Number = eqx.field(converter=number, kw_only=True)
    C12: Number = eqx.field(converter=number, kw_only=True)
    C44: Number = eqx.field(converter=number, kw_only=True)
    rate: Number = eqx.field(converter=number, kw_only=True)
    m: Number = eqx.field(converter=number, kw_only=True)
    g0: Number = eqx.field(converter=number, kw_only=True)
    g_inf: Number = eqx.field(converter=number, kw_only=True)
    h0: Number = eqx.field(converter=number, kw_only=True)
    a: Number = eqx.field(converter=number, kw_only=True)
    q: Number = eqx.field(converter=number, kw_only=True, default=1.4)
    dt: Number | None = eqx.field(converter=number, default=None, kw_only=True)

    def __check_init__(self):
        not_negative(C44=self.C44, rate=self.rate, m=self.m, g0=self.g0, g_inf=self.g_inf, h0=self.h0, a=self.a, q=self.q)
        a, b = self.C11, self.C12
        positive("Arguments `C11` and `C12`, as a matrix,", ((a, b, b), (b, a, b), (b, b, a)))

    @classmethod
    def copper(cls) -> "CrystalPlasticity":
        """Annealed copper at room temperature, in MPa and seconds, as in the source."""
        return cls(C11=170e3, C12=124e3, C44=75e3, rate=1e-3, m=0.012, g0=16.0, g_inf=148.0, h0=180.0, a=2.25, q=1.4)

    def init(self):
        return Crystal(jnp.eye(3), jnp.zeros(12), jnp.zeros(6))

    def by_components(self, f, past):
        d, fine = len(f), upright(f)
        f, g = in_space(f), parts(past.inverse)
        columns = flip(product(f, g))
        trial = jnp.stack([total(x * y for x, y in zip(columns[i], columns[j], strict=True)) for i, j in PAIRS[3]])
        given = Step(self, length(self), trial, past.hardening)
        z, found = _find(hold(given), hold(past.stress))
        z = _root(z, given)
        slip, work = slips(z, given)
        g = product(g, kept(slip)[0])
        # P = Fe T Fe^T F^-T with Fe = F Fp^-1
        P = product(product(f, product(g, from_six(z[:6]))), flip(g))
        following = Crystal(whole(g), past.hardening + spread(work, self.q), z[:6])
        return tuple(row[:d] for row in P[:d]), following, fine & found & finite(P) & (given.dt >= 0)


@jax.custom_jvp
def _root(z: Float[Array, "7"], given: Step) -> Float[Array, "7"]:
    """`z`, at which the residual vanishes, as a function of what is given."""
    del given
    return z


@_root.defjvp
@full_precision
def _root_jvp(primals, tangents):
    (z, given), (_, change) = primals, tangents
    # As a function of what is given again, which is what makes second derivatives right.
    z = _root(z, given)
    missing = jax.jvp(lambda p: residual(z, p), (given,), (change,))[1]
    return z, -solved(eliminated(tangent(z, given)), missing)


def _find(given: Step, before: Float[Array, "6"]) -> tuple[Float[Array, "7"], Bool[Array, ""]]:
    """Stress and mean growth of the resistances at which the residual vanishes, by Newton, and whether they were found.

    Slip is a very steep function of the stress. A step ends where a system would slip more than twice the strain of the load
    step, which keeps Newton where slips have the size that they will have in the end; it is halved where the residual grows.
    """
    law = given.law
    eps = float(jnp.finfo(given.trial.dtype).eps)
    start, most = _start(given, before, eps)

    def advance(z):
        """The residual's norm, what it may be, and the step from here."""
        r = residual(z, given)
        slip = slips(z, given)[0]
        # Round-off of the stress, of size eps, changes the slip by eps / m times itself.
        limit = 8 * eps * (8 + jnp.sum(jnp.abs(slip)) / law.m)
        dz = -solved(eliminated(tangent(z, given)), r)
        size = _size(r)
        return size, size <= limit, _room(z, dz, given, most) * dz

    def going(carry):
        _, _, size, done, count = carry
        return ~done & (jnp.isfinite(size) | (count == 0)) & (count < _MAX_STEPS)

    def body(carry):
        z, dz, size, _, count = carry
        # Resistances only grow.
        trial = jnp.concatenate([z[:6] + dz[:6], jnp.maximum(z[6:] + dz[6:], 0)])
        new, done, following = advance(trial)
        better = new < size
        z, dz, size = (jnp.where(better, x, y) for x, y in ((trial, z), (following, 0.5 * dz), (new, size)))
        return z, dz, size, better & done, count + 1

    # The start is looked at inside, so that there is one program for it: a step of nothing from nowhere.
    nowhere = jnp.full_like(most, jnp.inf)
    first = (start, jnp.zeros_like(start), nowhere, jnp.isnan(nowhere), jnp.zeros_like(nowhere, jnp.int32))
    z, _, _, done, _ = lax.while_loop(going, body, first)
    return z, done


def _start(given: Step, before: Float[Array, "6"], eps: float) -> tuple[Float[Array, "7"], Float[Array, ""]]:
    """Where to start, and the largest ratio of stress to resistance that is looked at.

    The stress of the last step, or that of no slip, reduced to where slips have the size of the strain.
    """
    law = given.law
    strain = jnp.concatenate([0.5 * (given.trial[:3] - 1), 0.5 * given.trial[3:]])
    size = _size(strain) + eps
    tiny = float(jnp.finfo(size.dtype).tiny)
    unit = law.m * jnp.log(size / (law.rate * given.dt + tiny))
    bound = lambda factor: jnp.exp(unit + law.m * jnp.log(factor))
    most = bound(2.0)

    def reduced(T, limit):
        tau, g = stresses(jnp.concatenate([T, jnp.zeros_like(T[:1])]), given)
        scale = jnp.minimum(1, jnp.min(limit * g / (jnp.abs(tau) + tiny)))
        z = jnp.concatenate([scale * T, jnp.zeros_like(T[:1])])
        return z, _size(residual(z, given))

    (cold, far), (warm, near) = reduced(stiff(strain, law), bound(0.5)), reduced(before, most)
    return jnp.where((near < 3 * far) & (_size(before) > 0), warm, cold), most


def _room(z: Float[Array, "7"], dz: Float[Array, "7"], given: Step, most: Float[Array, ""]) -> Float[Array, ""]:
    """The part of a step that no slip makes too large."""
    tau, g = stresses(z, given)
    new, grown = stresses(z + dz, given)
    dtau, dg = new - tau, grown - g

    def part(sign):
        toward = sign * dtau - most * dg
        return jnp.where(toward > 0, (most * g - sign * tau) / jnp.where(toward > 0, toward, 1), 1)

    return jnp.clip(jnp.min(jnp.minimum(part(1), part(-1))), 0, 1)


def _size(x: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(x * x))
