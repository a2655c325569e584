"""A network as an elastic law: an energy of the invariants, convex in (F, cof F, det F)."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._precision import full_precision
from .._typing import Tree
from ._finite import upright
from ._kinematics import Number, cofactor, cut, ddot, det, number, pad, parts, total
from ._law import AbstractLaw


class InputConvex(eqx.Module):
    """A random network N(I1 - 3, I2 - 3, J - 1), convex in its inputs, that does not decrease in any but the last.

    Weights act through softplus, layers through the smooth ramp (x + sqrt(x^2 + 4)) / 2, which is cheaper; those of J are free.

    Source: Amos, Xu and Kolter, ICML 2017 (input-convex networks).

    Attributes:
        forward: weights between layers; they act through softplus.
        skip: weights of the inputs in each layer; all but those of the last input, J, act through softplus.
        bias: of each layer.
    """

    forward: tuple[Float[Array, "..."], ...]
    skip: tuple[Float[Array, "..."], ...]
    bias: tuple[Float[Array, "..."], ...]

    def __init__(self, *, key: PRNGKeyArray, width: int = 8, depth: int = 2, inputs: int = 3):
        """A random network.

        Args:
            width: units of a layer.
            depth: hidden layers.
            inputs: how many; 7 for a `Polyconvex(..., cubic=True)`.
        """
        sizes = (*(width,) * depth, 1)
        keys = jax.random.split(key, 2 * len(sizes))
        # softplus(-2) = .13: sums of a layer's units are of order one.
        self.forward = tuple(
            jax.random.normal(k, (out, before)) * 0.5 - 2 for k, out, before in zip(keys, sizes[1:], sizes[:-1], strict=False)
        )
        self.skip = tuple(jax.random.normal(k, (out, inputs)) * 0.5 - 0.5 for k, out in zip(keys[len(sizes) :], sizes, strict=True))
        self.bias = tuple(jnp.zeros(out) for out in sizes)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        """N, a number."""
        y: Any = None
        rising = jnp.arange(x.size) < x.size - 1
        for k, (skip, bias) in enumerate(zip(self.skip, self.bias, strict=True)):
            last = k == len(self.bias) - 1
            # A term linear in J keeps convexity whatever its sign; one that is linear in an invariant must not fall with it.
            weights = jnp.where(rising[None, :], jax.nn.softplus(skip), skip)
            z = jnp.sum(weights * x[None, :], 1) + bias
            if y is not None:
                z = z + jnp.sum(jax.nn.softplus(self.forward[k - 1]) * y[None, :], 1)
            y = z if last else jax.nn.squareplus(z)
        return y[0]


class Polyconvex(AbstractLaw):
    """An isotropic hyperelastic law whose energy is a network of the invariants.

        W(F) = N(I1, I2, J) - n (J - 1) + growth (J + 1/J - 2)^2,   P = dW/dF,
        I1 = |F|^2 - 3,  I2 = |cof F|^2 - 3,  J = det F,  n = 2 N_1 + 4 N_2 + N_J at F = I.

    Objective and isotropic, because it depends on invariants, and stress-free at F = I, because the term in n, linear in J, says
    so. Polyconvex, where N is convex in its inputs and does not decrease in any but J: `InputConvex` is whatever its weights are.

    With the symmetry of the cube along the axes (`cubic`), as of a cell whose image has it, four more inputs stand before J: of
    A = F and then of A = cof F, sum |A e_i| - 3 over the axes and 3/4 sum |A b_i| - 3 over the four diagonals of the cube, convex
    as lengths are; n gains N_3 + N_4 + 2 N_5 + 2 N_6. In the plane they tell apart all that this symmetry does; in space not
    quite all.

    Valid: det F > 0, where the growth term keeps F from collapsing. In the plane: plane strain.
    Source: Linden et al., J. Mech. Phys. Solids 179 (2023) 105363, sections 3 and 4 (invariants, growth and stress correction).

    Attributes:
        weights: the arrays of the network, to be trained.
        form: the rest of it.
        cubic: the symmetry of the cube, with seven inputs.
        growth: factor of the growth term, through softplus.
        scale: unit of stress that the network's energy is counted in.
    """

    symmetric: ClassVar[bool] = True

    weights: Tree = eqx.field(metadata={"uniform": True})
    form: Any = eqx.field(static=True)
    cubic: bool = eqx.field(static=True)
    growth: Number = eqx.field(converter=number)
    scale: Number = eqx.field(converter=number)

    def __init__(
        self, network: Callable | None = None, *, key: PRNGKeyArray | None = None, scale: Number = 1.0, cubic: bool = False
    ):
        """The law of a network.

        Args:
            network: `network((I1, I2, J - 1)) -> number`, an Equinox module with smooth activations; None: a random `InputConvex`.
            key: of the random one.
            scale: unit of stress.
            cubic: the symmetry of the cube, and seven inputs.
        """
        if network is None and key is not None:
            network = InputConvex(key=key, inputs=7 if cubic else 3)
        elif network is None or key is not None:
            raise ValueError("Argument `network` must be given, or else `key` for a random one, but neither is, or both are.")
        self.weights, self.form = eqx.partition(network, eqx.is_inexact_array)
        self.growth = 0.0
        self.scale = scale
        self.cubic = cubic

    @property
    def network(self) -> Callable:
        """N."""
        return eqx.combine(self.weights, self.form)

    def energy(self, F: Float[Array, "d d"]) -> Float[Array, ""]:
        """W, per volume of the undeformed body."""
        full = pad(F)
        H = cofactor(full)
        J = det(full)
        safe = jnp.where(J > 0, J, 1)
        network = lambda x: jnp.reshape(self.network(x), ())
        # At F = I the network's slope is its stress; a term linear in J takes it away.
        slopes = [2, 4, 1, 1, 2, 2, 1] if self.cubic else [2, 4, 1]
        at_rest = jnp.zeros(len(slopes), F.dtype)
        n = jnp.sum(jax.grad(network)(at_rest) * jnp.asarray(slopes, F.dtype))
        growth = jax.nn.softplus(self.growth) * jnp.square(safe + 1 / safe - 2)
        inputs = [ddot(full, full) - 3, ddot(H, H) - 3]
        if self.cubic:
            inputs += [*_lengths(full), *_lengths(H)]
        return self.scale * (network(jnp.stack([*inputs, J - 1])) - network(at_rest) - n * (J - 1) + growth)

    @full_precision
    def __call__(self, F, past):
        return cut(jax.grad(self.energy)(F), F.shape[0]), past

    def admissible(self, F, past):
        del past
        return upright(parts(F))


def _lengths(A: Float[Array, "3 3"]) -> list[Float[Array, ""]]:
    """The lengths of A's images of the axes and of the diagonals of the cube, summed as the inputs count them."""
    a, b, c = (A[:, i] for i in range(3))
    axes, diagonals = [a, b, c], [a + b + c, a + b - c, a - b + c, a - b - c]
    # (3 / 4) / sqrt(3) for diagonals of unit length; a length of zero has no slope, and no meaning to the law.
    return [total(map(_length, axes)) - 3, 0.75 / 3**0.5 * total(map(_length, diagonals)) - 3]


def _length(x: Float[Array, "3"]) -> Float[Array, ""]:
    square = jnp.sum(x * x)
    return jnp.sqrt(jnp.where(square > 0, square, 1))
