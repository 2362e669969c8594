"""report.json and report.md as files: what a program and a person read back."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.report.files import as_json, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(report=st.dictionaries(st.text(), VALUES))
def test_nothing_is_changed_by_how_it_is_written(report: dict[str, Any]) -> None:
    assert json.loads(as_json(report)) == report


def test_a_list_of_numbers_is_one_line(tmp_path: Path) -> None:
    write_json({"rates": [1, -2.5, 3e-9], "names": ["a", "[\n1\n]"], "pairs": [[1, 2], [3]]}, tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text().splitlines() == [
        "{",
        '  "rates": [1, -2.5, 3e-09],',
        '  "names": [',
        '    "a",',
        r'    "[\n1\n]"',
        "  ],",
        '  "pairs": [',
        "    [1, 2],",
        "    [3]",
        "  ]",
        "}",
    ]


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    """NaN is no JSON, and a report that holds one is wrong."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"rate": float("nan")}, tmp_path / "report.json")
    assert not list(tmp_path.iterdir())
