"""The cells of the contract's table hold every pair of law, dimension, strain, rule, boundary and load that can be."""

from itertools import combinations, product

import pytest
from _scales import PLANE, SPACE

from jaxmsm import Mixed
from jaxmsm.solids import Eigenstrain, PlaneStress

LEVELS = {
    "law": ["Elastic", "NeoHookean", "J2", "J2 that recalls", "Eigenstrain", "Conductivity"],
    "dimension": ["plane strain", "plane stress", "space"],
    "strain": ["small", "finite", "none"],
    "rule": ["Full", "Reduced", "MeanDilatation"],
    "boundary": ["Periodic", "LinearDisplacement", "UniformTraction"],
    "load": ["plain", "mixed"],
}
LEFT_OUT = {
    "a flux has no volume that could lock": [("Conductivity", "MeanDilatation"), ("none", "MeanDilatation")],
    "a flux has no thickness to free": [("Conductivity", "plane stress"), ("none", "plane stress")],
    "a law has one measure of strain, an eigenstrain that of the law inside": [
        *product(["Elastic", "J2", "J2 that recalls"], ["finite", "none"]),
        *product(["NeoHookean"], ["small", "none"]),
        *product(["Conductivity"], ["small", "finite"]),
        ("Eigenstrain", "none"),
    ],
    "it compiles for minutes; both stand in rows without the other": [("J2 that recalls", "plane stress")],
}


def traits(row):
    """What a row combines."""
    cell = row.make()
    law = cell.laws[0]
    thin = isinstance(law, PlaneStress)
    law = law.law if thin else law
    recalls = not law.symmetric
    return {
        "law": "Eigenstrain" if isinstance(law, Eigenstrain) else type(law).__name__ + " that recalls" * recalls,
        "dimension": "space" if len(cell.grid) == 3 else "plane stress" if thin else "plane strain",
        "strain": "none" if law.scalar else "small" if law.small else "finite",
        "rule": type(cell.rule).__name__,
        "boundary": type(cell.boundary).__name__,
        "load": "mixed" if isinstance(row.load, Mixed) else "plain",
    }


FOUND = [traits(row) for row in PLANE + SPACE]


@pytest.mark.parametrize("one, other", list(combinations(LEVELS, 2)))
def test_every_pair_that_can_be_is_in_a_row(one, other):
    left_out = [set(pair) for pairs in LEFT_OUT.values() for pair in pairs]
    wanted = {pair for pair in product(LEVELS[one], LEVELS[other]) if set(pair) not in left_out}
    assert {(row[one], row[other]) for row in FOUND} == wanted


def test_no_two_rows_share_a_name():
    # Of two the first would never be run.
    names = [row.name for row in PLANE + SPACE]
    assert len(set(names)) == len(names)
