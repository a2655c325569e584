"""Fields on the voxels of a cell at a load: stress, strain and the equivalent stress."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..solids import AbstractLaw, PlaneStress


def voxel_fields(cell: Any, image: np.ndarray, laws: Sequence[AbstractLaw], load: Any, guess: Any) -> dict[str, np.ndarray]:
    """`phase`, `stress`, `strain` and `von_mises` of a cell in equilibrium, averaged over each voxel.

    At small strain the stress is the Cauchy stress and the strain sym(F - I); at finite strain the Cauchy stress P F^T / det F and
    the Green-Lagrange strain. In plane strain the equivalent stress counts the stress out of the plane that the law answers.
    For conduction: `flux` and `gradient` (the flux is the conductivity times the gradient, without a minus).
    """
    given = _fields(cell, load, guess)
    F, P = (np.asarray(given[name], float) for name in ("F", "P"))
    if laws[0].scalar:
        return {"phase": image, "flux": P, "gradient": F}
    d = len(F)
    eye = np.eye(d).reshape(d, d, *(1,) * d)
    small = all(law.small for law in laws)
    if small:
        stress, strain = P, 0.5 * (F + F.swapaxes(0, 1)) - eye
    else:
        stress = np.einsum("ij...,kj...->ik...", P, F) / _det(F)
        strain = 0.5 * (np.einsum("ki...,kj...->ij...", F, F) - eye)
    out = np.zeros(image.shape) if d == 3 else _out_of_plane(image, laws, F)
    return {"phase": image, "stress": stress, "strain": strain, "von_mises": von_mises(stress, out)}


@eqx.filter_jit
def _fields(cell, load, guess):
    return cell.fields(load, guess=guess)


def von_mises(stress: np.ndarray, s33: np.ndarray | float = 0.0) -> np.ndarray:
    """sqrt(3/2 dev s : dev s) of a stress (3, 3, ...), or (2, 2, ...) and the normal stress out of the plane."""
    if len(stress) == 2:
        full = np.zeros((3, 3, *stress.shape[2:]))
        full[:2, :2], full[2, 2] = stress, s33
        stress = full
    pressure = np.trace(stress) / 3
    square = np.sum(stress * stress, (0, 1)) - 3 * pressure**2
    return np.sqrt(1.5 * np.maximum(square, 0))


def _det(F: np.ndarray) -> np.ndarray:
    return np.linalg.det(np.moveaxis(F, (0, 1), (-2, -1)))


def _out_of_plane(image: np.ndarray, laws: Sequence[AbstractLaw], F: np.ndarray) -> np.ndarray:
    """The normal stress out of the plane at each voxel's mean deformation, from virgin material."""
    out = np.zeros(image.shape)
    for phase, law in enumerate(laws):
        if isinstance(law, PlaneStress):
            continue
        own = image == phase
        full = np.tile(np.eye(3), (int(own.sum()), 1, 1))
        full[:, :2, :2] = np.moveaxis(F[:, :, own], -1, 0)
        P = jax.jit(jax.vmap(lambda f, law=law: law(f, law.init())[0][2, 2]))(jnp.asarray(full))
        out[own] = np.asarray(P) / (1 if law.small else np.linalg.det(full))
    return out
