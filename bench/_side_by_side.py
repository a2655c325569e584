"""How every script here measures: one pinned core, CPU seconds, contestants in alternation, the minimum of several rounds.

Import this first: threads, precision and vector width must be set before NumPy and JAX are imported.
`BENCH_CORE=0` chooses the core, `BENCH_ROUNDS=5` the rounds (3), `JAX_PLATFORMS` the platform (a CPU where it is not set).
"""

# ruff: noqa: E402
import os
import pathlib

CORE = int(os.environ.get("BENCH_CORE", max(os.sched_getaffinity(0))))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
_CPU = pathlib.Path("/proc/cpuinfo").read_text()
if "avx512f" in _CPU and "xla_cpu_prefer_vector_width" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (os.environ.get("XLA_FLAGS", "") + " --xla_cpu_prefer_vector_width=512").strip()
if os.environ.get("BENCH_DEVICES"):
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={os.environ['BENCH_DEVICES']}"
    )
ON_CPU = os.environ["JAX_PLATFORMS"] == "cpu"
if ON_CPU:
    os.sched_setaffinity(0, {CORE})

import importlib.metadata
import platform
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)


def versions(*packages: str) -> str:
    """One line: the machine, Python, and the versions of what is compared."""
    model = next((line.split(":")[1].strip() for line in _CPU.splitlines() if line.startswith("model name")), platform.processor())
    names = ("jax", "numpy", *packages)
    wide = "AVX-512" if "avx512f" in _CPU else "no AVX-512"
    listed = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{model} ({wide}), core {CORE}, Python {platform.python_version()}, {listed}, {os.environ.get('XLA_FLAGS', '')}"


clock = time.process_time if ON_CPU else time.perf_counter


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one call, waited for; on an accelerator those of the wall clock."""
    start = clock()
    jax.block_until_ready(run())
    return clock() - start


def alternate(contestants: dict[str, Callable[[], object]], rounds: int | None = None, least: float = 0.05) -> dict[str, float]:
    """CPU seconds a call: A B C A B C ..., after one warm call each; the minimum over the rounds (and over one more before them).

    A contestant that takes less than `least` seconds is called several times a round, so that the clock's grain does not show.
    """
    repeats, best = {}, {}
    for name, run in contestants.items():
        jax.block_until_ready(run())
        best[name] = seconds(run)
        repeats[name] = max(1, min(100, int(least / max(best[name], 1e-6))))
    for _ in range(rounds or ROUNDS):
        for name, run in contestants.items():
            many = repeats[name]
            best[name] = min(best[name], seconds(lambda run=run, many=many: [run() for _ in range(many)][-1]) / many)
    return best


def compiled(function: Callable, *args) -> tuple[Callable, float]:
    """The function compiled for these arguments, and the seconds that tracing and compiling took."""
    start = clock()
    program = jax.jit(function).lower(*args).compile()
    return program, clock() - start


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head, columns aligned."""
    text = [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row] for row in [head, *rows]]
    width = [max(len(row[i]) for row in text) for i in range(len(head))]
    for row in text:
        print("  ".join(x.ljust(w) if i == 0 else x.rjust(w) for i, (x, w) in enumerate(zip(row, width))).rstrip())
    print(flush=True)


def sphere(n: int, d: int = 3, *, radius: float | None = None) -> np.ndarray:
    """The common problem's image: a centered ball of a fifth of the cell, by voxel centers."""
    if radius is None:
        radius = (0.6 / (4 * np.pi)) ** (1 / 3) if d == 3 else (0.2 / np.pi) ** 0.5
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5] * d, indexing="ij")
    return (sum(x**2 for x in axes) < radius**2).astype(int)


def lame(E: float, nu: float = 0.3) -> tuple[float, float]:
    """(lambda, mu)."""
    return E * nu / ((1 + nu) * (1 - 2 * nu)), E / (2 * (1 + nu))
