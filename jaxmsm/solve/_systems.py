"""Linear systems of assembled bodies: which method finds their solution, as an object.

A method is handed a matrix that knows its products, its entries and its coarse form (`space.Elementwise`, `space.Coarse`), and
gives its inverse as a function that may be called for many right-hand sides.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._krylov import CG, GMRES, AbstractLinear, LinearReport, norm

type Inverse = Callable[[Array, Array], tuple[Array, LinearReport]]
"""`inverse(rhs, target) -> (x, report)`: stops where the residual's norm is below the target, if it iterates."""


class AbstractSystem(eqx.Module):
    """How linear systems of a body are solved."""

    @abc.abstractmethod
    def inverse(self, matrix: Any, coarse: Any, *, symmetric: bool) -> Inverse:
        """The inverse of a matrix.

        Args:
            matrix: an object with `matvec`, `blocks`, `dense`, `entries` and `free`.
            coarse: an object with `restrict`, `prolong` and `matrix(matrix)`, or None where the body has none.
            symmetric: the matrix is.
        """

    def with_krylov(self, linear: AbstractLinear) -> "AbstractSystem":
        """The same with another Krylov solver inside, where there is one."""
        del linear
        return self


class Dense(AbstractSystem):
    """LU factors of the whole matrix, inside the compiled program: for up to a few thousand unknowns."""

    def inverse(self, matrix, coarse, *, symmetric):
        del coarse, symmetric
        factors = jax.scipy.linalg.lu_factor(matrix.dense())
        least = jnp.min(jnp.abs(jnp.diagonal(factors[0])))

        def apply(rhs, target):
            del target
            x = jax.scipy.linalg.lu_solve(factors, rhs.reshape(-1)).reshape(rhs.shape)
            singular = ~(least > 0) | ~jnp.isfinite(norm(x))
            return jnp.where(singular, 0, x), _report(x, flat=singular)

        return apply


class Krylov(AbstractSystem):
    """A Krylov solver inside the compiled program, preconditioned by nodal blocks and, where there is one, a coarse space.

    The sum of both (additive two-level Schwarz) keeps the iterations independent of the number of elements as long as the number
    of nodes a group stays the same.

    Source: Toselli and Widlund, Domain Decomposition Methods (2005), chapter 3; Nicolaides, SIAM J. Numer. Anal. 24 (1987) 355,
        for the coarse space.

    Attributes:
        linear: the Krylov solver; None takes CG for symmetric matrices and GMRES for others.
        two_level: use the coarse space.
    """

    linear: AbstractLinear | None = None
    two_level: bool = eqx.field(static=True, default=True)

    def with_krylov(self, linear):
        return Krylov(linear, self.two_level) if self.linear is None else self

    def inverse(self, matrix, coarse, *, symmetric):
        solver = self.linear or (CG() if symmetric else GMRES())
        blocks = _inverted(matrix.blocks())
        two_level = self.two_level and coarse is not None
        if two_level:
            small = jnp.linalg.inv(coarse.matrix(matrix))

        def precondition(r):
            z = jnp.einsum("nij,nj->ni", blocks, r)
            if two_level:
                own = jnp.where(matrix.free, r, 0)
                z = z + jnp.where(matrix.free, coarse.prolong(small @ coarse.restrict(own)), 0)
            return z

        return lambda rhs, target: solver(matrix.matvec, rhs, precondition, target)


class SparseDirect(AbstractSystem):
    """Sparse LU factors by SuperLU, on the host: for CPUs alone.

    It calls back to the host, so that it neither exports nor batches (members follow each other), and needs scipy.
    """

    def inverse(self, matrix, coarse, *, symmetric):
        del coarse, symmetric
        rows, columns, values = matrix.entries()
        shape = jax.ShapeDtypeStruct((matrix.free.size,), values.dtype)

        def apply(rhs, target):
            del target
            found = jax.pure_callback(_superlu, shape, rows, columns, values, rhs.reshape(-1), vmap_method="sequential")
            x = found.reshape(rhs.shape)
            singular = ~jnp.isfinite(norm(x))
            return jnp.where(singular, 0, x), _report(x, flat=singular)

        return apply


class Automatic(AbstractSystem):
    """`Dense` for up to `most` unknowns, `Krylov` beyond."""

    most: int = eqx.field(static=True, default=600)
    krylov: Krylov = Krylov()

    def with_krylov(self, linear):
        return Automatic(self.most, self.krylov.with_krylov(linear))

    def inverse(self, matrix, coarse, *, symmetric):
        method = Dense() if matrix.free.size <= self.most else self.krylov
        return method.inverse(matrix, coarse, symmetric=symmetric)


def _inverted(blocks: Float[Array, "n c c"]) -> Float[Array, "n c c"]:
    """Inverses of the nodal blocks; one without stiffness gets none."""
    c = blocks.shape[-1]
    size = jnp.sqrt(jnp.sum(blocks**2, (1, 2)))
    shift = jnp.where(size > 0, 4 * jnp.finfo(blocks.dtype).eps * size, 1)
    return jnp.linalg.inv(blocks + shift[:, None, None] * jnp.eye(c, dtype=blocks.dtype)[None])


def _report(x: Array, flat: Array) -> LinearReport:
    one = jnp.ones((), jnp.int32)
    return LinearReport(one, jnp.zeros((), x.dtype), flat, jnp.zeros((), bool))


def _superlu(rows, columns, values, rhs):
    """The solution; not a number where the matrix is singular."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    n = len(rhs)
    matrix = coo_array((np.asarray(values), (np.asarray(rows), np.asarray(columns))), (n, n)).tocsc()
    try:
        return splu(matrix).solve(np.asarray(rhs))
    except RuntimeError:
        return np.full(n, np.nan, np.asarray(rhs).dtype)
