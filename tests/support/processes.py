"""Other processes that a test starts, and waits for what they do.

A wait is for an event. Its limit, HANG_S, only ends a hang: it is far above what anything takes on a loaded machine,
and no test may depend on it.
"""

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parent
HANG_S = 600


def start_python(code: str, *arguments: object, **variables: str) -> "subprocess.Popen[str]":
    """An interpreter, in a process group of its own, that finds the project and the builders of the tests."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}", **variables},
    )


def run_python(code: str, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    with start_python(code, *arguments, **variables) as process:
        output, errors = process.communicate(timeout=HANG_S)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def children() -> set[int]:
    """Processes that this one has started and that have not ended."""
    found = set[int]()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended since it was listed
            found |= {int(pid) for pid in task.read_text().split()}
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended, and that its parent has not collected, is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> bool:
    """Look again and again; returns what the last look found."""
    end_s = time.monotonic() + HANG_S
    while not (found := condition()) and time.monotonic() < end_s:
        time.sleep(0.02)
    return found
