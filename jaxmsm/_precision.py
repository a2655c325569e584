"""Products of matrices keep the digits of their factors."""

import functools
from collections.abc import Callable

import jax


def full_precision[**P, T](fn: Callable[P, T]) -> Callable[P, T]:
    """`fn`, whose matrix products are those of their dtype wherever it is compiled for.

    By default accelerators round the factors of a float32 product to ten bits, and no iteration converges. What is traced later,
    as rules of differentiation are, needs a mark of its own.
    """

    @functools.wraps(fn)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.default_matmul_precision("highest"):
            return fn(*args, **kwargs)

    return wrapped
