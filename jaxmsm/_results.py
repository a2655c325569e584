"""How a scale's work went: one code per batch member, never an exception."""

import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

with warnings.catch_warnings():
    # A sentence replaced draws a warning of equinox's; that of `stagnation` speaks of options that only solvers of lineax have.
    warnings.filterwarnings("ignore", "Enumeration has duplicate")

    class RESULTS(diffrax.RESULTS):  # type: ignore[misc]
        """Every outcome a scale can report: those of lineax, optimistix and diffrax, and ours.

        The integers behind the codes shift when a library adds one, so files store names (`names`).
        """

        successful: Any = ""
        stagnation: Any = (
            "The linear solver ran out of iterations, or its problem does not get below the tolerance. Use another preconditioner, "
            "allow more iterations (`CG(max_steps=...)`), or ask for a tolerance that the precision allows (1e-5 in float32)."
        )
        out_of_range: Any = (
            "The load, the state or a parameter left the range in which this scale is valid. Check its sign and size."
        )
        line_search_failed: Any = "No step along the Newton direction reduced the residual. Apply the load in smaller steps."
        law_failed: Any = "The local iteration of a constitutive law did not converge. Apply the load in smaller steps."
        indefinite: Any = "The tangent is not positive definite. Use a linear solver for indefinite tangents, or smaller steps."
        mechanism: Any = "A stress is prescribed where the cell has no stiffness against it. Prescribe the deformation there."
        no_load_path: Any = "The solid carries no load: the stiffness is zero, which is the answer."
        substeps_exhausted: Any = "The sub-steps allowed did not reach the end of the load step. Allow more, or apply less load."
        no_event: Any = (
            "The event did not come within the span of time. Lengthen the span, or check the sign of what must cross zero."
        )
        not_run: Any = "This member has not been run."


_FINE = ("successful", "event_occurred", "no_load_path")
"""Codes that come with a valid answer."""


def fine(result: RESULTS) -> Bool[Array, "..."]:
    """True where the code comes with a valid answer."""
    code = jnp.asarray(result._value)
    good = jnp.zeros(code.shape, bool)
    for name in _FINE:
        good |= code == RESULTS._name_to_item[name]._value
    return good


def names(result: RESULTS) -> np.ndarray:
    """The names of the codes, an array of strings of the shape of the batch (what files store)."""
    table = np.array(list(RESULTS._name_to_item))
    return np.asarray(table[np.asarray(result._value)])


def from_names(text) -> RESULTS:
    """The codes that carry these names; the inverse of `names`."""
    table = {name: int(item._value) for name, item in RESULTS._name_to_item.items()}
    unknown = sorted({str(t) for t in np.ravel(text)} - set(table))
    if unknown:
        raise ValueError(f"Argument `text` must hold names of RESULTS, but {unknown[0]!r} is none of them.")
    code = np.vectorize(lambda t: table[str(t)], otypes=[np.int32])(np.asarray(text))
    return eqx.tree_at(lambda r: r._value, RESULTS.successful, jnp.asarray(code))


def message(name: str) -> str:
    """The sentence that belongs to a code's name."""
    table: Any = RESULTS
    return table[RESULTS._name_to_item[name]] or "The solve succeeded."
