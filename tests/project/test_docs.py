"""The documentation says what the code does: quoted messages, worked examples, links, and every page in the menu."""

import ast
import doctest
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
ANYTHING = "…"


@cache
def messages() -> list[str]:
    """Every text of the code, with … where a value is put in; every line of the set-up's shell script."""
    found = (ROOT / "tools" / "setup.sh").read_text("utf-8").replace("\\\n", "").splitlines()
    for package in ("svformer", "deploy", "hardware"):
        for file in sorted((ROOT / package).rglob("*.py")):
            found += [
                text_of(node)
                for node in ast.walk(ast.parse(file.read_text("utf-8")))
                if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
            ]
    return found


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ANYTHING


def occurs(quoted: str) -> bool:
    """Whether a text of the code matches; … on either side stands for anything, and may end either."""
    parts = [part for part in quoted.split(ANYTHING) if part.strip(" .:;,()")]
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in parts))
    return any(pattern.search(message) for message in messages())


def quoted() -> list[str]:
    rows = re.findall(r"^\| `([^`]+)`", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    return [row for row in rows if row != "exit code"]


@pytest.mark.parametrize("message", quoted())
def test_every_message_of_the_troubleshooting_page_is_one_of_the_code(message: str) -> None:
    assert occurs(message)


def test_a_message_that_is_not_there_is_seen() -> None:
    assert not occurs("…: no such video; allowed: everything")
    assert len(quoted()) > 40


def test_the_worked_example_of_the_integer_machine() -> None:
    failed, tried = doctest.testfile(str(DOCS / "integer_machine.md"), module_relative=False)
    assert (failed, tried > 5) == (0, True)


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:svformer|deploy|hardware|tests|docs|benchmarks|tools)/[\w/]+\.\w+)`", page.read_text("utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2406.15034"


def test_every_page_is_in_the_menu() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    entries = [line for block in re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL) for line in block.splitlines()]
    patterns = [line for line in entries if line and not line.startswith(":")]
    missing = [page.stem for page in PAGES if not any(Path(page.stem).match(pattern) for pattern in patterns)]
    assert missing == ["index"]


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    """Those that people write; the code's reference is left to `make docs`, which takes longer."""
    command = [sys.executable, "-m", "sphinx", "-q", "-t", "pages", "-d", str(tmp_path / "trees")]
    folders = [str(DOCS), str(tmp_path / "html")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    warnings = [line for line in done.stderr.splitlines() if "'api/*/modules' didn't match" not in line]
    assert (done.returncode, warnings) == (0, [])
    assert "Troubleshooting" in (tmp_path / "html" / "index.html").read_text("utf-8")
