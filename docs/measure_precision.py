"""The table of docs/precision.md: one cell solved in three precisions, against a solve at 1e-12."""

import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxmsm as msm
from jaxmsm.solids import NeoHookean
from jaxmsm.solve import NewtonKrylov

jax.config.update("jax_enable_x64", True)

N = 16
WAYS = {"float64": (np.float64, None), "mixed": (np.float64, np.float32), "float32": (np.float32, None)}


def sphere(n: int) -> np.ndarray:
    """A centered ball of 20 % by voxel centers."""
    x = (np.arange(n) + 0.5) / n - 0.5
    square = x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2
    return (square < (0.15 / np.pi) ** (2 / 3)).astype(int)


def main() -> None:
    """Print the rows."""
    solve = jax.jit(lambda cell, F: cell(F))
    load = jnp.eye(3).at[0, 1].set(0.1)
    for contrast in (10.0, 100.0):
        laws = [NeoHookean.from_young(1.0, 0.3), NeoHookean.from_young(contrast, 0.3)]
        best = solve(msm.PeriodicCell(sphere(N), laws, solver=NewtonKrylov(rtol=1e-12)), load).value
        for name, (dtype, inner) in WAYS.items():
            cell, F = msm.PeriodicCell(sphere(N), laws, solver=NewtonKrylov(inner=inner)), load.astype(dtype)
            found = jax.block_until_ready(solve(cell, F))
            times = []
            for _ in range(7):
                start = time.process_time()
                jax.block_until_ready(solve(cell, F))
                times.append(time.process_time() - start)
            error = float(jnp.linalg.norm(found.value - best) / jnp.linalg.norm(best))
            stats = found.stats
            figures = f"{error:.1e} | {float(stats['residual']):.0e} | {int(stats['newton'])}, {int(stats['linear'])}"
            print(f"| {contrast:.0f} | {name} | {figures} | {1e3 * min(times):.0f} |")


if __name__ == "__main__":
    main()
