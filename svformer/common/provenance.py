"""What ran, where and when: the facts that stand beside every result."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

SOURCES = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What ran, where and when."""

    date: str = field(metadata={"description": "when the result was written, UTC"})
    command: str = field(metadata={"description": "the command line"})
    commit: str | None = field(
        metadata={"description": "commit of this project, +changes where files differ; null: not in a repository"}
    )
    versions: dict[str, str] = field(metadata={"description": "by name: version of Python and of a library"})
    machine: str = field(metadata={"description": "operating system and architecture"})
    processor: str = field(metadata={"description": "model of the processor"})


def provenance(libraries: Iterable[str]) -> Provenance:
    """The facts of this moment in this process, with the versions of `libraries` (names of distributions)."""
    return Provenance(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(sys.argv),
        commit=commit(),
        versions={"Python": platform.python_version(), **library_versions(libraries)},
        machine=platform.platform(),
        processor=processor(),
    )


def library_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Version of every library that is installed; of the others, that they are not."""
    return {library: _version(library) for library in libraries}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str | None:
    """Short name of the commit of this project's sources; None where they lie in no repository that tracks them."""
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    found = _git("rev-parse", "--short", "HEAD")
    return f"{found}+changes" if found and _git("status", "--porcelain", "--untracked-files=no", ":/") else found


def _git(*arguments: str) -> str | None:
    """Output of git in the folder of the sources; None where there is no git, or where it fails."""
    command = ["git", "-C", str(SOURCES), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def processor() -> str:
    """Model of the processor; its architecture where the system does not give the model."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
