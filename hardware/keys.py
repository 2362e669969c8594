"""What a value of a report means: the text and the unit that stand beside a field of a type.

`deploy.report.schema` makes the description of report.json from them. No other file reads them.
"""

from typing import Any


def key(meaning: str, unit: str = "") -> dict[str, Any]:
    """Metadata of a dataclass field: `mj: float = field(metadata=key("energy of a clip", "mJ"))`.

    The names are those that pydantic takes from `dataclasses.field(metadata=...)`.
    """
    return {"description": meaning, "json_schema_extra": {"unit": unit} if unit else {}}


def optional_key(meaning: str, unit: str = "") -> dict[str, Any]:
    """Metadata of a field whose key is left out of the file where the value is None."""
    return {**key(meaning, unit), "exclude_if": _is_none}


def _is_none(value: object) -> bool:
    return value is None
