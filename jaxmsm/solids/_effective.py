"""What an effective stiffness says: its matrix, its engineering constants, its symmetry."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._bounds import mandel_basis
from ._kinematics import PAIRS


def to_voigt(C: Float[Array, "d d d d"]) -> Float[Array, "m m"]:
    """The matrix of a stiffness in the order 11, 22, 33, 23, 13, 12 (in the plane 11, 22, 12), against engineering shear strains.

    The minor symmetries are assumed; what is read is C_ijkl with i <= j, k <= l.
    """
    i, j = np.array(PAIRS[C.shape[0]]).T
    return C[i[:, None], j[:, None], i[None, :], j[None, :]]


def from_voigt(M: Float[Array, "m m"]) -> Float[Array, "d d d d"]:
    """The stiffness of a matrix in Voigt's notation; the inverse of `to_voigt`."""
    d = {3: 2, 6: 3}[M.shape[0]]
    place = np.zeros((d, d), int)
    for k, (i, j) in enumerate(PAIRS[d]):
        place[i, j] = place[j, i] = k
    return M[place[:, :, None, None], place[None, None, :, :]]


def engineering_constants(C: Float[Array, "d d d d"]) -> dict[str, Float[Array, ""]]:
    """E_i, nu_ij and G_ij along the axes, from the compliance: E1 = 1 / S1111, nu12 = -S2211 / S1111, G12 = 1 / (4 S1212).

    Valid: a stiffness that can be inverted; else NaN or infinity. In the plane they are the constants of the plane (in plane
        strain E1 is the plane-strain modulus E / (1 - nu^2) of an isotropic solid).
    """
    d = C.shape[0]
    S = jnp.linalg.inv(to_voigt(C))
    place = {pair: k for k, pair in enumerate(PAIRS[d])}
    out = {f"E{i + 1}": 1 / S[i, i] for i in range(d)}
    pairs = list(itertools.combinations(range(d), 2))
    for i, j in itertools.permutations(range(d), 2):
        out[f"nu{i + 1}{j + 1}"] = -S[j, i] / S[i, i]
    return out | {f"G{i + 1}{j + 1}": 1 / S[place[i, j], place[i, j]] for i, j in pairs}


def symmetry_class(C: Float[Array, "d d d d"], *, rtol: float = 1e-2) -> str:
    """The highest symmetry, in the given axes, that a stiffness has within a relative distance.

    Of `isotropic`, `cubic`, `transversely isotropic`, `tetragonal`, `orthotropic`, `general` (in the plane `isotropic`, `square`,
    `orthotropic`, `general`). The distance is that from the nearest stiffness of the class, in the Euclidean norm. Transversely
    isotropic and tetragonal stiffnesses may have any of the axes as theirs.

    Args:
        C: an effective stiffness, concrete.
        rtol: distance over norm, below which a stiffness is of the class.
    """
    d = C.shape[0]
    basis = np.asarray(mandel_basis(d, C.dtype))
    M = np.einsum("aij,ijkl,bkl->ab", basis, np.asarray(C), basis)
    size = np.linalg.norm(M)
    if not np.isfinite(size):
        return "general"
    for name, projections in _CLASSES[d]:
        if min(np.linalg.norm(M - p(M)) for p in projections) <= rtol * size:
            return name
    return "general"


def _onto(*generators: np.ndarray):
    """The nearest matrix (Mandel's notation) in the span of some."""
    columns = np.stack([g.reshape(-1) for g in generators], 1)

    def project(M):
        weights = np.linalg.lstsq(columns, M.reshape(-1), rcond=None)[0]
        return (columns @ weights).reshape(M.shape)

    return project


def _unit(m: int, *places: tuple[int, int]) -> np.ndarray:
    M = np.zeros((m, m))
    for i, j in places:
        M[i, j] = M[j, i] = 1
    return M


def _plane_classes():
    normal, cross, shear = _unit(3, (0, 0), (1, 1)), _unit(3, (0, 1)), _unit(3, (2, 2))
    trace = normal + cross
    return (
        ("isotropic", [_onto(trace, np.eye(3))]),
        ("square", [_onto(normal, cross, shear)]),
        ("orthotropic", [_onto(_unit(3, (0, 0)), _unit(3, (1, 1)), cross, shear)]),
    )


def _axial(axis: int) -> list[np.ndarray]:
    """The generators of tetragonal symmetry about an axis: normal, cross, axial, shear through and in the plane."""
    i, j = (k for k in range(3) if k != axis)
    through = [(3 + i, 3 + i), (3 + j, 3 + j)]
    return [
        _unit(6, (i, i), (j, j)),
        _unit(6, (i, j)),
        _unit(6, (axis, axis)),
        _unit(6, (i, axis), (j, axis)),
        _unit(6, *through),
        _unit(6, (3 + axis, 3 + axis)),
    ]


def _transverse(axis: int) -> list[np.ndarray]:
    normal, cross, *rest, shear = _axial(axis)
    # In Mandel's notation isotropy in the plane is M_shear = M_11 - M_12.
    return [normal + cross, normal + shear, *rest]


def _space_classes():
    normal, shear = _unit(6, (0, 0), (1, 1), (2, 2)), _unit(6, (3, 3), (4, 4), (5, 5))
    cross = _unit(6, (0, 1), (0, 2), (1, 2))
    nine = [_unit(6, (i, i)) for i in range(6)] + [_unit(6, (i, j)) for i, j in ((0, 1), (0, 2), (1, 2))]
    return (
        ("isotropic", [_onto(normal + cross, np.eye(6))]),
        ("cubic", [_onto(normal, cross, shear)]),
        ("transversely isotropic", [_onto(*_transverse(axis)) for axis in range(3)]),
        ("tetragonal", [_onto(*_axial(axis)) for axis in range(3)]),
        ("orthotropic", [_onto(*nine)]),
    )


_CLASSES = {2: _plane_classes(), 3: _space_classes()}
