"""Target: slopes of every force of an FE2 path with unloading that agree with differences to 1e-6.

8 x 8 elements (256 points), a disk of a fifth of a cell of 16^2 voxels in J2 at each; four steps, the last two of which unload and
yield the other way; the yield stress and hardening of the matrix and the moduli of the inclusion. In forward and in reverse mode
(the last of which answers all parameters of a weighed sum of the forces), and by central differences. Where one of the 262,144
points of all voxels starts or ceases to flow within a difference of the yield stress, the forces have a kink that is worth up to
some 1e-6 of the slope: the yield stress is one at which, within the narrowest difference, none does. CPU seconds of one core,
compile apart; the largest resident set of the process.

    python bench/fe2_gradient.py [--elements 8] [--size 16]

A typical printout:

    AMD EPYC (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0, --xla_cpu_prefer_vector_width=512
    256 points x 16^2, yield stress 0.10001, forces [ 0.16802665  0.21381994 -0.00484894 -0.21625631]
                        seconds  / value  compile
    value                 18.95        1    23.63
    one column            22.57    1.191    32.83
    four columns          88.79    4.685    35.18
    value and gradient    27.76    1.465    71.96

    slope in            off at 0.0001  kinks  off at 1e-05  kinks  off at 3e-06  kinks  reverse off forward
    yield stress              1.6e-06     24       8.8e-10      0       4.6e-09      0              1.9e-14
    hardening                 6.5e-10      0       5.9e-09      0       1.7e-08      0              2.2e-14
    inclusion's lambda        1.1e-08      0       8.9e-08      0       3.7e-07      0              1.6e-14
    inclusion's mu            5.9e-09      0       2.2e-08      0       9.3e-08      0              2.4e-14

    largest resident set 3.50 GB
"""

from _side_by_side import compiled, seconds, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse
import resource

import jax
import jax.numpy as jnp
import numpy as np

from jaxmsm import PeriodicCell, batched, rollout
from jaxmsm.solids import J2, Body, Elastic, Fixed, Linear, Moved, Reaction
from jaxmsm.solve import NewtonKrylov
from jaxmsm.space import box

NAMES = ("yield stress", "hardening", "inclusion's lambda", "inclusion's mu")
START = jnp.array([0.1, 2.0, 200.0, 150.0])
LOADS = jnp.array([0.004, 0.008, 0.006, -0.002])
WEIGHTS = jnp.array([1.0, -2.0, 3.0, 1.5])
TIGHT = NewtonKrylov(rtol=1e-12)
WIDTHS = (1e-4, 1e-5, 3e-6)
"""Of central differences, relative. Wider ones have kinks in them, narrower ones the round-off of the solve."""


def forces(x, n: int, size: int):
    """The force on the right side after every step; whether it was found, and where plastic strain has grown in it."""
    laws = [J2(lam=50.0, mu=26.0, hardening=Linear(sy=x[0], H=x[1])), Elastic(lam=x[2], mu=x[3])]
    cell = batched(PeriodicCell(sphere(size, 2), laws, solver=TIGHT))
    ends = [Fixed("left"), Fixed("right", (1,)), Moved("right", 0)]
    steps = rollout(Body(box((n, n)), cell, ends, observe=Reaction("right"), solver=TIGHT), LOADS)[1]
    strain = jnp.pad(steps.state[0][0].alpha, ((1, 0), (0, 0), (0, 0), (0, 0)))
    return steps.value[:, 0], (steps.ok, jnp.diff(strain, axis=0) > 0)


def switches(run, x, k: int, width: float) -> int:
    """How many points of voxels flow, in some step, at one end of a difference and not at the other."""
    one, other = (np.asarray(run(x.at[k].multiply(1 + sign * width))[1][1]) for sign in (1, -1))
    return int((one != other).sum())


def without_switches(run, width: float):
    """The parameters, with a yield stress near the given one at which no point starts or ceases to flow within a width."""
    for k in range(100):
        x = START.at[0].multiply(1 + 1e-4 * k)
        if switches(run, x, 0, width) == 0:
            return x
    raise RuntimeError("At every yield stress tried some point starts to flow. Take a narrower difference.")


def main(n: int, size: int) -> None:
    value = lambda x: forces(x, n, size)
    forward = lambda x: jax.jvp(lambda x: value(x)[0], (x,), (jnp.array([1.0, 0, 0, 0]),))[1]
    columns = lambda x: jax.lax.map(lambda v: jax.jvp(lambda x: value(x)[0], (x,), (v,))[1], jnp.eye(4))
    reverse = jax.value_and_grad(lambda x: WEIGHTS @ value(x)[0])
    run, built = compiled(value, START)
    start = without_switches(run, WIDTHS[-1])
    programs = {"value": value, "one column": forward, "four columns": columns, "value and gradient": reverse}
    made = {name: (run, built) if fn is value else compiled(fn, START) for name, fn in programs.items()}
    found, rows = {}, []
    for name, (program, built) in made.items():
        took = seconds(lambda program=program, name=name: found.update({name: jax.block_until_ready(program(start))}))
        rows.append([name, took, built])
    for row in rows:
        row.insert(2, row[1] / rows[0][1])
    assert found["value"][1][0].all()
    print(f"{4 * n * n} points x {size}^2, yield stress {start[0]:.6g}, forces {np.asarray(found['value'][0])}")
    table(["", "seconds", "/ value", "compile"], rows)

    slopes = np.asarray(found["four columns"])
    rows = []
    for k, name in enumerate(NAMES):
        off = []
        for width in WIDTHS:
            h = width * start[k]
            ends = [np.asarray(run(start.at[k].add(sign * h))[0]) for sign in (1, -1)]
            wrong = np.linalg.norm((ends[0] - ends[1]) / (2 * h) - slopes[k]) / np.linalg.norm(slopes[k])
            off += [f"{wrong:.1e}", switches(run, start, k, width)]
        reversed_ = abs(found["value and gradient"][1][k] / (WEIGHTS @ slopes[k]) - 1)
        rows.append([name, *off, f"{reversed_:.1e}"])
    heads = (head for width in WIDTHS for head in (f"off at {width:g}", "kinks"))
    table(["slope in", *heads, "reverse off forward"], rows)
    print(f"largest resident set {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=8)
    parser.add_argument("--size", type=int, default=16)
    given = parser.parse_args()
    print(versions("jaxmsm"))
    main(given.elements, given.size)
