"""A comparison of finished runs as a table on a terminal and as a page."""

from pathlib import Path

from rich.console import Console
from rich.table import Column as TableColumn
from rich.table import Table

from deploy.comparison.runs import RunComparison
from deploy.report.page import environment
from deploy.report.record import LIBRARIES
from deploy.report.scripts import script
from svformer.common.files import atomic_path
from svformer.common.provenance import provenance


def print_runs(found: RunComparison, console: Console) -> None:
    """A row for every figure, a column for every run."""
    table = Table(
        TableColumn("", overflow="fold"), *(TableColumn(n, justify="right", overflow="fold") for n in found.names)
    )
    for column in found.columns:
        table.add_row(column.title, *column.texts)
    console.print(table)
    for remark in found.remarks:
        console.print(remark)


def write_runs(found: RunComparison, path: Path) -> None:
    """Write the page."""
    html = (
        environment().get_template("runs.html").render(found=found, run=provenance(LIBRARIES), script=script("page.js"))
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
