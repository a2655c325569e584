"""The cells of the contract's table hold every pair of law, dimension, strain, rule, boundary and load that can be."""

import dataclasses
from itertools import combinations, product

import equinox as eqx
import pytest
from _scales import BODIES, HISTORY, PLANE, SPACE

from jaxmsm import Mixed, solids
from jaxmsm.solids import J2, Eigenstrain, PlaneStress, Thermal
from jaxmsm.solids._parameters import Parametric

LEVELS = {
    "law": ["linear", "elastic", "J2", "J2 that recalls", "Eigenstrain", "conduction"],
    "dimension": ["plane strain", "plane stress", "space"],
    "strain": ["small", "finite", "none"],
    "rule": ["Full", "Reduced", "MeanDilatation"],
    "boundary": ["Periodic", "LinearDisplacement", "UniformTraction"],
    "load": ["plain", "mixed"],
}
LEFT_OUT = {
    "a flux has no volume that could lock": [("conduction", "MeanDilatation"), ("none", "MeanDilatation")],
    "a flux has no thickness to free": [("conduction", "plane stress"), ("none", "plane stress")],
    "a law has one measure of strain, an eigenstrain that of the law inside": [
        *product(["linear", "J2", "J2 that recalls"], ["finite", "none"]),
        *product(["elastic"], ["small", "none"]),
        *product(["conduction"], ["small", "finite"]),
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
    return {
        "law": family(law),
        "dimension": "space" if len(cell.grid) == 3 else "plane stress" if thin else "plane strain",
        "strain": "none" if law.scalar else "small" if law.small else "finite",
        "rule": type(cell.rule).__name__,
        "boundary": type(cell.boundary).__name__,
        "load": "mixed" if isinstance(row.load, Mixed) else "plain",
    }


def family(law):
    """What a law is like for the solver."""
    if isinstance(law, (Eigenstrain, Thermal)):
        return "Eigenstrain"
    if law.scalar:
        return "conduction"
    if isinstance(law, J2):
        return "J2" if law.symmetric else "J2 that recalls"
    return "linear" if law.linear else "elastic"


FOUND = [traits(row) for row in PLANE + SPACE]


@pytest.mark.parametrize("one, other", list(combinations(LEVELS, 2)))
def test_every_pair_that_can_be_is_in_a_row(one, other):
    left_out = [set(pair) for pairs in LEFT_OUT.values() for pair in pairs]
    wanted = {pair for pair in product(LEVELS[one], LEVELS[other]) if set(pair) not in left_out}
    assert {(row[one], row[other]) for row in FOUND} == wanted


def test_every_law_and_hardening_is_in_a_row():
    modules = [x for row in PLANE + SPACE + HISTORY for x in held(row.make())]
    rules = {"AbstractLaw", "ComponentLaw", "AbstractHardening", "AbstractMeasure", "AbstractSoftening"}
    there = {name for name, x in vars(solids).items() if isinstance(x, type) and issubclass(x, Parametric)}
    assert there - rules - {type(x).__name__ for x in modules} == set()


def held(tree):
    """The modules in a tree, itself and those inside."""
    if isinstance(tree, tuple):
        return [x for part in tree for x in held(part)]
    inside = [x for f in dataclasses.fields(tree) for x in held(getattr(tree, f.name))] if isinstance(tree, eqx.Module) else []
    return [tree, *inside] if isinstance(tree, eqx.Module) else []


def test_no_two_rows_share_a_name():
    # Of two the first would never be run.
    names = [row.name for row in PLANE + SPACE + HISTORY + BODIES]
    assert len(set(names)) == len(names)
