# PYTHON_ARGCOMPLETE_OK
"""JSON schemas and the page of keys of report.json and loihi2.json, written from the types of the reports.

    python -m deploy.report.schema                   # docs/report.md and docs/*.schema.json
    python -m deploy.report.schema --out folder

A test fails where the files in docs/ are not what this command writes.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path
from svformer.common.terminal import new_console

if TYPE_CHECKING:
    from deploy.report.keys.stored import Stored


def files() -> dict[str, str]:
    """Name and content of every file."""
    from deploy.report.key_page import key_page
    from deploy.report.keys.loihi2 import BoardReport
    from deploy.report.keys.report import Estimate, Report

    reports = {"report": Report, "estimate": Estimate, "loihi2": BoardReport}
    schemas = {f"{name}.schema.json": json.dumps(schema(of), indent=2) + "\n" for name, of in reports.items()}
    return {"report.md": key_page(), **schemas}


def schema(report: "type[Stored]") -> dict[str, Any]:
    """JSON schema of the files of a report: every key is there but the optional ones, and no others."""
    from deploy.report.keys.stored import json_schema

    found = json_schema(report)
    for values in [found, *found["$defs"].values()]:
        _tidy(values)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _tidy(values: dict[str, Any]) -> None:
    """Titles that repeat the key go; a key with a default is always written, unless it is optional, then never null."""
    required = []
    for name, value in values["properties"].items():
        value.pop("title", None)
        if "default" in value and value.pop("default") is None:
            (kept,) = [option for option in value.pop("anyOf") if option.get("type") != "null"]
            value.update(kept)
        else:
            required.append(name)
    values["required"] = required


def main(argv: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m deploy.report.schema", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the files (default: docs)")
    arguments = parser.parse_args(argv)
    for name, content in files().items():
        with atomic_path(arguments.out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
        new_console().print(f"wrote {arguments.out / name}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
