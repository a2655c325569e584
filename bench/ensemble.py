"""Claim: of 10,000 ordinary differential equations 1 % are stiff, and nobody waits for them: 10 times over diffrax under `vmap`.

A toggle switch with a third unknown that follows a slow signal, a thousand times faster in one member of a hundred; time 10,
rtol 1e-5, atol 1e-7, all by explicit pairs of order five (SciPy: LSODA, which turns implicit). "sorted" is
`batched(Flow(...), chunk=..., order=stiffness)`. CPU seconds of one core, in alternation; numba compiled beforehand.

    python bench/ensemble.py

    AMD EPYC (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5,
      jaxmsm 0.1.0, diffrax 0.7.2, numba 0.68.1, scipy 1.18.1, --xla_cpu_prefer_vector_width=512
    10,000 members                  seconds  over vmap  ns a member  difference  compile
    diffrax under vmap                12.43          1    1.243e+06           0    1.615
    jaxmsm, sorted, chunks of 1      0.1726      72.02    1.726e+04           0   0.6449
    jaxmsm, sorted, chunks of 100    0.1762      70.54    1.762e+04           0    1.539
    jaxmsm, sorted, chunks of 500    0.5864       21.2    5.864e+04           0    1.443
    numba, member by member         0.09397      132.3         9397    6.18e-07      nan
    SciPy LSODA (500 members x 20)    5.281      2.354    5.281e+05   9.804e-07      nan

    steps: 27 (median), 3663 (most); useful work under vmap 1.6%
"""

from _side_by_side import alternate, compiled, seconds, table, versions  # first: sets threads and precision

# isort: split
import diffrax
import jax
import jax.numpy as jnp
import numba
import numpy as np
from scipy.integrate import solve_ivp

import jaxmsm as msm

N, TIME, RTOL, ATOL = 10_000, 10.0, 1e-5, 1e-7


class Following(msm.AbstractRate):
    """Two genes that repress each other, and a third number that follows sin t as fast as the load says."""

    def __call__(self, t, y, load):
        u, v, w = y
        return jnp.stack([3 / (1 + v**2) - u, 3 / (1 + u**2) - v, load * (jnp.sin(t) - w)])


def plain(t, y, k):
    return [3 / (1 + y[1] ** 2) - y[0], 3 / (1 + y[0] ** 2) - y[1], k * (np.sin(t) - y[2])]


@numba.njit
def _rate(t, y, k, out):
    out[0] = 3 / (1 + y[1] * y[1]) - y[0]
    out[1] = 3 / (1 + y[0] * y[0]) - y[1]
    out[2] = k * (np.sin(t) - y[2])


A = np.zeros((7, 7))
A[1, :1] = [1 / 5]
A[2, :2] = [3 / 40, 9 / 40]
A[3, :3] = [44 / 45, -56 / 15, 32 / 9]
A[4, :4] = [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729]
A[5, :5] = [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656]
A[6, :6] = [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]
C = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
E = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


@numba.njit
def dormand_prince(stiff, first, a, c, e):
    """Every member by itself, with steps by their error."""
    ends, k, y, s = np.empty((len(stiff), 3)), np.empty((7, 3)), np.empty(3), np.empty(3)
    for member in range(len(stiff)):
        y[:] = first
        t, h = 0.0, 1e-2 / stiff[member]
        _rate(t, y, stiff[member], k[0])
        while t < TIME:
            h = min(h, TIME - t)
            for i in range(1, 7):
                for n in range(3):
                    s[n] = y[n]
                    for j in range(i):
                        s[n] += h * a[i, j] * k[j, n]
                _rate(t + c[i] * h, s, stiff[member], k[i])
            total = 0.0
            for n in range(3):
                wrong = 0.0
                for j in range(7):
                    wrong += h * e[j] * k[j, n]
                total += (wrong / (ATOL + RTOL * max(abs(y[n]), abs(s[n])))) ** 2
            off = np.sqrt(total / 3)
            if off <= 1:
                t += h
                y[:] = s
                k[0] = k[6]
            h *= min(10.0, max(0.2, 0.9 * (off + 1e-10) ** -0.2))
        ends[member] = y
    return ends


def main():
    print(versions("jaxmsm", "diffrax", "numba", "scipy"))
    stiff = np.where(np.random.default_rng(0).random(N) < 0.01, 1000.0, 1.0)
    first = np.array([2.0, 1.0, 0.0])
    controller = diffrax.PIDController(rtol=RTOL, atol=ATOL)
    flow = msm.Flow(
        Following(), jnp.asarray(first), steps=controller, adjoint=diffrax.RecursiveCheckpointAdjoint(), max_steps=16384
    )
    load = msm.Span(jnp.zeros(N), jnp.full(N, TIME), jnp.asarray(stiff))

    def answers(solution):
        return solution.value, solution.stats["num_steps"]

    ways = {"diffrax under vmap": lambda load: answers(jax.vmap(flow)(load))}
    for chunk in (1, 100, 500):
        many = lambda load, chunk=chunk: answers(msm.batched(flow, chunk=chunk, order=load.drive)(load))
        ways[f"jaxmsm, sorted, chunks of {chunk}"] = many
    programs = {name: compiled(way, load) for name, way in ways.items()}
    found = {name: program(load) for name, (program, _) in programs.items()}
    contestants = {name: lambda program=program: program(load) for name, (program, _) in programs.items()}
    contestants["numba, member by member"] = lambda: dormand_prince(stiff, first, A, C, E)
    times = alternate(contestants)
    some = np.concatenate([np.flatnonzero(stiff > 1)[:5], np.flatnonzero(stiff == 1)[:495]])
    scipy_ends = {}

    def by_scipy():
        for m in some:
            scipy_ends[m] = solve_ivp(plain, (0, TIME), first, method="LSODA", rtol=RTOL, atol=ATOL, args=(stiff[m],)).y[:, -1]

    times["SciPy LSODA (500 members x 20)"] = 20 * seconds(by_scipy)
    base, values = times["diffrax under vmap"], np.asarray(found["diffrax under vmap"][0])
    rows = []
    for name, t in times.items():
        if name in found:
            off = np.abs(np.asarray(found[name][0]) - values).max()
            compile_time = programs[name][1]
        else:
            ends = dormand_prince(stiff, first, A, C, E) if "numba" in name else None
            off = np.abs(ends - values).max() if ends is not None else max(np.abs(scipy_ends[m] - values[m]).max() for m in some)
            compile_time = float("nan")
        rows.append((name, t, base / t, 1e9 * t / N, off, compile_time))
    table(("10,000 members", "seconds", "over vmap", "ns a member", "difference", "compile"), rows)
    steps = np.asarray(found["diffrax under vmap"][1])
    print(f"steps: {np.median(steps):.0f} (median), {steps.max()} (most); useful work under vmap {steps.mean() / steps.max():.1%}")


if __name__ == "__main__":
    main()
