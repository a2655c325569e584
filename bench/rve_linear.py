"""Target: all columns of the stiffness of a linear voxel cell 12 times faster than muGrid and 100 times faster than scikit-fem.

The problem of the target G1: a sphere of a fifth of the volume, E = 1 and contrast, nu = .3, one trilinear element a voxel, full
integration; entries of the stiffness to 1e-8. CPU seconds of one core, in alternation; compile apart.

    python bench/rve_linear.py [--quick]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, muGrid 1.6.1,
      scikit-fem 12.0.2, scipy 1.18.1, --xla_cpu_prefer_vector_width=512
    case                   code  seconds   CG    error  / float64  / mixed    compile
    16^3 10             float64  0.02465   81  6.5e-11          1    1.245      5.708
    16^3 10               mixed   0.0198   84  1.7e-11     0.8033        1      6.328
    16^3 10              muGrid   0.1222  132  1.9e-10      4.958    6.172
    16^3 10   muGrid, corrected  0.06816   66  1.5e-09      2.765    3.442
    16^3 10          scikit-fem    1.461  222  3.9e-11      59.25    73.75
    16^3 100            float64  0.03708  132  4.9e-11          1    1.242  0.0008016
    16^3 100              mixed  0.02986  138  5.4e-11     0.8052        1  0.0006421
    16^3 100             muGrid   0.1758  195  1.2e-08      4.741    5.888
    16^3 100  muGrid, corrected  0.09523   99  5.0e-08      2.568    3.189
    16^3 100         scikit-fem      1.6  231  4.3e-10      43.16     53.6
    32^3 10             float64   0.2527   81  1.9e-11          1    1.454      7.074
    32^3 10               mixed   0.1738   81  3.2e-11     0.6877        1      9.018
    32^3 10              muGrid    0.963  132  5.1e-11       3.81    5.541
    32^3 10   muGrid, corrected    0.537   66  6.3e-10      2.125     3.09
    32^3 100            float64   0.3674  132  3.2e-11          1    1.446  0.0008143
    32^3 100              mixed   0.2542  138  2.7e-11     0.6917        1  0.0005618
    32^3 100             muGrid     1.37  201  2.9e-09      3.729    5.391
    32^3 100  muGrid, corrected   0.7276   99  2.1e-08       1.98    2.862
"""

from _side_by_side import alternate, compiled, lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse

import jax.numpy as jnp
import numpy as np
from _peers import MuGrid, ScikitFem

from jaxmsm import PeriodicCell
from jaxmsm.solids import Elastic
from jaxmsm.solve import NewtonKrylov

REFERENCE = {(16, 10): (1.974521960457, 0.731721370881, 0.544369231681)}
"""C11, C12, C44; C12 in the digits of scikit-fem at rtol 1e-13."""


def entries(C) -> np.ndarray:
    """C11, C12, C44 of a tensor, or of a matrix whose last rows are the shears."""
    C = np.asarray(C)
    return np.array([C[0, 0, 0, 0], C[0, 0, 1, 1], C[0, 1, 0, 1]]) if C.ndim == 4 else np.array([C[0, 0], C[0, 1], C[-1, -1]])


def tangent(cell, load):
    solution, slope = cell.linearize(load)
    return slope, solution.ok, solution.stats["linear"]


def main(quick: bool) -> None:
    print(versions("jaxmsm", "muGrid", "scikit-fem", "scipy"))
    rows = []
    for n, contrast in ((16, 10), (16, 100)) if quick else ((16, 10), (16, 100), (32, 10), (32, 100)):
        image = sphere(n)
        laws = [Elastic.from_young(1.0, 0.3), Elastic.from_young(float(contrast), 0.3)]
        lam, mu = (np.where(image, b, a) for a, b in zip(lame(1.0), lame(float(contrast))))
        load = jnp.eye(3)
        ours, compile_time = {}, {}
        for name, solver in (("float64", NewtonKrylov()), ("mixed", NewtonKrylov(inner=jnp.float32))):
            cell = PeriodicCell(image, laws, solver=solver)
            program, compile_time[name] = compiled(tangent, cell, load)
            ours[name] = lambda program=program, cell=cell, load=load: program(cell, load)
        peers = {"muGrid": MuGrid(lam, mu, 1e-8), "muGrid, corrected": MuGrid(lam, mu, 1e-8, corrected=True)}
        if n == 16:
            peers["scikit-fem"] = ScikitFem(lam, mu, 1e-5)
        took = alternate(ours | peers)
        truth = REFERENCE.get((n, contrast))
        if truth is None:
            tight = PeriodicCell(image, laws, solver=NewtonKrylov(rtol=1e-12))
            truth = entries(compiled(tangent, tight, load)[0](tight, load)[0])
        for name, run in (ours | peers).items():
            if name in ours:
                C, ok, steps = run()
                assert ok
            else:
                C, steps = run(), run.steps
            error = np.max(np.abs(entries(C) - truth) / np.abs(truth))
            row = [f"{n}^3 {contrast}", name, took[name], int(steps), f"{error:.1e}", took[name] / took["float64"]]
            rows.append([*row, took[name] / took["mixed"], compile_time.get(name, "")])
    table(["case", "code", "seconds", "CG", "error", "/ float64", "/ mixed", "compile"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="16^3 alone")
    main(parser.parse_args().quick)
