"""The implicit step of a crystal: slips from stresses, the equation that the stress solves, its tangent and elimination.

What all systems share is a product with a constant table, one matrix product for all points of a field; the rest is elementwise.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._scale import hold
from ._kinematics import PAIRS, Number, Parts, determinant, flip, from_six, parts, product, total
from ._tensor_functions import adjugate


def _systems() -> np.ndarray:
    """m (x) n of {111}<110>, shape (12, 3, 3), three directions m a plane."""
    normals = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    edges = np.array([[0, 1, -1], [1, 0, -1], [1, -1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return np.array([np.outer(m, n) for n in normals for m in edges if m @ n == 0]) / 6**0.5


SYSTEMS = _systems()
_FLOW = np.moveaxis(SYSTEMS, 0, -1)
"""(3, 3, 12): the plastic velocity gradient of the slips."""
_RESOLVED = np.stack([SYSTEMS[:, i, j] + (i != j) * SYSTEMS[:, j, i] for i, j in PAIRS[3]], -1)
"""(12, 6): the resolved stresses of a stress."""
_PLANES = np.repeat(np.eye(4), 3, 0)
"""(12, 4): on which plane a system slips."""
_TURNED = np.einsum("ija, ak -> ijka", _FLOW, _RESOLVED)
"""(3, 3, 6, 12): how the velocity gradient changes with a stress, of how each slip changes with its own."""


class Step(eqx.Module):
    """All that a step depends on.

    Attributes:
        law: the parameters.
        dt: length of the step.
        trial: Fe^T Fe if nothing slipped, components 11, 22, 33, 23, 13, 12.
        hardening: by how much the resistances have grown before.
    """

    law: Any
    dt: Number
    trial: Float[Array, "6"]
    hardening: Float[Array, "12"]


def _of(table: np.ndarray, x: Float[Array, " n"]) -> Array:
    return jnp.tensordot(jnp.asarray(table, x.dtype), x, 1, precision=lax.Precision.HIGHEST)


def stresses(z: Float[Array, "7"], given: Step) -> tuple[Float[Array, "12"], Float[Array, "12"]]:
    """Resolved stresses and resistances; `z` is the second Piola stress and the mean growth of the resistances."""
    return _of(_RESOLVED, z[:6]), given.law.g0 + given.hardening + z[6]


def _flow(tau: Float[Array, "12"], g: Float[Array, "12"], given: Step) -> tuple[Float[Array, "12"], Float[Array, "12"]]:
    """The slips of a step, and h of each system."""
    law = given.law
    x = tau / g
    size = jnp.abs(x)
    # |x|^(1/m) sign x, smooth at zero, where metals have nothing but zeros.
    slip = given.dt * law.rate * x * jnp.exp((1 / law.m - 1) * jnp.log(jnp.where(size > 1e-15, size, 1e-15)))
    left = 1 - g / law.g_inf
    return slip, law.h0 * jnp.where(left > 0, jnp.exp(law.a * jnp.log(jnp.where(left > 0, left, 1))), 0)


def slips(z: Float[Array, "7"], given: Step) -> tuple[Float[Array, "12"], Float[Array, "12"]]:
    """The slips of a step, and by how much each makes the resistances of its plane grow."""
    slip, h = _flow(*stresses(z, given), given)
    return slip, h * jnp.abs(slip)


def spread(work: Float[Array, "12"], q: Number) -> Float[Array, "12"]:
    """By how much each resistance grows."""
    plane = _of(_PLANES.T, work)
    return q * jnp.sum(plane) + (1 - q) * _of(_PLANES, plane)


def _mean(work: Float[Array, "12"], q: Number) -> tuple[Float[Array, ""], Float[Array, "12"]]:
    """The mean of `spread` weighed by the work itself, and its slope."""
    plane = _of(_PLANES.T, work)
    whole = jnp.sum(plane)
    # In units of its own size, whose square may be no number: the slips of a metal below its resistance are that small.
    share = plane / hold(jnp.where(whole > jnp.finfo(whole.dtype).tiny, whole, 1))
    size = jnp.sum(share)
    part = share / jnp.where(size > 0, size, 1)
    slope = q + (1 - q) * (2 * part - jnp.sum(part * part))
    return q * whole + (1 - q) * jnp.sum(part * plane), _of(_PLANES, slope)


def kept(slip: Float[Array, "12"]) -> tuple[Parts, Array]:
    """s (I - sum of slips m (x) n), with the number s that makes its determinant one: exact for one plane or one direction."""
    x = tuple(tuple((i == j) - y for j, y in enumerate(row)) for i, row in enumerate(parts(_of(_FLOW, slip))))
    s = jnp.exp(jnp.log(jnp.abs(determinant(x))) / -3)
    return tuple(tuple(s * y for y in row) for row in x), s


def stiff(strain: Float[Array, "6"], law: Any) -> Float[Array, "6"]:
    """C : E."""
    shared = law.C12 * (strain[0] + strain[1] + strain[2])
    return jnp.concatenate([(law.C11 - law.C12) * strain[:3] + shared, 2 * law.C44 * strain[3:]])


def _compliance(law: Any, dtype) -> Float[Array, "6 6"]:
    """C^-1, for strains with doubled shear."""
    normal, shear = np.diag([1.0, 1, 1, 0, 0, 0]), np.diag([0.0, 0, 0, 1, 1, 1])
    block = np.pad(np.ones((3, 3)), (0, 3))
    axial = law.C11 - law.C12
    shared = law.C12 / (axial * (law.C11 + 2 * law.C12))
    return jnp.asarray(normal, dtype) / axial - shared * jnp.asarray(block, dtype) + jnp.asarray(shear, dtype) / law.C44


def _applied(law: Any, T: Float[Array, "6"]) -> Float[Array, "6"]:
    """C^-1 : T, shear doubled."""
    shared = law.C12 / (law.C11 + 2 * law.C12) * (T[0] + T[1] + T[2])
    return jnp.concatenate([(T[:3] - shared) / (law.C11 - law.C12), T[3:] / law.C44])


def residual(z: Float[Array, "7"], given: Step) -> Float[Array, "7"]:
    """The strain that the stress needs less the one that the slips leave, and likewise the growth of the resistances."""
    law = given.law
    slip, work = slips(z, given)
    x, _ = kept(slip)
    c = product(flip(x), product(from_six(given.trial), x))
    strain = jnp.stack([0.5 * (c[i][i] - 1) if i == j else c[i][j] for i, j in PAIRS[3]])
    grown = (z[6] - _mean(work, law.q)[0]) / law.C44
    return jnp.concatenate([_applied(law, z[:6]) - strain, grown[None]])


def tangent(z: Float[Array, "7"], given: Step) -> Float[Array, "7 7"]:
    """The slope of `residual` in `z`."""
    law = given.law
    tau, g = stresses(z, given)
    slip, h = _flow(tau, g, given)
    work, unit = h * jnp.abs(slip), law.m * g
    by_tau, by_g = slip / jnp.where(tau == 0, 1, law.m * tau), -slip / unit
    # h falls as the resistance nears its end.
    left = law.g_inf - g
    falls = jnp.where(left > 0, law.a / jnp.where(left > 0, left, 1), 0)
    # Of the velocity gradient, (3, 3, 7), and of s (I - L): its determinant stays one.
    dl = parts(jnp.concatenate([_of(_TURNED, by_tau), _of(_FLOW, by_g)[..., None]], -1), 2)
    x, s = kept(slip)
    back = adjugate(x)
    third = total(back[j][i] * dl[i][j] for i in range(3) for j in range(3)) / 3
    dx = tuple(tuple(s * (third * a - b) for a, b in zip(*rows, strict=True)) for rows in zip(x, dl, strict=True))
    half = product(flip(product(from_six(given.trial), x)), dx)
    strain = jnp.stack([half[i][i] if i == j else half[i][j] + half[j][i] for i, j in PAIRS[3]])
    slope = _mean(work, law.q)[1]
    mean = jnp.concatenate(
        [-_of(_RESOLVED.T, slope * h * jnp.sign(tau) * by_tau), (1 + jnp.sum(slope * work * (1 / unit + falls)))[None]]
    )
    compliance = jnp.concatenate([_compliance(law, z.dtype), jnp.zeros((6, 1), z.dtype)], 1)
    return jnp.concatenate([compliance - strain, mean[None] / law.C44])


type Eliminated = list[tuple[Array, Array, Array]]


def eliminated(A: Float[Array, "n n"]) -> Eliminated:
    """The factors of a matrix, by elimination without exchange: it has a positive symmetric part, or nearly so."""
    factors = []
    for _ in range(A.shape[0]):
        # The barriers keep the CPU backend from doing all that went before once more for each entry.
        A = lax.optimization_barrier(A)
        pivot, below = _cut(A)
        (head, row), (column, rest) = _cut(pivot), _cut(below, 1)
        inverse = 1 / head
        column = column * inverse
        factors.append((inverse, row, column))
        A = rest - column[:, None] * row[None, :]
    return factors


def solved(factors: Eliminated, b: Float[Array, " n"]) -> Float[Array, " n"]:
    """x with A x = b."""
    heads = []
    for _, _, column in factors:
        head, tail = _cut(b)
        heads.append(head)
        b = lax.optimization_barrier(tail - column * head)
    x = b
    for (inverse, row, _), head in reversed(list(zip(factors, heads, strict=True))):
        x = lax.optimization_barrier(jnp.concatenate([((head - jnp.sum(row * x)) * inverse)[None], x]))
    return x


def _cut(x: Array, axis: int = 0) -> tuple[Array, Array]:
    """The first entry along an axis, and the others."""
    return lax.index_in_dim(x, 0, axis, False), lax.slice_in_dim(x, 1, x.shape[axis], axis=axis)
