"""report.md as a file, to paste into a paper; report.json is `deploy.report.keys.stored.Stored.write`."""

from pathlib import Path

from deploy.report.keys.report import Report
from deploy.report.markdown import markdown
from svformer.common.files import atomic_path


def write_markdown(report: Report, path: Path) -> None:
    """Write report.md."""
    with atomic_path(path) as temporary:
        temporary.write_text(markdown(report) + "\n", encoding="utf-8")
