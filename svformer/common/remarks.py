"""Remarks about files, on standard error: each once, however often a file is read."""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_printed: set[tuple[str, str]] = set()  # path and kind of every remark that this process has printed
_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


def remark(path: str | Path, kind: str, text: str) -> None:
    """Print `PATH: text`, unless this process has printed a remark of this kind about the file before.

    Inside `collecting` the line is handed to the caller instead.
    """
    line, lines = f"{path}: {text}", _collected.get()
    if lines is not None:
        lines.append(line)
    elif (str(path), kind) not in _printed:
        _printed.add((str(path), kind))
        sys.stderr.write(f"{line}\n")  # in one piece: other processes write there, too
        sys.stderr.flush()


@contextlib.contextmanager
def collecting() -> Iterator[list[str]]:
    """Yield a list that receives the remarks of this thread made inside the block; none of them is printed."""
    lines = list[str]()
    token = _collected.set(lines)
    try:
        yield lines
    finally:
        _collected.reset(token)
