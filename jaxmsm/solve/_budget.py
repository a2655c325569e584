"""How much memory a member takes, and how many fit."""

import pathlib
from typing import NamedTuple

import equinox as eqx
import jax

from .._scale import AbstractScale
from .._typing import Tree
from ._batched import batched


class Footprint(NamedTuple):
    """Bytes of a batch in the compiled program.

    Attributes:
        fixed: whatever the number of members: the shared arrays of the scale.
        held: a member's load, state, guess and answer, which stay for the whole batch.
        working: a member's temporaries, which stay for its chunk.
    """

    fixed: int
    held: int
    working: int

    def of(self, members: int, chunk: int) -> int:
        """Bytes of `members` members in chunks of `chunk`; the chunk at work holds a copy of its rows."""
        return self.fixed + members * self.held + chunk * (self.held + self.working)


def footprint(scale: AbstractScale, load: Tree) -> Footprint:
    """What one member of `batched(scale)` takes, from the compiler's own account of two small batches.

    Nothing is run, but two programs are compiled. Reverse mode takes more: what it stores is not counted.

    Error: the compiler's allocations grow not quite linearly with the batch; tests/test_batched.py bounds the factor.

    Args:
        load: the load of one member (arrays, or their `jax.ShapeDtypeStruct`).
    """
    two, four = (_account(scale, load, n) for n in (2, 4))
    held = (four.argument_size_in_bytes + four.output_size_in_bytes - two.argument_size_in_bytes - two.output_size_in_bytes) // 2
    working = max(four.temp_size_in_bytes - two.temp_size_in_bytes, 0) // 2
    total = four.argument_size_in_bytes + four.output_size_in_bytes + four.temp_size_in_bytes
    # A chunk that is the whole batch works on its rows in place.
    return Footprint(max(total - 4 * (held + working), 0), held, working)


def member_bytes(scale: AbstractScale, load: Tree) -> int:
    """Bytes that one more member in a chunk takes."""
    mark = footprint(scale, load)
    return mark.held + mark.working


def chunk_for(scale: AbstractScale, load: Tree, *, members: int | None = None, budget: int | float | None = None) -> int:
    """The most members a chunk may hold within a budget of memory, at least 1.

    This is what fits. On an accelerator it is also what is fast; on a CPU small chunks, whose working set stays in the
    cache, are faster (`batched` takes 1 by default).

    Args:
        load: the load of one member.
        members: length of the batch that stays in memory around the chunk; None for a batch that is the chunk itself.
        budget: bytes; None is `free_bytes()`.
    """
    mark = footprint(scale, load)
    room = (free_bytes() if budget is None else budget) - mark.fixed - (members or 0) * mark.held
    most = max(1, int(room // max(mark.held + mark.working, 1)))
    return most if members is None else min(most, members)


def free_bytes(device: jax.Device | None = None) -> int:
    """Memory one may plan with: 80 % of what is free on an accelerator, half of what is available on the host."""
    device = jax.local_devices()[0] if device is None else device
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(0.8 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return _host_available() // 2


def _host_available() -> int:
    meminfo = pathlib.Path("/proc/meminfo")
    if not meminfo.exists():
        return 4 * 2**30
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = 1024 * int(lines["MemAvailable"].split()[0])
    # A container may be allowed less than the host has.
    limit, used = (pathlib.Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        available = min(available, max(int(limit.read_text()) - int(used.read_text()), 0))
    return available


def _account(scale: AbstractScale, load: Tree, n: int):
    def stacked(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype) if hasattr(x, "shape") else x, tree)

    arrays, rest = eqx.partition(scale, eqx.is_array)
    loads = stacked(load)
    shapes, others = eqx.partition(loads, lambda x: isinstance(x, jax.ShapeDtypeStruct))

    def solve(arrays, shapes, state, guess):
        many = batched(eqx.combine(arrays, rest), chunk=n)
        solution = many(eqx.combine(shapes, others), state, guess=guess)
        return jax.tree.leaves(solution)

    def first(arrays, shapes):
        many = batched(eqx.combine(arrays, rest), chunk=n)
        load = eqx.combine(shapes, others)
        return many.init(load), many.cold(load)

    state, guess = jax.eval_shape(first, arrays, shapes)
    return jax.jit(solve).lower(arrays, shapes, state, guess).compile().memory_analysis()
