"""Output of all commands on a terminal: progress, remarks and results, and figures in readable units.

Results go to standard output, progress to standard error, and there only if it is a terminal: no bar reaches a file or
a pipe. rich leaves colours out where the output is no terminal, with NO_COLOR set, and with TERM=dumb.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

Item = TypeVar("Item")

UNLIMITED = 10_000  # columns of a terminal


@dataclass
class Screen:
    """The user's options about output; `svformer.common.cli.ArgumentParser` sets them."""

    quiet: bool = False  # without progress and remarks
    json: bool = False  # nothing but JSON on standard output
    color: bool = True


SCREEN = Screen()


def new_console(*, stderr: bool = False) -> Console:
    """A console for results and remarks, silent with --quiet and --json; it breaks lines for terminals only."""
    silent = SCREEN.quiet or (SCREEN.json and not stderr)
    made = Console(stderr=stderr, quiet=silent, no_color=None if SCREEN.color else True)
    made.soft_wrap = not made.is_terminal
    return made


def say(text: str) -> None:
    """Print a line on standard output, unless --quiet or --json is set."""
    if not (SCREEN.quiet or SCREEN.json):
        print(text)


def print_wide(table: Table, console: Console) -> None:
    """Print a table in its full width: with columns cut to the terminal's width it could not be read."""
    width = max(console.width, Console(width=UNLIMITED).measure(table).maximum)
    Console(file=console.file, width=width, quiet=console.quiet, no_color=console.no_color).print(table)


# Progress


def progress(*columns: ProgressColumn, on: Console | None = None, show: bool = True) -> Progress:
    """Bars that vanish at their end, on standard error or the console `on`; none where that is not a terminal.

    Lines that are printed meanwhile on the same console (or with `print`, on a terminal) appear above the bars.
    """
    on = on or new_console(stderr=True)
    chosen = columns or (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    watched = show and on.is_interactive and not on.quiet
    return Progress(*chosen, console=on, transient=True, disable=not watched, redirect_stdout=sys.stdout.isatty())


def track(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show a bar of those that are done."""
    with progress() as bar:
        yield from bar.track(items, total=total, description=description)


@contextlib.contextmanager
def counting(total: int, description: str) -> Iterator[Callable[[float], None]]:
    """Show a bar; yield a function that sets the number of items that are done, fractions included."""
    with progress() as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextlib.contextmanager
def working(description: str) -> Iterator[None]:
    """Show a bar without an end, for work whose progress is unknown."""
    with progress(TextColumn("{task.description}"), BarColumn()) as bar:
        bar.add_task(description, total=None)
        yield


# Units


def counted(count: int, what: str) -> str:
    """A number with its noun: 1 clip, 12 clips."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


_BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_SECONDS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))


def size(count: float) -> str:
    """A number of bytes with decimal prefixes: 718 kB, 1.9 MB, 105 MB, 3.1 GB."""
    for unit, factor in _BYTES:
        if count >= factor:
            return f"{count / factor:.1f} {unit}" if count < 10 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """A time in one or two readable units: 0.4 ms, 0.10 s, 11 s, 10 min 57 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 0.01:
        return f"{1e3 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for large, in_large, small, in_small in _SECONDS:
        if whole >= in_large:
            return f"{whole // in_large} {large} {whole % in_large // in_small} {small}"
    return f"{whole} s"
