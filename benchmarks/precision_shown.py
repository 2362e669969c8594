"""The table of `precision_table.py` on the terminal, as Markdown and as a picture."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from precision_measure import Cell
from precision_run import Result
from precision_ways import WAYS
from rich import box
from rich.table import Table

from deploy.report import typeset
from svformer.common.files import atomic_path
from svformer.pictures.rounding import Rounded, draw_rounding


def columns(found: Sequence[Result]) -> list[str]:
    """Headings behind the name of the network."""
    ways = [WAYS[name].title for name in found[0].cells]
    return ["test clips", "float, %", *(f"{way}, %" for way in ways), *LISTS]


def values(result: Result) -> list[str]:
    """The cells of a row; the last columns list all ways in the order of their columns."""
    cells = list(result.cells.values())
    first = cells[0]
    lists = (" / ".join(show(cell) for cell in cells) for show in LISTS.values())
    return [f"{first.clips:,}", _percent(first.float_top1), *(_percent(cell.top1) for cell in cells), *lists]


def _percent(share: float | None) -> str:
    return typeset.NONE if share is None else f"{100 * share:.1f}"


LISTS: dict[str, Callable[[Cell], str]] = {
    "same prediction, %": lambda cell: _percent(cell.same),
    "spikes equal, %": lambda cell: _percent(cell.spikes),
    "minutes of one core": lambda cell: f"{cell.made_core_min:.1f}",
}


def as_table(found: Sequence[Result]) -> Table:
    """A row for each network."""
    table = Table("network", *columns(found), box=box.MARKDOWN)
    for result in found:
        table.add_row(result.name, *values(result))
    return table


def write(found: Sequence[Result], out: Path) -> None:
    """Write table.md and table.png."""
    headings = ["network", *columns(found)]
    lines = [headings, ["---"] * len(headings), *([result.name, *values(result)] for result in found)]
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
    with atomic_path(out / "table.png") as temporary:
        draw_rounding({result.name: _points(result.cells) for result in found}, temporary)


def _points(cells: Mapping[str, Cell]) -> list[Rounded]:
    return [
        Rounded(
            way=WAYS[name].title,
            points=None if cell.top1 is None or cell.float_top1 is None else 100 * (cell.top1 - cell.float_top1),
            same=100 * cell.same,
            spikes=100 * cell.spikes,
        )
        for name, cell in cells.items()
    ]
