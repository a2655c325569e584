"""Formulas as data: what files of models are read into. A number, a name, or a tuple of an operation and its arguments."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

type Expression = float | str | tuple[Any, ...]


def _joined(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def many(first, *rest):
        for x in rest:
            first = fn(first, x)
        return first

    return many


def _piecewise(*pairs: Any) -> Any:
    """piecewise(value, condition, value, condition, ..., otherwise)."""
    value = pairs[-1]
    for k in range(len(pairs) - 3, -1, -2):
        value = jnp.where(pairs[k + 1], pairs[k], value)
    return value


OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": _joined(lambda a, b: a + b),
    "-": lambda a, *b: a - b[0] if b else -a,
    "*": _joined(lambda a, b: a * b),
    "/": lambda a, b: a / b,
    "^": lambda a, b: a ** (int(b) if isinstance(b, float) and b.is_integer() and abs(b) < 9 else b),
    "//": lambda a, b: jnp.floor(a / b),
    "%": lambda a, b: a - b * jnp.floor(a / b),
    "exp": jnp.exp,
    "log": lambda a: jnp.log(a),
    "log10": jnp.log10,
    "sqrt": jnp.sqrt,
    "abs": jnp.abs,
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "min": _joined(jnp.minimum),
    "max": _joined(jnp.maximum),
    **{name: getattr(jnp, name) for name in ("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh")},
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "and": _joined(jnp.logical_and),
    "or": _joined(jnp.logical_or),
    "not": jnp.logical_not,
    "piecewise": _piecewise,
}
"""What an expression may do."""


class Equations(NamedTuple):
    """A system dy/dt = f(t, y) as data: hashable, so that programs made from it are found again.

    Attributes:
        rules: names and what they stand for; they may use each other, in no loop.
        rates: unknowns and their rates.
    """

    rules: tuple[tuple[str, Expression], ...]
    rates: tuple[tuple[str, Expression], ...]


class Scope:
    """Values of expressions where some names are known and others follow from rules: `scope(expression)`, each rule used once."""

    def __init__(self, rules: Mapping[str, Expression], known: Mapping[str, Any]) -> None:
        self.rules, self.known = rules, dict(known)

    def __call__(self, expression: Expression) -> Any:
        if isinstance(expression, str):
            if expression not in self.known:
                self.known[expression] = self(self.rules[expression])
            return self.known[expression]
        if isinstance(expression, tuple):
            return OPERATIONS[expression[0]](*map(self, expression[1:]))
        return expression


def names(expression: Expression, rules: Mapping[str, Expression], seen: set[str] | None = None) -> set[str]:
    """The names that an expression needs, those behind its rules too."""
    seen = set() if seen is None else seen
    if isinstance(expression, str):
        if expression not in seen:
            seen.add(expression)
            names(rules.get(expression, 0.0), rules, seen)
    elif isinstance(expression, tuple):
        for part in expression[1:]:
            names(part, rules, seen)
    return seen


class Curved(Exception):
    """An expression is no straight line in a name."""


def line(expression: Expression, name: str, rules: Mapping[str, Expression]) -> tuple[Expression, Expression]:
    """The height and the slope of an expression that is a straight line in a name, or `Curved`."""
    if expression == name:
        return 0.0, 1.0
    if name not in names(expression, rules):
        return expression, 0.0
    if isinstance(expression, str):
        return line(rules[expression], name, rules)
    assert isinstance(expression, tuple)
    operation, *parts = expression
    if operation == "piecewise":
        *pairs, otherwise = parts
        if any(name in names(condition, rules) for condition in pairs[1::2]):
            raise Curved
        lines = [line(value, name, rules) for value in (*pairs[::2], otherwise)]
        pick = lambda k: _picked([x[k] for x in lines], pairs[1::2])
        return pick(0), pick(1)
    if operation not in ("+", "-", "*", "/"):
        raise Curved
    height, slope = line(parts[0], name, rules)
    if operation == "-" and len(parts) == 1:
        return _minus(0.0, height), _minus(0.0, slope)
    for part in parts[1:]:
        a, b = line(part, name, rules)
        if operation in ("+", "-"):
            fn = _plus if operation == "+" else _minus
            height, slope = fn(height, a), fn(slope, b)
        elif b == 0:
            fn = _times if operation == "*" else _over
            height, slope = fn(height, a), fn(slope, a)
        elif operation == "*" and slope == 0:
            height, slope = _times(height, a), _times(height, b)
        else:
            raise Curved
    return height, slope


def _picked(values: list[Expression], conditions: list[Expression]) -> Expression:
    if all(v == values[0] for v in values):
        return values[0]
    pairs = [x for pair in zip(values[:-1], conditions, strict=True) for x in pair]
    return ("piecewise", *pairs, values[-1])


def _plus(a: Expression, b: Expression) -> Expression:
    return b if a == 0 else a if b == 0 else ("+", a, b)


def _minus(a: Expression, b: Expression) -> Expression:
    return a if b == 0 else ("-", b) if a == 0 else ("-", a, b)


def _times(a: Expression, b: Expression) -> Expression:
    return 0.0 if a == 0 or b == 0 else b if a == 1 else a if b == 1 else ("*", a, b)


def _over(a: Expression, b: Expression) -> Expression:
    return 0.0 if a == 0 else ("/", a, b)
