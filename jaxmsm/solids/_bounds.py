"""Bounds on what a mixture can be, from its phases and fractions alone."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._kinematics import PAIRS


def voigt(fractions: Float[Array, " n"], stiffnesses: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """The upper bound of Voigt (Wiener for conduction): the mean stiffness.

    Args:
        fractions: of volume, one a phase.
        stiffnesses: (n, d, d, d, d), or (n, d, d) for conductivities.
    """
    return jnp.tensordot(fractions, stiffnesses, 1)


def reuss(fractions: Float[Array, " n"], stiffnesses: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """The lower bound of Reuss (Wiener for conduction): the inverse of the mean compliance; NaN where a phase has none.

    Args: as for `voigt`.
    """
    if stiffnesses.ndim == 3:
        return jnp.linalg.inv(jnp.tensordot(fractions, jnp.linalg.inv(stiffnesses), 1))
    d = stiffnesses.shape[-1]
    basis = mandel_basis(d, stiffnesses.dtype)
    M = jnp.einsum("aij,nijkl,bkl->nab", basis, stiffnesses, basis)
    mean = jnp.linalg.inv(jnp.tensordot(fractions, jnp.linalg.inv(M), 1))
    return jnp.einsum("aij,ab,bkl->ijkl", basis, mean, basis)


def mandel_basis(d: int, dtype) -> Float[Array, "m {d} {d}"]:
    """An orthonormal basis of symmetric tensors, in Voigt's order."""
    basis = []
    for i, j in PAIRS[d]:
        unit = jnp.zeros((d, d), dtype).at[i, j].set(1).at[j, i].set(1)
        basis.append(unit / jnp.sqrt(jnp.sum(unit**2)))
    return jnp.stack(basis)


def hashin_shtrikman(
    fractions: Float[Array, " n"], K: Float[Array, " n"], G: Float[Array, " n"], *, d: int = 3
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """((K lower, K upper), (G lower, G upper)) of an isotropic mixture of isotropic phases.

    K(x) = <1 / (K + x)>^-1 - x with x = 2 (d - 1) G / d, and G(y) = <1 / (G + y)>^-1 - y with
    y = G (d K / 2 + (d + 1) (d - 2) G / d) / (K + 2 G), at the least and the greatest moduli of the phases.

    Valid: d = 3 with the moduli of the solid; d = 2 (plane strain, isotropic in the plane) with the plane bulk modulus
        K = lam + mu. Phases of zero stiffness (pores) give a lower bound of zero.
    Source: Hashin and Shtrikman, J. Mech. Phys. Solids 11 (1963) 127; Walpole (1966) where the phases are not ordered alike;
        d = 2 as in Torquato, Random Heterogeneous Materials (2002), eqs. 21.69 to 21.77.
    """

    def mixed(modulus, shift):
        stiff = modulus + shift > 0
        soft = jnp.any(~stiff & (fractions > 0))
        mean = jnp.sum(fractions / jnp.where(stiff, modulus + shift, 1))
        return jnp.where(soft, 0, 1 / mean - shift)

    def bounds(K0, G0):
        x = 2 * (d - 1) * G0 / d
        total = K0 + 2 * G0
        y = G0 * (d * K0 / 2 + (d + 1) * (d - 2) * G0 / d) / jnp.where(total > 0, total, 1)
        return mixed(K, x), mixed(G, y)

    low, high = bounds(jnp.min(K), jnp.min(G)), bounds(jnp.max(K), jnp.max(G))
    return (low[0], high[0]), (low[1], high[1])


def hashin_shtrikman_conductivity(fractions: Float[Array, " n"], k: Float[Array, " n"], *, d: int = 3) -> tuple[Array, Array]:
    """(lower, upper) conductivity of an isotropic mixture: <1 / (k + x)>^-1 - x with x = (d - 1) k at the least and the greatest k.

    Source: Hashin and Shtrikman, J. Appl. Phys. 33 (1962) 3125.
    """

    def at(k0):
        x = (d - 1) * k0
        some = k + x > 0
        mean = jnp.sum(fractions / jnp.where(some, k + x, 1))
        return jnp.where(jnp.any(~some & (fractions > 0)), 0, 1 / mean - x)

    return at(jnp.min(k)), at(jnp.max(k))
