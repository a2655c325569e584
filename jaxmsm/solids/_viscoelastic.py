"""Viscoelasticity: a spring beside Maxwell elements, whose springs are laws, at small or at finite strain."""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._elastic import Elastic
from ._kinematics import Number, flip, from_six, inverse_log, number, product, to_six, total
from ._law import AbstractLaw, ComponentLaw, length
from ._parameters import Parametric, not_negative

_SERIES = 12
"""Terms of (1 - exp(-x)) / x below x = 1/4: the next one is 1e-17."""


class Maxwell(Parametric):
    """A spring and a dashpot in a row.

    Attributes:
        law: the spring, a law without history, stress-free when it is undeformed.
        tau: relaxation time, in the unit of the times of a `Span`.
    """

    law: AbstractLaw
    tau: Number = eqx.field(converter=number)

    def __check_init__(self):
        not_negative(tau=self.tau)


class Branch(eqx.Module):
    """What a Maxwell element remembers, in components 11, 22, 33, 23, 13, 12.

    Attributes:
        spring: the stress that its spring alone would bear at the end of the last step.
        stress: the stress that it bears, what has relaxed taken off.
    """

    spring: Float[Array, "6"]
    stress: Float[Array, "6"]


class Viscoelastic(ComponentLaw):
    """A law beside Maxwell elements: S = S_law + sum of q_i with dq_i/dt + q_i / tau_i = dS_i/dt, S_i the stress of a spring.

    At small strain S is the Cauchy stress (the generalized Maxwell model); at finite strain it is the second Piola stress and
    P = F S (finite linear viscoelasticity). Springs may be any laws without history: a Prony series of the bulk and the shear
    modulus (`from_prony`), a fiber that relaxes, a rubber.

    Valid: at finite strain as long as the strain away from equilibrium is moderate; q_i, linear in the past, is no potential of it.
    Fails: not admissible where one of the laws is not, or where time runs backward.
    Error: none where the S_i are linear in time during a step (at small strain: where the strain is); else of second order in
        the length of the step.
    Source: Taylor, Pister and Goudreau, Int. J. Numer. Methods Eng. 2 (1970) 45, for the step; Holzapfel, Nonlinear Solid
        Mechanics (2000), section 6.10, for finite strain.

    Attributes:
        law: what remains when all has relaxed.
        branches: Maxwell elements.
        dt: length of the step (`during`).
    """

    timed: ClassVar[bool] = True

    law: AbstractLaw
    branches: tuple[Maxwell, ...] = eqx.field(converter=tuple)
    dt: Number | None = eqx.field(converter=number, default=None, kw_only=True)

    def __check_init__(self):
        for law in self._laws:
            if not isinstance(law, AbstractLaw) or law.scalar or law.timed or jax.tree.leaves(law.init()):
                raise ValueError(f"Arguments `law` and `branches` must hold laws of mechanics without history, but one is {law!r}.")
        if len({law.small for law in self._laws}) > 1:
            raise ValueError("Arguments `law` and `branches` must be of small strain all or of finite strain all, but are mixed.")

    @classmethod
    def from_prony(
        cls,
        *,
        K: Number,
        G: Number,
        bulk: Sequence[tuple[Number, Number]] = (),
        shear: Sequence[tuple[Number, Number]] = (),
    ) -> "Viscoelastic":
        """Isotropic, at small strain, from the moduli that remain and pairs (modulus, relaxation time) of what relaxes.

        K(t) = K + sum K_i exp(-t / tau_i), and G(t) likewise. A series of fractions g_i of the instantaneous modulus G0, as files
        often have it, is G = G0 (1 - sum g_i) and the moduli G0 g_i.
        """
        slow = [Maxwell(Elastic.from_bulk(K=k, G=0.0), tau) for k, tau in bulk]
        return cls(Elastic.from_bulk(K=K, G=G), (*slow, *(Maxwell(Elastic.from_bulk(K=0.0, G=g), tau) for g, tau in shear)))

    @property
    def _laws(self) -> list[AbstractLaw]:
        return [self.law, *(branch.law for branch in self.branches)]

    @property
    def small(self) -> bool:
        """As the laws inside."""
        return self.law.small

    @property
    def symmetric(self) -> bool:
        """As the laws inside."""
        return all(law.symmetric for law in self._laws)

    def init(self):
        return tuple(Branch(jnp.zeros(6), jnp.zeros(6)) for _ in self.branches)

    def by_components(self, f, past):
        dt = length(self)
        P, _, fine = self.law.by_components(f, ())
        following: list = []
        for branch, before in zip(self.branches, past, strict=True):
            spring, _, good = branch.law.by_components(f, ())
            spring = to_six(spring if self.small else product(flip(inverse_log(f)[0]), spring))
            x = dt / branch.tau
            kept, mean = jnp.exp(-x), mean_kept(x)
            stress = kept * before.stress + mean * (spring - before.spring)
            following.append(Branch(spring, stress))
            fine &= good
        if following:
            borne = from_six(total(x.stress for x in following), len(f))
            borne = borne if self.small else product(f, borne)
            P = tuple(tuple(x + y for x, y in zip(*rows, strict=True)) for rows in zip(P, borne, strict=True))
        return P, tuple(following), fine & (dt >= 0)


def mean_kept(x: Array) -> Array:
    """(1 - exp(-x)) / x, the mean of exp over a step, smooth at zero."""
    near = jnp.where(x < 0.25, x, 0.25)
    series = jnp.ones_like(x)
    for n in range(_SERIES, 1, -1):
        series = 1 - near / n * series
    far = jnp.where(x < 0.25, 0.25, x)
    return jnp.where(x < 0.25, series, -jnp.expm1(-far) / far)
