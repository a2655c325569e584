"""Target: a neo-Hookean voxel cell solved 25 times faster than by FElupe, its consistent tangent 10 times.

The problem of the targets G2 and G3: the sphere (disk) of a fifth of the volume, P = mu (F - F^-T) + lam ln J F^-T with E = 1 and
contrast, nu = .3, F = I + 0.1 e1 x e2; residual 1e-8 relative, tangent to 1e-7. "tangent" is what `linearize` takes beyond
the solve, measured from the solution (its guess). CPU seconds of one core, in alternation; compile apart.

    python bench/rve_nonlinear.py [--large]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, felupe 11.3.0,
      scipy 1.18.1, --xla_cpu_prefer_vector_width=512
    case              code   seconds  Newton/CG    error  / float64  / mixed  compile
    16^3    solve  float64   0.05458       4/39  4.5e-11          1     1.26     4.19
    16^3  tangent  float64    0.2378        164  3.8e-11          1    1.092    6.963
    16^3    solve    mixed   0.04331       4/39  4.5e-11     0.7935        1    5.013
    16^3  tangent    mixed    0.2177        171  3.3e-11     0.9155        1    9.128
    16^3    solve   FElupe    0.5296      4/103  1.7e-10      9.704    12.23
    16^3  tangent   FElupe    0.4588        524  9.6e-11       1.93    2.108
    64^2    solve  float64   0.01314       4/37  5.7e-11          1    1.315     3.23
    64^2  tangent  float64   0.02305         68  6.3e-11          1    1.096    5.209
    64^2    solve    mixed  0.009994       4/37  5.7e-11     0.7605        1    3.705
    64^2  tangent    mixed   0.02103         70  3.3e-11     0.9124        1    6.548
    64^2    solve   FElupe    0.1659      4/384  1.3e-10      12.62    16.59
    64^2  tangent   FElupe     0.132        766  1.7e-10      5.726    6.276
    32^3    solve  float64    0.6001       4/40  1.2e-11          1    1.569    5.176
    32^3  tangent  float64       2.4        165  2.4e-11          1    1.227    8.177
    32^3    solve    mixed    0.3825       4/40  1.2e-11     0.6375        1    5.807
    32^3  tangent    mixed     1.957        170  2.3e-11     0.8153        1    9.583
    32^3    solve   FElupe      7.82      4/206  5.9e-11      13.03    20.44
    32^3  tangent   FElupe     12.42       1070  1.1e-10      5.175    6.348
"""

from _side_by_side import alternate, compiled, lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse

import jax.numpy as jnp
import numpy as np
from _peers import Felupe

from jaxmsm import PeriodicCell
from jaxmsm.solids import NeoHookean
from jaxmsm.solve import NewtonKrylov

REFERENCE = {"16^3": (-2.47125305e-4, 5.4520888866e-2, 1.9756828099, 0.5468568895, 0.5453719764)}
"""P11, P12, A1111, A1212, A1221 (performance.md; FANS, FElupe and others agree)."""


def solve(cell, load):
    solution = cell(load)
    return solution.value, solution.guess, solution.ok, solution.stats["newton"], solution.stats["linear"]


def both(cell, load, guess):
    solution, slope = cell.linearize(load, guess=guess)
    return solution.value, slope, solution.ok, solution.stats["linear"]


def entries(P, A) -> np.ndarray:
    return np.array([P[0, 0], P[0, 1], A[0, 0, 0, 0], A[0, 1, 0, 1], A[0, 1, 1, 0]])


def main(large: bool) -> None:
    print(versions("jaxmsm", "felupe", "scipy"))
    cases = [(16, 3, 10.0), (64, 2, 10.0), *([(32, 3, 10.0)] if large else [])]
    rows = []
    for n, d, contrast in cases:
        image = sphere(n, d)
        laws = [NeoHookean.from_young(E, 0.3) for E in (1.0, contrast)]
        lam, mu = (np.where(image, b, a) for a, b in zip(lame(1.0), lame(contrast)))
        load = jnp.eye(d).at[0, 1].add(0.1)
        runs, found, compile_time = {}, {}, {}
        for name, solver in (("float64", NewtonKrylov()), ("mixed", NewtonKrylov(inner=jnp.float32))):
            cell = PeriodicCell(image, laws, solver=solver)
            first, c1 = compiled(solve, cell, load)
            _, guess, ok, newton, linear = first(cell, load)
            second, c2 = compiled(both, cell, load, guess)
            P, A, good, columns = second(cell, load, guess)
            assert ok and good
            runs[name, "solve"] = lambda first=first, cell=cell, load=load: first(cell, load)
            runs[name, "tangent"] = lambda second=second, cell=cell, guess=guess, load=load: second(cell, load, guess)
            found[name] = (entries(P, A), {"solve": f"{newton}/{linear}", "tangent": str(columns)})
            compile_time[name, "solve"], compile_time[name, "tangent"] = c1, c2
        peer = Felupe(mu, lam, np.asarray(load), 1e-8)
        P = peer.solve()
        counts = {"solve": f"{peer.newton}/{peer.steps}"}
        peer.steps = 0
        found["FElupe"] = (entries(P, peer.tangent()), counts | {"tangent": str(peer.steps)})
        runs |= {("FElupe", "solve"): peer.solve, ("FElupe", "tangent"): peer.tangent}
        took = alternate(runs, rounds=2 if n == 32 else None)
        truth = REFERENCE.get(f"{n}^{d}")
        if truth is None:
            tight = PeriodicCell(image, laws, solver=NewtonKrylov(rtol=1e-12))
            out = compiled(both, tight, load, None)[0](tight, load, None)
            truth = entries(out[0], out[1])
        for (name, what), time in took.items():
            part = slice(0, 2) if what == "solve" else slice(2, 5)
            error = np.max(np.abs(found[name][0] - truth)[part]) / np.max(np.abs(np.asarray(truth)[part]))
            ratio = [time / took["float64", what], time / took["mixed", what]]
            rows.append(
                [f"{n}^{d}", what, name, time, found[name][1][what], f"{error:.1e}", *ratio, compile_time.get((name, what), "")]
            )
    table(["case", "", "code", "seconds", "Newton/CG", "error", "/ float64", "/ mixed", "compile"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="also 32^3 (minutes of FElupe)")
    main(parser.parse_args().large)
