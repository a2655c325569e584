"""What a run says: progress and notes on stderr, the main numbers on stdout, and the report they come from."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from .._results import fine, from_names, message

SECONDS = 10.0
"""Between two lines of progress where there is no screen."""


@dataclass
class Report:
    """What a run found.

    Attributes:
        title: one line above the table.
        rows: the table on the screen: a name and its numbers, as text, `head` above them.
        numbers: everything worth keeping, for `summary.json`.
        codes: names of `RESULTS` (one, one a member, or how many members of each), by the part of the work they belong to.
        text: the rows hold sentences rather than numbers.
        notes: sentences under the table.
    """

    title: str = ""
    head: tuple[str, ...] = ("", "")
    rows: list[tuple[str, ...]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, Any] = field(default_factory=dict)
    text: bool = False
    notes: list[str] = field(default_factory=list)

    def failure(self) -> str | None:
        """The sentence for the first part that failed as a whole, or None. Single members of a batch may fail."""
        for part, given in self.codes.items():
            codes = np.atleast_1d(np.asarray(list(given) if isinstance(given, Mapping) else given)).ravel()
            good = np.asarray(fine(from_names(codes)))
            if codes.size and not good.any():
                return f"The solve failed ({part}) with `{codes[0]}`: {message(str(codes[0]))}"
        return None


class Console:
    """Where a run speaks: rich on a screen, silent where `quiet` (but for the table and errors)."""

    def __init__(self, *, quiet: bool = False):
        from rich.console import Console as Screen

        self.quiet = quiet
        # A file or a pipe has no width of its own.
        self.out = Screen(highlight=False, width=None if sys.stdout.isatty() else 120)
        self.err = Screen(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """A sentence on the way."""
        if not self.quiet:
            self.err.print(f"[dim]{_plain(text)}[/dim]", soft_wrap=True)

    def error(self, text: str) -> None:
        """A sentence at the end, which a person must see; one line however narrow the screen."""
        self.err.print(f"[red]jaxmsm:[/red] {_plain(text)}", soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """A bar; the function it yields moves it on: `step()`, `step(5)`, `step(0, "another label")`."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
        # A bar needs a screen; a file or a pipe gets a line now and then.
        drawn = self.err.is_terminal and not self.quiet
        if not drawn:
            self.note(f"{label} ...")
        start = said = time.monotonic()
        done = 0
        with Progress(*columns, console=self.err, transient=True, disable=not drawn) as bar:
            task = bar.add_task(label, total=total)

            def step(count: int = 1, label: str | None = None) -> None:
                nonlocal done, said
                done += count
                bar.update(task, advance=count, description=label)
                now = time.monotonic()
                if not drawn and now >= said + SECONDS:
                    said = now
                    self.note(_line(done, total, now - start, label))

            yield step

    def table(self, report: Report) -> None:
        """The main numbers."""
        from rich import box
        from rich.table import Table

        if report.title:
            self.out.print(_plain(report.title), soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for k, name in enumerate(report.head):
            table.add_column(_plain(name), justify="left" if report.text or k == 0 else "right", no_wrap=k == 0 or not report.text)
        for row in report.rows:
            table.add_row(*map(_plain, row))
        self.out.print(table)
        for note in report.notes:
            self.out.print(_plain(note), soft_wrap=True)


def _line(done: int, total: int | None, seconds: float, label: str | None) -> str:
    """What a bar would show."""
    of = "" if total is None else f"/{total}"
    left = f", {_clock(seconds * (total - done) / done)} left" if total and done else ""
    return f"  {done}{of}, {_clock(seconds)}{left}" + (f": {label}" if label else "")


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _plain(text: str) -> str:
    # Brackets are marks of style to rich.
    from rich.markup import escape

    return escape(text)
