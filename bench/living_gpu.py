"""Claim: on an accelerator a batch of tissues fills the machine, and the finest grid of the Niederer benchmark takes seconds.

The parts of `tissue.py` at the sizes that a GPU wants, 10,000 equations of which 1 % are stiff, and the table of the benchmark
with its 0.1 mm; wall seconds, waited for, compile apart. On a CPU a reduced form runs (and is no claim).

    JAX_PLATFORMS=cuda python bench/living_gpu.py [tissue kernel population slopes ensemble niederer]

NVIDIA H200, jax 0.12.0.1 (CUDA 13). Explicit steps of 0.05 ms are not stable at 0.1 mm; at 0.05 mm and 0.005 ms P8 is 42.667 and
C 19.637 (36 s), so that corner and center fall as 126, 54.0, 44.4, 42.7 and 55.5, 24.2, 20.2, 19.6 with the spacing.

    tissues in a batch  ns a node and step  per tissue over one
    1 of 256 x 256                  0.1068                    1
    16 of 256 x 256                0.01592                0.149
    64 of 256 x 256                0.01459               0.1366

    ten Tusscher-Panfilov  ns a cell and step  compile
    Rush-Larsen, float32              0.09894    3.354
    Rush-Larsen, float64                1.237    3.388
    midpoint, float32                  0.2222    2.922
    midpoint, float64                   2.522    4.639

    1000000 individuals, cue to size  ns an individual and step  of it noise  compile
    float32                                             0.01795     0.005695    1.408
    float64                                             0.06979     0.005868    1.471

    1024 steps of 256 x 256    seconds  over a run    MiB  compile
    run                       0.007238           1  1.006   0.2797
    five parameters, forward   0.01492       2.061  5.754   0.4638
    run with a field          0.007345           1  2.005   0.2403
    field, reverse in blocks   0.03516       4.787  85.76   0.7852
    field, reverse, all kept   0.02422       3.297   2052   0.4924

    10000 equations, 1 % stiff  seconds  over vmap  compile
    under vmap                   0.7997          1    4.322
    sorted, chunks of 500        0.9285     0.8613    5.804
    sorted, chunks of 2500       0.8166     0.9794     5.16

    Niederer             P1     P2     P3     P4     P5     P6     P7     P8      C  seconds with compile
    0.5 mm, 0.05 ms   1.233  114.5   45.2  125.6   27.3    116  50.37  126.5  55.83                 4.818
    0.5 mm, 0.01 ms   1.221  114.2  44.81    125  27.18  115.6  49.94  125.9  55.52                 2.422
    0.5 mm, 0.005 ms  1.221  114.1  44.79    125  27.18  115.6  49.93  125.9  55.51                 3.705
    0.2 mm, 0.05 ms   1.233  40.72  35.01  53.76  12.03  42.55  36.49  54.74  24.52                 4.285
    0.2 mm, 0.01 ms   1.221  40.35   34.6  53.05  11.92  42.14  36.05  54.02   24.2                 3.137
    0.2 mm, 0.005 ms  1.221  40.33  34.59  53.03  11.92  42.12  36.04  53.99  24.19                  3.92
    0.1 mm, 0.01 ms   1.221  30.32  32.36  43.49  9.074  31.74  33.55  44.39   20.2                 5.001
    0.1 mm, 0.005 ms  1.221   30.3  32.35  43.47   9.07  31.72  33.53  44.37  20.19                  6.97
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "")  # whatever is there

from _side_by_side import alternate, compiled, table, versions  # first: sets threads and precision

# isort: split
import sys
import time

import diffrax
import ensemble
import jax
import jax.numpy as jnp
import numpy as np
import tissue

import jaxmsm as msm
from jaxmsm.systems._niederer import POINTS, activation, at

REDUCED = jax.devices()[0].platform == "cpu"


def stiff_members():
    n = 1_000 if REDUCED else 10_000
    stiff = np.where(np.random.default_rng(0).random(n) < 0.01, 1000.0, 1.0)
    controller = diffrax.PIDController(rtol=ensemble.RTOL, atol=ensemble.ATOL)
    flow = msm.Flow(
        ensemble.Following(),
        jnp.asarray([2.0, 1.0, 0.0]),
        steps=controller,
        adjoint=diffrax.RecursiveCheckpointAdjoint(),
        max_steps=16384,
    )
    load = msm.Span(jnp.zeros(n), jnp.full(n, ensemble.TIME), jnp.asarray(stiff))
    ways = {"under vmap": lambda load: jax.vmap(flow)(load).value}
    for chunk in (n // 20, n // 4):
        ways[f"sorted, chunks of {chunk}"] = lambda load, chunk=chunk: msm.batched(flow, chunk=chunk, order=load.drive)(load).value
    programs = {name: compiled(way, load) for name, way in ways.items()}
    times = alternate({name: lambda program=program: program(load) for name, (program, _) in programs.items()}, rounds=1)
    rows = [(name, t, times["under vmap"] / t, programs[name][1]) for name, t in times.items()]
    table((f"{n} equations, 1 % stiff", "seconds", "over vmap", "compile"), rows)


def niederer(dtype=jnp.float64):
    rows = []
    for dx in (0.5,) if REDUCED else (0.5, 0.2, 0.1):
        for dt in (0.05,) if REDUCED else (0.05, 0.01, 0.005)[dx < 0.2 :]:
            start = time.perf_counter()
            times = activation(dx, dt)
            first = time.perf_counter() - start
            rows.append((f"{dx:g} mm, {dt:g} ms", *(at(times, dx, point) for point in POINTS.values()), first))
    table(("Niederer", *POINTS, "seconds with compile"), rows)


def main(chosen):
    print(versions("diffrax"), "|", jax.devices()[0].device_kind, "(reduced)" if REDUCED else "")
    parts = {
        "tissue": lambda: [tissue.batches(n) for n in ((32,) if REDUCED else (64, 256))],
        "kernel": lambda: tissue.kernel(1_024 if REDUCED else 1_048_576),
        "population": lambda: tissue.population(1_000, chunk=1_000) if REDUCED else tissue.population(1_000_000, chunk=1_000_000),
        "slopes": lambda: tissue.slopes(16 if REDUCED else 256),
        "ensemble": stiff_members,
        "niederer": niederer,
    }
    for name in chosen or parts:
        parts[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
