"""Claim: a step of a tissue costs at most twice what it does in C, half of what it does in numba, and slopes a few runs.

Mitchell-Schaeffer cells on 256 x 256 nodes in float32, explicit steps with exact gates, against the same loops in C (gcc -O3
-march=native, the gates' factors computed once) and in numba; ten Tusscher-Panfilov cells without neighbors, ns a cell and
step; tissues in a batch over one; slopes in five conductances by forward mode, and in a field of conductivities by reverse mode
with blocks. CPU seconds of one core, in alternation.

    python bench/tissue.py

    AMD EPYC (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5,
      jaxmsm 0.1.0, numba 0.68.1, --xla_cpu_prefer_vector_width=512
    tissue of 256 x 256  ns a node and step  over C  difference  compile
    jaxmsm                            2.011  0.9029           0  0.09813
    C                                 2.227       1   1.192e-07      nan
    numba                             2.677   1.202   2.384e-07      nan

    ten Tusscher-Panfilov  ns a cell and step  compile
    Rush-Larsen, float32                37.15   0.3488
    Rush-Larsen, float64                125.4   0.3341
    midpoint, float32                   72.08   0.5588
    midpoint, float64                   239.4   0.7078

    tissues in a batch  ns a node and step  per tissue over one
    1 of 64 x 64                     2.043                    1
    16 of 64 x 64                    2.141                1.048
    64 of 64 x 64                    2.236                1.094

    100000 individuals, cue to size  ns an individual and step  of it noise  compile
    float32                                              9.382        4.197   0.7141
    float64                                              32.58        4.479   0.6286

    1024 steps of 64 x 64      seconds  over a run     MiB  compile
    run                        0.01059           1   0.065   0.1694
    five parameters, forward   0.05945       5.614   0.412   0.4319
    run with a field          0.008769           1  0.2502   0.3075
    field, reverse in blocks   0.03997       4.558    5.44    1.338
    field, reverse, all kept   0.09942       11.34   128.4    0.816
"""

from _side_by_side import alternate, compiled, table, versions  # first: sets threads and precision

# isort: split
import ctypes
import pathlib
import subprocess
import tempfile

import jax
import jax.numpy as jnp
import numba
import numpy as np

from jaxmsm.biology import MitchellSchaeffer, Morphs, TenTusscher, Tissue
from jaxmsm.solve import Noise, RushLarsen, RushLarsenMidpoint, Steps, StochasticHeun, follow
from jaxmsm.space import AnisotropicDiffusion, Diffusion

N, STEPS, DT, DX, D = 256, 200, 0.05, 0.25, 0.1

SOURCE = r"""
#include <math.h>
#include <string.h>
void run(float *restrict u, float *restrict h, float *restrict w, int n, int steps, float dt, float k) {
    const float opens = expf(-dt / 120.0f), closes = expf(-dt / 150.0f), in = 1 / 0.3f, out = 1 / 6.0f;
    for (int s = 0; s < steps; s++) {
        for (int i = 0; i < n; i++) {
            const int up = i ? i - 1 : 1, down = i < n - 1 ? i + 1 : n - 2;
            const float *a = u + up * n, *b = u + down * n, *c = u + i * n;
            float *g = h + i * n, *o = w + i * n;
            for (int j = 0; j < n; j++) {
                const float left = j ? c[j - 1] : c[1], right = j < n - 1 ? c[j + 1] : c[n - 2], x = c[j];
                const float flow = k * ((a[j] - x) + (b[j] - x) + (left - x) + (right - x));
                o[j] = x + dt * (flow + g[j] * x * x * (1 - x) * in - x * out);
                g[j] = x < 0.13f ? 1 + (g[j] - 1) * opens : g[j] * closes;
            }
        }
        float *t = u; u = w; w = t;
    }
}
"""


@numba.njit(fastmath=False)
def by_numba(u, h, w, steps, dt, k):
    n = u.shape[0]
    opens, closes = np.float32(np.exp(-dt / 120)), np.float32(np.exp(-dt / 150))
    one, into, out, gate = np.float32(1), np.float32(1 / 0.3), np.float32(1 / 6), np.float32(0.13)
    for _ in range(steps):
        for i in range(n):
            up, down = (i - 1 if i else 1), (i + 1 if i < n - 1 else n - 2)
            for j in range(n):
                left, right = (j - 1 if j else 1), (j + 1 if j < n - 1 else n - 2)
                x = u[i, j]
                flow = k * ((u[up, j] - x) + (u[down, j] - x) + (u[i, left] - x) + (u[i, right] - x))
                w[i, j] = x + dt * (flow + h[i, j] * x * x * (one - x) * into - x * out)
                h[i, j] = one + (h[i, j] - one) * opens if x < gate else h[i, j] * closes
        u, w = w, u
    return u


def by_c():
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "ms.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", folder / "ms.so", folder / "ms.c", "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "ms.so"))
    pointer = np.ctypeslib.ndpointer(np.float32)
    library.run.argtypes = [pointer, pointer, pointer, ctypes.c_int, ctypes.c_int, ctypes.c_float, ctypes.c_float]
    return library.run


def start(n):
    x = np.arange(n)
    return np.where((x[:, None] < n // 8) & (x < n // 2), 1.0, 0.0).astype(np.float32), np.ones((n, n), np.float32)


def wave(diffusion, y, steps=STEPS, cell=None, again=False):
    tissue, step = Tissue(MitchellSchaeffer() if cell is None else cell, diffusion), RushLarsen()
    advance = lambda t, y, dt: step(tissue.driven(None), t, y, dt)
    block = round(steps**0.5) if again else None
    return follow(advance, y, Steps(jnp.float32(0), jnp.float32(DT), steps), every=block, again=again).end


def single(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x, tree)


def state(n):
    u, h = start(n)
    return MitchellSchaeffer().rest()._replace(u=jnp.asarray(u), h=jnp.asarray(h))


def peers():
    u, h = start(N)
    run, k = by_c(), np.float32(D / DX**2)
    program, seconds = compiled(lambda y: wave(single(Diffusion((N, N), D, DX)), y, cell=single(MitchellSchaeffer())), state(N))
    ends = {}

    def c():
        a, g, w = u.copy(), h.copy(), u.copy()
        run(a, g, w, N, STEPS, DT, k)
        ends["C"] = a if STEPS % 2 == 0 else w

    def numbas():
        ends["numba"] = by_numba(u.copy(), h.copy(), u.copy(), STEPS, np.float32(DT), k)

    def ours():
        ends["jaxmsm"] = program(state(N)).u
        return ends["jaxmsm"]

    times = alternate({"jaxmsm": ours, "C": c, "numba": numbas})
    rows = []
    for name, t in times.items():
        off = float(np.abs(np.asarray(ends[name]) - np.asarray(ends["jaxmsm"])).max())
        rows.append((name, 1e9 * t / STEPS / N**2, t / times["C"], off, seconds if name == "jaxmsm" else float("nan")))
    table((f"tissue of {N} x {N}", "ns a node and step", "over C", "difference", "compile"), rows)


def kernel(n=65_536, steps=50):
    def one(name, step, dtype):
        cell = jax.tree.map(lambda x: jnp.asarray(x, dtype), TenTusscher())
        y = jax.tree.map(lambda x: jnp.full(n, x, dtype), TenTusscher().rest())
        advance = lambda t, y, dt: step(cell.driven(None), t, y, dt)
        program, seconds = compiled(lambda y: follow(advance, y, Steps(dtype(0), dtype(0.02), steps)).end, y)
        t = alternate({"": lambda: program(y)})[""]
        return f"{name}, {np.dtype(dtype).name}", 1e9 * t / n / steps, seconds

    ways = (("Rush-Larsen", RushLarsen()), ("midpoint", RushLarsenMidpoint()))
    rows = [one(name, step, dtype) for name, step in ways for dtype in (jnp.float32, jnp.float64)]
    table(("ten Tusscher-Panfilov", "ns a cell and step", "compile"), rows)


def batches(n=64):
    operator, cell = single(Diffusion((n, n), D, DX)), single(MitchellSchaeffer())

    def one(many):
        y = jax.tree.map(lambda x: jnp.broadcast_to(x, (many, *x.shape)), state(n))
        program, _ = compiled(jax.vmap(lambda y: wave(operator, y, cell=cell)), y)
        return alternate({"": lambda: program(y)})[""] / many

    times = {many: one(many) for many in (1, 16, 64)}
    rows = [(f"{many} of {n} x {n}", 1e9 * t / STEPS / n**2, t / times[1]) for many, t in times.items()]
    table(("tissues in a batch", "ns a node and step", "per tissue over one"), rows)


def population(n=100_000, steps=200, chunk=2_000):
    def one(dtype):
        model = jax.tree.map(lambda x: jnp.asarray(x, dtype), Morphs(m=0.1))
        z = jax.random.normal(jax.random.key(0), (n // chunk, chunk), dtype)
        step = StochasticHeun()
        advance = lambda t, y, dt, dw: step(model.driven(None), model.shaken(None), t, y, dt, dw)
        every = Steps(dtype(0), dtype(0.05), steps)
        key = jax.random.key(1)

        def lived(member):
            key, z = member
            return follow(advance, model.begin(z), every, noise=Noise(key, z), every=50).end

        def drawn(member):
            noise = Noise(*member)
            block = lambda total, k: (total + jnp.sum(noise.increments(k, 50, dtype(0.05))), None)
            return jax.lax.scan(block, dtype(0), jnp.arange(0, steps, 50))[0]

        # A block of noise that stays in the cache is half the price.
        parts = lambda fn: lambda key: jax.lax.map(fn, (jax.random.split(key, n // chunk), z))
        program, seconds = compiled(parts(lived), key)
        drawing, _ = compiled(parts(drawn), key)
        t = alternate({"": lambda: program(key), "noise": lambda: drawing(key)})
        return np.dtype(dtype).name, 1e9 * t[""] / n / steps, 1e9 * t["noise"] / n / steps, seconds

    rows = [one(dtype) for dtype in (jnp.float32, jnp.float64)]
    table((f"{n} individuals, cue to size", "ns an individual and step", "of it noise", "compile"), rows)


def slopes(n=64, steps=1024):
    y = state(n)
    voxels = jnp.full((2, n - 1, n - 1), D, jnp.float32)
    names = ("tau_in", "tau_out", "tau_open", "tau_close", "u_gate")

    def of_cell(logs):
        cell = MitchellSchaeffer(**{k: getattr(MitchellSchaeffer(), k) * jnp.exp(x) for k, x in zip(names, logs)})
        return jnp.sum(wave(single(Diffusion((n, n), D, DX)), y, steps, single(cell)).u)

    def of_field(D, again=True):
        return jnp.sum(wave(single(AnisotropicDiffusion(D, DX)), y, steps, single(MitchellSchaeffer()), again=again).u)

    logs = jnp.zeros(5, jnp.float32)
    programs = {
        "run": (of_cell, logs),
        "five parameters, forward": (jax.jacfwd(of_cell), logs),
        "run with a field": (of_field, voxels),
        "field, reverse in blocks": (jax.value_and_grad(of_field), voxels),
        "field, reverse, all kept": (jax.value_and_grad(lambda D: of_field(D, again=False)), voxels),
    }
    built = {name: (*compiled(fn, x), x) for name, (fn, x) in programs.items()}
    times = alternate({name: lambda p=p, x=x: p(x) for name, (p, _, x) in built.items()})
    rows = []
    for name, (program, seconds, _) in built.items():
        base = times["run with a field" if "field" in name else "run"]
        rows.append((name, times[name], times[name] / base, program.memory_analysis().temp_size_in_bytes / 2**20, seconds))
    table((f"{steps} steps of {n} x {n}", "seconds", "over a run", "MiB", "compile"), rows)


if __name__ == "__main__":
    print(versions("jaxmsm", "numba"))
    peers()
    kernel()
    batches()
    population()
    slopes()
