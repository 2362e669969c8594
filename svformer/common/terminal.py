"""What goes to the screen, for every command: progress, remarks and results, and figures in units that people read.

Results go to standard output, progress to standard error, and there only where a person watches: no bar reaches a file
or a pipe. rich leaves colours out where they do not go to a terminal, with NO_COLOR set, and with TERM=dumb.
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
    """What the user asked for; `svformer.common.cli.ArgumentParser` sets it."""

    quiet: bool = False  # no progress, no remarks
    json: bool = False  # standard output is for JSON alone
    color: bool = True


SCREEN = Screen()


def new_console(*, stderr: bool = False) -> Console:
    """For results and remarks, silent with --quiet and --json; lines are broken for terminals alone."""
    silent = SCREEN.quiet or (SCREEN.json and not stderr)
    made = Console(stderr=stderr, quiet=silent, no_color=None if SCREEN.color else True)
    made.soft_wrap = not made.is_terminal
    return made


def say(text: str) -> None:
    """Print a line on standard output, as it is; not with --quiet or --json."""
    if not (SCREEN.quiet or SCREEN.json):
        print(text)


def print_wide(table: Table, console: Console) -> None:
    """A table as wide as it is: with its columns cut to the terminal it would be of no use."""
    width = max(console.width, Console(width=UNLIMITED).measure(table).maximum)
    Console(file=console.file, width=width, quiet=console.quiet, no_color=console.no_color).print(table)


# Progress


def progress(*columns: ProgressColumn, on: Console | None = None, show: bool = True) -> Progress:
    """Bars that vanish when they are done, on standard error or the console `on`; none where nobody watches.

    What is printed meanwhile on the same console (or with `print`, on a terminal) appears above them.
    """
    on = on or new_console(stderr=True)
    chosen = columns or (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    watched = show and on.is_interactive and not on.quiet
    return Progress(*chosen, console=on, transient=True, disable=not watched, redirect_stdout=sys.stdout.isatty())


def track(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """The items, with a bar."""
    with progress() as bar:
        yield from bar.track(items, total=total, description=description)


@contextlib.contextmanager
def counting(total: int, description: str) -> Iterator[Callable[[float], None]]:
    """A bar that is told how many are done, parts of one included; yields what to call with it."""
    with progress() as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextlib.contextmanager
def working(description: str) -> Iterator[None]:
    """A bar without an end, for a step that cannot say how far it is."""
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
    """Bytes for people, with decimal prefixes: 718 kB, 1.9 MB, 105 MB, 3.1 GB."""
    for unit, factor in _BYTES:
        if count >= factor:
            return f"{count / factor:.1f} {unit}" if count < 10 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 ms, 0.10 s, 11 s, 10 min 57 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 0.01:
        return f"{1e3 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for large, in_large, small, in_small in _SECONDS:
        if whole >= in_large:
            return f"{whole // in_large} {large} {whole % in_large // in_small} {small}"
    return f"{whole} s"
