"""How the members of a batch are spread over lanes, chunks and devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from .._typing import Tree

_NATIVE = 4 * 2**30
"""Bytes that a native chunk of default size may take, by the rule of thumb of `lanes`."""

_VECTORS = 16
"""Working arrays a solver needs, in units of what enters it or leaves it."""


def is_array(x) -> bool:
    """True for what can carry a batch axis."""
    return isinstance(x, jax.Array | np.ndarray)


def size(rows: Tree) -> int:
    """The number of members: the length of the leading axis, which every array of `rows` must share."""
    shapes = [np.shape(x) for x in jax.tree.leaves(rows)]
    lengths = {s[:1] for s in shapes}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(f"Arguments of a batch must carry one leading batch axis on every array, but the shapes are {shapes}.")
    (n,) = lengths.pop()
    if n == 0:
        raise ValueError("A batch must hold at least one member, but it is empty.")
    return n


def lanes(row: Tree, found: Tree, m: int) -> int:
    """How many members a native chunk holds by default: a power of two, whatever the machine.

    By the size of what enters for one member or of what leaves it, whichever is more: a member that starts from nothing but
    its load still answers with a state and a guess.
    """
    each = max(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)) for tree in (row, found))
    most = max(1, min(_NATIVE // (_VECTORS * max(each, 1)), 1024))
    return min(1 << (most.bit_length() - 1), m)


def spread(
    member: Callable[[Tree, Tree], Tree],
    rows: Tree,
    shared: Tree,
    *,
    chunk: int | None,
    mesh: Mesh | None,
    cost: Float[Array, " n"] | None,
) -> Tree:
    """`member(row, shared)` for every row, in chunks, on every device of the mesh; results in the order of the rows.

    Chunks are cut from the rows in order (of decreasing cost, where costs are given), and a chunk is what is computed
    together, so that the same chunk size gives the same bits on any number of devices. Devices get runs of neighboring
    chunks, which leaves rows that are already distributed where they are; with costs, chunks are dealt in turn, so that
    no device gets all the hard ones.
    """
    n = size(rows)
    devices = 1 if mesh is None else mesh.size
    width = 1 if chunk is None else chunk
    m = -(-n // (devices * width)) * width
    if cost is None or (chunk == 1 and devices == 1):
        place = None
        rows = pad(rows, devices * m) if devices > 1 else rows
    else:
        take, place = deal(cost, devices, width, m if devices > 1 else None)
        rows = jax.tree.map(lambda x: x[take], rows)

    def local(rows, shared):
        return chunked(member, rows, shared, chunk)

    if mesh is not None:
        # `jax.make_mesh` makes axes that want every sharding spelled out; here the program decides within its own part.
        mesh = Mesh(mesh.devices, mesh.axis_names)
        split = PartitionSpec(mesh.axis_names)
        local = jax.shard_map(local, mesh=mesh, in_specs=(split, PartitionSpec()), out_specs=split, check_vma=False)
    found = local(rows, shared)
    return jax.tree.map(lambda x: x[:n] if place is None else x[place], found)


def deal(cost: Float[Array, " n"], devices: int, width: int, m: int | None) -> tuple[Int[Array, " p"], Int[Array, " n"]]:
    """Which member stands where, members of like cost side by side, and where each member is found again.

    Args:
        cost: expected cost of each member.
        devices: among which the chunks are dealt in turn.
        width: members a chunk.
        m: members a device; None leaves the batch at its length (one device).
    """
    n = cost.shape[0]
    order = jnp.argsort(-cost, stable=True)
    rank = jnp.argsort(order)
    if m is None:
        return order, rank
    filled = jnp.concatenate([order, jnp.broadcast_to(order[-1:], (devices * m - n,))])
    take = filled.reshape(m // width, devices, width).transpose(1, 0, 2).reshape(-1)
    turn = rank // width
    return take, (turn % devices) * m + (turn // devices) * width + rank % width


def chunked(member: Callable[[Tree, Tree], Tree], rows: Tree, shared: Tree, chunk: int | None) -> Tree:
    """`member` over the rows on one device: a loop of chunks, each a native batch.

    With no chunk size, the program decides where it is lowered: on a CPU one member after the other (nothing waits, and
    the working set stays in the cache), elsewhere native batches. The member is traced once for both.
    """
    member = jax.jit(sealed(member))
    if chunk is not None:
        return blocks(member, rows, shared, chunk)
    row = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), rows)
    many = lanes(row, jax.eval_shape(member, row, shared), size(rows))
    return lax.platform_dependent(
        rows,
        shared,
        cpu=lambda rows, shared: blocks(member, rows, shared, 1),
        default=lambda rows, shared: blocks(member, rows, shared, many),
    )


def each(fn: Callable[[Tree], Tree], rows: Tree) -> Tree:
    """`fn` over the leading axis: one row after the other on a CPU, all of them at once elsewhere."""
    fn = jax.jit(fn)
    return lax.platform_dependent(rows, cpu=lambda rows: lax.map(fn, rows), default=jax.vmap(fn))


def sealed(member: Callable[[Tree, Tree], Tree]) -> Callable[[Tree, Tree], Tree]:
    """The member, compiled without regard to what surrounds it.

    The compiler fuses a member with the loop around it, and a loop of one trip is no loop: without the barrier the last
    bits depend on the number of chunks, hence on the number of devices.
    """
    return lambda row, shared: _barred(member(*_barred((row, shared))))


def _barred(tree: Tree) -> Tree:
    # Leaf by leaf: JAX 0.12 cannot transpose one barrier around tangents of which some depend on the input and some do not.
    return jax.tree.map(lax.optimization_barrier, tree)


def blocks(member: Callable[[Tree, Tree], Tree], rows: Tree, shared: Tree, chunk: int) -> Tree:
    """A loop over chunks of exactly `chunk` members; the last is filled up with copies of the last member."""
    n = size(rows)
    if chunk == 1:
        return lax.map(lambda row: member(row, shared), rows)
    count = -(-n // chunk)
    rows = jax.tree.map(lambda x: x.reshape(count, chunk, *x.shape[1:]), pad(rows, count * chunk))
    found = lax.map(lambda block: jax.vmap(member, in_axes=(0, None))(block, shared), rows)
    return jax.tree.map(lambda x: x.reshape(count * chunk, *x.shape[2:])[:n], found)


def pad(rows: Tree, length: int) -> Tree:
    """The rows, filled up to a length with copies of the last one that take no part in any gradient."""

    def fill(x):
        missing = length - x.shape[0]
        copies = jnp.broadcast_to(lax.stop_gradient(x[-1:]), (missing, *x.shape[1:]))
        return jnp.concatenate([x, copies]) if missing else x

    return jax.tree.map(fill, rows)
