"""Claim: on an accelerator native batches fill the machine; cells a second against batch and grid, by precision.

One command fills in the table on whatever accelerator is there: neo-Hookean cells of contrast 10 under random loads, 2D and 3D, in
float64, float32 and mixed precision, forward and with tangent; wall seconds (the best of several calls, waited for), compile
apart, and the chunk that `chunk_for` would allow. Writes a JSON and a picture. On a CPU a reduced form runs (and is no
claim). The whole of it takes an hour, most of which is the compiler's; choose from it by the options.

    JAX_PLATFORMS=cuda python bench/gpu.py [--out results/gpu] [--grids 32^2 16^3] [--batches 64 4096]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0,
      --xla_cpu_prefer_vector_width=512 | cpu: cpu (reduced)
    grid  precision     kind  batch  chunk    seconds  cells_per_second   cost  failed  compile
    8^2     float64  forward      1      1  0.0003965              2522     29       0     2.06
    8^2     float64  forward     16     16   0.004989              3207  35.81       0    3.144
    8^2     float32  forward      1      1  0.0002938              3404     20       0    2.092
    8^2     float32  forward     16     16   0.002672              5988  23.56       0    3.143
    8^2       mixed  forward      1      1  0.0003704              2700     29       0     2.42
    8^2       mixed  forward     16     16   0.004506              3551  35.81       0    3.493
    16^2    float64  forward      1      1   0.000949              1054     29       0    2.323
    16^2    float64  forward     16     16    0.02339               684  37.94       0    3.523
    16^2    float32  forward      1      1  0.0005867              1704     20       0     2.37
    16^2    float32  forward     16     16     0.0129              1240  24.75       0    3.411
    16^2      mixed  forward      1      1  0.0008418              1188     28       0     2.73
    16^2      mixed  forward     16     16    0.01888             847.3  37.75       0    3.792

    Wrote results/gpu/gpu.json and results/gpu/gpu.png.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "")  # whatever is there

from _side_by_side import sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from jaxmsm import PeriodicCell, batched
from jaxmsm.solids import NeoHookean
from jaxmsm.solve import NewtonKrylov, free_bytes, member_bytes

PRECISIONS = {"float64": (jnp.float64, None), "float32": (jnp.float32, None), "mixed": (jnp.float64, jnp.float32)}
FULL = {
    "grids": ((16, 2), (32, 2), (64, 2), (128, 2), (8, 3), (16, 3), (32, 3)),
    "batches": (1, 8, 64, 512, 4096),
    "kinds": ("forward", "tangent"),
}
REDUCED = {"grids": ((8, 2), (16, 2)), "batches": (1, 16), "kinds": ("forward",)}


def forward(cell, loads, chunk):
    solution = batched(cell, chunk=chunk)(loads)
    return solution.value, solution.ok, solution.stats["cost"]


def tangent(cell, loads, chunk):
    solution, slope = batched(cell, chunk=chunk).linearize(loads)
    return slope, solution.ok, solution.stats["cost"]


def made(n, d, precision) -> PeriodicCell:
    dtype, inner = PRECISIONS[precision]
    laws = [NeoHookean.from_young(jnp.asarray(E, dtype), 0.3) for E in (1.0, 10.0)]
    return PeriodicCell(sphere(n, d), laws, solver=NewtonKrylov(inner=inner))


def measure(n, d, precision, kind, counts, budget, each, *, run=True) -> list[dict]:
    cell, dtype, rows = made(n, d, precision), PRECISIONS[precision][0], []
    for count in counts:
        chunk = int(min(count, max(1, budget // each)))
        loads = jnp.asarray(np.eye(d) + 0.05 * np.random.default_rng(0).standard_normal((count, d, d)), dtype)
        function = {"forward": forward, "tangent": tangent}[kind]
        start = time.perf_counter()
        program = jax.jit(function, static_argnums=2).lower(cell, loads, chunk).compile()
        compile_time = time.perf_counter() - start
        if not run:
            continue
        best, spent = np.inf, time.perf_counter()
        found = jax.block_until_ready(program(cell, loads))
        for _ in range(5):
            start = time.perf_counter()
            found = jax.block_until_ready(program(cell, loads))
            best = min(best, time.perf_counter() - start)
            if time.perf_counter() - spent > 20:
                break
        rows.append(
            {
                "grid": f"{n}^{d}",
                "precision": precision,
                "kind": kind,
                "batch": count,
                "chunk": chunk,
                "seconds": best,
                "cells_per_second": count / best,
                "compile": compile_time,
                "cost": float(np.mean(found[2])),
                "failed": int(np.sum(~found[1])),
                "member_bytes": each,
            }
        )
        if best > 20:
            break
    return rows


def picture(rows, path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds, precisions = sorted({row["kind"] for row in rows}), list(dict.fromkeys(row["precision"] for row in rows))
    figure, axes = plt.subplots(len(kinds), len(precisions), figsize=(12, 4 * len(kinds)), sharey=True, squeeze=False)
    for line, kind in zip(axes, kinds):
        for ax, precision in zip(line, precisions):
            mine = [row for row in rows if row["precision"] == precision and row["kind"] == kind]
            for grid in dict.fromkeys(row["grid"] for row in mine):
                points = [(row["batch"], row["cells_per_second"]) for row in mine if row["grid"] == grid]
                ax.loglog(*zip(*points), "o-", label=grid)
            ax.set_title(f"{kind}, {precision}")
            ax.set_xlabel("cells in the batch")
        line[0].set_ylabel("cells a second")
        line[-1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(given: argparse.Namespace) -> None:
    device, out = jax.devices()[0], given.out
    reduced = device.platform == "cpu"
    what, budget = {"precisions": PRECISIONS} | (REDUCED if reduced else FULL), free_bytes()
    what |= {name: chosen for name in ("batches", "kinds", "precisions") if (chosen := getattr(given, name))}
    if given.grids:
        what["grids"] = [tuple(int(x) for x in grid.split("^")) for grid in given.grids]
    print(versions("jaxmsm"), f"| {device.platform}: {device.device_kind}", "(reduced)" if reduced else "")
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for n, d in what["grids"]:
        for precision in what["precisions"]:
            each = member_bytes(made(n, d, precision), jnp.eye(d, dtype=PRECISIONS[precision][0]))
            for kind in what["kinds"]:
                rows += measure(n, d, precision, kind, what["batches"], budget, each, run=not given.compile)
                # Written as it goes, so that a run that is cut short leaves what it has.
                (out / "gpu.json").write_text(
                    json.dumps({"device": device.device_kind, "versions": versions("jaxmsm"), "rows": rows}, indent=1)
                )
    if given.compile:
        return
    keys = ("grid", "precision", "kind", "batch", "chunk", "seconds", "cells_per_second", "cost", "failed", "compile")
    table(keys, [[row[k] for k in keys] for row in rows])
    picture(rows, out / "gpu.png")
    print(f"Wrote {out / 'gpu.json'} and {out / 'gpu.png'}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results/gpu"))
    parser.add_argument("--compile", action="store_true", help="compile alone, to fill JAX_COMPILATION_CACHE_DIR")
    parser.add_argument("--grids", nargs="*", help="voxels a side ^ dimensions")
    parser.add_argument("--batches", nargs="*", type=int, help="cells in a batch")
    parser.add_argument("--kinds", nargs="*", choices=FULL["kinds"])
    parser.add_argument("--precisions", nargs="*", choices=list(PRECISIONS))
    main(parser.parse_args())
