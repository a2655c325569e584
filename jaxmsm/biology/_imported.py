"""Cells from files of models (CellML, Myokit), through the package myokit."""

import functools
import math
from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._names import hint
from ..solve import Relaxing
from ._expressions import Curved, Equations, Expression, Scope, line, names
from ._ionic import AbstractCell, Tuning, Values, injected

INFIX = {
    "Plus": "+",
    "Minus": "-",
    "Multiply": "*",
    "Divide": "/",
    "Power": "^",
    "Quotient": "//",
    "Remainder": "%",
    "Less": "<",
    "LessEqual": "<=",
    "More": ">",
    "MoreEqual": ">=",
    "Equal": "==",
    "NotEqual": "!=",
    "And": "and",
    "Or": "or",
    "Not": "not",
    "PrefixMinus": "-",
    "If": "piecewise",
    "Piecewise": "piecewise",
    "ASin": "arcsin",
    "ACos": "arccos",
    "ATan": "arctan",
    **{name.capitalize(): name for name in ("exp", "log", "log10", "sqrt", "abs", "floor", "ceil", "sin", "cos", "tan")},
}
"""Myokit's classes of expressions, and our operations."""
SCALE = "factor of "
"""Begins the name of a variable's factor."""


class ImportedCell(AbstractCell):
    """A cell from a file: `ImportedCell(io.read_cell("ohara.cellml"))`.

    The state is a named tuple, potential first, its names those of the file with `_` for the dot. Gates, that is unknowns between
    zero and one whose rates are straight lines in themselves with a pull back, are `Relaxing`, so that Rush-Larsen steps solve
    them exactly.

    What the file binds to `pace` is zero: hand the stimulus over as the current, like any cell's. A stimulus of the file's own,
    a function of the time, works in the cell alone; in a tissue take it out, `without=["membrane.i_stim"]`.

    Args:
        model: a `myokit.Model`.
        potential: the transmembrane potential, `"membrane.V"`; the one with Myokit's label, or the only unknown in mV, if left out.
        scaled: variables that get a factor to be fitted, `["ik.IK"]`; it begins at one.
        without: variables that are put to zero.
    Attributes:
        parameters: the file's numbers by name, to be replaced and differentiated.
        scales: factors of the variables in `scaled`; `cell.scaled(**{"ica.gCa": 0.5})` multiplies parameters and factors.
        gates: what a mutation does to every gate, by name.
        first: the file's first state.
    Valid: units as in the file; this room's are mV and ms, which most files of cells use too.
    Source: M. Clerx et al., Prog. Biophys. Mol. Biol. 120 (2016) 100, for the package.
    """

    parameters: dict[str, Values]
    scales: dict[str, Values]
    gates: dict[str, Tuning]
    first: Any
    equations: Equations = eqx.field(static=True)
    lines: tuple[tuple[str, tuple[Expression, Expression]], ...] = eqx.field(static=True)
    clock: str = eqx.field(static=True)

    def __init__(
        self, model: Any, *, potential: str | None = None, scaled: Sequence[str] = (), without: Sequence[str] = ()
    ) -> None:
        for name in (*scaled, *without):
            if _variable(model, name).is_state():
                raise ValueError(
                    f"`{name}` is an unknown of the model: it has no factor and cannot be taken out; its currents can."
                )
        potential = _potential(model) if potential is None else _variable(model, potential).qname()
        states = sorted((v.qname() for v in model.states()), key=lambda name: name != potential)
        if potential not in states:
            raise ValueError(f"`{potential}` is no unknown of the model; its unknowns are {', '.join(states)}.")
        time = model.time()
        self.clock = "" if time is None else time.qname()
        self.parameters = {}
        rules: dict[str, Expression] = {}
        for variable in model.variables(state=False, deep=True):
            name = variable.qname()
            if name in without:
                rules[name] = 0.0
            elif name == self.clock:
                continue
            elif variable.binding() is not None:
                rules[name] = 0.0
            elif variable.is_literal() and name not in scaled:
                self.parameters[name] = jnp.asarray(variable.eval(), float)
            else:
                rules[name] = expression(variable.rhs())
        rules |= {name: ("*", SCALE + name, rules[name]) for name in scaled}
        self.scales = {name: jnp.asarray(1.0) for name in scaled}
        rates = {name: expression(model.get(name).rhs()) for name in states}
        rules |= {f"dot({name})": rate for name, rate in rates.items()}
        begin = dict(zip((v.qname() for v in model.states()), model.initial_values(as_floats=True), strict=True))
        self.lines = tuple(_gates(rates, rules, begin, self._known(), potential))
        self.equations = Equations(tuple(rules.items()), tuple(rates.items()))
        self.gates = {name: Tuning() for name, _ in self.lines}
        self.first = state_of(tuple(states))(*(jnp.asarray(begin[name], float) for name in states))

    def rest(self):
        return self.first

    def terms(self, y, current):
        if any(self.clock in names(rate, dict(self.equations.rules)) for _, rate in self.equations.rates):
            raise ValueError(
                "The cell of the file has a stimulus of its own, a function of the time: name its variable in `without=[...]` "
                "to hand over currents of yours, as a tissue does."
            )
        return self._terms(0.0, y, current)

    def driven(self, load):
        return lambda t, y: self._terms(t, y, injected(load, t))

    def numbers(self):
        """Parameters, and the factors of variables."""
        return {**self.parameters, **self.scales}

    def value(self, name: str, t: Any, y: Any) -> Values:
        """Any variable of the file at a state: a current, a reversal potential."""
        return self._scope(t, y)(name)

    def _scope(self, t, y, shift=0.0):
        unknowns = dict(zip((name for name, _ in self.equations.rates), y, strict=True))
        unknowns[self.equations.rates[0][0]] = y[0] - shift
        return Scope(dict(self.equations.rules), {**self._known(), **unknowns, self.clock: t})

    def _known(self):
        return {**self.parameters, **{SCALE + name: by for name, by in self.scales.items()}}

    def _terms(self, t, y, current):
        plain, lines = self._scope(t, y), dict(self.lines)
        terms = []
        for name, rate in self.equations.rates:
            if name in lines:
                height, slope = map(self._scope(t, y, self.gates[name].shift), lines[name])
                time = -1 / slope
                terms.append(Relaxing(height * time, self.gates[name].slow * time))
            else:
                terms.append(jnp.broadcast_to(plain(rate), jnp.shape(y[0])))
        terms[0] = terms[0] + current
        return type(y)(*terms)


def expression(e: Any) -> Expression:
    """An expression of Myokit's as ours."""
    kind = type(e).__name__
    if kind == "Number":
        return float(e.eval())
    if kind == "Name":
        return e.var().qname()
    if kind == "Derivative":
        return f"dot({e.var().qname()})"
    parts = tuple(map(expression, e))
    if kind == "PrefixPlus":
        return parts[0]
    if kind == "If":
        condition, yes, no = parts
        return "piecewise", yes, condition, no
    if kind == "Piecewise":
        pairs = [x for k in range(0, len(parts) - 1, 2) for x in (parts[k + 1], parts[k])]
        return "piecewise", *pairs, parts[-1]
    if kind == "Log" and len(parts) == 2:
        return "/", ("log", parts[0]), ("log", parts[1])
    if kind not in INFIX:
        raise ValueError(f"`{e}` in the model uses {kind}, which is not supported; write it in other operations.")
    return INFIX[kind], *parts


@functools.cache
def state_of(names: tuple[str, ...]) -> Any:
    """The type of the states with these names."""
    return namedtuple("ImportedState", [name.replace(".", "_") for name in names])


def _variable(model: Any, name: str) -> Any:
    if not model.has_variable(name):
        known = [v.qname() for v in model.variables(deep=True)]
        raise ValueError(f"The model has no variable `{name}`; it has {', '.join(known)}.{hint(name, known)}")
    return model.get(name)


def _potential(model: Any) -> str:
    labelled = model.label("membrane_potential")
    if labelled is not None:
        return labelled.qname()
    millivolts = [v.qname() for v in model.states() if str(v.unit()) == "[mV]"]
    if len(millivolts) != 1:
        states = ", ".join(v.qname() for v in model.states())
        raise ValueError(f"Which unknown is the transmembrane potential? Say it, potential='...', one of {states}.")
    return millivolts[0]


def _gates(
    rates: Mapping[str, Expression],
    rules: Mapping[str, Expression],
    begin: Mapping[str, float],
    parameters: Mapping[str, Any],
    potential: str,
) -> list[tuple[str, tuple[Expression, Expression]]]:
    """The unknowns that are gates, and the lines that their rates are in themselves."""
    found = []
    for name, rate in rates.items():
        if name == potential or not 0 <= begin[name] <= 1:
            continue
        try:
            height, slope = line(rate, name, rules)
        except Curved:
            continue
        pull = _pull(slope, rules, {**parameters, **begin})
        if math.isfinite(pull) and pull < 0:
            found.append((name, (height, slope)))
    return found


def _pull(slope: Expression, rules: Mapping[str, Expression], known: Mapping[str, Any]) -> float:
    try:
        return float(Scope(rules, known)(slope))
    except KeyError:
        # It depends on the time.
        return math.nan
