"""Claim: the iterations do not grow with the grid, nor without bound with contrast.

1. Centered sphere r = .25, E = 1 and 10, nu = .3, six unit strains, plain float64, rtol 1e-6: at most 105 in total (muGrid
   publishes 102 to 105 at 24^3; its count is taken beside ours, at the same criterion).
2. A disk in plane strain, 32^2, contrasts 1e-6 to 1e6.
3. Green against Green-Jacobi: fields that vary smoothly, and jumps.
4. Replication 2 x 2 x 2 (the same count), and 10 % random voxels tripled (more).
5. Reduced against full integration on even and odd grids, contrast 100, as it is and with random voxels tripled.

    python bench/iterations.py

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, muGrid 1.6.1,
      --xla_cpu_prefer_vector_width=512
    1. sphere r = .25  CG  failed  muGrid  at most
    8^3                78              78      105
    16^3               99              96      105
    24^3               99              99      105
    32^3               99              99      105

    2. disk, 32^2  CG (3 loads)  failed
    1e-6                     47
    1e-5                     47
    1e-4                     47
    1e-3                     47
    1e-2                     46
    1e-1                     39
    1e0                       0
    1e1                      39
    1e2                      48
    1e3                      48
    1e4                      48
    1e5                      48
    1e6                      48
    pore                     47

    3. fields, 32^2              Green  Green-Jacobi  Automatic
    smooth, contrast 1e1            68            20         20
    smooth, contrast 1e2           178            25         25
    smooth, contrast 1e4          1133            31         31
    smooth, contrast 1e6          5937            41         41
    disk, contrast 1e2              48            71         48
    random voxels, contrast 1e2    186           346        186

    4. images                              CG  failed
    random 8^3                            106
    2 x 2 x 2 of it                       106
    sphere 16^3, contrast 10              102
    the same, 10 % tripled, contrast 10   196
    sphere 16^3, contrast 100             153
    the same, 10 % tripled, contrast 100  507

    5. contrast 100    full  reduced
    15^3 sphere         159      177
    15^3 10 % tripled   520      536
    16^3 sphere         153      183
    16^3 10 % tripled   507      541
"""

from _side_by_side import lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import jax
import jax.numpy as jnp
import numpy as np
from _peers import MuGrid

from jaxmsm import PeriodicCell, names
from jaxmsm.bridges import Automatic, Green, GreenJacobi
from jaxmsm.solids import Elastic
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import Full, Reduced

LOOSE = NewtonKrylov(rtol=1e-6)


@jax.jit
def counts(cell, loads):
    """Iterations and codes of every load."""

    def one(load):
        solution = cell(load)
        return solution.stats["linear"], solution.stats["newton"], solution.result

    return jax.lax.map(one, loads)


def unit_strains(d):
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    loads = np.tile(np.eye(d), (len(pairs), 1, 1))
    for load, (i, j) in zip(loads, pairs, strict=True):
        load[i, j] += 0.5
        load[j, i] += 0.5
    return jnp.asarray(loads)


def count(cell) -> tuple[int, str]:
    """The sum over the unit strains, and the codes that are no success."""
    linear, _, result = counts(cell, unit_strains(len(cell.grid)))
    bad = sorted({str(x) for x in np.atleast_1d(names(result)) if x != "successful"})
    return int(linear.sum()), ", ".join(bad)


def cell_of(image, *moduli, **how):
    return PeriodicCell(image, [Elastic.from_young(E, 0.3) for E in moduli], solver=LOOSE, **how)


def grids() -> None:
    rows = []
    for n in (8, 16, 24, 32):
        image = sphere(n, radius=0.25)
        peer = MuGrid(*(np.where(image, b, a) for a, b in zip(lame(1.0), lame(10.0))), 1e-6)
        peer()
        rows.append([f"{n}^3", *count(cell_of(image, 1.0, 10.0)), peer.steps, 105])
    table(["1. sphere r = .25", "CG", "failed", "muGrid", "at most"], rows)


def contrasts() -> None:
    rows = [[f"1e{power}", *count(cell_of(sphere(32, 2), 1.0, 10.0**power))] for power in range(-6, 7)]
    rows.append(["pore", *count(cell_of(sphere(32, 2), 1.0, 0.0))])
    table(["2. disk, 32^2", "CG (3 loads)", "failed"], rows)


def weights() -> None:
    x = (np.arange(32) + 0.5) / 32
    wave = np.sin(2 * np.pi * x)[:, None] * np.cos(2 * np.pi * x)[None, :]
    fields = {f"smooth, contrast 1e{k}": 10.0 ** (k * wave / 2) for k in (1, 2, 4, 6)}
    fields["disk, contrast 1e2"] = np.where(sphere(32, 2), 100.0, 1.0)
    fields["random voxels, contrast 1e2"] = 10.0 ** np.random.default_rng(0).choice([0.0, 2.0], (32, 32))
    rows = []
    for name, E in fields.items():
        lam, mu = map(jnp.asarray, lame(E))
        found = []
        for choice in (Green(), GreenJacobi(), Automatic()):
            steps, bad = count(PeriodicCell(None, Elastic(lam=lam, mu=mu), grid=E.shape, solver=LOOSE, preconditioner=choice))
            found.append(f"{steps} {bad}".strip())
        rows.append([name, *found])
    table(["3. fields, 32^2", "Green", "Green-Jacobi", "Automatic"], rows)


def disturbed(image):
    """Labels 2 and 3 are the phases at three times the stiffness, in 10 % of the voxels."""
    return np.where(np.random.default_rng(0).random(image.shape) < 0.1, image + 2, image)


def images() -> None:
    one = np.random.default_rng(1).integers(0, 2, (8, 8, 8))
    rows = [
        ["random 8^3", *count(cell_of(one, 1.0, 10.0))],
        ["2 x 2 x 2 of it", *count(cell_of(np.tile(one, (2, 2, 2)), 1.0, 10.0))],
    ]
    for contrast in (10.0, 100.0):
        rows.append([f"sphere 16^3, contrast {contrast:g}", *count(cell_of(sphere(16), 1.0, contrast, 3.0, 3 * contrast))])
        image = disturbed(sphere(16))
        rows.append([f"the same, 10 % tripled, contrast {contrast:g}", *count(cell_of(image, 1.0, contrast, 3.0, 3 * contrast))])
    table(["4. images", "CG", "failed"], rows)


def rules() -> None:
    rows = []
    for n in (15, 16):
        for name, image in (("sphere", sphere(n)), ("10 % tripled", disturbed(sphere(n)))):
            found = [count(cell_of(image, 1.0, 100.0, 3.0, 300.0, rule=rule)) for rule in (Full(), Reduced())]
            rows.append([f"{n}^3 {name}", *[f"{steps} {bad}".strip() for steps, bad in found]])
    table(["5. contrast 100", "full", "reduced"], rows)


if __name__ == "__main__":
    print(versions("jaxmsm", "muGrid"))
    for part in (grids, contrasts, weights, images, rules):
        part()
