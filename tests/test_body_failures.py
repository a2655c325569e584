"""Bodies that cannot be made, and loads that cannot be borne: what is said and who is named."""

import jax.numpy as jnp
import pytest
from _bodies import at

from jaxmsm.solids import Body, Elastic, Fixed, Moved, Symmetry, Tied, Traction
from jaxmsm.space import Mesh, box

SQUARE = box((2, 2))
LINEAR = Elastic(lam=1.0, mu=1.0)
NAMED = Mesh(SQUARE.points, SQUARE.blocks, facet_sets=SQUARE.facet_sets, element_sets={"a": [0, 1, 2], "b": [2, 3]})
DIAGONAL = lambda x: abs(x[:, 0] - x[:, 1]) < 1e-9


def _loaded(load, by=None):
    return Body(SQUARE, LINEAR, [Fixed("left"), Traction("right", (1.0, 0.0), by=by)])(load)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        (lambda: Body(SQUARE, LINEAR, [Fixed("left", (2,))]), ValueError, "`axes` must hold axes from 0 to 1, but"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("left"), Moved("top", 0)]), ValueError, "impose one displacement twice, but axis 0"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("left"), Symmetry(DIAGONAL, (1, -1))]), ValueError, "held already. Take them out"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("middle")]), ValueError, "must name a set of the mesh, one of .*, but it is 'middle'"),
        (lambda: Body(SQUARE, LINEAR, [Fixed(lambda x: x[:, 0] > 2)]), ValueError, "must select at least one node"),
        (lambda: Body(SQUARE, LINEAR, [Traction(at(0, 0), (1.0, 0.0))]), ValueError, "at least one facet of the surface"),
        (lambda: Body(SQUARE, LINEAR, [Tied("right", at(0, 0))]), ValueError, "sets of equal size, but they hold 3 and 1 nodes"),
        (lambda: Body(SQUARE, LINEAR, [Tied("right", "top")]), ValueError, "nodes at a constant offset, but some are off by"),
        (lambda: Body(SQUARE, LINEAR, [Fixed("right"), Tied("right", "left")]), ValueError, "must not hold nodes that are tied"),
        (
            lambda: Body(SQUARE, LINEAR, [Tied("right", "left"), Tied("left", "right")]),
            ValueError,
            "must not tie nodes in a circle",
        ),
        (lambda: Body(SQUARE, {}), TypeError, "`law` must be a law or a scale"),
        (lambda: Body(NAMED, {"a": LINEAR}), ValueError, "give each element a law, but 1 of 4 have none"),
        (lambda: Body(NAMED, {"a": LINEAR, "b": LINEAR}), ValueError, "one law, but elements of 'b' have one already"),
        (lambda: Body(SQUARE, {"a": LINEAR}), ValueError, "must name a set of elements"),
        (lambda: Body(SQUARE, LINEAR, observe="u"), TypeError, "`observe` must be an observer or a tree of them"),
        (lambda: Body(SQUARE, LINEAR).locate(16), ValueError, "the number of a point of the body"),
        (lambda: _loaded(1.0, by="t"), ValueError, "must be a dictionary with a number 't', but it holds no names"),
        (lambda: _loaded({"s": 1.0}, by="t"), ValueError, r"a number 't', but it holds \['s'\]"),
        (lambda: _loaded({"s": 1.0}), ValueError, r"without a name \(`by`\), but it has the names \['s'\]"),
        (lambda: _loaded(jnp.ones(3)), ValueError, r"it has shape \(3,\). A path of loads is for `rollout"),
    ],
)
def test_malformed_conditions_are_refused(wrong, error, sentence):
    with pytest.raises(error, match=sentence):
        wrong()
