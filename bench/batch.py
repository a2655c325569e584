"""Claim: a member of a batch costs what a single cell costs, and two cores do twice the work.

The target G6: per cell, a batch of 64 takes at most 1 / 0.95 of a batch of 1; G7: two cores give 1.9 times one. Neo-Hookean
cells of 8^3 and 16^2 voxels under random loads; `batched(cell)` at its default, beside native batches of 8 and `jax.vmap`.
Forward, with tangent, and value-and-gradient in the moduli, each by itself. CPU seconds of one core, in alternation; two
cores in wall seconds, which mean something on a quiet machine alone: two processes with half of the members each, and one
process with a mesh of two devices.

    python bench/batch.py [--quick]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0,
      --xla_cpu_prefer_vector_width=512
    case           batch  ms a cell  cells a second  single / this  compile
    16^2 forward       1      1.308           764.4              1    2.293
    16^2 forward       8      1.043           958.9          1.254    2.491
    16^2 forward      64      1.022           978.2           1.28    2.579
    16^2 forward     512      1.014           985.9           1.29    2.632
    16^2 tangent       1      2.915           343.1              1    3.896
    16^2 tangent       8      2.549           392.3          1.143    4.901
    16^2 tangent      64      2.422           412.9          1.203    5.123
    16^2 tangent     512      2.414           414.3          1.208    5.136
    16^2 gradient      1      1.909           523.8              1    4.658
    16^2 gradient      8      1.733           577.1          1.102    7.096
    16^2 gradient     64       1.66           602.3           1.15     6.89
    16^2 gradient    512      1.692           591.2          1.129    6.929

    batch of 64           way  ms a cell  / default
    16^2 forward      default       1.05          1
    16^2 forward  chunks of 8      1.211      1.154
    16^2 forward         vmap      1.766      1.682
    16^2 tangent      default      2.516          1
    16^2 tangent  chunks of 8      3.389      1.347
    16^2 tangent         vmap      5.446      2.165

    case          batch  ms a cell  cells a second  single / this  compile
    8^3 forward       1      10.09           99.14              1    3.537
    8^3 forward       8       9.64           103.7          1.046    3.894
    8^3 forward      64      9.506           105.2          1.061    4.367
    8^3 forward     512      9.586           104.3          1.052    3.864
    8^3 tangent       1      39.07           25.59              1    5.536
    8^3 tangent       8      39.17           25.53         0.9974    7.125
    8^3 tangent      64      39.59           25.26         0.9869    6.838
    8^3 tangent     512      40.84           24.48         0.9566    7.439
    8^3 gradient      1      13.73           72.83              1    6.526
    8^3 gradient      8      14.64           68.29         0.9377    10.59
    8^3 gradient     64      14.64            68.3         0.9379    10.71
    8^3 gradient    512      14.75           67.81         0.9311    9.938

    batch of 64          way  ms a cell  / default
    8^3 forward      default      10.05          1
    8^3 forward  chunks of 8      17.42      1.733
    8^3 forward         vmap      41.98      4.175
    8^3 tangent      default      40.81          1
    8^3 tangent  chunks of 8      94.79      2.322
    8^3 tangent         vmap        144      3.529

    (two cores: `--cores`, by itself on a quiet machine)
    256 of 16^2         wall     CPU  speed-up (wall)  CPU, one / this
    one core          0.7848  0.7816                1                1
    two processes     0.4011  0.7845            1.956           0.9963
    mesh of 2 devices 0.7853  0.7858           0.9993           0.9947
"""

from _side_by_side import alternate, compiled, lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse
import json
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxmsm import PeriodicCell, batched
from jaxmsm.solids import NeoHookean

MODULI = tuple(lame(E)[::-1] for E in (1.0, 10.0))


def cell_of(n, d, moduli=MODULI):
    return PeriodicCell(jnp.asarray(sphere(n, d)), [NeoHookean(mu=mu, lam=lam) for mu, lam in moduli])


def loads_of(count, d):
    return jnp.eye(d) + 0.05 * jnp.asarray(np.random.default_rng(0).standard_normal((count, d, d)))


def forward(cell, loads, **how):
    solution = batched(cell, **how)(loads)
    return solution.value, solution.ok


def tangent(cell, loads, **how):
    solution, slope = batched(cell, **how).linearize(loads)
    return solution.value, slope, solution.ok


def gradient(cell, loads, **how):
    def misfit(laws):
        return jnp.sum(jnp.square(batched(cell_with(cell, laws), **how)(loads).value))

    return jax.value_and_grad(misfit)(cell.laws)


def cell_with(cell, laws):
    return PeriodicCell(cell.image, laws)


KINDS = {"forward": forward, "tangent": tangent, "gradient": gradient}


def sizes(n, d, counts) -> None:
    """Members a second against the length of the batch."""
    cell, rows = cell_of(n, d), []
    for kind, function in KINDS.items():
        times, compile_time = {}, {}
        for count in counts:
            # The same loads fill every batch, so that each holds the same mixture.
            loads = jnp.tile(loads_of(min(8, count), d), (max(1, count // 8), 1, 1))
            program, compile_time[count] = compiled(function, cell, loads)
            times[count] = lambda program=program, loads=loads: program(cell, loads)
        # The cost of one member is the mean over the loads of the mixture.
        one, _ = compiled(function, cell, loads_of(1, d))
        times[1] = lambda one=one: [one(cell, load) for load in loads_of(8, d)[:, None]]
        took = alternate({str(c): run for c, run in times.items()})
        each = {c: took[str(c)] / (8 if c == 1 else c) for c in counts}
        rows += [[f"{n}^{d} {kind}", c, each[c] * 1e3, 1 / each[c], each[1] / each[c], compile_time[c]] for c in counts]
    table(["case", "batch", "ms a cell", "cells a second", "single / this", "compile"], rows)


def ways(n, d, count) -> None:
    """Chunks of one, native chunks and `vmap`, side by side."""
    cell, loads, rows = cell_of(n, d), loads_of(count, d), []
    for kind, function in {"forward": forward, "tangent": tangent}.items():
        runs = {}
        for name, chunk in {"default": None, "chunks of 8": 8, "vmap": count}.items():
            program, _ = compiled(lambda cell, loads, f=function, chunk=chunk: f(cell, loads, chunk=chunk), cell, loads)
            runs[name] = lambda program=program: program(cell, loads)
        took = alternate(runs)
        rows += [[f"{n}^{d} {kind}", name, t / count * 1e3, t / took["default"]] for name, t in took.items()]
    table([f"batch of {count}", "way", "ms a cell", "/ default"], rows)


def child(n, d, count, part, devices) -> None:
    """A process of `cores`: wall and CPU seconds of its part of the members (0 or 1: half; -1: all), once it is told to go."""
    cell, mesh = cell_of(n, d), None
    if devices > 1:
        os.sched_setaffinity(0, range(os.cpu_count()))
        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("members",))
    loads = loads_of(count, d) if part < 0 else loads_of(count, d)[part::2]
    program, _ = compiled(lambda cell, loads: forward(cell, loads, chunk=1, mesh=mesh), cell, loads)
    jax.block_until_ready(program(cell, loads))
    print("ready", flush=True)
    sys.stdin.readline()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(3):
        jax.block_until_ready(program(cell, loads))
    print(json.dumps([time.perf_counter() - start, time.process_time() - cpu]), flush=True)


def cores(n, d, count) -> None:
    """Wall seconds of a batch on one core, on two cores by processes, and on two cores in one process."""

    def launch(part, core, devices=1):
        environment = os.environ | {"BENCH_CORE": str(core), "BENCH_DEVICES": str(devices)}
        command = [sys.executable, __file__, "--child", *map(str, (n, d, count, part, devices))]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def together(*jobs):
        for job in jobs:
            assert job.stdout.readline().strip() == "ready"
        start = time.perf_counter()
        for job in jobs:
            job.stdin.write("go\n")
            job.stdin.flush()
        used = sum(json.loads(job.stdout.readline())[1] for job in jobs)
        wall = time.perf_counter() - start
        for job in jobs:
            job.wait()
        return wall, used

    first, second = sorted(os.sched_getaffinity(os.getppid()))[:2]
    one = together(launch(-1, second))
    two = together(launch(0, first), launch(1, second))
    mesh = together(launch(-1, second, devices=2))
    rows = [
        [name, wall, used, one[0] / wall, one[1] / used]
        for name, (wall, used) in {"one core": one, "two processes": two, "mesh of 2 devices": mesh}.items()
    ]
    table([f"{count} of {n}^{d}", "wall", "CPU", "speed-up (wall)", "CPU, one / this"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="batches of 1, 8 and 64 of 16^2")
    parser.add_argument("--cores", action="store_true", help="two cores alone")
    parser.add_argument("--child", type=int, nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(*chosen.child)
    else:
        print(versions("jaxmsm"))
        for n, d in () if chosen.cores else ((16, 2),) if chosen.quick else ((16, 2), (8, 3)):
            sizes(n, d, (1, 8, 64) if chosen.quick else (1, 8, 64, 512))
            ways(n, d, 64)
        cores(16, 2, 256)
