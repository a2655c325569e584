"""The shapes in which physics enters: an energy, a rate, an update; and the loads that a coarser world imposes."""

import abc
from collections.abc import Callable, Iterator
from types import CellType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._typing import Tree


class AbstractEnergy(eqx.Module):
    """An energy of the fine unknowns under a load; its minimizer in `fine` is the relaxed scale."""

    @abc.abstractmethod
    def __call__(self, fine: Tree, load: Tree) -> Float[Array, ""]:
        """The energy, a scalar."""

    def observe(self, fine: Tree, load: Tree) -> Tree:
        """What is answered at equilibrium: by the envelope theorem, the energy's slope in the load."""
        diff, static = eqx.partition(load, eqx.is_inexact_array)
        return jax.grad(lambda x: self(fine, eqx.combine(x, static)))(diff)


class AbstractRate(eqx.Module):
    """A rate of change of the fine unknowns, `d fine / dt`."""

    @abc.abstractmethod
    def __call__(self, t: Float[Array, ""], fine: Tree, load: Tree) -> Tree:
        """The rate, a tree like `fine`."""

    def observe(self, fine: Tree, load: Tree) -> Tree:
        """What is answered: the fine unknowns themselves unless a subclass says otherwise."""
        del load
        return fine

    def driven(self, load: Tree) -> Callable[[Any, Any], Any]:
        """The rate under a load, as a function of time and fine unknowns: what a step is handed."""
        return lambda t, fine: self(t, fine, load)


class AbstractNoisyRate(AbstractRate):
    """A rate with noise: d fine = rate dt + noise dw, dw the increments of independent Wiener processes."""

    @abc.abstractmethod
    def noise(self, t: Float[Array, ""], fine: Tree, load: Tree, dw: Tree) -> Tree:
        """What the increments do, a tree like `fine`: linear in `dw`."""

    def sources(self, fine: Tree) -> Tree:
        """The Wiener processes, a tree of arrays of the shapes of `dw`: one for each unknown unless a subclass says otherwise."""
        return fine

    def shaken(self, load: Tree) -> Callable[[Any, Any, Any], Any]:
        """The noise under a load, as a function of time, fine unknowns and increments."""
        return lambda t, fine, dw: self.noise(t, fine, load, dw)


class AbstractUpdate(eqx.Module):
    """The next fine unknowns from the past ones: history without a potential, or a jump."""

    @abc.abstractmethod
    def __call__(self, fine: Tree, load: Tree, past: Tree) -> Tree:
        """The next fine unknowns; `fine` is where an implicit update may start."""

    def observe(self, fine: Tree, load: Tree) -> Tree:
        """What is answered: the fine unknowns themselves unless a subclass says otherwise."""
        del load
        return fine


class Energy(AbstractEnergy):
    """A plain function `fn(fine, load) -> scalar` as an energy."""

    fn: Callable[[Any, Any], Any]
    answer: Callable[[Any, Any], Any] | None = None

    def __call__(self, fine, load):
        return self.fn(fine, load)

    def observe(self, fine, load):
        return AbstractEnergy.observe(self, fine, load) if self.answer is None else self.answer(fine, load)


class Rate(AbstractRate):
    """A plain function `fn(t, fine, load) -> d fine / dt` as a rate."""

    fn: Callable[[Any, Any, Any], Any]
    answer: Callable[[Any, Any], Any] | None = None

    def __call__(self, t, fine, load):
        return self.fn(t, fine, load)

    def observe(self, fine, load):
        return fine if self.answer is None else self.answer(fine, load)


class NoisyRate(AbstractNoisyRate):
    """Plain functions `fn(t, fine, load) -> drift` and `shake(t, fine, load, dw) -> noise` as a rate with noise."""

    fn: Callable[[Any, Any, Any], Any]
    shake: Callable[[Any, Any, Any, Any], Any]
    answer: Callable[[Any, Any], Any] | None = None

    def __call__(self, t, fine, load):
        return self.fn(t, fine, load)

    def noise(self, t, fine, load, dw):
        return self.shake(t, fine, load, dw)

    def observe(self, fine, load):
        return fine if self.answer is None else self.answer(fine, load)


class Update(AbstractUpdate):
    """A plain function `fn(fine, load, past) -> fine` as an update."""

    fn: Callable[[Any, Any, Any], Any]
    answer: Callable[[Any, Any], Any] | None = None

    def __call__(self, fine, load, past):
        return self.fn(fine, load, past)

    def observe(self, fine, load):
        return fine if self.answer is None else self.answer(fine, load)


class Mixed(eqx.Module):
    """A mean deformation in some components and the complementary mean stress in the others.

    `mask` is True where the deformation gradient `F` is imposed and False where the first Piola stress `P` is. Where both
    `F[i, j]` and `F[j, i]` are free, their difference (the rotation) is fixed at the one in `F`, and the sum of the two
    stresses is imposed; this holds at small and at finite strain.
    """

    F: Float[Array, "..."]
    P: Float[Array, "..."]
    mask: Bool[Array, "..."]


def _time(t: Any) -> Any:
    return jnp.asarray(float(t)) if isinstance(t, int | float) else t


class Span(eqx.Module):
    """A span of time with a drive, for what lives in time: from `t0` to `t1` under `drive` (any load)."""

    t0: Float[Array, "..."] | float = eqx.field(converter=_time)
    t1: Float[Array, "..."] | float = eqx.field(converter=_time)
    drive: Tree = None


def refuse_traced(fn: Any, where: str) -> None:
    """Raise where a function closes over a number that is being differentiated, batched or compiled, itself or through another one.

    A law is handed through the solver of a cell by its parameters; a number in a closure would be taken for a constant there.
    """
    if any(isinstance(x, jax.core.Tracer) for x in _held(fn, set())):
        raise ValueError(f"Argument {where} must not close over a traced number, which would lose its gradient: hand it in.")


def _held(thing: Any, seen: set[int]) -> Iterator[Any]:
    """What a tree of numbers and functions holds, closures, defaults and arguments bound included."""
    for x in jax.tree.leaves(thing):
        if callable(x) and id(x) not in seen:
            seen.add(id(x))
            inside = [getattr(x, name, None) for name in _BOUND]
            cells = [cell.cell_contents for cell in getattr(x, "__closure__", None) or () if cell != _EMPTY]
            yield from _held((inside, cells), seen)
        elif not callable(x):
            yield x


_BOUND = ("__wrapped__", "__self__", "__func__", "__defaults__", "__kwdefaults__", "func", "args", "keywords")
_EMPTY = CellType()
