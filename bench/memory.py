"""Target: a nonlinear cell of 32^3 voxels with its tangent fits in 450 MB resident, and the library knows what a member takes.

The target G11 (JAX alone is 250 MB): largest resident set of a process that compiles and runs `linearize` of a neo-Hookean
cell, beside one that only imports jaxmsm and adds two numbers; then `member_bytes` against what the compiler's
`memory_analysis` says of larger batches. "compiled" is the largest resident set before the first run, most of it the
compiler's own.

    python bench/memory.py [--size 32]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0,
      --xla_cpu_prefer_vector_width=512
                              compiled, MB  run, MB  allotted MB  / 450 MB
    32^3 jaxmsm imported             236.2    236.2                  0.525
    32^3 solve                       581.4    624.6        36.79     1.388
    32^3 with tangent                693.6    805.5        86.09      1.79
    32^3 with tangent, mixed           781    884.2        81.61     1.965

    batch       member_bytes kB  compiler, kB a member  estimate / compiler
    64 of 16^2            180.6                  183.2               0.9884
    16 of 8^3              1344                   1355                0.997
"""

from _side_by_side import sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse
import json
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp

from jaxmsm import PeriodicCell, batched
from jaxmsm.solids import NeoHookean
from jaxmsm.solve import NewtonKrylov, footprint


def cell_of(n, d, inner=None):
    laws = [NeoHookean.from_young(E, 0.3) for E in (1.0, 10.0)]
    return PeriodicCell(jnp.asarray(sphere(n, d)), laws, solver=NewtonKrylov(inner=inner))


def child(what, n) -> None:
    """Largest resident set, and what the compiler allots."""
    jax.block_until_ready(jnp.ones(3) + 1)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    allotted, compiling = 0, peak()
    if what != "nothing":
        cell, load = cell_of(n, 3, jnp.float32 if what == "mixed" else None), jnp.eye(3).at[0, 1].add(0.1)

        def run(cell, load):
            solution, slope = cell.linearize(load)
            return (solution.value, slope) if what != "solve" else cell(load).value

        program = jax.jit(run).lower(cell, load).compile()
        compiling = peak()
        analysis = program.memory_analysis()
        allotted = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
        jax.block_until_ready(program(cell, load))
    print(json.dumps([compiling, peak(), allotted / 1e6]))


def resident(n) -> None:
    rows = []
    for what in ("nothing", "solve", "float64", "mixed"):
        call = [sys.executable, __file__, "--child", what, "--size", str(n)]
        compiling, peak, allotted = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
        name = {"nothing": "jaxmsm imported", "solve": "solve", "float64": "with tangent", "mixed": "with tangent, mixed"}[what]
        rows.append([f"{n}^3 {name}", compiling, peak, "" if what == "nothing" else allotted, peak / 450])
    table(["", "compiled, MB", "run, MB", "allotted MB", "/ 450 MB"], rows)


def members() -> None:
    """The estimate of a batch against the compiler's account of it."""
    rows = []
    for n, d, count in ((16, 2, 64), (8, 3, 16)):
        cell, load = cell_of(n, d), jnp.eye(d)
        mark = footprint(cell, load)

        def run(cell, loads, state, guess, count=count):
            return jax.tree.leaves(batched(cell, chunk=count)(loads, state, guess=guess))

        loads = jnp.tile(load, (count, 1, 1))
        many = batched(cell, chunk=count)
        found = jax.jit(run).lower(cell, loads, many.init(loads), many.cold(loads)).compile().memory_analysis()
        total = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
        # A chunk that is the whole batch works on its rows in place.
        estimate = mark.fixed + count * (mark.held + mark.working)
        rows.append([f"{count} of {n}^{d}", (mark.held + mark.working) / 1e3, total / count / 1e3, estimate / total])
    table(["batch", "member_bytes kB", "compiler, kB a member", "estimate / compiler"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.size)
    else:
        print(versions("jaxmsm"))
        resident(chosen.size)
        members()
