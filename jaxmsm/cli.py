"""The `jaxmsm` command: `homogenize IMAGE`, `run NAME`, `dataset`, `list`."""

import contextlib
import dataclasses
import re
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from .io import InputError, fresh_folder, live_folder, whole_folder, write_summary
from .systems import COMMANDS, SYSTEMS, System
from .systems._console import Console, Report

_ABOUT = "Multiscale modeling: from an image to an effective law, and from a law to a story. --version names the version."


@dataclasses.dataclass
class _List:
    """Name the systems and what they do."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 if it worked, 1 if a solve failed, 2 if the input cannot be used, 130 if interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv == ["--version"]:
        print(f"jaxmsm {version('jaxmsm')}")
        return 0
    name, system, options = _parse(argv)
    if system is None:
        return _list()
    console = Console(quiet=options.quiet)
    try:
        return _run(name, system, options, console)
    except KeyboardInterrupt:
        console.error("Interrupted.")
        return 130
    except (InputError, ModuleNotFoundError, ValueError, RuntimeError) as error:
        code = _known(error)
        if code is None:
            raise
        console.error(str(error))
        return code


def _known(error: Exception) -> int | None:
    """The exit code of an error that is a sentence for the person who typed; None for a defect of ours."""
    text = str(error)
    if isinstance(error, InputError) or (isinstance(error, ValueError) and text.startswith("Argument `")):
        return 2
    if isinstance(error, ModuleNotFoundError) and "jaxmsm[files]" in text:
        return 2
    # `Solution.unwrap` names the code.
    if isinstance(error, RuntimeError) and re.match(r"The solve failed with `|\d+ of \d+ members failed", text):
        return 1
    return None


def _run(name: str, system: System, options: Any, console: Console) -> int:
    folder = fresh_folder(name) if options.out is None else Path(options.out)
    into = live_folder if system.resumes else whole_folder
    # The only place of the house that decides on the precision, for as long as the command lasts.
    began = time.perf_counter()
    with jax.enable_x64(options.precision != "float32"), _notes(console), into(folder) as out:
        report: Report = system.load().run(options, out, console)
        inputs = dataclasses.asdict(options) | {"out": folder}
        seconds = round(time.perf_counter() - began, 1)
        write_summary(
            out,
            {
                "command": name,
                "inputs": inputs,
                "seconds": seconds,
                "numbers": report.numbers,
                "codes": report.codes,
                "notes": report.notes,
            },
        )
    console.table(report)
    console.note(f"Written to {folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}")
    failure = report.failure()
    if failure is not None:
        console.error(failure)
        return 1
    return 0


@contextlib.contextmanager
def _notes(console: Console) -> Iterator[None]:
    """Warnings of this house as notes."""

    def show(message, category, filename, lineno, file=None, line=None):
        del filename, lineno, file, line
        if issubclass(category, UserWarning):
            console.note(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield


def _parse(argv: list[str]) -> tuple[str, System | None, Any]:
    """The command's name, its system and its options; without arguments, the help.

    Only the system that is named is imported; the others stand in the help with their sentence.
    """
    words = [word for word in argv if not word.startswith("-")][:2]
    choices = [_choice(name, system, words[:1]) for name, system in COMMANDS.items()]
    choices.append(_choice("list", None, words))
    if words[:1] == ["run"]:
        return _parse_run(argv, words)
    choices.append(_placeholder("run", "Run a named system: jaxmsm run NAME."))
    chosen = _cli(choices, argv or ["--help"], "jaxmsm", _ABOUT)
    name = words[0]
    return name, COMMANDS.get(name), chosen


def _parse_run(argv: list[str], words: list[str]) -> tuple[str, System, Any]:
    if not SYSTEMS:
        raise SystemExit("jaxmsm: no system is named yet.")
    choices = [_choice(name, system, words[1:]) for name, system in SYSTEMS.items()]
    rest = list(argv)
    rest.remove("run")
    chosen = _cli(choices, rest or ["--help"], "jaxmsm run", "Run a named system.")
    return words[1], SYSTEMS[words[1]], chosen


def _choice(name: str, system: System | None, words: Sequence[str]) -> Any:
    if system is None:
        return Annotated[_List, tyro.conf.subcommand(name, prefix_name=False)]
    if name not in words:
        return _placeholder(name, system.summary)
    return Annotated[system.load().Options, tyro.conf.subcommand(name, description=system.summary, prefix_name=False)]


def _placeholder(name: str, summary: str) -> Any:
    made = dataclasses.make_dataclass(f"_{name.capitalize()}", [])
    return Annotated[made, tyro.conf.subcommand(name, description=summary, prefix_name=False)]


def _cli(choices: list[Any], argv: list[str], prog: str, description: str) -> Any:
    union: Any = choices[0]
    for choice in choices[1:]:
        union = union | choice
    if len(choices) == 1:
        # A union of one is no union; the empty class makes it a choice.
        union = union | Annotated[_List, tyro.conf.subcommand("list", prefix_name=False)]
    return tyro.cli(union, args=argv, prog=prog, description=description, config=(tyro.conf.OmitArgPrefixes,))


def _list() -> int:
    report = Report("Systems", ("command", "what it does"), text=True)
    report.rows += [(f"jaxmsm {name}", system.summary) for name, system in COMMANDS.items()]
    report.rows += [(f"jaxmsm run {name}", system.summary) for name, system in SYSTEMS.items()]
    Console().table(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
