"""docs/report.md: every key of the reports with its type, unit and meaning, from the types."""

import dataclasses
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from deploy.report.keys.loihi2 import BoardReport
from deploy.report.keys.report import Report
from hardware.counts import COUNTS, MeanCounts

HEAD = """# The keys of report.json

`run_lava.py` writes what it found to `report.json`, for programs. `python -m deploy.report.schema` writes this page
from the types in `deploy/report/keys/`, and the same as JSON schemas: [report.schema.json](report.schema.json) of a
run, [estimate.schema.json](estimate.schema.json) of `--estimate`, whose keys end at `provenance`, and
[loihi2.schema.json](loihi2.schema.json) of a run on a board. In Python:

```python
from deploy.report.keys.report import Report

report = Report.read("runs/demo/report.json")
print(report.network.name, report.totals.synaptic_ops)
```

Counts and energies are those of the mean clip. A key with `?` is left out where there is nothing to say; all others are
always there, and `null` has the meaning that is given. Names in capitals stand for a name: of a chip, of a layer.
"""
PLAIN = {int: "integer", float: "number", str: "text", bool: "true or false"}
NAMED = {  # by key of an object: what its names name; other objects have kinds of operation or other names
    "fill": "LIMIT", "fit": "CHIP", "models": "CHIP", "mj": "CHIP",
    "first_step": "LAYER", "by_layer": "LAYER", "by_step": "LAYER",
    "views": "N", "accuracy": "N", "versions": "NAME", "profiler": "PROBE",
}  # fmt: skip


@dataclass
class _Page:
    """The sections so far, and those that are still to be written: a type is described where it comes first."""

    lines: list[str]
    places: dict[type, str] = field(default_factory=dict)  # by type: the heading of its section
    waiting: list[type] = field(default_factory=list)

    def report(self, described: type, heading: str, prefix: str) -> None:
        """A report and all types in it, each behind the one that it is a part of."""
        self._section(described, f"## {heading}", prefix)
        while self.waiting:
            part = self.waiting.pop(0)
            others, self.waiting = self.waiting, []
            self._section(part, f"### `{self.places[part]}`", f"{self.places[part]}.")
            self.waiting += others

    def _section(self, described: type, heading: str, prefix: str) -> None:
        """A heading, what the type is, and a row for every key."""
        first, _, _ = (described.__doc__ or "").partition("\n\n")
        self.lines += ["", heading, "", " ".join(first.split()), "", *_table(self._rows(described, prefix))]

    def _rows(self, described: type, prefix: str) -> Iterator[tuple[str, ...]]:
        hints = get_type_hints(described)
        for key in dataclasses.fields(described):
            if key.name in COUNTS and described is not MeanCounts:
                continue
            optional = "exclude_if" in key.metadata
            text = self._type(hints[key.name], f"{prefix}{key.name}")
            unit = key.metadata.get("json_schema_extra", {}).get("unit", "")
            shown = text.removesuffix(" or null") if optional else text
            yield f"`{key.name}`{' ?' if optional else ''}", shown, unit, key.metadata["description"]
        if issubclass(described, MeanCounts) and described is not MeanCounts:
            yield "all keys of [totals](#totals)", "number", "", "the same counts of this layer"

    def _type(self, hint: Any, place: str) -> str:
        """A type in words; a type with keys of its own gets a section."""
        parts, last = get_args(hint), place.rpartition(".")[2]
        if get_origin(hint) in (Union, types.UnionType):
            if set(parts) == {int, float}:
                return "number"
            texts = [self._type(part, place) for part in parts if part is not type(None)]
            return " or ".join([*texts, *(["null"] if type(None) in parts else [])])
        if get_origin(hint) is Literal:
            return ", ".join(f'"{value}"' for value in parts)
        if get_origin(hint) is tuple:
            item = self._type(parts[0], f"{place}[]")
            return f"list of {item}" if parts[-1] is Ellipsis else f"list of {len(parts)}: {item}"
        if get_origin(hint) is dict:
            name = NAMED.get(last, "OPERATION" if parts[1] in (int, float) else "NAME")
            return f"object of {self._type(parts[1], f'{place}.{name}')}"
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self._link(hint, place)
        return PLAIN[float if isinstance(hint, TypeVar) else hint]

    def _link(self, described: type, place: str) -> str:
        if described not in self.places:
            self.places[described] = place
            self.waiting.append(described)
        shown = self.places[described]
        return f"[{shown}](#{_anchor(shown)})"


def key_page() -> str:
    """The page, in Markdown."""
    page = _Page(lines=HEAD.splitlines())
    page.report(Report, "report.json", "")
    page.report(BoardReport, "loihi2.json", "loihi2.")
    return "\n".join(page.lines) + "\n"


def _table(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| key | type | unit | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
