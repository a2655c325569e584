"""Target: a cell compiles in a second or two, from the persistent cache in a quarter, and only once.

The target G10, CPU seconds of one core for tracing, lowering and compiling: linear 1, nonlinear 2, tangent 2, gradient 3; from the
persistent cache .25; no recompilation when moduli, load or image change. Every program in a process of its own (16^3,
neo-Hookean but for the first); imports and what JAX sets up at its first use are not counted. "trace" is what the cache
cannot save.

    python bench/compile.py

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, equinox 0.13.8,
      --xla_cpu_prefer_vector_width=512
    program     cold  target  ratio  cached  target  ratio   trace  recompiled
    linear     5.186       1  5.186   1.233    0.25  4.934   1.042           0
    nonlinear  4.252       2  2.126  0.8727    0.25  3.491  0.7224           0
    tangent    6.795       2  3.397   1.889    0.25  7.557   1.495           0
    gradient    8.73       3   2.91   3.082    0.25  12.33   2.719           0
"""

from _side_by_side import lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp

from jaxmsm import PeriodicCell
from jaxmsm.solids import Elastic, NeoHookean

TARGETS = {"linear": 1.0, "nonlinear": 2.0, "tangent": 2.0, "gradient": 3.0}


def program(kind):
    """A function of image, moduli and load."""

    def cell(image, moduli):
        law = Elastic if kind == "linear" else NeoHookean
        return PeriodicCell(image, [law(**m) for m in moduli])

    def linearized(image, moduli, load):
        solution, slope = cell(image, moduli).linearize(load)
        return solution.value, slope

    def value(image, moduli, load):
        return cell(image, moduli)(load).value

    def gradient(image, moduli, load):
        return jax.value_and_grad(lambda m: jnp.sum(jnp.square(value(image, m, load))))(moduli)

    return {"linear": linearized, "nonlinear": value, "tangent": linearized, "gradient": gradient}[kind]


def child(kind, cache) -> None:
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    moduli = tuple(dict(zip(("lam", "mu"), map(jnp.asarray, lame(E)))) for E in (1.0, 10.0))
    args = (jnp.asarray(sphere(16)), moduli, jnp.eye(3).at[0, 1].add(0.1))
    # What JAX sets up at its first compilation.
    jax.block_until_ready(jax.jit(lambda x: jnp.fft.irfftn(jnp.fft.rfftn(x)) + 1)(jnp.ones((4, 4, 4))))
    function = jax.jit(program(kind))
    start = time.process_time()
    lowered = function.lower(*args)
    middle = time.process_time()
    lowered.compile()
    end = time.process_time()
    jax.block_until_ready(function(*args))
    before = function._cache_size()
    other = jax.tree.map(lambda x: 1.1 * x, moduli)
    jax.block_until_ready(function(1 - args[0], other, args[2].at[1, 0].add(0.05)))
    print(json.dumps([end - start, middle - start, function._cache_size() - before]))


def main() -> None:
    print(versions("jaxmsm", "equinox"))
    rows = []
    for kind, target in TARGETS.items():
        with tempfile.TemporaryDirectory() as cache:
            call = [sys.executable, __file__, "--child", kind, cache]
            cold, warm = (json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout) for _ in range(2))
        rows.append([kind, cold[0], target, cold[0] / target, warm[0], 0.25, warm[0] / 0.25, cold[1], cold[2]])
    table(["program", "cold", "target", "ratio", "cached", "target", "ratio", "trace", "recompiled"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    child(*chosen.child) if chosen.child else main()
