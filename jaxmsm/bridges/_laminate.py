"""Layers as a scale: the rank-one laminate, exact for any constituents and paths."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._model import Mixed
from .._precision import full_precision
from .._results import RESULTS
from .._scale import AbstractScale, hold
from .._typing import Tree, is_number
from ..solids import AbstractLaw, Group, cast, group
from ..solve import Newton, dense_solve, implicit, less_residual, less_work, norm, root
from ._closed import answer, balance, choose_first, counted, free, judged, load_dtype, loose, speaks, warm
from ._load import checked_load, in_step, load_shapes, split_time


class Laminate(AbstractScale):
    """Layers of different laws, stacked along a normal: `Laminate(laws, fractions, normal)(F) -> Solution`.

    The deformation is homogeneous in every layer, F_k = F + a_k (x) n with sum c_k a_k = 0, and the jump vectors a_k make the
    tractions P_k n equal. The value is sum c_k P_k. With laws of conduction the load is a gradient (d,) and the a_k are numbers.

    Valid: any laws, small or finite strain, with or without history; exact for layers thin against everything else. Nests:
        a constituent may be `AsLaw(Laminate(...), rest)`. Fractions and normal are differentiable and are normalized inside, so
        their gradients are those of their ratios and of the direction.
    Fails: `out_of_range` (a layer does not admit its load), `law_failed`, `nonfinite_input`, `singular`, `line_search_failed`,
        `nonlinear_max_steps_reached`; with `Mixed` also `mechanism`.
    Error: none but the tolerance of the solver.
    Source: Milton, The Theory of Composites (2002), chapter 9, for the linear case; jump vectors as in Kabel, Ospald and
        Schneider, Comput. Methods Appl. Mech. Eng. 309 (2016) 476.

    Attributes:
        laws: one law a layer.
        fractions: volume fractions, one a layer.
        normal: normal of the layers, shape (d,).
    """

    laws: tuple[AbstractLaw, ...]
    fractions: Float[Array, "..."]
    normal: Float[Array, "..."]
    solver: Newton

    def __init__(self, laws: Sequence[AbstractLaw], fractions, normal, *, solver: Newton | None = None):
        self.laws = tuple(laws)
        self.fractions = jnp.asarray(fractions, jnp.result_type(float, jnp.asarray(fractions)))
        self.normal = jnp.asarray(normal, jnp.result_type(float, jnp.asarray(normal)))
        self.solver = Newton() if solver is None else solver
        if len(self.laws) < 2:
            raise ValueError(f"Argument `laws` must hold at least two laws, but it holds {len(self.laws)}. Use `Closed` for one.")
        if self.fractions.shape[-1:] != (len(self.laws),):
            raise ValueError(
                f"Argument `fractions` must hold one number a law ({len(self.laws)}), but its shape is {self.fractions.shape}."
            )
        if self.normal.shape[-1:] not in ((2,), (3,)):
            raise ValueError(f"Argument `normal` must have shape (2,) or (3,), but its shape is {self.normal.shape}.")
        if len({law.scalar for law in self.laws}) > 1:
            raise ValueError("Argument `laws` must be all of conduction or all of mechanics, but it mixes them.")
        if not isinstance(self.fractions, jax.core.Tracer):
            c = np.asarray(self.fractions)
            if not (np.all(c >= 0) and np.all(c.sum(-1) > 0)):
                raise ValueError("Argument `fractions` must not be negative and must not vanish, but it does.")

    @property
    def symmetric(self) -> bool:
        """Every law has a symmetric tangent."""
        return all(law.symmetric for law in self.laws)

    @property
    def timed(self) -> bool:
        """Loads must be a `Span`."""
        return any(law.timed for law in self.laws)

    def init(self, load, *, key=None):
        del key
        dtype = load_dtype(self._checked(load))
        return tuple(_virgin(g, dtype) for g in group(cast(self.laws, dtype)))

    def cold(self, load):
        load = self._checked(load)
        F = load.F if isinstance(load, Mixed) else load
        size = (len(self.laws) - 1) * F[..., 0].size + (F.size if isinstance(load, Mixed) else 0)
        return jnp.zeros(size, load_dtype(load))

    def _checked(self, load: Tree) -> Tree:
        return checked_load(split_time(load)[0], load_shapes(self.normal.shape[-1], self.laws[0].scalar))

    @full_precision
    def __call__(self, load, state=None, *, guess=None):
        laws = in_step(self.laws, split_time(load)[1])
        load = self._checked(load)
        state = self.init(load) if state is None else state
        stack = cast((laws, self.fractions, self.normal), load_dtype(load))
        arrays, rest = eqx.partition((stack, load, state), eqx.is_array)

        def fields(x, arrays):
            return _fields(x, *eqx.combine(arrays, rest))

        def residual(x, arrays):
            return fields(x, arrays)["residual"]

        x, report, scale = self._find(fields, hold(arrays), self.cold(load), hold(guess))
        x = implicit(residual, dense_solve, x, arrays)
        out = fields(x, arrays)
        result = choose_first(report.result, judged(out["admissible"], (load, state), stack, (out["mean"], out["next"])))
        if isinstance(load, Mixed):
            lost = _loose(residual, lax.stop_gradient(x), hold(arrays), hold(load))
            result = RESULTS.where(lost & speaks(result), RESULTS.mechanism, result)
        stats = counted(report, scale) | {"deformation": out["F"], "hill_mandel": out["hill_mandel"]}
        return answer(out["mean"], out["next"], state, lax.stop_gradient(x), result, stats)

    def _find(self, fields, arrays, cold, guess):
        def residual(x):
            out = fields(x, arrays)
            return out["residual"], out["admissible"]

        start = cold if guess is None else warm(residual, guess, cold)
        affine = fields(cold, arrays)
        scale = norm(affine["stress"]) + affine["imposed"]
        accept = less_work(affine["gradient"]) if all(law.symmetric for law in self.laws) else less_residual
        x, report = root(residual, start, self.solver, scale=scale, magnitude=norm(affine["F"]), accept=accept)
        return x, report, scale


def _fields(x, stack, load, state) -> dict:
    """All that follows from the unknowns: the jumps against the last layer, and the free components of a mixed load."""
    laws, c, n = stack
    c, n = c / jnp.sum(c), n / norm(n)
    mixed = isinstance(load, Mixed)
    F = load.F if mixed else load
    layers = len(laws)
    jumps = (layers - 1) * F[..., 0].size
    b = jnp.concatenate([x[:jumps].reshape(layers - 1, *F.shape[:-1]), jnp.zeros((1, *F.shape[:-1]), x.dtype)])
    z = x[jumps:].reshape(F.shape) if mixed else jnp.zeros_like(F)
    F = F + free(z, load.mask) if mixed else F
    a = b - jnp.tensordot(c, b, 1)[None]
    local = F[None] + a[..., None] * n.reshape((1,) * a.ndim + n.shape)
    P, following, admissible = _respond(laws, local, state)
    t = P @ n
    mean = jnp.tensordot(c, P, 1)
    missing = (t[:-1] - t[-1:]).reshape(-1)
    if mixed:
        missing = jnp.concatenate([missing, balance(z, mean, load).reshape(-1)])

    def gradient(r):
        """Of the potential in the unknowns, c_k (t_k - mean t), from the differences t_k - t_last."""
        s = r[:jumps].reshape(layers - 1, -1)
        jump = c[:-1, None] * (s - (c[:-1] @ s)[None])
        return jnp.concatenate([jump.reshape(-1), r[jumps:]])

    inner = jnp.tensordot(c, jnp.sum((P * (local - F[None])).reshape(layers, -1), 1), 1)
    size = norm(P) * norm(local - F[None])
    return {
        "residual": missing,
        "admissible": admissible,
        "stress": P,
        "mean": mean,
        "next": following,
        "F": F,
        "imposed": norm(load.P) if mixed else jnp.zeros((), x.dtype),
        "gradient": gradient,
        "hill_mandel": jnp.abs(inner) / jnp.where(size > 0, size, 1),
    }


def _virgin(g: Group, dtype) -> Tree:
    numbers, rest = eqx.partition(g.law, is_number)
    one = jax.vmap(lambda numbers: eqx.combine(numbers, rest).init(), in_axes=-1, axis_size=len(g.labels))
    return cast(one(numbers), dtype)


def _respond(laws, F: Array, state: Tree):
    """Stress of every layer, next histories by law type, and whether every layer admits its load."""
    groups = group(laws)
    stress, following, admissible = [], [], jnp.asarray(True)
    for g, past in zip(groups, state, strict=True):
        numbers, rest = eqx.partition(g.law, is_number)

        def one(numbers, F, past, rest=rest):
            return eqx.combine(numbers, rest).answer(F, past)

        P, new, good = jax.vmap(one, in_axes=(-1, 0, 0))(numbers, F[np.array(g.labels)], past)
        stress.append(P)
        following.append(new)
        admissible &= jnp.all(good)
    order = np.argsort([label for g in groups for label in g.labels])
    return jnp.concatenate(stress)[order], tuple(following), admissible


def _loose(residual, x, arrays, load: Mixed):
    """True where the laminate, its jumps following, has no stiffness against what a mixed load leaves free."""
    J = jax.jacfwd(lambda x: residual(x, arrays))(x)
    m = x.size - load.F.size
    K = J[m:, m:] - J[m:, :m] @ jnp.linalg.solve(J[:m, :m], J[:m, m:])
    return loose(K, norm(J[:m, :m]), load.mask)
