"""A network of genes from a TOML file: genes, who regulates whom, how long, and what is swept; read and checked."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._input import InputError, unknown
from ._models import read_sbml

GENE: dict[str, float] = {"basal": 0.0, "most": 1.0, "decay": 1.0, "start": 0.0}
"""What a gene has, and its value where the file says none."""
REGULATION: dict[str, float] = {"K": 1.0, "hill": 2.0}
"""What a regulation has besides `target`, `by` and `effect`."""
EFFECTS = {"activates": 1, "represses": -1}


@dataclass(frozen=True)
class Network:
    """A network as its file says it.

    Attributes:
        names: of the genes.
        genes: by key of `GENE`, one number a gene.
        regulations: by key of `REGULATION`, (n, n), target first.
        effect: +1, -1 or 0, (n, n).
        time: how long it is followed.
        sweep: what is swept: (`gene`, key) or (`target`, `by`, key), and its values.
    """

    names: tuple[str, ...]
    genes: Mapping[str, np.ndarray]
    regulations: Mapping[str, np.ndarray]
    effect: np.ndarray
    time: float
    sweep: Mapping[tuple[str, ...], np.ndarray]


@dataclass(frozen=True)
class Foreign:
    """A network that another file holds, in SBML.

    Attributes:
        document: a `libsbml.SBMLDocument`.
        time: how long it is followed.
        sweep: names in the file, and their values.
    """

    document: Any
    time: float
    sweep: Mapping[tuple[str, ...], np.ndarray]


def read_network(path: str | Path) -> Network | Foreign:
    """The network of a file, or `InputError` with a sentence that says what to do.

    Either `sbml = "model.xml"`, a file beside this one, with `time`, and in `[sweep]` names of its parameters, and of its
    unknowns with `.start`; or

    `time = 100`; a table `[genes.NAME]` for each gene, with the keys `basal`, `most`, `decay`, `start`; a table `[[regulation]]`
    for each arrow, with `target`, `by`, `effect` ("activates" or "represses"), `K`, `hill`; and in `[sweep]` names such as
    `"NAME.most"` or `"TARGET.BY.K"` with a list of values, or `{from = 1, to = 10, count = 20}`, with `log = true` for equal
    ratios.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}.") from None
    known = ("time", "sbml", "sweep") if "sbml" in given else ("time", "genes", "regulation", "sweep", "sbml")
    for key in given:
        if key not in known:
            raise unknown("Key", key, known, where=f"{path}: ")
    if "sbml" in given:
        return _foreign(path, given)
    tables = given.get("genes")
    if not isinstance(tables, dict) or not tables:
        raise InputError(f"{path} must have a table [genes.NAME] for each gene.")
    names = tuple(tables)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: the gene `{name}` must be a table, [genes.{name}].")
    genes = {key: np.array([_number(path, f"{n}.{key}", tables[n].get(key, rest)) for n in names]) for key, rest in GENE.items()}
    for name in names:
        for key in tables[name]:
            if key not in GENE:
                raise unknown("Key", key, GENE, where=f"{path}: gene `{name}`: ")
    regulations, effect = _regulations(path, given.get("regulation", []), names)
    time = _number(path, "time", given.get("time", 100.0))
    _positive(path, names, genes, regulations, time)
    sweep = {_target(path, key, names, effect): _values(path, key, spec) for key, spec in given.get("sweep", {}).items()}
    return Network(names, genes, regulations, effect, time, sweep)


def _foreign(path: Path, given: dict[str, Any]) -> Foreign:
    time = _number(path, "time", given.get("time", 100.0))
    if time <= 0 or not isinstance(given["sbml"], str):
        raise InputError(f"{path}: `time` must be positive, and `sbml` the name of a file.")
    sweep: dict[tuple[str, ...], np.ndarray] = {(key,): _listed(path, key, spec) for key, spec in given.get("sweep", {}).items()}
    return Foreign(read_sbml(path.parent / given["sbml"]), time, sweep)


def _regulations(path: Path, given: Any, names: tuple[str, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    n = len(names)
    numbers, effect = {key: np.full((n, n), rest) for key, rest in REGULATION.items()}, np.zeros((n, n), int)
    for table in given:
        where = f"{path}: regulation: "
        for key in ("target", "by", "effect"):
            if key not in table:
                raise InputError(f"{where}the key `{key}` is missing.")
        for key in table:
            if key not in ("target", "by", "effect", *REGULATION):
                raise unknown("Key", key, ("target", "by", "effect", *REGULATION), where=where)
        for key in ("target", "by"):
            if table[key] not in names:
                raise unknown("Gene", table[key], names, where=where)
        if table["effect"] not in EFFECTS:
            raise unknown("Effect", table["effect"], EFFECTS, where=where)
        i, j = names.index(table["target"]), names.index(table["by"])
        if effect[i, j]:
            raise InputError(f"{where}`{table['by']}` regulates `{table['target']}` twice; one arrow may do it.")
        effect[i, j] = EFFECTS[table["effect"]]
        for key in REGULATION:
            numbers[key][i, j] = _number(path, f"{names[i]}.{names[j]}.{key}", table.get(key, REGULATION[key]))
    return numbers, effect


def _number(path: Path, name: str, x: Any) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float) or not np.isfinite(x):
        raise InputError(f"{path}: `{name}` must be a number, but is {x!r}.")
    return float(x)


def _positive(path: Path, names: tuple[str, ...], genes: dict, regulations: dict, time: float) -> None:
    for key, values in genes.items():
        for name, x in zip(names, values, strict=True):
            if x < 0 or (key == "decay" and x == 0):
                must = "be positive" if key == "decay" else "not be negative"
                raise InputError(f"{path}: `{name}.{key}` must {must}, but is {x:g}.")
    if time <= 0 or any(np.any(x <= 0) for x in regulations.values()):
        raise InputError(f"{path}: `time`, and every `K` and `hill`, must be positive.")


def _target(path: Path, key: str, names: tuple[str, ...], effect: np.ndarray) -> tuple[str, ...]:
    parts = tuple(key.split("."))
    where = f"{path}: sweep `{key}`: "
    if len(parts) not in (2, 3):
        raise InputError(f"{where}write GENE.KEY, such as {names[0]}.most, or TARGET.BY.K.")
    for name in parts[:-1]:
        if name not in names:
            raise unknown("Gene", name, names, where=where)
    known = GENE if len(parts) == 2 else REGULATION
    if parts[-1] not in known:
        raise unknown("Key", parts[-1], known, where=where)
    if len(parts) == 3 and not effect[names.index(parts[0]), names.index(parts[1])]:
        raise InputError(f"{where}`{parts[1]}` does not regulate `{parts[0]}`.")
    return parts


def _values(path: Path, key: str, spec: Any) -> np.ndarray:
    values, last = _listed(path, key, spec), key.rsplit(".", 1)[-1]
    if np.any(values < 0) or (last in ("decay", "K", "hill") and np.any(values == 0)):
        where = f"sweep `{key}`"
        raise InputError(f"{path}: {where} must not be negative, and `decay`, `K` and `hill` must be positive.")
    return values


def _listed(path: Path, key: str, spec: Any) -> np.ndarray:
    where = f"sweep `{key}`"
    if isinstance(spec, list) and spec:
        values = np.array([_number(path, where, x) for x in spec])
    elif isinstance(spec, dict) and {"from", "to", "count"} <= set(spec) <= {"from", "to", "count", "log"}:
        low, high = (_number(path, where, spec[k]) for k in ("from", "to"))
        count = int(_number(path, where, spec["count"]))
        if count < 1 or (spec.get("log") and min(low, high) <= 0):
            raise InputError(f"{path}: {where} must have a count of at least 1, and positive ends where it is log.")
        values = np.geomspace(low, high, count) if spec.get("log") else np.linspace(low, high, count)
    else:
        shape = "a list of numbers, or {from = 1, to = 10, count = 20}, with log = true if wanted"
        raise InputError(f"{path}: {where} must be {shape}.")
    return values
