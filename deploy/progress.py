"""Progress of a run over clips, for every command that has one."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def clip_progress(clips: int, title: str, console: Console) -> Iterator[Callable[[float], None]]:
    """A bar that goes when it is full; yields what is called with the number of clips done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=clips)
        yield lambda done: progress.update(task, completed=done)
