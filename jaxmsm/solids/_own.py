"""A user's function as a law."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from .._model import refuse_traced
from .._precision import full_precision
from .._typing import Tree
from ._kinematics import Number, number
from ._law import AbstractLaw, length, pair


class Law(AbstractLaw):
    """A law from a function: `Law(fn, parameters)` answers `fn(F, past, parameters) -> (P, next)`.

    Two phases whose laws share `fn` (the same function object) and differ in their parameters are evaluated together. In a cell the
    function is batched over voxels: on a CPU, sums of products are much faster there than `@` or `jnp.linalg` on 3 x 3 arrays.
    What it closes over is constant; a traced number there is refused.

    Attributes:
        fn: a pure function; the history it returns has the tree, shapes and dtypes of the one it gets.
        parameters: any tree of numbers and arrays; all of them are differentiable.
        virgin: the history of virgin material at one point.
        linear: the stress is affine in the load, and there is no history.
        small: the function depends on sym(F - I) alone, and answers a symmetric stress.
        symmetric: the tangent is symmetric, as where P derives from a potential. Saying so makes solves faster; saying so
            falsely makes them wrong.
        scalar: a law of conduction.
        timed: the answer depends on the length of the step, which the function finds in `parameters["dt"]` (parameters then are
            a dictionary).
        valid: `valid(F, past, parameters) -> bool`, where the law has a meaning; None: wherever F is finite.
    """

    fn: Callable = eqx.field(static=True)
    parameters: Tree
    virgin: Tree
    linear: bool = eqx.field(static=True, default=False)
    small: bool = eqx.field(static=True, default=False)
    symmetric: bool = eqx.field(static=True, default=False)
    scalar: bool = eqx.field(static=True, default=False)
    valid: Callable | None = eqx.field(static=True, default=None)
    timed: bool = eqx.field(static=True, default=False)
    dt: Number | None = eqx.field(converter=number, default=None)

    def __init__(
        self,
        fn: Callable,
        parameters: Tree = (),
        *,
        init: Tree = (),
        linear: bool = False,
        small: bool = False,
        symmetric: bool = False,
        scalar: bool = False,
        timed: bool = False,
        valid: Callable | None = None,
    ):
        refuse_traced(fn, "`fn` (its numbers belong into `parameters`)")
        self.fn = fn
        self.parameters = jax.tree.map(number, parameters)
        self.virgin = jax.tree.map(number, init)
        self.linear, self.small, self.symmetric, self.scalar = linear, small, symmetric, scalar
        self.valid, self.timed, self.dt = valid, timed, None
        if timed and not isinstance(self.parameters, dict):
            raise TypeError(f"Argument `parameters` must be a dictionary where `timed`, but it is {self.parameters!r}.")

    @full_precision
    def __call__(self, F, past):
        return pair(self.fn(F, past, self._parameters), F, past, "`fn` must return")

    @property
    def _parameters(self) -> Tree:
        return self.parameters | {"dt": length(self)} if self.timed else self.parameters

    def init(self):
        return jax.tree.map(jnp.asarray, self.virgin)

    def admissible(self, F, past):
        finite = jnp.all(jnp.isfinite(F))
        return finite if self.valid is None else finite & self.valid(F, past, self._parameters)
