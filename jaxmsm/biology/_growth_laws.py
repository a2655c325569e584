"""How a population grows: the classical laws, each a rate of its density u >= 0."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from .._model import AbstractRate
from ._ionic import Number, parameter


class Logistic(AbstractRate):
    """du/dt = r u (1 - u / K).

    Source: P. Verhulst, Corr. Math. Phys. 10 (1838) 113.

    Attributes:
        r: growth of few (1 / time).
        K: what can be carried.
    """

    r: Number = parameter(1.0, "1/time")
    K: Number = parameter(1.0)

    def __call__(self, t, fine, load):
        del t, load
        return self.r * fine * (1 - fine / self.K)


class Richards(AbstractRate):
    """du/dt = r u (1 - (u / K)^theta): the theta-logistic law.

    Source: F. Richards, J. Exp. Bot. 10 (1959) 290; M. Gilpin, F. Ayala, PNAS 70 (1973) 3590.

    Attributes:
        r: growth of few (1 / time).
        K: what can be carried.
        theta: how late crowding is felt; 1 is logistic.
    """

    r: Number = parameter(1.0, "1/time")
    K: Number = parameter(1.0)
    theta: Number = parameter(1.0)

    def __call__(self, t, fine, load):
        del t, load
        some, log = _log(fine, self.K)
        return self.r * fine * jnp.where(some, -jnp.expm1(self.theta * log), 1.0)


class Gompertz(AbstractRate):
    """du/dt = r u ln(K / u), of tumors.

    Source: B. Gompertz, Phil. Trans. 115 (1825) 513; A. Laird, Br. J. Cancer 18 (1964) 490.

    Attributes:
        r: how fast growth slows down (1 / time).
        K: what can be carried.
    """

    r: Number = parameter(1.0, "1/time")
    K: Number = parameter(1.0)

    def __call__(self, t, fine, load):
        del t, load
        some, log = _log(fine, self.K)
        return jnp.where(some, -self.r * fine * log, 0.0)


class Bertalanffy(AbstractRate):
    """dm/dt = a m^(2/3) - b m: of a body that takes in through its surface and spends in its volume.

    Source: L. von Bertalanffy, Q. Rev. Biol. 32 (1957) 217.

    Attributes:
        a: intake (mass^(1/3) / time).
        b: spending (1 / time).
    """

    a: Number = parameter(1.0, "mass^(1/3)/time")
    b: Number = parameter(1.0, "1/time")

    def __call__(self, t, fine, load):
        del t, load
        some, log = _log(fine, jnp.asarray(1.0))
        return jnp.where(some, self.a * jnp.exp(2 / 3 * log), 0.0) - self.b * fine


class Allee(AbstractRate):
    """du/dt = r u (1 - u / K) (u / A - 1): fewer than A die out.

    Source: M. Lewis, P. Kareiva, Theor. Popul. Biol. 43 (1993) 141.

    Attributes:
        r: loss of few (1 / time).
        K: what can be carried.
        A: the fewest that grow.
    """

    r: Number = parameter(1.0, "1/time")
    K: Number = parameter(1.0)
    A: Number = parameter(0.1)

    def __call__(self, t, fine, load):
        del t, load
        return self.r * fine * (1 - fine / self.K) * (fine / self.A - 1)

    def front_speed(self, D: Number) -> Number:
        """The speed at which the settled land grows where all move with diffusivity D; negative: it shrinks, where A > K / 2."""
        return jnp.sqrt(self.r * self.K * D / (2 * self.A)) * (1 - 2 * self.A / self.K)


def _log(u: Any, K: Any) -> tuple[Array, Array]:
    """Where there is something, and ln(u / K) there."""
    some = u > 0
    return some, jnp.log(jnp.where(some, u, 1.0) / K)
