"""Target: all columns of the stiffness of a linear voxel cell 12 times faster than muGrid and 100 times faster than scikit-fem.

The problem of the target G1: a sphere of a fifth of the volume, E = 1 and contrast, nu = .3, one trilinear element a voxel, full
integration; entries of the stiffness to 1e-8. CPU seconds of one core, in alternation; compile apart.

    python bench/rve_linear.py [--quick]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, muGrid 1.6.1, scikit-
      fem 12.0.2, scipy 1.18.1, --xla_cpu_prefer_vector_width=512
    case                   code  seconds   CG    error  / float64  / mixed    compile
    16^3 10             float64  0.06156   81  6.5e-11          1    1.233       4.45
    16^3 10               mixed  0.04994   84  1.7e-11     0.8112        1       5.48
    16^3 10              muGrid   0.1237  132  1.9e-10       2.01    2.477
    16^3 10   muGrid, corrected  0.06861   66  1.5e-09      1.115    1.374
    16^3 10          scikit-fem    1.383  222  3.9e-11      22.46    27.69
    16^3 100            float64  0.08795  132  4.9e-11          1    1.249  0.0009982
    16^3 100              mixed  0.07042  138  5.4e-11     0.8007        1  0.0004959
    16^3 100             muGrid   0.1762  195  1.2e-08      2.003    2.502
    16^3 100  muGrid, corrected  0.09611   99  5.0e-08      1.093    1.365
    16^3 100         scikit-fem    1.492  231  4.3e-10      16.96    21.18
    32^3 10             float64   0.8359   81  1.9e-11          1    1.409      4.982
    32^3 10               mixed   0.5935   81  3.2e-11       0.71        1      5.817
    32^3 10              muGrid   0.9278  132  5.1e-11       1.11    1.563
    32^3 10   muGrid, corrected   0.5099   66  6.3e-10       0.61   0.8592
    32^3 100            float64    1.214  132  3.2e-11          1    1.469  0.0009777
    32^3 100              mixed   0.8269  138  2.7e-11     0.6809        1  0.0006999
    32^3 100             muGrid    1.355  201  2.9e-09      1.116    1.639
    32^3 100  muGrid, corrected   0.7161   99  2.1e-08     0.5897   0.8661
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
        laws = [Elastic(*lame(1.0)), Elastic(*lame(float(contrast)))]
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
