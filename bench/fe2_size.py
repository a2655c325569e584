"""Claim: bodies of a hundred thousand unknowns, and of a thousand living cells, run in the memory of a desktop.

Each in a process of its own: a neo-Hookean cube of 107,811 unknowns drawn by a tenth, and the slope of its force in the shear
modulus; 1,000 points x 32^2 and 200 points x 16^3 in plasticity. The most memory that was taken, Newton and Krylov iterations, CPU
seconds of one core (on an accelerator: its memory, seconds of the wall clock).

    python bench/fe2_size.py [body gradient plane space]
    JAX_PLATFORMS=cuda python bench/fe2_size.py

A typical printout:

    AMD EPYC (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, --xla_cpu_prefer_vector_width=512
                                          seconds  compile  memory, GB  Newton  Krylov  in the cells
    3D body, 107,811 unknowns               9.898    10.28       2.152       4     173             0
    its force and gradient                  11.71    15.46       2.623       4     173             0
    1,000 points x 32^2, two steps of J2    135.7    22.05       1.856   [5 5]   [5 5]       1368657
    200 points x 16^3, two steps of J2      902.9    35.63       2.652   [4 4]   [4 4]        304992
"""

from _side_by_side import compiled, seconds, sphere, table, versions  # first: sets threads and precision

# isort: split
import json
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxmsm import PeriodicCell, batched, rollout
from jaxmsm.solids import J2, Body, Elastic, Fixed, Linear, Moved, NeoHookean, Reaction
from jaxmsm.space import HEX8, box

CASES = {
    "body": "3D body, 107,811 unknowns",
    "gradient": "its force and gradient",
    "plane": "1,000 points x 32^2, two steps of J2",
    "space": "200 points x 16^3, two steps of J2",
}
"""32^3 elements have 3 x 33^3 unknowns."""


def drawn(mesh, law) -> Body:
    across = tuple(range(1, mesh.d))
    return Body(mesh, law, [Fixed("left"), Fixed("right", across), Moved("right", 0)], observe=Reaction("right"))


def cells(parts, size) -> Body:
    laws = [J2(lam=50.0, mu=26.0, hardening=Linear(sy=0.1, H=2.0)), Elastic(lam=200.0, mu=150.0)]
    return drawn(box(parts), batched(PeriodicCell(sphere(size, len(parts)), laws)))


def told(solution):
    """The force along the axis, and how it was found."""
    return solution.value[..., 0], (solution.ok, solution.stats)


def job(case: str):
    """A program and its argument."""
    if case in ("body", "gradient"):
        force = lambda mu: (lambda s: (s.value[0], (s.ok, s.stats)))(
            drawn(box((32,) * 3, element=HEX8), NeoHookean(lam=1.5, mu=mu))(0.1)
        )
        return (force if case == "body" else jax.value_and_grad(force, has_aux=True)), jnp.asarray(1.0)
    body = cells((25, 10), 32) if case == "plane" else cells((5, 5, 1), 16)
    loads = jnp.asarray([0.004, 0.008])
    return lambda loads: told(rollout(body, loads)[1]), loads


def child(case: str) -> None:
    """One case; its figures as JSON."""
    fn, argument = job(case)
    program, built = compiled(fn, argument)
    kept = {}
    took = seconds(lambda: kept.update(found=jax.block_until_ready(program(argument))))
    found = kept["found"]
    ok, stats = found[0][1] if case == "gradient" else found[1]
    assert np.all(ok)
    device = jax.devices()[0].memory_stats()
    peak = device["peak_bytes_in_use"] / 1e9 if device else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    inner = [int(np.sum(x["linear"])) for x in stats.get("law", ()) if "linear" in x]
    counts = [str(np.asarray(stats[name])) for name in ("newton", "linear")]
    print(json.dumps([CASES[case], took, built, peak, *counts, sum(inner)]))


def main(cases: list[str]) -> None:
    print(versions("jaxmsm"))
    rows = []
    for case in cases:
        done = subprocess.run([sys.executable, __file__, "--child", case], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    table(["", "seconds", "compile", "memory, GB", "Newton", "Krylov", "in the cells"], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        main(sys.argv[1:] or list(CASES))
