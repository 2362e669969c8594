"""The notebooks as they are stored: read well without being run, small, and with nothing of the machine that ran them.

That they run is tested beside (nbmake).
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 2_000_000
PATHS = re.compile(r"/(?:home|root|work|tmp|usr|Users|mnt|opt)/|site-packages")


def stored(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in stored(path)["cells"] if cell["cell_type"] == "code"]


def test_they_are_numbered() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == [f"0{i}_" for i in range(1, 8)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_it_is_small(self, path: Path) -> None:
        assert path.stat().st_size < MOST_BYTES

    def test_it_was_run_from_top_to_bottom(self, path: Path) -> None:
        assert [cell["execution_count"] for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))

    def test_it_shows_pictures_and_ends_in_assertions(self, path: Path) -> None:
        outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
        assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
        assert "\nassert " in "\n" + "".join(code_cells(path)[-1]["source"])

    def test_no_output_is_a_warning_an_error_or_a_path(self, path: Path) -> None:
        for cell in code_cells(path):
            for output in cell["outputs"]:
                assert output["output_type"] != "error"
                assert output.get("name") != "stderr", output["text"]
                text = json.dumps([output.get("text"), output.get("data", {}).get("text/plain")])
                assert not PATHS.search(text), text

    def test_links_lead_somewhere(self, path: Path) -> None:
        text = "".join("".join(cell["source"]) for cell in stored(path)["cells"] if cell["cell_type"] == "markdown")
        targets = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
        assert [link for link in targets if not (FOLDER / link).is_file()] == []
