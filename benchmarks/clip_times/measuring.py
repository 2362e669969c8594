"""Seconds as medians, and memory of this process and its children."""

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

REPEATS = 5
LONG_S = 60.0  # of all repeats of a slow run


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median of several runs, in seconds; of fewer, at least one, where they take longer than `LONG_S` together."""
    taken = list[float]()
    while len(taken) < repeats and sum(taken) < LONG_S:
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return statistics.median(taken)


@dataclass
class Memory:
    """Peak of this process and all its children together, looked at four times a second while the block runs; MB."""

    peak_mb: float = 0.0
    peak_shared_mb: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Memory":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        self._look()
        while not self._stop.wait(0.25):
            self._look()

    def _look(self) -> None:
        used, shared = 0, 0
        for pid in [os.getpid(), *children(os.getpid())]:
            rollup = memory_of(pid)
            used, shared = used + rollup.get("Pss", 0), shared + rollup.get("Pss_Shmem", 0)
        self.peak_mb, self.peak_shared_mb = max(self.peak_mb, used / 1024), max(self.peak_shared_mb, shared / 1024)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def memory_of(pid: int) -> dict[str, int]:
    """Linux's sums over the memory of a process, kB by name; empty where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}
