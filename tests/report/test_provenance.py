"""What ran, where and when: facts that can be checked, and those that are not there are said to be missing."""

import platform
import subprocess
from pathlib import Path

import pytest

from svformer.common import provenance as module
from svformer.common.digest import file_digest, source_digest
from svformer.common.provenance import commit, library_versions, processor, provenance


def test_the_facts_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run lava.py", "--out", "x"])
    found = provenance(("numpy", "no-such-library"))
    assert found.command == "'run lava.py' --out x"
    assert found.versions["Python"] == platform.python_version()
    assert found.versions["no-such-library"] == "not installed"
    assert found.versions.keys() == {"Python", "numpy", "no-such-library"}
    assert found.date.endswith(" UTC")
    assert found.processor == processor() != ""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_a_repository_which_holds_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources that are only installed inside another repository have no commit."""
    sources = tmp_path / "package"
    sources.mkdir()
    (sources / "__init__.py").write_text("")
    monkeypatch.setattr(module, "SOURCES", sources)
    assert commit() is None, "no repository"
    git(tmp_path, "init", "-q")
    assert commit() is None, "a repository that does not track them"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert commit() == head
    (sources / "__init__.py").write_text("x = 1\n")
    assert commit() == f"{head}+changes"
    monkeypatch.setenv("PATH", "")
    assert commit() is None, "no git"


def test_versions_of_libraries() -> None:
    assert library_versions(("rich", "nothing-of-the-kind")).keys() == {"rich", "nothing-of-the-kind"}
    assert library_versions(("nothing-of-the-kind",)) == {"nothing-of-the-kind": "not installed"}


def test_a_digest_changes_with_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = tmp_path / "one" / "a.py", tmp_path / "two" / "a.py"
    first.write_text("x = 1\n")
    second.write_text("x = 1\n")
    assert source_digest(tmp_path / "one") == source_digest(tmp_path / "two"), "where they lie does not count"
    assert source_digest(tmp_path / "one", tmp_path / "two") != source_digest(tmp_path / "one")
    (tmp_path / "two" / "notes.txt").write_text("no source")
    assert source_digest(tmp_path / "one") == source_digest(tmp_path / "two")
    second.write_text("x = 2\n")
    assert source_digest(tmp_path / "one") != source_digest(tmp_path / "two")
    first.write_text("x = 2\n")
    second.rename(tmp_path / "two" / "b.py")
    assert source_digest(tmp_path / "one") != source_digest(tmp_path / "two")


def test_the_digest_of_a_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    """Of "abc", in FIPS 180-2, appendix B.1."""
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    assert file_digest(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
