"""Networks of reactions from SBML files, through the package python-libsbml."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._model import AbstractRate
from .._names import hint
from ._expressions import OPERATIONS, Equations, Expression, Scope, names
from ._reactions import Reactions

OPERATORS = {
    "AST_PLUS": "+",
    "AST_MINUS": "-",
    "AST_TIMES": "*",
    "AST_DIVIDE": "/",
    "AST_POWER": "^",
    "AST_FUNCTION_POWER": "^",
    "AST_FUNCTION_QUOTIENT": "//",
    "AST_FUNCTION_REM": "%",
    "AST_FUNCTION_LN": "log",
    "AST_FUNCTION_CEILING": "ceil",
    "AST_RELATIONAL_LT": "<",
    "AST_RELATIONAL_LEQ": "<=",
    "AST_RELATIONAL_GT": ">",
    "AST_RELATIONAL_GEQ": ">=",
    "AST_RELATIONAL_EQ": "==",
    "AST_RELATIONAL_NEQ": "!=",
    **{f"AST_LOGICAL_{name.upper()}": name for name in ("and", "or", "not")},
    **{f"AST_FUNCTION_{name.upper()}": name for name in ("abs", "exp", "floor", "piecewise", "min", "max")},
    **{f"AST_FUNCTION_{name.upper()}": name for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"AST_FUNCTION_ARC{name.upper()}": f"arc{name}" for name in ("sin", "cos", "tan")},
}
"""The nodes of libsbml, and our operations."""
TIME = "<time>"
MEANING = ("arrays", "comp", "distrib", "dyn", "multi", "spatial")
"""Packages of SBML without which a file means something else."""
CONSTANTS = {
    "AST_CONSTANT_PI": float(np.pi),
    "AST_CONSTANT_E": float(np.e),
    "AST_NAME_AVOGADRO": 6.02214179e23,
    "AST_CONSTANT_TRUE": 1.0,
    "AST_CONSTANT_FALSE": 0.0,
}


class ImportedNetwork(AbstractRate):
    """A network from an SBML file: `ImportedNetwork(io.read_sbml("repressilator.xml"))`.

    The unknowns, one array, are what the file lets change: species in reactions, and whatever has a rate rule; in the unit in which
    the file's formulas use them (concentrations, or amounts where a species says so). Rules are followed. Events, delays,
    algebraic rules and compartments whose size changes are refused with a sentence.

    Args:
        document: a `libsbml.SBMLDocument`, as `io.read_sbml` returns it.
    Attributes:
        parameters: parameters, sizes of compartments and species that do not change, by name, to be replaced and differentiated.
        first: the file's first state, (unknowns,).
        names: of the unknowns.
    Source: S. Keating et al., Mol. Syst. Biol. 16 (2020) e9110, for the format.
    """

    parameters: dict[str, Float[Array, ""]]
    first: Float[Array, " unknowns"]
    change: Float[Array, "unknowns reactions"]
    names: tuple[str, ...] = eqx.field(static=True)
    sizes: tuple[str, ...] = eqx.field(static=True)
    equations: Equations = eqx.field(static=True)

    def __init__(self, document: Any) -> None:
        import libsbml

        model = document.getModel()
        _refuse(document)
        formula = _Formulas(model, libsbml)
        rules: dict[str, Expression] = {}
        rates: dict[str, Expression] = {}
        for rule in model.getListOfRules():
            (rates if rule.isRate() else rules)[rule.getVariable()] = formula(rule.getMath())
        species = {s.getId(): s for s in model.getListOfSpecies()}
        moving, change, laws = _reactions(
            model, species, {*rules, *rates, *(a.getSymbol() for a in model.getListOfInitialAssignments())}, formula
        )
        self.names = (*moving, *rates)
        begin = _begin(model, rules, formula)
        held = [n for n in begin if n not in self.names and n not in rules]
        self.parameters = {name: jnp.asarray(begin[name], float) for name in held}
        self.first = jnp.asarray([begin[name] for name in self.names], float)
        self.change = jnp.asarray(np.concatenate([change, np.zeros((len(rates), change.shape[1]))]), float)
        # A reaction changes amounts; where a formula means a concentration, this is what the amount is divided by.
        self.sizes = tuple("" if _in_amounts(model, species[name]) else species[name].getCompartment() for name in moving)
        for name in self.sizes:
            if name and name not in self.parameters:
                raise ValueError(f"The compartment `{name}` changes its size, which is not supported; give its species in amounts.")
        # The name of a reaction is its rate.
        self.equations = Equations((*rules.items(), *laws.items()), (*laws.items(), *rates.items()))
        known = {*self.parameters, *self.names, *rules, *laws, TIME}
        for name in sorted(set().union(*(names(e, {}) for _, e in (*self.equations.rules, *self.equations.rates))) - known):
            raise ValueError(f"The file uses `{name}`, which it gives no value.")
        for name in moving:
            if begin[name] < 0:
                raise ValueError(f"The species `{name}` begins with {begin[name]:g}, which is negative.")

    def __call__(self, t, fine, load):
        scope, count = self._scope(t, fine, load), self.change.shape[1]
        some = [jnp.asarray(scope(rate), fine.dtype) for _, rate in self.equations.rates]
        amounts = self.change @ jnp.stack(some[:count]) if count else jnp.zeros_like(fine)
        moving = amounts[: len(self.sizes)] / self._volumes(fine.dtype)
        return jnp.concatenate([moving, *(x[None] for x in some[count:])])

    def value(self, name: str, t: Any, y: Any) -> Float[Array, ""]:
        """Anything the file names at a state."""
        return jnp.asarray(self._scope(t, y, None)(name))

    def reactions(self, molecules: float = 1.0) -> Reactions:
        """The same reactions among numbers of molecules, for noise and single jumps; `molecules` is how many a unit of amount has.

        Propensities are the file's rates as they stand: x^2 where a law of numbers would have x (x - 1).

        Raises:
            ValueError: something changes by a rate rule, or a rate needs the time.
        """
        if len(self.names) > len(self.sizes):
            raise ValueError(f"{', '.join(self.names[len(self.sizes) :])} change by rate rules, which have no jumps.")
        if any(TIME in names(rate, dict(self.equations.rules)) for _, rate in self.equations.rates):
            raise ValueError("A rate of the file is a function of the time, and jumps need rates that are not.")

        return Reactions(self.change, _Propensity(self, jnp.asarray(molecules, float)))

    def _volumes(self, dtype):
        sizes = [jnp.asarray(self.parameters[name] if name else 1.0, dtype) for name in self.sizes]
        return jnp.stack(sizes) if sizes else jnp.ones(0, dtype)

    def _scope(self, t, y, load):
        given = {} if load is None else load
        for name in given:
            if name not in self.parameters:
                has = ", ".join(self.parameters)
                raise ValueError(f"The network has no parameter `{name}`; it has {has}.{hint(name, self.parameters)}")
        unknowns = dict(zip(self.names, y, strict=True))
        return Scope(dict(self.equations.rules), {**self.parameters, **given, **unknowns, TIME: t})


class _Propensity(eqx.Module):
    network: ImportedNetwork
    molecules: Float[Array, ""]

    def __call__(self, x, load):
        y = x / (self.molecules * self.network._volumes(x.dtype))
        scope = self.network._scope(0.0, y, load)
        return self.molecules * jnp.stack([jnp.asarray(scope(rate), x.dtype) for _, rate in self.network.equations.rates])


class _Formulas:
    """Formulas of libsbml's as ours; functions of the file's own are written out."""

    def __init__(self, model: Any, libsbml: Any) -> None:
        self.kinds = {getattr(libsbml, name): name for name in dir(libsbml) if name.startswith("AST_")}
        self.functions = {f.getId(): f for f in model.getListOfFunctionDefinitions()}

    def __call__(self, node: Any, local: Mapping[str, Expression] | None = None) -> Expression:
        """The formula, in which `local` stands for some names."""
        local, kind = local or {}, self.kinds.get(node.getType(), "")
        if node.isNumber():
            return float(node.getValue())
        if kind == "AST_NAME":
            return local.get(node.getName(), node.getName())
        if kind == "AST_NAME_TIME":
            return TIME
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        parts = tuple(self(node.getChild(k), local) for k in range(node.getNumChildren()))
        if kind == "AST_FUNCTION" and node.getName() in self.functions:
            own = self.functions[node.getName()]
            arguments = (own.getArgument(k).getName() for k in range(own.getNumArguments()))
            return self(own.getBody(), dict(zip(arguments, parts, strict=True)))
        if kind in ("AST_PLUS", "AST_TIMES") and not parts:
            return 0.0 if kind == "AST_PLUS" else 1.0
        if kind == "AST_FUNCTION_ROOT":
            return ("sqrt", parts[-1]) if len(parts) == 1 or parts[0] == 2 else ("^", parts[1], ("/", 1.0, parts[0]))
        if kind == "AST_FUNCTION_LOG":
            return ("log10", parts[-1]) if len(parts) == 1 else ("/", ("log", parts[1]), ("log", parts[0]))
        if kind == "AST_FUNCTION_PIECEWISE" and len(parts) % 2 == 0:
            return "piecewise", *parts, float("nan")
        if OPERATORS.get(kind) not in OPERATIONS:
            raise ValueError(f"The file uses `{node.getName() or kind.removeprefix('AST_').lower()}`, which is not supported.")
        return OPERATORS[kind], *parts


def _refuse(document: Any) -> None:
    """Raise where the file means something that would be lost."""
    model = document.getModel()
    for k in range(document.getNumPlugins()):
        package = document.getPlugin(k).getPackageName()
        if package in MEANING and document.getPackageRequired(package):
            raise ValueError(f"The file needs the SBML package `{package}`, which is not supported.")
    if model.getNumEvents():
        raise ValueError(
            f"The file has {model.getNumEvents()} events, which are not supported: take them out, or follow the parts between them."
        )
    if any(rule.isAlgebraic() for rule in model.getListOfRules()):
        raise ValueError("The file has algebraic rules, which are not supported: solve them for the unknown they determine.")
    if model.isSetConversionFactor() or any(s.isSetConversionFactor() for s in model.getListOfSpecies()):
        raise ValueError("The file has conversion factors, which are not supported: give amounts and rates in one unit.")
    for reaction in model.getListOfReactions():
        if reaction.isSetFast() and reaction.getFast():
            raise ValueError(f"The reaction `{reaction.getId()}` is marked fast, which is not supported: give it a rate.")
        if not reaction.isSetKineticLaw() or reaction.getKineticLaw().getMath() is None:
            raise ValueError(f"The reaction `{reaction.getId()}` has no kinetic law: give it one.")


def _in_amounts(model: Any, species: Any) -> bool:
    place = model.getCompartment(species.getCompartment())
    point = place is None or (place.isSetSpatialDimensions() and place.getSpatialDimensions() == 0)
    return species.getHasOnlySubstanceUnits() or point


def _reactions(model: Any, species: Mapping[str, Any], ruled: set[str], formula: _Formulas) -> tuple[Any, Any, Any]:
    """The species that reactions change, what every reaction does to them, and how fast it is."""
    moving: dict[str, None] = {}
    laws, columns = {}, []
    for reaction in model.getListOfReactions():
        law = reaction.getKineticLaw()
        laws[reaction.getId()] = formula(law.getMath(), {p.getId(): f"{reaction.getId()}.{p.getId()}" for p in _local(law)})
        column: dict[str, float] = {}
        for sign, listed in ((-1, reaction.getListOfReactants()), (1, reaction.getListOfProducts())):
            for part in listed:
                name = part.getSpecies()
                if part.isSetStoichiometryMath() or (part.isSetId() and part.getId() in ruled):
                    raise ValueError(f"The reaction `{reaction.getId()}` has a stoichiometry by formula, which is not supported.")
                # A species at the boundary is in reactions and not changed by them.
                if not (species[name].getBoundaryCondition() or species[name].getConstant()):
                    amount = part.getStoichiometry() if part.isSetStoichiometry() else 1.0
                    column[name] = column.get(name, 0.0) + sign * amount
                    moving[name] = None
        columns.append(column)
    change = np.array([[column.get(name, 0.0) for column in columns] for name in moving])
    return tuple(moving), change.reshape(len(moving), len(columns)), laws


def _local(law: Any) -> list[Any]:
    return [*law.getListOfParameters(), *law.getListOfLocalParameters()]


def _begin(model: Any, rules: Mapping[str, Expression], formula: _Formulas) -> dict[str, float]:
    """The first values of everything that has one, in the unit that formulas use."""
    known: dict[str, Any] = {p.getId(): p.getValue() for p in model.getListOfParameters() if p.isSetValue()}
    for place in model.getListOfCompartments():
        known[place.getId()] = place.getSize() if place.isSetSize() else 1.0
    for reaction in model.getListOfReactions():
        known |= {f"{reaction.getId()}.{p.getId()}": p.getValue() for p in _local(reaction.getKineticLaw())}
    given = {a.getSymbol(): formula(a.getMath()) for a in model.getListOfInitialAssignments()}
    for s in model.getListOfSpecies():
        size = 1.0 if _in_amounts(model, s) else known[s.getCompartment()]
        if s.isSetInitialAmount():
            known[s.getId()] = s.getInitialAmount() / size
        elif s.isSetInitialConcentration():
            volume = known[s.getCompartment()] if s.getCompartment() and _in_amounts(model, s) else 1.0
            known[s.getId()] = s.getInitialConcentration() * volume
    scope = Scope({**rules, **given}, {name: x for name, x in known.items() if name not in given and name not in rules})
    scope.known[TIME] = 0.0
    everything = [name for name in known if "." in name]
    everything += [x.getId() for x in (*model.getListOfParameters(), *model.getListOfCompartments(), *model.getListOfSpecies())]
    begin = {}
    with jax.ensure_compile_time_eval():
        for name in everything:
            try:
                begin[name] = float(scope(name))
            except KeyError as error:
                raise ValueError(f"The file gives `{error.args[0]}` no first value: give it one.") from None
    return begin
