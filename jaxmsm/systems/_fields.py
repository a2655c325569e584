"""Fields on the voxels of a cell at a load: stress, strain and the equivalent stress."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..solids import AbstractLaw, PlaneStress


def voxel_fields(
    cell: Any, image: np.ndarray, laws: Sequence[AbstractLaw], load: Any, guess: Any, state: Any = None
) -> dict[str, np.ndarray]:
    """`phase`, `stress`, `strain` and `von_mises` of a cell in equilibrium, averaged over each voxel.

    At small strain the stress is the Cauchy stress and the strain sym(F - I); at finite strain the Cauchy stress P F^T / det F and
    the Green-Lagrange strain. In plane strain the equivalent stress counts the stress out of the plane that the law answers.
    For conduction: `flux` and `gradient` (the flux is the conductivity times the gradient, without a minus).

    Args:
        load: the mean deformation (or gradient).
        guess: the one of the solution at this load.
        state: the history (default: none); at the end of a step the history it left gives the stress of that step again, as long
            as no law depends on time.
    """
    state = cell.init(load) if state is None else state
    # One tree, hence one program, whether or not the slope is known.
    guess = eqx.tree_at(lambda g: g.columns, guess, None, is_leaf=lambda x: x is None)
    given = _fields(cell, load, state, guess)
    F, P = (np.asarray(given[name], float) for name in ("F", "P"))
    if laws[0].scalar:
        return {"phase": image, "flux": P, "gradient": F}
    d = len(F)
    eye = np.eye(d).reshape(d, d, *(1,) * d)
    small = all(law.small for law in laws)
    out = np.asarray(given["out"], float).reshape(image.shape) if "out" in given else 0.0
    if small:
        stress, strain = P, 0.5 * (F + F.swapaxes(0, 1)) - eye
    else:
        stress = np.einsum("ij...,kj...->ik...", P, F) / _det(F)
        strain = 0.5 * (np.einsum("ki...,kj...->ij...", F, F) - eye)
        out = out / _det(F)
    return {"phase": image, "stress": stress, "strain": strain, "von_mises": von_mises(stress, out)}


@eqx.filter_jit
def _fields(cell, load, state, guess):
    given = cell.fields(load, state, guess=guess)
    if cell.kernel.scalar or cell.kernel.grid.d == 3 or isinstance(cell.laws[0], PlaneStress):
        return given
    return given | {"out": _out_of_plane(cell, load, state, given["u"])}


def _out_of_plane(cell, load, state, u):
    """The stress P33 in plane strain, averaged over each voxel: every law on the points of its phase, with the history there."""
    grid = cell.kernel.grid
    F = load[..., None, None] + grid.gradient(u)
    seen = grid.rule.strain(F, cell.kernel.small) if grid.rule.coupled else F
    solid = jnp.pad(seen, ((0, 1), (0, 1), (0, 0), (0, 0))).at[2, 2].set(1)
    image, out = cell.image.reshape(-1), jnp.zeros(cell.image.size, load.dtype)
    # Phases of one law type share a history.
    groups = cell.medium(load.dtype).groups
    for phase, law in enumerate(cell.laws):
        history = next(h for h, g in zip(state, groups, strict=True) if phase in g.labels)
        points = jax.vmap(jax.vmap(lambda f, past, law=law: law(f, past)[0][2, 2], -1), -1)(solid, history)
        out = jnp.where(image == phase, jnp.mean(points, -1), out)
    return out


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
