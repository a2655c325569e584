"""Inverse homogenization: densities on the voxels of a cell, moved along the slope of its effective stiffness."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import RESULTS, fine, names
from ..bridges import PeriodicCell
from ..io import Checkpoint, InputError
from ..solids import AbstractLaw, hashin_shtrikman, simp
from ..solve import MovingAsymptotes, NewtonKrylov
from ..space import ConeFilter, smoothed_step, symmetrized

SHARPNESS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Of the step that drives densities to 0 or 1, one stage after the other."""

_EVERY = 10
"""Steps between two checkpoints, which is what a kill may lose."""

_FRAME = 3
"""Steps between two frames of the moving picture."""

_BREACH = 2e-3
"""Of a constraint, that a design may have and still be one."""


class Moduli(NamedTuple):
    """The stiffness of a cell with the symmetry of the square, or of the cube, in d dimensions, without its shear."""

    axial: Any
    cross: Any
    d: int

    @classmethod
    def of(cls, C: Float[Array, "d d d d"]) -> "Moduli":
        """The means over the axes."""
        d = C.shape[0]
        pairs = [C[i, i, j, j] for i in range(d) for j in range(d) if i != j]
        return cls(sum(C[i, i, i, i] for i in range(d)) / d, sum(pairs) / len(pairs), d)

    @property
    def poisson(self) -> Any:
        """Poisson's ratio under stress along an axis; in the plane, that of the plane."""
        return self.cross / (self.axial + (self.d - 2) * self.cross)

    @property
    def young(self) -> Any:
        """Young's modulus along an axis; in the plane, that of the plane."""
        return self.axial - (self.d - 1) * self.cross * self.poisson

    @property
    def bulk(self) -> Any:
        """The bulk modulus, in the plane C11 / 2 + C12 / 2."""
        return (self.axial + (self.d - 1) * self.cross) / self.d

    @property
    def shear(self) -> Float[Array, ""]:
        """Of an isotropic solid with these moduli."""
        return (self.axial - self.cross) / 2


def bulk_bound(volume: Float[Array, ""] | float, solid: Moduli) -> Float[Array, ""]:
    """The upper bound of Hashin and Shtrikman on the bulk modulus of a solid with pores (any symmetry)."""
    fractions = jnp.stack([jnp.asarray(volume, float), 1 - jnp.asarray(volume, float)])
    K, G = (jnp.stack([jnp.asarray(x, float), jnp.zeros((), float)]) for x in (solid.bulk, solid.shear))
    return hashin_shtrikman(fractions, K, G, d=solid.d)[0][1]


class Layout(eqx.Module):
    """From unknowns between 0 and 1, one a voxel, to a cell.

    Attributes:
        law: the solid; all its leaves are moduli, which the density scales.
        smooth: the filter, which gives the design a length.
        solver: of the cell.
        power: of `simp`.
        void: stiffness of what is empty over that of the solid.
    """

    law: AbstractLaw
    smooth: ConeFilter
    solver: NewtonKrylov
    power: float = eqx.field(static=True)
    void: float = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels an axis."""
        return self.smooth.shape

    @property
    def solid(self) -> Moduli:
        """The moduli of the solid."""
        return Moduli.of(jax.jacfwd(lambda F: self.law(F, ())[0])(jnp.eye(len(self.shape))))

    def density(self, x: Float[Array, " n"], sharpness: Float[Array, ""] | float) -> Float[Array, "..."]:
        """Symmetric, filtered and projected."""
        return smoothed_step(self.smooth(symmetrized(x.reshape(self.shape))), sharpness)

    def cell(self, density: Float[Array, "..."]) -> PeriodicCell:
        """One law of fields."""
        scale = simp(density, power=self.power, void=self.void)
        return PeriodicCell(None, jax.tree.map(lambda x: x * scale, self.law), grid=self.shape, solver=self.solver)

    def start(self, volume: float, seed: int) -> Float[Array, " n"]:
        """Waves of a quarter of the cell around the volume: a uniform cell is the same to all directions, and stays uniform."""
        noise = jnp.asarray(np.random.default_rng(seed).standard_normal(self.shape))
        waves = symmetrized(ConeFilter(self.shape, min(self.shape) / 4)(noise))
        waves = waves - jnp.mean(waves)
        return jnp.clip(volume + 0.3 * waves / jnp.std(waves), 0, 1).reshape(-1)


class Auxetic(eqx.Module):
    """The least Poisson's ratio under a limit on the volume, of a cell whose Young's modulus does not vanish.

    Attributes:
        volume: the greatest.
        stiffness: the least Young's modulus, over that of the solid.
        solid: the moduli of the solid.
    """

    volume: Float[Array, ""]
    stiffness: Float[Array, ""]
    solid: Moduli

    def __call__(self, found: Float[Array, " 3"]) -> Float[Array, " 3"]:
        """Objective and constraints of axial and cross stiffness and volume."""
        now = Moduli(found[0], found[1], self.solid.d)
        weak = jnp.log(self.stiffness) - jnp.log(now.young / self.solid.young)
        return jnp.stack([10 * now.poisson, 10 * (found[2] / self.volume - 1), weak])


class Stiffest(eqx.Module):
    """The greatest bulk modulus under a limit on the volume.

    Attributes:
        volume: the greatest.
        solid: the moduli of the solid.
    """

    volume: Float[Array, ""]
    solid: Moduli

    def __call__(self, found: Float[Array, " 3"]) -> Float[Array, " 2"]:
        """Objective and constraint of axial and cross stiffness and volume."""
        reached = Moduli(found[0], found[1], self.solid.d).bulk / bulk_bound(self.volume, self.solid)
        return jnp.stack([-10 * reached, 10 * (found[2] / self.volume - 1)])


class Sensitivity(eqx.Module):
    """A design's axial and cross stiffness and volume, their slopes in the unknowns, and how the solve went."""

    found: Float[Array, " 3"]
    slopes: Float[Array, "3 n"]
    density: Float[Array, "..."]
    result: RESULTS
    linear: Array


@eqx.filter_jit
def sensitivity(layout: Layout, x: Float[Array, " n"], sharpness: Float[Array, ""]) -> Sensitivity:
    """Through filter, step, interpolation and cell; the cell is linear, so that no adjoint is solved for."""

    def response(x):
        density = layout.density(x, sharpness)
        solution, C = layout.cell(density).linearize(jnp.eye(len(layout.shape), dtype=x.dtype))
        now = Moduli.of(C)
        return jnp.stack([now.axial, now.cross, jnp.mean(density)]), (density, solution.result, solution.stats["linear"])

    found, pull, (density, result, linear) = jax.vjp(response, x, has_aux=True)
    slopes = jax.vmap(lambda e: pull(e)[0])(jnp.eye(3, dtype=x.dtype))
    return Sensitivity(found, slopes, density, result, linear)


@eqx.filter_jit
def _advance(method: MovingAsymptotes, target: Callable, memory, x, now: Sensitivity):
    g = target(now.found)
    slopes = jax.jacfwd(target)(now.found) @ now.slopes
    return g, *method.step(memory, x, slopes[0], g[1:], slopes[1:])


@eqx.filter_jit
def voxel_stiffness(law: AbstractLaw, image: Array, solver: NewtonKrylov) -> tuple[Float[Array, "..."], RESULTS]:
    """The effective stiffness of the solid where the image is 1, and nothing where it is 0."""
    nothing = jax.tree.map(jnp.zeros_like, law)
    solution, C = PeriodicCell(image, [nothing, law], solver=solver).linearize(jnp.eye(image.ndim))
    return C, solution.result


@dataclass
class Course:
    """A design on its way, or at its end.

    Attributes:
        x: the unknowns.
        memory: of the method.
        step: steps taken.
        rows: one a step: sharpness, volume, axial and cross stiffness, objective, greatest breach, grayness, iterations.
        frames: densities as bytes.
        best: the unknowns of the best design of the last stage.
        rank: what it is best by: breach beyond the allowed, then objective.
        code: of the solve that failed, or `successful`.
    """

    x: Any
    memory: Any
    step: int = 0
    rows: list[list[float]] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)
    best: Any = None
    rank: tuple[float, float] = (np.inf, np.inf)
    code: str = "successful"

    def save(self, store: Checkpoint, about: dict[str, Any]) -> None:
        """What `resumed` needs."""
        leaves = {f"memory_{k}": np.asarray(x) for k, x in enumerate(jax.tree.leaves(self.memory))}
        arrays = leaves | {"x": np.asarray(self.x), "rows": np.array(self.rows), "frames": np.array(self.frames)}
        arrays["best"] = np.asarray(self.x if self.best is None else self.best)
        known = self.best is not None
        store.save(arrays, {"about": about, "step": self.step, "rank": self.rank if known else None})

    def resumed(self, store: Checkpoint, about: dict[str, Any]) -> "Course":
        """Where an earlier run left it; as it is where there was none."""
        held = store.load()
        if held is None:
            return self
        arrays, header = held
        if header["about"] != about:
            raise InputError(f"The output {store.path.parent} was begun with other options: repeat them, or give another --out.")
        leaves, tree = jax.tree.flatten(self.memory)
        memory = jax.tree.unflatten(tree, [jnp.asarray(arrays[f"memory_{k}"]) for k in range(len(leaves))])
        rank = header["rank"]
        return Course(
            jnp.asarray(arrays["x"]),
            memory,
            header["step"],
            arrays["rows"].tolist(),
            list(arrays["frames"]),
            None if rank is None else jnp.asarray(arrays["best"]),
            (np.inf, np.inf) if rank is None else tuple(rank),
        )


COLUMNS = ("sharpness", "volume", "C11", "C12", "objective", "breach", "gray", "iterations")
"""What the rows of a course hold."""


def design(
    layout: Layout,
    target: Callable,
    x: Array,
    steps: int,
    store: Checkpoint,
    about: dict[str, Any],
    moved: Callable[[Course], None],
) -> Course:
    """The unknowns moved stage by stage, each of some steps, from where a checkpoint left them.

    Args:
        target: `target(found) -> (objective, *constraints)` of axial and cross stiffness and volume.
        x: where to start without a checkpoint.
        steps: of a stage.
        about: what a checkpoint must agree with.
        moved: called after every step.
    """
    method = MovingAsymptotes(jnp.zeros(()), jnp.ones(()), move=0.2)
    count = target(jnp.asarray([1.0, 0.0, 1.0])).size - 1
    fresh = lambda x: method.start(x, constraints=count)
    course = Course(x, fresh(x)).resumed(store, about)
    for step in range(course.step, steps * len(SHARPNESS)):
        stage = step // steps
        if step % steps == 0:
            # Asymptotes that fit the last stage are in the way of this one.
            course.memory = fresh(course.x)
        now = sensitivity(layout, course.x, jnp.asarray(SHARPNESS[stage], course.x.dtype))
        if not bool(fine(now.result)):
            course.code = str(names(now.result))
            break
        g, x, course.memory = _advance(method, target, course.memory, course.x, now)
        _note(course, SHARPNESS[stage], now, np.asarray(g), last=stage == len(SHARPNESS) - 1)
        course.x, course.step = x, step + 1
        if course.step % _EVERY == 0 or course.step == steps * len(SHARPNESS):
            course.save(store, about)
        moved(course)
    return course


def _note(course: Course, sharpness: float, now: Sensitivity, g: np.ndarray, *, last: bool) -> None:
    """The row and the frame of a step, and whether its design is the best."""
    density = np.asarray(now.density)
    gray = float(np.mean(4 * density * (1 - density)))
    axial, cross, volume = (float(v) for v in now.found)
    breach = float(np.max(g[1:]))
    course.rows.append([sharpness, volume, axial, cross, float(g[0]), breach, gray, int(now.linear)])
    if course.step % _FRAME == 0:
        course.frames.append(np.round(255 * np.clip(density, 0, 1)).astype(np.uint8))
    rank = (max(breach - _BREACH, 0.0), float(g[0]))
    if last and rank < course.rank:
        course.best, course.rank = course.x, rank
