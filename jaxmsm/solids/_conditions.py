"""What is done to a body: supports, imposed displacements, forces, pressures, springs, ties; each scaled by the load."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._model import Span, refuse_traced
from .._typing import Tree
from ..space import Block, Elementwise, Mesh, facet_normals, integration

type By = str | Callable[[Tree], Any] | None
"""Which number of the load scales a condition: None for the load itself (of a `Span` its drive, or its end `t1` where it has no
drive), a name where the load is a dictionary, or a function of the load."""


class Word(eqx.Module):
    """A name or a function: no number, so that a body is a tree of arrays that `jax.jit` takes."""

    what: Any = eqx.field(static=True)


def word(x: Any) -> Any:
    """Names and functions apart from numbers; a module that is a function has numbers of its own."""
    return Word(x) if isinstance(x, str) or (callable(x) and not isinstance(x, eqx.Module)) else x


def said(x: Any) -> Any:
    """What `word` was given."""
    return x.what if isinstance(x, Word) else x


def as_where(x: Any) -> Any:
    """Numbers of nodes as an array, names and conditions as words."""
    x = word(x)
    if x is None or isinstance(x, Word | jax.Array):
        return x
    # Numbers stay known where a body is made in a program that is traced.
    with jax.ensure_compile_time_eval():
        return jnp.asarray(x)


def where_of(condition: Any) -> Any:
    """Where a condition or an observer is, as it was said."""
    return said(condition.where)


def always(load: Tree) -> float:
    """One, whatever the load: `by=always` makes a condition constant."""
    del load
    return 1.0


class Table(eqx.Module):
    """A piecewise linear function of the load, constant beyond its ends: `by=Table(times, values)`.

    Attributes:
        times: increasing values of the load (of a `Span`, of its end `t1`).
        values: what they are sent to.
    """

    times: Float[Array, " n"] = eqx.field(converter=jnp.asarray)
    values: Float[Array, " n"] = eqx.field(converter=jnp.asarray)

    def __call__(self, load):
        return jnp.interp(load.t1 if isinstance(load, Span) else load, self.times, self.values)


def amplitude(load: Tree, by: By | Word) -> Float[Array, ""]:
    """The number that scales a condition."""
    by = said(by)
    if callable(by):
        return jnp.asarray(by(load))
    if isinstance(load, Span):
        load = load.t1 if load.drive is None else load.drive
    if by is not None:
        if not isinstance(load, dict) or by not in load:
            held = sorted(load) if isinstance(load, dict) else "no names"
            raise ValueError(f"Argument `load` must be a dictionary with a number {by!r}, but it holds {held}.")
        load = load[by]
    found = jnp.asarray(load) if not isinstance(load, dict) else None
    if found is None or found.shape != ():
        what = f"the names {sorted(load)}" if found is None else f"shape {found.shape}"
        raise ValueError(
            f"Argument `load` must be a number for conditions without a name (`by`), but it has {what}. A path of loads is for "
            "`rollout(body, loads)`, a batch for `batched(body)`."
        )
    return found


class AbstractCondition(eqx.Module):
    """A condition on a part of a body.

    Every condition has `where`: the name of a set of the mesh, a condition on coordinates `x (n, d) -> bool (n,)`, or numbers of
    nodes; and `by`: which number of the load scales it.
    """

    def __check_init__(self):
        by = said(getattr(self, "by", None))
        if callable(by):
            refuse_traced(by, "`by`")


class Fixed(AbstractCondition):
    """No displacement, of all components or of some axes."""

    where: Any = eqx.field(converter=as_where)
    axes: tuple[int, ...] | None = eqx.field(static=True, default=None)

    @property
    def by(self) -> By:
        """Nothing scales zero."""
        return always


class Moved(AbstractCondition):
    """A displacement imposed: `value` times the load's number.

    Attributes:
        axes: the components imposed (one axis, or several).
        value: a number, one an axis, or an array (nodes of the set in order, axes).
    """

    where: Any = eqx.field(converter=as_where)
    axes: tuple[int, ...] = eqx.field(static=True, converter=lambda a: (a,) if isinstance(a, int) else tuple(a))
    value: Float[Array, "..."] = eqx.field(converter=lambda x: jnp.asarray(x, float), default=1.0)
    by: Any = eqx.field(converter=word, default=None)


class Symmetry(AbstractCondition):
    """A plane of symmetry: no displacement along its normal.

    Attributes:
        normal: of the plane, any direction; it need not have length one.
    """

    where: Any = eqx.field(converter=as_where)
    normal: tuple[float, ...] = eqx.field(static=True, converter=lambda n: tuple(float(x) for x in n))

    @property
    def by(self) -> By:
        """Nothing scales zero."""
        return always


class Tied(AbstractCondition):
    """Periodic ties: the nodes of `where` move as those of `to`, which lie at a constant offset.

    On top of that comes `jump` times the load's number.

    Attributes:
        to: the set of the leading nodes.
        jump: displacement of `where` against `to`, (d,).
    """

    where: Any = eqx.field(converter=as_where)
    to: Any = eqx.field(converter=as_where)
    jump: Float[Array, "..."] = eqx.field(converter=lambda x: jnp.asarray(x, float), default=0.0)
    by: Any = eqx.field(converter=word, default=None)


class AbstractForce(AbstractCondition):
    """Forces that do not depend on the displacement."""

    @abc.abstractmethod
    def place(self, mesh: Mesh) -> Tree:
        """Where the forces act: facets, elements or nodes."""

    @abc.abstractmethod
    def forces(self, points: Float[Array, "n d"], place: Tree, thickness: Array | float) -> Float[Array, "n d"]:
        """Nodal forces at a load of one."""


class Traction(AbstractForce):
    """A force per undeformed area, of constant direction.

    Attributes:
        value: (d,), in the unit of stress.
    """

    where: Any = eqx.field(converter=as_where)
    value: Float[Array, "..."] = eqx.field(converter=lambda x: jnp.asarray(x, float))
    by: Any = eqx.field(converter=word, default=None)

    def place(self, mesh):
        return mesh.facets(where_of(self))

    def forces(self, points, place, thickness):
        total = jnp.zeros_like(points)
        for facets in place:
            shape, normals = facet_normals(points[facets.nodes], facets.element)
            area = jnp.sqrt(jnp.sum(normals**2, -1))
            share = jnp.einsum("qk,qf->fk", shape, area) * thickness
            total = total.at[facets.nodes].add(share[:, :, None] * jnp.broadcast_to(self.value, points.shape[1:])[None, None])
        return total


class Force(AbstractForce):
    """A force, shared equally by the nodes of a set.

    Attributes:
        value: the total, (d,), in the unit of force (of force per thickness in the plane, where the thickness is one).
    """

    where: Any = eqx.field(converter=as_where)
    value: Float[Array, "..."] = eqx.field(converter=lambda x: jnp.asarray(x, float))
    by: Any = eqx.field(converter=word, default=None)

    def place(self, mesh):
        return jnp.asarray(mesh.nodes(where_of(self)))

    def forces(self, points, place, thickness):
        del thickness
        return jnp.zeros_like(points).at[place].set(self.value / len(place))


class BodyForce(AbstractForce):
    """A force per undeformed volume, on all elements or on those of a set.

    Attributes:
        value: (d,), or a function `x (q, e, d) -> (q, e, d)` of the undeformed position.
        degree: of the quadrature (default: that of the elements).
    """

    value: Any = eqx.field(converter=lambda x: word(x) if callable(x) else jnp.asarray(x, float), default=0.0)
    where: Any = eqx.field(converter=as_where, default=None)
    by: Any = eqx.field(converter=word, default=None)
    degree: int | None = eqx.field(static=True, default=None)

    def place(self, mesh):
        if self.where is None:
            return mesh.blocks
        chosen = zip(mesh.element_nodes(where_of(self)), mesh.blocks, strict=True)
        return tuple(Block(jnp.asarray(nodes), block.element) for nodes, block in chosen)

    def forces(self, points, place, thickness):
        total = jnp.zeros_like(points)
        for own in place:
            at = integration(points, own, self.degree)
            x = jnp.einsum("qk,ekd->qed", at.shape, points[own.nodes])
            value = said(self.value)
            b = value(x) if callable(value) else jnp.broadcast_to(value, x.shape)
            total = total.at[own.nodes].add(thickness * jnp.einsum("qk,qe,qed->ekd", at.shape, at.weights, b))
        return total


class AbstractFollower(AbstractCondition):
    """Forces on facets that depend on the displacement."""

    @abc.abstractmethod
    def answer(self, x0: Float[Array, "k d"], u: Float[Array, "k d"], size: Array, element: Any) -> Float[Array, "k d"]:
        """Nodal forces (of the body on the outside, as internal forces count) of one facet."""

    @property
    @abc.abstractmethod
    def symmetric(self) -> bool:
        """The forces have a potential."""


class Pressure(AbstractFollower):
    """A pressure that follows the surface: force -p n per deformed area.

    Its stiffness is symmetric only where the surface's edge is held, so that a body under pressure is solved without symmetry.

    Attributes:
        value: pressure, in the unit of stress; positive pushes on the body.
    """

    where: Any = eqx.field(converter=as_where)
    value: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, float), default=1.0)
    by: Any = eqx.field(converter=word, default=None)

    @property
    def symmetric(self) -> bool:
        """It is not in general."""
        return False

    def answer(self, x0, u, size, element):
        # Exact for curved facets too, so that the work is pressure times change of volume.
        shape, normals = facet_normals((x0 + u)[None], element, max(element.degree, 3 * element.order - 2))
        return size * self.value * jnp.einsum("qk,qd->kd", shape, normals[:, 0])


class Springs(AbstractFollower):
    """An elastic support: force -k u per undeformed area.

    Attributes:
        stiffness: a number, or one an axis (d,), in units of stress per length. It is not scaled unless `by` says so.
    """

    where: Any = eqx.field(converter=as_where)
    stiffness: Float[Array, "..."] = eqx.field(converter=lambda x: jnp.asarray(x, float))
    by: Any = eqx.field(converter=word, default=always)

    @property
    def symmetric(self) -> bool:
        """Springs have a potential."""
        return True

    def answer(self, x0, u, size, element):
        shape, normals = facet_normals(x0[None], element)
        area = jnp.sqrt(jnp.sum(normals[:, 0] ** 2, -1))
        return size * jnp.einsum("qk,q,qd,d->kd", shape, area, shape @ u, jnp.broadcast_to(self.stiffness, x0.shape[1:]))


class Constraints(eqx.Module):
    """The displacements that a body may take: u = Q q[source] where q is free, and what is imposed elsewhere.

    Attributes:
        free: which unknowns there are, (n, d), in the frames of the nodes.
        source: the node whose unknowns move each node; None where nothing is tied.
        frames: rotations of the nodes on inclined planes of symmetry (columns: axes of the unknowns); None where there are none.
        imposed: conditions with their nodes.
    """

    free: Array
    source: Array | None
    frames: Array | None
    imposed: tuple[tuple[Any, Array], ...]

    def given(self, load: Tree, like: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The displacement where the unknowns are zero."""
        g = jnp.zeros_like(like)
        for condition, nodes in self.imposed:
            if isinstance(condition, Moved):
                size = amplitude(load, condition.by).astype(like.dtype)
                value = jnp.broadcast_to(condition.value.astype(like.dtype), (len(nodes), len(condition.axes)))
                for i, axis in enumerate(condition.axes):
                    g = g.at[nodes, axis].set(size * value[:, i])
        if self.source is None:
            return g
        g = g[self.source]
        for condition, nodes in self.imposed:
            if isinstance(condition, Tied):
                jump = amplitude(load, condition.by).astype(like.dtype) * condition.jump.astype(like.dtype)
                g = g.at[nodes].add(jnp.broadcast_to(jump, g[nodes].shape))
        return g

    def spread(self, q: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The displacement by the unknowns alone."""
        q = jnp.where(self.free, q, 0)
        q = q if self.source is None else q[self.source]
        return q if self.frames is None else jnp.einsum("nij,nj->ni", self.frames.astype(q.dtype), q)

    def collect(self, f: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The work of nodal forces on the unknowns; the transpose of `spread`."""
        f = f if self.frames is None else jnp.einsum("nij,ni->nj", self.frames.astype(f.dtype), f)
        f = f if self.source is None else jnp.zeros_like(f).at[self.source].add(f)
        return jnp.where(self.free, f, 0)

    def unknowns(self, u: Float[Array, "n d"], load: Tree) -> Float[Array, "n d"]:
        """The unknowns of a displacement."""
        own = u - self.given(load, u)
        own = own if self.frames is None else jnp.einsum("nij,ni->nj", self.frames.astype(u.dtype), own)
        return jnp.where(self.free, own, 0)

    def idle(self, q: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """What moves nothing, and stands for itself at equilibrium."""
        return jnp.where(self.free, 0, q)

    def reduced(self, tied: Elementwise, plain: Elementwise) -> Any:
        """A tangent in the unknowns.

        Args:
            tied: with the nodes that move each node in its place, in their frames.
            plain: of the nodes as they are.
        """
        del plain
        return tied


def constraints(mesh: Mesh, conditions: Sequence[AbstractCondition]) -> Constraints:
    """The constraints of the conditions that impose displacements."""
    n, d = mesh.points.shape
    free, frames = np.ones((n, d), bool), None
    imposed: list = []
    for condition in conditions:
        if isinstance(condition, Fixed | Moved):
            own = mesh.nodes(where_of(condition))
            axes = tuple(range(d)) if condition.axes is None else condition.axes
            if not axes or min(axes) < 0 or max(axes) >= d:
                raise ValueError(f"Argument `axes` must hold axes from 0 to {d - 1}, but it is {axes}.")
            for axis in axes:
                if isinstance(condition, Moved) and not free[own, axis].all():
                    raise ValueError(
                        f"Argument `conditions` must not impose one displacement twice, but axis {axis} of a node of "
                        f"{where_of(condition)!r} is held already. Order the set or leave the node out."
                    )
                free[own, axis] = False
            if isinstance(condition, Moved):
                imposed.append((condition, jnp.asarray(own)))
        elif isinstance(condition, Symmetry):
            frames = _mirror(mesh, condition, free, frames)
    source, ties = _followed([(c, *_partners(mesh, c)) for c in conditions if isinstance(c, Tied)], n)
    if source is not None:
        own = source == np.arange(n)
        if np.any(~free & free[source] & ~own[:, None]):
            raise ValueError(
                "Argument `conditions` must not hold nodes that are tied to nodes which are free, but some are. Hold the leading "
                "nodes (`to`), or take these nodes out of the set that is tied."
            )
        free &= own[:, None]
        frames = None if frames is None else frames[source]
    wrap = lambda x: None if x is None else jnp.asarray(x)
    return Constraints(jnp.asarray(free), wrap(source), wrap(frames), (*imposed, *ties))


def _followed(ties: Sequence[tuple[Tied, np.ndarray, np.ndarray]], n: int) -> tuple[np.ndarray | None, list]:
    """The node that moves each node in the end, and for each tie the nodes that its jump moves (as often as it does)."""
    if not ties:
        return None, []
    source, by = np.arange(n), np.full(n, -1)
    for k, (_, followers, leaders) in enumerate(ties):
        source[followers], by[followers] = leaders, k
    jumps: list = [[] for _ in ties]
    at, moving = source.copy(), np.flatnonzero(by >= 0)
    last = by[moving]
    for _ in range(n):
        for k, own in enumerate(jumps):
            own.append(moving[last == k])
        onward = by[at[moving]] >= 0
        moving = moving[onward]
        if not moving.size:
            return at, [(tie, jnp.asarray(np.concatenate(own))) for (tie, *_), own in zip(ties, jumps, strict=True)]
        last = by[at[moving]]
        at[moving] = source[at[moving]]
    raise ValueError("Argument `conditions` must not tie nodes in a circle, but some follow themselves in the end.")


def _mirror(mesh: Mesh, condition: Symmetry, free: np.ndarray, frames: np.ndarray | None) -> np.ndarray | None:
    """Hold the nodes of a plane along its normal; frames turn where it is not along an axis."""
    n, d = mesh.points.shape
    normal = np.array(condition.normal) / np.linalg.norm(condition.normal)
    own = mesh.nodes(where_of(condition))
    along = np.flatnonzero(np.abs(normal) > 1 - 1e-12)
    if along.size:
        free[own, along[0]] = False
        return frames
    if not free[own].all():
        raise ValueError(
            f"Argument `conditions` must leave the nodes of the inclined plane {where_of(condition)!r} free otherwise, but some of "
            "them are held already. Take them out of one of the two sets."
        )
    axes = np.linalg.qr(np.column_stack([normal, np.eye(d)[:, : d - 1]]))[0]
    frames = np.tile(np.eye(d), (n, 1, 1)) if frames is None else frames
    frames[own] = axes
    free[own, 0] = False
    return frames


def _partners(mesh: Mesh, condition: Tied) -> tuple[np.ndarray, np.ndarray]:
    """Nodes that follow, and those they follow, by equal position up to the offset of the two sets."""
    a, b = mesh.nodes(where_of(condition)), mesh.nodes(said(condition.to))
    x = np.asarray(mesh.points)
    if len(a) != len(b):
        raise ValueError(f"Arguments `where` and `to` must be sets of equal size, but they hold {len(a)} and {len(b)} nodes.")
    offset = x[a].mean(0) - x[b].mean(0)
    size = np.ptp(x, axis=0).max()
    rounded = lambda p: np.round(p / (1e-6 * size)).astype(np.int64)
    first, second = np.lexsort(rounded(x[a] - offset).T), np.lexsort(rounded(x[b]).T)
    gap = np.abs(x[a[first]] - offset - x[b[second]]).max()
    if gap > 1e-5 * size:
        raise ValueError(
            f"Arguments `where` and `to` must hold nodes at a constant offset, but some are off by {gap:.3g}. "
            "Mesh both sides alike."
        )
    keep = a[first] != b[second]
    return a[first][keep], b[second][keep]


def external(placed: Sequence[tuple[Any, Tree]], points: Array, load: Tree, thickness: Any) -> Float[Array, "n d"]:
    """The nodal forces at a load."""
    total = jnp.zeros_like(points)
    for force, place in placed:
        total = total + amplitude(load, force.by).astype(points.dtype) * force.forces(points, place, thickness).astype(points.dtype)
    return total


def facet_answers(follower: AbstractFollower, block: Block, x0: Array, u: Array, size: Array) -> Float[Array, "f k d"]:
    """Nodal forces of all facets of a block."""
    return jax.vmap(lambda x, v: follower.answer(x, v, size, block.element))(x0[block.nodes], u[block.nodes])


def facet_stiffness(follower: AbstractFollower, block: Block, x0: Array, u: Array, size: Array) -> Float[Array, "f m m"]:
    """Their slopes in the displacement."""
    k, d = block.nodes.shape[1], x0.shape[1]

    def flat(x, v):
        return follower.answer(x, v.reshape(k, d), size, block.element).reshape(-1)

    return jax.vmap(jax.jacfwd(flat, argnums=1))(x0[block.nodes], u[block.nodes].reshape(-1, k * d))
