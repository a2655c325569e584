"""Claim: on an accelerator a batch of tissues fills the machine, and the finest grid of the Niederer benchmark takes seconds.

The parts of `tissue.py` at the sizes that a GPU wants, 10,000 equations of which 1 % are stiff, and the table of the benchmark
with its 0.1 mm; wall seconds, waited for, compile apart. On a CPU a reduced form runs (and is no claim).

    JAX_PLATFORMS=cuda python bench/living_gpu.py [tissue kernel population slopes ensemble niederer]
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
        for dt in (0.05,) if REDUCED else (0.05, 0.01, 0.005):
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
