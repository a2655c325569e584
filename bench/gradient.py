"""Target: value and gradient cost little more than the value, whatever the number of moduli.

The target G8, value-and-gradient over value: 1.08 for the stiffness of a linear cell in the moduli of every voxel; 1.35 for
the stress of a neo-Hookean cell in the moduli of its phases, and 1.05 where the tangent is computed anyway. Reverse mode; one
number (a weighted sum of the answer) is differentiated. CPU seconds of one core, in alternation; compile apart; a directional
derivative against central differences as a check.

    python bench/gradient.py [--size 16]

A typical printout:

    Intel(R) Xeon(R) Processor (AVX-512), core 1, Python 3.12.1, jax 0.12.0.1, numpy 2.5.5, jaxmsm 0.1.0,
      --xla_cpu_prefer_vector_width=512
    16^3, contrast 10                        value  with gradient  ratio  target  check  compile  compile both
    linear, stiffness in all voxel moduli  0.03232        0.05683  1.758    1.08  1e-07    5.691         11.19
    neo-Hookean, stress in phase moduli    0.05598        0.09921  1.772    1.35  3e-12    4.573         9.101
    neo-Hookean, stress, with its tangent   0.2875         0.3318  1.154    1.05  3e-12    7.594         15.03
    neo-Hookean, tangent in phase moduli    0.2933         0.6007  2.048          3e-11    7.732          18.3
"""

from _side_by_side import alternate, compiled, lame, sphere, table, versions  # first: sets threads and precision

# isort: split
import argparse

import jax
import jax.numpy as jnp

from jaxmsm import PeriodicCell
from jaxmsm.solids import Elastic, NeoHookean


def weighted(x):
    return jnp.sum(x * jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape))


def voxel_stiffness(fields, n):
    """The stiffness of a linear cell whose moduli are fields, lam and mu of every voxel."""
    cell = PeriodicCell(None, Elastic(lam=fields[0], mu=fields[1]), grid=(n,) * 3)
    return weighted(cell.linearize(jnp.eye(3))[1])


def phase_stress(moduli, image, load):
    cell = PeriodicCell(image, [NeoHookean(mu=m, lam=la) for m, la in moduli])
    return weighted(cell(load).value)


def phase_stress_and_tangent(moduli, image, load):
    """A number of the stress, whose tangent comes along."""
    solution, slope = PeriodicCell(image, [NeoHookean(mu=m, lam=la) for m, la in moduli]).linearize(load)
    return weighted(solution.value), slope


def phase_tangent(moduli, image, load):
    """A number of the tangent."""
    return weighted(PeriodicCell(image, [NeoHookean(mu=m, lam=la) for m, la in moduli]).linearize(load)[1])


def main(n: int) -> None:
    print(versions("jaxmsm"))
    image = sphere(n)
    fields = tuple(jnp.where(image == 1, b, a) for a, b in zip(lame(1.0), lame(10.0)))
    moduli = tuple(lame(E)[::-1] for E in (1.0, 10.0))
    load = jnp.eye(3).at[0, 1].add(0.1)
    direction = lambda x: x * jnp.cos(jnp.arange(jnp.size(x), dtype=float)).reshape(jnp.shape(x))
    moved = lambda tree, t: jax.tree.map(lambda x: x + t * direction(jnp.asarray(x)), tree)
    cases = {
        "linear, stiffness in all voxel moduli": (lambda f: voxel_stiffness(f, n), fields, False, 1.08),
        "neo-Hookean, stress in phase moduli": (lambda m: phase_stress(m, image, load), moduli, False, 1.35),
        "neo-Hookean, stress, with its tangent": (lambda m: phase_stress_and_tangent(m, image, load), moduli, True, 1.05),
        "neo-Hookean, tangent in phase moduli": (lambda m: phase_tangent(m, image, load), moduli, False, None),
    }
    rows = []
    for name, (function, at, aux, target) in cases.items():
        value, c1 = compiled(function, at)
        both, c2 = compiled(jax.value_and_grad(function, has_aux=aux), at)
        took = alternate({"value": lambda value=value, at=at: value(at), "both": lambda both=both, at=at: both(at)})
        head = lambda out, aux=aux: out[0] if aux else out
        slope = sum(jnp.sum(g * direction(jnp.asarray(x))) for g, x in zip(jax.tree.leaves(both(at)[1]), jax.tree.leaves(at)))
        h = 1e-3
        central = (head(value(moved(at, h))) - head(value(moved(at, -h)))) / (2 * h)
        # Central differences: h^2 = 1e-6, and the solver's 1e-8 over h.
        error = abs(float((slope - central) / central))
        rows.append([name, took["value"], took["both"], took["both"] / took["value"], target or "", f"{error:.0e}", c1, c2])
    table([f"{n}^3, contrast 10", "value", "with gradient", "ratio", "target", "check", "compile", "compile both"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=16)
    main(parser.parse_args().size)
