"""Commands started for the campaign: each by an interpreter of its own, or forked from one that has its libraries."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

from faulting.warm import Asked, connected

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# The real scripts; the others exist for the campaign alone.
SCRIPTS = {"run_lava": [str(ROOT / "deploy" / "run_lava.py")]}


@dataclass(kw_only=True)
class Started:
    """A command that was started, in a session of its own."""

    pid: int
    errors: Path  # what it says on standard error
    ended: Callable[[float | None], int | None]  # its exit code, within so many seconds
    returncode: int | None = None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it ends within that time."""
        if self.returncode is None:
            self.returncode = self.ended(timeout_s)
        return self.returncode is not None

    @property
    def said(self) -> str:
        return self.errors.read_text("utf-8", errors="replace")


class Starter(Protocol):
    """Starts a program of `faulting.programs` with its words, in a folder."""

    def __call__(self, program: str, words: Sequence[str], folder: Path, **variables: str) -> Started: ...

    def close(self) -> None: ...


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of a command: the project, the clock that can be set back, one thread."""
    found = os.pathsep.join([str(HERE / "shim"), str(HERE.parent), str(ROOT)])
    return {**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **variables}


def _errors(folder: Path) -> Path:
    return Path(mkdtemp(prefix="said-", dir=folder)) / "stderr.txt"


@dataclass(frozen=True)
class Cold:
    """By an interpreter of its own, as a user starts it: faults strike its imports, too."""

    folder: Path  # for what commands say

    def __call__(self, program: str, words: Sequence[str], folder: Path, **variables: str) -> Started:
        script, errors = SCRIPTS.get(program, [str(HERE / "programs.py"), program]), _errors(self.folder)
        with errors.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *script, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd=folder,
                start_new_session=True,
                env=environment(variables),
            )

        def ended(timeout_s: float | None) -> int | None:
            try:
                return process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None

        return Started(pid=process.pid, errors=errors, ended=ended)

    def close(self) -> None:
        """Nothing was kept."""


class Warm:
    """Forked from a process that has imported the libraries, which takes half of the time of a small run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, folder / "warm"
        self.server = subprocess.Popen(
            [sys.executable, str(HERE / "warm.py"), str(self.address)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment({}),
            start_new_session=True,
        )
        assert self.server.stdout is not None
        if not self.server.stdout.readline():
            raise RuntimeError("the process that commands are forked from has ended")

    def __call__(self, program: str, words: Sequence[str], folder: Path, **variables: str) -> Started:
        errors = _errors(self.folder)
        connection = connected(self.address)
        connection.send(Asked(program=program, words=[*words], folder=folder, errors=errors, variables=variables))
        pid = connection.recv()
        return Started(pid=pid, errors=errors, ended=lambda timeout_s: _code(connection, timeout_s))

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()  # it ends then
        self.server.wait()


def _code(connection: Connection, timeout_s: float | None) -> int | None:
    return int(connection.recv()) if connection.poll(timeout_s) else None
