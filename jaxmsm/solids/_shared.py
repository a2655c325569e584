"""A load step of a body on many devices: each solves the scales at its own points, all of them the whole of the body.

The whole solve stands in one `jax.shard_map`: a device searches for equilibrium as if it were alone, and where it needs the
answers at all points, there is one sum over the devices. Within the scales' own iterations nothing is exchanged.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from .._results import RESULTS
from .._scale import Solution
from .._typing import Tree
from ..solve import Batched, pad, split
from ._body_solve import Body, Guess, solve
from ._part import AbstractMaterial, Answer, Living


class Shared(AbstractMaterial):
    """The scales at the points, of which this device has every so manieth; states, guesses and figures are those of its own.

    Neighboring points cost alike, and are dealt in turn, so that no device gets all the hard ones.

    Attributes:
        living: the device's own members.
        axes: of the mesh of devices.
        devices: how many there are.
    """

    living: Living
    axes: tuple[str, ...] = eqx.field(static=True)
    devices: int = eqx.field(static=True)

    @property
    def symmetric(self):
        return self.living.symmetric

    @property
    def linear(self):
        return False

    def agreed(self, flag):
        return lax.pmin(flag.astype(jnp.int32), self.axes) > 0

    def init(self, F, time):
        raise NotImplementedError("The first states are made outside, for all points.")

    cold = init

    def __call__(self, F, past, guess, time):
        return self._answer(self.living.scale(self._loads(F, time), past, guess=guess), F)

    def linearize(self, F, past, guess, time, slack=None):
        solution, slope = self.living.loosened(slack).linearize(self._loads(F, time), past, guess=guess)
        A = self._all(self.living.tangents(slope), F.shape[2] * F.shape[3])
        d = F.shape[0]
        return self._answer(solution, F), jnp.moveaxis(A, 0, -1).reshape(d, d, *F.shape)

    def _answer(self, solution: Solution, F: Array) -> Answer:
        n = F.shape[2] * F.shape[3]
        P = jnp.moveaxis(self._all(solution.value, n), 0, -1).reshape(F.shape)
        code = self._all(solution.result._value, n).reshape(F.shape[2:])
        result = eqx.tree_at(lambda r: r._value, RESULTS.successful, code)
        return Answer(P, solution.state, solution.guess, result, solution.stats)

    def _loads(self, F: Array, time: Any) -> Tree:
        rows = dealt(self.living.loads(F, time), self.devices)
        own = lax.axis_index(self.axes)
        return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, own, 1, keepdims=False), rows)

    def _all(self, own: Array, n: int) -> Array:
        """What all devices have, in the order of the points. As a sum it has a sum as its transpose."""
        none = jnp.zeros((own.shape[0], self.devices, *own.shape[1:]), own.dtype)
        mine = lax.dynamic_update_index_in_dim(none, own, lax.axis_index(self.axes), 1)
        return collected(lax.psum(mine, self.axes), n)


def dealt(rows: Tree, devices: int) -> Tree:
    """Members (n, ...) to (turns, devices, ...), filled up with copies of the last."""
    turns = lambda n: -(-n // devices)
    filled = lambda x: pad(x, turns(x.shape[0]) * devices)
    return jax.tree.map(lambda x: filled(x).reshape(turns(x.shape[0]), devices, *x.shape[1:]), rows)


def collected(rows: Tree, n: int) -> Tree:
    """The inverse."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], rows)


def devices_of(body: Body) -> Mesh | None:
    """The devices among which a body's points are divided."""
    found = {m.scale.mesh for m in _living(body) if m.scale.mesh is not None}
    if len(found) > 1:
        raise ValueError("Argument `law` must hold batches on the same devices, but their `mesh` are different.")
    return next(iter(found), None)


def _living(body: Body) -> list[Living]:
    return [p.material for p in body.parts if isinstance(p.material, Living)]


def _places(body: Body) -> list[int]:
    return [k for k, p in enumerate(body.parts) if isinstance(p.material, Living)]


def _with_materials(body: Body, materials: Sequence[AbstractMaterial]) -> Body:
    return eqx.tree_at(lambda b: [b.parts[k].material for k in _places(b)], body, materials)


@eqx.filter_jit
def solve_shared(body: Body, load: Tree, state: Tree, guess: Guess, mesh: Mesh) -> Solution:
    """As `solve`, on the devices of a mesh."""
    axes, count = mesh.axis_names, mesh.size
    places = _places(body)
    bare, own_leaves = _apart(body)
    rows = [(own, state[k], guess.points[k]) for own, k in zip(own_leaves, places, strict=True)]
    rest = (bare, load, _without(state, places), eqx.tree_at(lambda g: g.points, guess, _without(guess.points, places)))
    arrays, fixed = eqx.partition(rest, eqx.is_array)
    rows, fixed_rows = eqx.partition(rows, eqx.is_array)
    made: list[Tree] = []

    def local(arrays, rows):
        body, load, state, guess = eqx.combine(arrays, fixed)
        rows = eqx.combine(jax.tree.map(lambda x: x[:, 0], rows), fixed_rows)
        members = [_joined(m, own) for m, (own, *_) in zip(_living(body), rows, strict=True)]
        body = _with_materials(body, [Shared(m, axes, count) for m in members])
        state, points = list(state), list(guess.points)
        for k, (_, own_state, own_guess) in zip(places, rows, strict=True):
            state[k], points[k] = own_state, own_guess
        found = solve(body, load, tuple(state), Guess(guess.u, tuple(points)))[0]
        whole, own = _divided(found, places)
        whole, kept = eqx.partition(whole, eqx.is_array)
        own, kept_own = eqx.partition(own, eqx.is_array)
        made.append((kept, kept_own))
        return whole, jax.tree.map(lambda x: x[:, None], own)

    turns = PartitionSpec(None, axes)
    # `jax.make_mesh` makes axes that want every sharding spelled out; here the program decides within its own part.
    plain = Mesh(mesh.devices, mesh.axis_names)
    run = jax.shard_map(local, mesh=plain, in_specs=(PartitionSpec(), turns), out_specs=(PartitionSpec(), turns), check_vma=False)
    whole, own = run(arrays, dealt(rows, count))
    kept, kept_own = made[-1]
    sizes = [p.block.nodes.shape[0] * len(p.block.element.quadrature()[1]) for p in (body.parts[k] for k in places)]
    own = tuple(collected(x, n) for x, n in zip(own, sizes, strict=True))
    return _whole(eqx.combine(whole, kept), eqx.combine(own, kept_own), places)


def _without(trees: tuple[Tree, ...], places: list[int]) -> tuple[Tree, ...]:
    return tuple(None if k in places else x for k, x in enumerate(trees))


def _apart(body: Body) -> tuple[Body, list[Tree]]:
    """The body without what its members have of their own, and that: leaves of their scales and expected costs."""
    materials, members = [], []
    for living in _living(body):
        many = living.scale
        own, shared, rest = split(many.scale, many.flags)
        order = many.order if eqx.is_array(many.order) else None
        members.append((own, order))
        bare = Batched(eqx.combine(shared, rest), None if order is not None else many.order, many.flags, many.chunk, None)
        materials.append(Living(bare))
    return _with_materials(body, materials), members


def _joined(living: Living, members: Tree) -> Living:
    """The device's own members."""
    own, order = members
    many = living.scale
    return Living(Batched(eqx.combine(own, many.scale), many.order if order is None else order, many.flags, many.chunk, None))


def _divided(found: Solution, places: list[int]) -> tuple[Solution, tuple[Tree, ...]]:
    """What all devices know alike, and what each has of its own points."""
    stats = dict(found.stats)
    figures = stats.pop("law", ())
    own = tuple((found.state[k], found.guess.points[k], x) for k, x in zip(places, figures or ((),) * len(places), strict=True))
    guess = Guess(found.guess.u, _without(found.guess.points, places))
    return Solution(found.value, _without(found.state, places), guess, found.result, stats), own


def _whole(found: Solution, own: tuple[Tree, ...], places: list[int]) -> Solution:
    state, points = list(found.state), list(found.guess.points)
    for k, (own_state, own_guess, _) in zip(places, own, strict=True):
        state[k], points[k] = own_state, own_guess
    figures = tuple(x for _, _, x in own if x)
    stats = found.stats | ({"law": figures} if figures else {})
    return Solution(found.value, tuple(state), Guess(found.guess.u, tuple(points)), found.result, stats)
