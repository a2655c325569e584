"""Materials of the phases from a TOML file: read, checked, and left to others to turn into laws."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._input import InputError, unknown


@dataclass(frozen=True)
class LawEntry:
    """What a law is called in a file and which numbers it takes.

    Attributes:
        choices: sets of keys, one of which must be complete.
        optional: keys that may be there.
    """

    choices: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key the law knows."""
        return tuple(dict.fromkeys(k for choice in self.choices for k in choice)) + self.optional


_MODULI = (("E", "nu"), ("lam", "mu"), ("K", "G"))
_TURN = ("angle", "axis", "eigenstrain")
LAWS: dict[str, LawEntry] = {
    "elastic": LawEntry(_MODULI, ("eigenstrain",)),
    "cubic": LawEntry((("C11", "C12", "C44"),), _TURN),
    "orthotropic": LawEntry((("E1", "E2", "E3", "nu12", "nu13", "nu23", "G12", "G13", "G23"),), _TURN),
    "neo-hookean": LawEntry(_MODULI, ("eigenstrain",)),
    "svk": LawEntry(_MODULI, ("eigenstrain",)),
    "j2": LawEntry(tuple((*pair, "sy") for pair in _MODULI), ("H", "s_inf", "delta", "kinematic", "recall", "eigenstrain")),
    "finite-j2": LawEntry(tuple((*pair, "sy") for pair in _MODULI), ("H", "s_inf", "delta", "eigenstrain")),
    "conductivity": LawEntry((("k",),)),
}
"""The laws a file may name.

`E, K, G, mu, lam, C11, ...`: moduli; `sy`: yield stress in tension; `H`: slope of the yield stress; `s_inf`, `delta`: Voce
hardening, sy + H p + (s_inf - sy) (1 - exp(-delta p)); `kinematic`, `recall`: slope of the back stress and its rate of
forgetting; `angle` (degrees) about `axis` (default: the third): how the material's axes are turned; `eigenstrain`: a free
strain, one number (swelling) or one an axis; `k`: a conductivity, one number or one an axis.
"""

_ANY_SIGN = ("lam", "C12", "angle", "axis", "eigenstrain", "nu12", "nu13", "nu23")
_LISTS = ("axis", "eigenstrain", "k")


@dataclass(frozen=True)
class Phase:
    """One phase: its name, its value (or values) in the image, its law and the law's numbers."""

    name: str
    law: str
    numbers: Mapping[str, float | tuple[float, ...]]
    labels: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Materials:
    """The phases in order, and the gray levels between them where they are chosen by threshold."""

    phases: tuple[Phase, ...]
    thresholds: tuple[float, ...] | None = None
    source: str = field(default="", compare=False)

    @property
    def labels(self) -> tuple[tuple[float, ...], ...] | None:
        """The values in the image of every phase, or None where the file does not say."""
        known = tuple(phase.labels for phase in self.phases if phase.labels is not None)
        return known if len(known) == len(self.phases) else None


def read_materials(path: str | Path) -> Materials:
    """The materials in a TOML file.

    thresholds = [0.5]      # optional: gray levels between the phases, in place of the labels

    [[phase]]
    name = "matrix"
    label = 0               # its value in the image, or a list of values
    law = "elastic"         # one of `LAWS`
    E = 1.0
    nu = 0.3
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The materials {path} do not exist.")
    try:
        text = path.read_text()
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(f"The materials {path} are not TOML: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        # In TOML a point stands between digits; elsewhere it need not.
        hint = "; a number is written `30.0`, not `30.` or `.3`" if re.search(r"\d\.(?!\d)|(?<!\d)\.\d", text) else ""
        raise InputError(f"The materials {path} are not TOML: {error}{hint}.") from error
    for key in table:
        if key not in ("phase", "thresholds"):
            raise unknown("the key", key, ("phase", "thresholds"), where=f"In {path}, ")
    entries = table.get("phase")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"The materials {path} must hold at least one `[[phase]]`, but hold none.")
    found = tuple(make_phase(entry, where=f"In {path}, phase {n}: ") for n, entry in enumerate(entries))
    some = [phase.labels is None for phase in found]
    if any(some) and not all(some):
        raise InputError(f"In {path}, either every phase or none must have a `label`, but {sum(some)} of {len(some)} have none.")
    return Materials(found, _thresholds(table, path, len(found)), str(path))


def _thresholds(table, path, count: int) -> tuple[float, ...] | None:
    if "thresholds" not in table:
        return None
    levels = table["thresholds"]
    if not isinstance(levels, list) or len(levels) != count - 1:
        raise InputError(f"In {path}, `thresholds` must be a list of {count - 1} numbers for {count} phases, but is {levels!r}.")
    return tuple(_number("thresholds", v, f"In {path}, ") for v in levels)


def make_phase(entry: Mapping[str, Any], *, where: str = "") -> Phase:
    """A phase from its table, every key and number checked."""
    if "law" not in entry:
        raise InputError(f"{where}the key `law` is missing; known laws are {', '.join(f'`{k}`' for k in LAWS)}.")
    law = str(entry["law"])
    if law not in LAWS:
        raise unknown("the law", law, LAWS, where=where)
    known = ("name", "label", "law", *LAWS[law].keys)
    for key in entry:
        if key not in known:
            raise unknown(f"for the law `{law}` the key", key, known, where=where)
    numbers = {k: _value(k, v, where) for k, v in entry.items() if k in LAWS[law].keys}
    _complete(law, numbers, where)
    labels = entry.get("label")
    if labels is not None:
        labels = tuple(_number("label", v, where) for v in (labels if isinstance(labels, list) else [labels]))
    return Phase(str(entry.get("name", law)), law, numbers, labels)


def _complete(law: str, numbers, where: str) -> None:
    choices = LAWS[law].choices
    given = set(numbers) - set(LAWS[law].optional)
    if given not in [set(choice) for choice in choices]:
        wanted = ", or ".join(" and ".join(f"`{k}`" for k in choice) for choice in choices)
        got = ", ".join(f"`{k}`" for k in sorted(given)) or "none of them"
        raise InputError(f"{where}the law `{law}` takes {wanted}, but {got} was given.")
    for one, other in (("s_inf", "delta"), ("delta", "s_inf"), ("recall", "kinematic"), ("axis", "angle")):
        if one in numbers and other not in numbers:
            raise InputError(f"{where}`{one}` goes with `{other}`, but there is no `{other}`.")
    if "axis" in numbers and (len(numbers["axis"]) != 3 or not any(numbers["axis"])):
        raise InputError(f"{where}`axis` must be a direction of three numbers, but is {list(numbers['axis'])}.")


def _value(key: str, value, where: str) -> float | tuple[float, ...]:
    if isinstance(value, list) and key in _LISTS:
        numbers = tuple(_number(key, v, where) for v in value)
        if not numbers:
            raise InputError(f"{where}`{key}` must not be an empty list.")
        return numbers
    if key == "axis":
        raise InputError(f"{where}`axis` must be a list of three numbers, but is {value!r}.")
    return _number(key, value, where)


def _number(key: str, value, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{where}`{key}` must be a number, but is {value!r}.")
    value = float(value)
    if not math.isfinite(value):
        raise InputError(f"{where}`{key}` must be finite, but is {value}.")
    if key == "nu" and not -1 < value < 0.5:
        raise InputError(f"{where}`nu` must lie between -1 and 0.5, without both, but is {value:g}.")
    if key == "sy" and value <= 0:
        raise InputError(f"{where}`sy` must be positive, but is {value:g}.")
    if key not in (*_ANY_SIGN, "nu", "label", "thresholds") and value < 0:
        raise InputError(f"{where}`{key}` must not be negative, but is {value:g} (zero is a pore).")
    return value
