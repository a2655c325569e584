"""A network with internal variables as a law: units that flow and harden between two linear layers."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._precision import full_precision
from .._typing import Tree
from ._kinematics import PAIRS, Number, number, strain
from ._law import AbstractLaw


class Units(eqx.Module):
    """The weights of a `PlasticNetwork`, all of order one; what must be positive acts through softplus.

    Attributes:
        root: of the stiffness that never flows, C = root root^T.
        reach: what of the strain each unit sees, and how its stress enters the whole: B.
        yielding: stress at which a unit begins to flow.
        isotropic: slope of that stress in the length of the flow.
        kinematic: slope of the back stress in the flow.
    """

    root: Float[Array, "n n"]
    reach: Float[Array, "k r n"]
    yielding: Float[Array, " k"]
    isotropic: Float[Array, " k"]
    kinematic: Float[Array, " k"]


class Flowed(eqx.Module):
    """What the units remember.

    Attributes:
        flow: plastic strain of each unit.
        length: of its path.
    """

    flow: Float[Array, "k r"]
    length: Float[Array, " k"]


class PlasticNetwork(AbstractLaw):
    """A generalized standard material of small strain whose energy and dissipation are a layer of k elastic-plastic units.

    With e = strain / `width` in Mandel's components, the flow p_k of a unit and its length a_k, in units of `scale` times `width`:

        energy       psi = 1/2 e.C e + sum 1/2 |B_k e - p_k|^2 + 1/2 c_k |p_k|^2 + 1/2 h_k a_k^2,   stress = d psi / d strain,
        dissipation  phi = sum s_k |dp_k/dt|,   da_k/dt = |dp_k/dt|.

    The linear layer B hands the strain to the units and, transposed, their stresses to the whole. Whatever the weights, psi is
    convex in (strain, flow, length) and phi in the rates, so that the tangent is symmetric and not negative, an implicit step is a
    minimization with one answer, in closed form, and in every step stress : d strain >= d psi + sum s_k |dp_k|, which is the second
    law. Parallel elements that flow one after another also give kinematic hardening and rounded yield. It starts stress-free.

    Valid: small strain, rate-independent; loads of the dimension it was made for (in the plane: plane strain).
    Error: of a step: none where a unit's flow keeps its direction, else first order.
    Source: Halphen and Nguyen, J. Mecanique 14 (1975) 39 (generalized standard materials); Besseling, J. Appl. Mech. 25 (1958)
        529, and Iwan, J. Appl. Mech. 34 (1967) 612 (parallel elements). Networks for the two potentials, here of one hidden layer
        each, as in Flaschel et al., Convex neural networks learn generalized standard material models (2025).

    Attributes:
        weights: the arrays of the network, to be trained.
        scale: unit of stress.
        width: unit of strain.
    """

    small: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    weights: Tree = eqx.field(metadata={"uniform": True})
    scale: Number = eqx.field(converter=number)
    width: Number = eqx.field(converter=number)

    def __init__(
        self,
        weights: Units | None = None,
        *,
        key: PRNGKeyArray | None = None,
        units: int = 12,
        stiffness: Float[Array, "d d d d"] | None = None,
        scale: Number = 1.0,
        width: Number = 1.0,
        dimension: int = 2,
    ):
        """A law of given weights, or of random ones.

        Args:
            weights: of a network that has been trained; None: random ones from `key`.
            key: of random weights.
            units: how many, each of as many components as the strain has.
            stiffness: that a random network has at rest, in the unit of stress; None: `scale / width` times the identity.
            scale: unit of stress, as large as the stresses it is trained on.
            width: unit of strain, likewise.
            dimension: 2 or 3.
        """
        if (weights is None) == (key is None):
            raise ValueError("Argument `weights` must be given, or else `key` for random ones, but neither is, or both are.")
        if dimension not in PAIRS or units < 1:
            raise ValueError(f"Arguments `dimension` and `units` must be 2 or 3 and positive, but are {dimension} and {units}.")
        if weights is None:
            assert key is not None
            C = jnp.eye(len(PAIRS[dimension])) if stiffness is None else _mandel(jnp.asarray(stiffness)) * (width / scale)
            weights = random_units(key, units, C)
        self.weights = weights
        self.scale = scale
        self.width = width

    def init(self):
        k, r, _ = self.weights.reach.shape
        return Flowed(jnp.zeros((k, r)), jnp.zeros(k))

    @full_precision
    def __call__(self, F, past):
        stress, following = self._step(self._seen(F), past)
        return _tensor(self.scale * stress, F.shape[0]), following

    def _seen(self, F: Float[Array, "d d"]) -> Float[Array, " n"]:
        """The strain in its unit."""
        d = F.shape[0]
        n = self.weights.root.shape[0]
        if len(PAIRS[d]) != n:
            raise ValueError(
                f"Argument `F` must be of the dimension of the network, which has {n} strains, but its shape is {F.shape}."
            )
        e = strain(F)
        return jnp.stack([e[i, j] * (1 if i == j else 2**0.5) for i, j in PAIRS[d]]) / self.width

    def _step(self, e: Float[Array, " n"], past: Flowed) -> tuple[Float[Array, " n"], Flowed]:
        w = self.weights
        sy, h, c = (jax.nn.softplus(x) for x in (w.yielding, w.isotropic, w.kinematic))
        local = jnp.sum(w.reach * e[None, None, :], -1)
        trial = local - (1 + c)[:, None] * past.flow
        square = jnp.sum(trial**2, -1)
        limit = sy + h * past.length
        flowing = square > limit**2
        size = jnp.sqrt(jnp.where(flowing, square, 1))
        step = jnp.where(flowing, size - limit, 0) / (1 + c + h)
        flow = past.flow + (step / size)[:, None] * trial
        stress = jnp.sum(w.root * jnp.sum(w.root * e[:, None], 0)[None, :], 1)
        stress = stress + jnp.sum(w.reach * (local - flow)[:, :, None], (0, 1))
        return stress, Flowed(flow, past.length + step)

    def energy(self, F: Float[Array, "d d"], state: Flowed) -> Float[Array, ""]:
        """psi, the energy stored per volume, hardening included, at a strain and a state that belong together."""
        w, e = self.weights, self._seen(F)
        h, c = (jax.nn.softplus(x) for x in (w.isotropic, w.kinematic))
        local = jnp.sum(w.reach * e[None, None, :], -1)
        still = jnp.sum(jnp.square(jnp.sum(w.root * e[:, None], 0)))
        units = jnp.sum((local - state.flow) ** 2, -1) + c * jnp.sum(state.flow**2, -1) + h * state.length**2
        return 0.5 * self.scale * self.width * (still + jnp.sum(units))

    def dissipated(self, past: Flowed, state: Flowed) -> Float[Array, ""]:
        """What a step from one state to the next turns into heat at least, per volume."""
        return self.scale * self.width * jnp.sum(jax.nn.softplus(self.weights.yielding) * (state.length - past.length))


def random_units(key: PRNGKeyArray, units: int, C: Float[Array, "n n"]) -> Units:
    """Units in random directions that yield one after another and together have a stiffness, a fifth of which never flows."""
    n = len(C)
    whole = jnp.linalg.cholesky(C)
    turned = jax.vmap(lambda k: jnp.linalg.qr(jax.random.normal(k, (n, n), C.dtype))[0])(jax.random.split(key, units))
    reach = jnp.einsum("krm,nm->krn", turned, whole) * (0.8 / units) ** 0.5
    # From a tenth of what a unit bears at a strain of one to twice that.
    bears = jnp.sqrt(jnp.trace(C) / n * 0.8 / units)
    ladder = bears * jnp.asarray(np.geomspace(0.1, 2, units), C.dtype)
    small = jnp.full(units, -3.0, C.dtype)
    return Units(whole * 0.2**0.5, reach, jnp.log(jnp.expm1(ladder)), small, small)


def _mandel(A: Float[Array, "d d d d"]) -> Float[Array, "n n"]:
    """A stiffness in Mandel's components."""
    pairs = PAIRS[A.shape[0]]
    size = [1 if i == j else 2**0.5 for i, j in pairs]
    rows: Any = [
        [A[i, j, k, m] * a * b for (k, m), b in zip(pairs, size, strict=True)] for (i, j), a in zip(pairs, size, strict=True)
    ]
    C = jnp.stack([jnp.stack(row) for row in rows])
    return 0.5 * (C + C.T)


def _tensor(s: Float[Array, " n"], d: int) -> Float[Array, "d d"]:
    """The symmetric tensor of Mandel's components."""
    place = {pair: k for k, pair in enumerate(PAIRS[d])}
    value = lambda i, j: s[place[min(i, j), max(i, j)]] * (1 if i == j else 0.5**0.5)
    return jnp.stack([jnp.stack([value(i, j) for j in range(d)]) for i in range(d)])
