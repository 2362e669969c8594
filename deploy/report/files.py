"""The report as files: report.json for programs, report.md to paste into a paper."""

import json
import re
from pathlib import Path
from typing import Any

from deploy.report.markdown import markdown
from svformer.common.files import atomic_path

# A list of numbers over several lines; no string of JSON holds a line break, so none is touched.
NUMBERS = re.compile(r"\[\n\s*(-?[\d.eE+-]+(?:,\n\s*-?[\d.eE+-]+)*)\n\s*\]")


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write report.json; raises `ValueError` for what JSON cannot hold."""
    text = as_json(report)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def as_json(report: dict[str, Any]) -> str:
    """The report as indented JSON, a list of numbers on one line."""
    return NUMBERS.sub(_on_one_line, json.dumps(report, indent=2, allow_nan=False)) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{', '.join(number.strip() for number in found[1].split(','))}]"


def write_markdown(report: dict[str, Any], path: Path) -> None:
    """Write report.md."""
    with atomic_path(path) as temporary:
        temporary.write_text(markdown(report) + "\n", encoding="utf-8")
