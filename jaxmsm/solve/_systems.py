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

from ._krylov import CG, GMRES, AbstractLinear, LinearReport, dot, norm

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
        dense = matrix.dense()
        factors = jax.scipy.linalg.lu_factor(dense)
        held = jnp.all(jnp.abs(jnp.diagonal(factors[0])) > _round_off(dense) * jnp.sqrt(jnp.sum(dense**2, 0)))

        def apply(rhs, target):
            del target
            x = jax.scipy.linalg.lu_solve(factors, rhs.reshape(-1)).reshape(rhs.shape)
            singular = ~held | ~jnp.isfinite(norm(x))
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
        diagonal = matrix.blocks()
        blocks = _inverted(diagonal)
        two_level = self.two_level and coarse is not None
        if two_level:
            small = jnp.linalg.inv(coarse.matrix(matrix))

        def precondition(r):
            z = jnp.einsum("nij,nj->ni", blocks, r)
            if two_level:
                own = jnp.where(matrix.free, r, 0)
                z = z + jnp.where(matrix.free, coarse.prolong(small @ coarse.restrict(own)), 0)
            return z

        def apply(rhs, target):
            # Further down the recursion no longer knows the residual; who wants more asks again with what is left.
            least = 2**10 * jnp.finfo(rhs.dtype).eps * norm(rhs)
            x, report = solver(matrix.matvec, rhs, precondition, jnp.maximum(target, least))
            # A motion that nothing holds grows until its work is round-off beside that of its parts.
            firm = dot(x, jnp.einsum("nij,nj->ni", diagonal, x))
            loose = (firm > 0) & (jnp.abs(dot(x, matrix.matvec(x))) <= 2**8 * jnp.finfo(rhs.dtype).eps * firm)
            return x, eqx.tree_at(lambda found: found.flat, report, report.flat | loose)

        return apply


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


def _round_off(matrix: Any) -> float:
    """What is left of a pivot, as a fraction of its column, where the column depends on those before."""
    return 4 * matrix.shape[0] ** 0.5 * float(np.finfo(matrix.dtype).eps)


def _report(x: Array, flat: Array) -> LinearReport:
    one = jnp.ones((), jnp.int32)
    return LinearReport(one, jnp.zeros((), x.dtype), flat, jnp.zeros((), bool))


def _superlu(rows, columns, values, rhs):
    """The solution; not a number where the matrix is singular."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    n = len(rhs)
    matrix = coo_array((np.asarray(values), (np.asarray(rows), np.asarray(columns))), (n, n)).tocsc()
    unknown = np.full(n, np.nan, matrix.dtype)
    try:
        # Without scaling, so that the pivots are those of the columns as they are.
        factors = splu(matrix, options={"Equil": False})
    except RuntimeError:
        return unknown
    columns = np.empty(n, matrix.dtype)
    columns[factors.perm_c] = np.sqrt((matrix**2).sum(0))
    held = np.all(np.abs(factors.U.diagonal()) > _round_off(matrix) * columns)
    return factors.solve(np.asarray(rhs)) if held else unknown
