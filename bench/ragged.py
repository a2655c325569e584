"""Claim: members that are hard do not hold up the others: 8 times over plain `vmap`, the same bits.

1,024 members, 5 % of them hard: neo-Hookean cells of 8^2 voxels, the easy ones with a contrast of 2 under small loads, the
hard ones with a contrast of 10,000 under large ones; and a toy, x = a x + b by repetition. Useful work is the members' own
iterations over those that their chunks make for them. "sorted" orders by the cost of an earlier solve (`order=`,
`LastCost()`). CPU seconds of one core, in alternation.

    python bench/ragged.py

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 0, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0,
      --xla_cpu_prefer_vector_width=512
    1024 members           way   useful    seconds  over vmap  difference  compile
    toy                   vmap    5.9 %   0.001871          1       0e+00     0.11
    toy           chunks of 32    7.5 %   0.001104      1.694       0e+00   0.1175
    toy                 sorted   79.1 %   0.000176      10.63       0e+00   0.1948
    toy             one by one  100.0 %  0.0004394      4.257       0e+00  0.06859

    failed: 0; cost of the members: median 40, largest 2749; sorted and unsorted chunks give the same bits: True

    1024 members           way   useful  seconds  over vmap  difference  compile
    cells                 vmap    3.5 %    10.49          1       1e-07    3.508
    cells         chunks of 32   12.7 %     1.16      9.043       8e-08    3.356
    cells               sorted   59.4 %   0.3531      29.71       8e-08    3.571
    cells           one by one  100.0 %   0.2314      45.35       0e+00    2.217

    failed: 2; cost of the members: median 15, largest 601; sorted and unsorted chunks give the same bits: True

    gradient in the loads, ordered and not, the same bits: True
"""

from _side_by_side import alternate, compiled, lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmsm import RESULTS, AbstractScale, PeriodicCell, Solution, batched
from jaxmsm.solids import NeoHookean

MEMBERS, HARD, CHUNK = 1024, 0.05, 32


class Picard(AbstractScale):
    """x = a x + b by repetition, some log(tol) / log(a) trips."""

    weight: jax.Array

    def init(self, load, *, key=None):
        return ()

    def __call__(self, load, state=None, *, guess=None):
        a, b = load["a"], load["b"] * lax.stop_gradient(self.weight)

        def more(carry):
            x, old, trips = carry
            return (jnp.abs(x - old) > 1e-12) & (trips < 5000)

        x, _, trips = lax.while_loop(more, lambda c: (a * c[0] + b, c[0], c[2] + 1), (b, b + 1, jnp.zeros((), jnp.int32)))
        return Solution(x, (), None, RESULTS.where(trips < 5000, RESULTS.successful, RESULTS.stagnation), {"cost": trips})


def toy(hard):
    load = {"a": jnp.where(hard, 0.99, 0.5), "b": jnp.linspace(0.1, 1.0, MEMBERS)}
    return Picard(jnp.ones(())), load, None


def cells(hard):
    """One image; moduli and load of every member its own."""
    mu = jnp.where(hard, lame(1e4)[1], lame(2.0)[1])
    lam = jnp.where(hard, lame(1e4)[0], lame(2.0)[0])
    cell = PeriodicCell(sphere(8, 2), [NeoHookean.from_young(1.0, 0.3), NeoHookean(mu=0.0, lam=0.0)])
    where = lambda s: (s.laws[1].mu, s.laws[1].lam)
    noise = jnp.asarray(np.random.default_rng(1).standard_normal((MEMBERS, 2, 2)))
    load = jnp.eye(2) + jnp.where(hard, 0.1, 1e-3)[:, None, None] * noise
    return eqx.tree_at(where, cell, (mu, lam)), load, where


def useful(cost, chunk):
    """The members' own iterations over those of their chunks."""
    groups = np.asarray(cost).reshape(-1, chunk)
    return groups.sum() / (groups.max(1).sum() * chunk)


def compare(name, scale, load, over, rounds) -> None:
    def run(scale, load, order, chunk):
        solution = batched(scale, chunk=chunk, over=over, order=order)(load)
        return solution.value, solution.stats["cost"], solution.ok

    program, _ = compiled(lambda scale, load: run(scale, load, None, 1), scale, load)
    _, cost, ok = program(scale, load)
    ways = {"vmap": (None, MEMBERS), f"chunks of {CHUNK}": (None, CHUNK), "sorted": (cost, CHUNK), "one by one": (None, 1)}
    runs, compile_time = {}, {}
    for way, (order, chunk) in ways.items():
        function = lambda scale, load, order, chunk=chunk: run(scale, load, order, chunk)
        program, compile_time[way] = compiled(function, scale, load, order)
        runs[way] = lambda program=program, order=order: program(scale, load, order)
    took = alternate(runs, rounds=rounds)
    values = {way: np.asarray(run()[0]) for way, run in runs.items()}
    same = np.array_equal(values[f"chunks of {CHUNK}"], values["sorted"], equal_nan=True)
    ordered = {"sorted": np.sort(np.asarray(cost))[::-1]}
    rows = []
    for way, (_, chunk) in ways.items():
        gap = np.nanmax(np.abs(values[way] - values["one by one"])) / np.nanmax(np.abs(values["one by one"]))
        share = useful(ordered.get(way, cost), chunk)
        rows.append([name, way, f"{100 * share:.1f} %", took[way], took["vmap"] / took[way], f"{gap:.0e}", compile_time[way]])
    table([f"{MEMBERS} members", "way", "useful", "seconds", "over vmap", "difference", "compile"], rows)
    print(f"failed: {int((~ok).sum())}; cost of the members: median {np.median(cost):.0f}, largest {np.max(cost)}; ", end="")
    print(f"sorted and unsorted chunks give the same bits: {same}\n")


def gradients(scale, load, over) -> None:
    """The order has no part in the gradient."""

    def slope(load, order):
        return jax.grad(lambda x: jnp.sum(jnp.square(batched(scale, chunk=CHUNK, over=over, order=order)(x).value)))(load)

    order = jnp.asarray(np.random.default_rng(2).permutation(MEMBERS), jnp.float32)
    plain = jax.jit(lambda load: slope(load, None))(load)
    print("gradient in the loads, ordered and not, the same bits:", bool(jnp.all(plain == jax.jit(slope)(load, order))))


if __name__ == "__main__":
    print(versions("jaxmsm"))
    hard = jnp.asarray(np.random.default_rng(0).random(MEMBERS) < HARD)
    compare("toy", *toy(hard), rounds=3)
    compare("cells", *cells(hard), rounds=1)
    gradients(*cells(hard))
