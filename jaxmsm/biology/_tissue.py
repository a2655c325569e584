"""Cells that hang together: the monodomain equation, dv/dt = -I_ion / C_m + div(D grad v) + stimulus."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ..solve import Stiff, imex
from ..space import AbstractDiffusion
from ._ionic import AbstractCell, injected


class Tissue(AbstractCell):
    """A cell at every node of a grid, with diffusion between their potentials: `Tissue(cell, Diffusion(shape, D, dx))`.

    The state is the cell's, every entry an array over the nodes. Parameters of the cell may be arrays over the nodes (a map of
    cell types). Without splitting: the current between cells is one more current of the cell, so
    that a `RushLarsen` step is an explicit step of the whole. `reaction` and `diffuse` are the two parts for `strang`.

    Valid: explicit steps shorter than `longest_step()`.
    Source: J. Keener, J. Sneyd, Mathematical Physiology (2009), equation 12.24, for the monodomain equation.

    Attributes:
        cell: any cell, whose first state is its potential.
        diffusion: on a grid; D in mm2/ms where lengths are in mm.
    """

    cell: AbstractCell
    diffusion: AbstractDiffusion

    def rest(self):
        return self.filled(self.cell.rest())

    def filled(self, y: Any) -> Any:
        """One cell's state at every node."""
        wide = lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.result_type(x)), self.diffusion.shape)
        return jax.tree.map(wide, y)

    def terms(self, y, current):
        # The cells know no neighbors: XLA compiles one long row of them some six times faster than a grid. The barrier keeps it
        # from computing the current between them anew for every rate it enters.
        shape = self.diffusion.shape
        row = lambda x: jnp.ravel(jnp.broadcast_to(x, shape)) if jnp.ndim(x) else x
        cell, *given = jax.tree.map(row, (self.cell, y, current + self.diffusion(y[0])))
        terms = cell.terms(*lax.optimization_barrier(tuple(given)))
        return jax.tree.map(lambda x: jnp.reshape(x, shape), terms)

    def longest_step(self) -> Any:
        """An explicit step of the diffusion must be shorter (ms)."""
        return 2 / self.diffusion.fastest()

    def reaction(self, step: Any, load: Any) -> Any:
        """The cells alone, as a part for a splitting: `advance(t, y, dt)`."""
        return lambda t, y, dt: step(self.cell.driven(load), t, y, dt)

    def diffuse(self, substeps: int = 1, *, implicit: bool = False) -> Any:
        """The diffusion alone, as a part for a splitting: `advance(t, y, dt)`.

        By explicit midpoint steps, or implicit ones of second order, which may be longer than `longest_step()`.
        """
        stiff = imex(Stiff(self.diffusion, self.diffusion.solve))

        def advance(t, y, dt):
            if implicit:
                return y._replace(**{y._fields[0]: stiff(t, y[0], dt)})
            v, h = y[0], dt / substeps
            for _ in range(substeps):
                v = v + h * self.diffusion(v + 0.5 * h * self.diffusion(v))
            return y._replace(**{y._fields[0]: v})

        return advance


class Region(eqx.Module):
    """A stimulus in a part of a tissue: `Region(pulse, where)(t)` is the pulse's current there and nothing elsewhere.

    Attributes:
        pulse: a current, a number or a function of the time (`Pacing`).
        where: an array over the nodes, one inside and zero outside.
    """

    pulse: Any
    where: Any

    def __call__(self, t: Any) -> Any:
        return injected(self.pulse, t) * self.where


class Several(eqx.Module):
    """The sum of several currents: the S1 and the S2 of a protocol."""

    currents: tuple[Any, ...]

    def __call__(self, t: Any) -> Any:
        return sum((injected(c, t) for c in self.currents[1:]), start=injected(self.currents[0], t))
