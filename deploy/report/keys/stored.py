"""A report as a file: written, and read back with every key checked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from svformer.common.errors import InputError
from svformer.common.files import atomic_path

# A list of numbers over several lines; no string of JSON holds a line break, so none is touched.
NUMBERS = re.compile(r"\[\n\s*(-?[\d.eE+-]+(?:,\n\s*-?[\d.eE+-]+)*)\n\s*\]")
NO_REPORT = "not a report of this version"
REMEDY = "give a report.json that run_lava.py wrote (docs/report.md)"


class Stored:
    """A report that is a JSON file. Keys whose value is None are written as null, optional keys are left out."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The report that a file holds.

        Raises `InputError` for a file that cannot be read, or that is no report of this kind.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
        try:
            report: Self = _adapter(cls).validate_json(content)
        except ValidationError as error:
            raise InputError(f"{path}: {NO_REPORT} ({_problems(error)}); {REMEDY}") from error
        if missing := list(_missing(report.plain(), json.loads(content))):
            raise InputError(f"{path}: {NO_REPORT} (missing: {', '.join(missing)}); {REMEDY}")
        return report

    def plain(self) -> dict[str, Any]:
        """The report as dictionaries, lists and numbers."""
        plain: dict[str, Any] = _adapter(type(self)).dump_python(self)
        return plain

    def write(self, path: str | Path) -> None:
        """Write the file; raises `ValueError` for what JSON cannot hold."""
        text = as_json(self.plain())
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def as_json(values: dict[str, Any]) -> str:
    """Plain values as indented JSON, a list of numbers on one line."""
    return NUMBERS.sub(_on_one_line, json.dumps(values, indent=2, allow_nan=False)) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{', '.join(number.strip() for number in found[1].split(','))}]"


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}  # made once, since that takes some time


def _adapter(report: type) -> TypeAdapter[Any]:
    if report not in _ADAPTERS:
        _ADAPTERS[report] = TypeAdapter(report)
    return _ADAPTERS[report]


def json_schema(report: type[Stored]) -> dict[str, Any]:
    """JSON schema of the files of this report, as pydantic makes it."""
    return _adapter(report).json_schema(mode="serialization")


def _missing(written: Any, found: Any, where: str = "") -> Iterator[str]:
    """Keys that a report of these values has, and a file has not: a count that is missing is not 0."""
    if isinstance(written, dict):
        for name, value in written.items():
            place = f"{where}.{name}" if where else str(name)
            if name in found:
                yield from _missing(value, found[name], place)
            else:
                yield place
    elif isinstance(written, tuple | list):
        for i, (value, other) in enumerate(zip(written, found, strict=True)):
            yield from _missing(value, other, f"{where}.{i}")


def _problems(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    where = ".".join(map(str, first["loc"])) or "file"
    more = f", and {len(others)} more" if others else ""
    return f"{where}: {first['msg']}{more}"
