"""A run that is struck, again and again, until it goes on to its end: what became of it, and what was left."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from faulting import jobs, kinds, programs, system
from faulting.jobs import Cluster, Job
from faulting.kinds import Fault, Running
from faulting.record import Struck
from faulting.starting import Started, Starter

LOOKED_S = 0.05  # between two looks at what still runs
REMAINS = 0.6  # of the processor time, at most, for a run that goes on
CLOCK = "SVFORMER_FAULTS_CLOCK"
FILES = {CLOCK: "clock", programs.LAVA_FAULT: "lava", programs.SENDS: "sends", programs.MARK: "mark"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where runs are struck: a folder, how commands are started there, and how long they may take to end."""

    folder: Path
    start: Starter
    bound_s: float

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def variables(self) -> dict[str, str]:
        # torch's cache and dask's workspace are no temporary files: they stay, and dask's next start tidies its own.
        kept = {"TORCHINDUCTOR_CACHE_DIR": "torch", "DASK_TEMPORARY_DIRECTORY": "dask"}
        places = {name: str(self.folder / place) for name, place in {**kept, **FILES}.items()}
        return {**places, "TMPDIR": str(self.temporary)}

    def file(self, name: str) -> Path:
        """A file of `FILES`, by the name of its variable."""
        return self.folder / FILES[name]

    def prepare(self) -> None:
        for folder in (self.work, self.temporary):
            folder.mkdir()
        jobs.write_inputs(self.work)

    def command(self, job: Job, out: Path, *also: str, fails: bool = False) -> Started:
        words = [*job.words, *also, "--out", str(out), *(job.limit if fails else ())]
        return self.start("failing_lava" if fails else job.program, words, self.work, **self.variables)


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a run finds that nothing strikes, and the processor time that it takes."""

    found: dict[str, Any]
    processor_s: float

    @classmethod
    def of(cls, job: Job, name: str, place: Place) -> "Undisturbed":
        out, taken_s = place.folder / f"undisturbed-{name}", 0.0
        process = place.command(job, out)
        while not process.wait(LOOKED_S):
            taken_s = max(taken_s, system.processor_s(process.pid))
        if process.returncode:
            raise RuntimeError(f"the undisturbed run of {name} ended with {process.returncode}: {process.said}")
        return cls(found=job.found(out), processor_s=taken_s)


@dataclass(kw_only=True)
class StruckRun:
    """One run; `struck` are the faults that have hit it."""

    name: str
    job: Job
    place: Place
    undisturbed: Undisturbed
    struck: list[str] = field(default_factory=list)
    done: bool = False  # a struck command has ended well: there is nothing to go on with

    def __post_init__(self) -> None:
        system.mounted(self.place.disk)

    @property
    def out(self) -> Path:
        return self.place.disk / "out"

    def strike(self, fault: Fault, rng: Random, tally: Struck) -> list[str]:
        """Start the command, or let it go on, and strike it; returns what is wrong."""
        self.struck.append(fault.name)
        problems = list[str]()
        share = rng.uniform(*fault.moments) * (REMAINS if self._has_begun else 1)
        with self._cluster() as cluster:
            also = ["--scheduler", cluster.address] if cluster else []
            running, moment_s = self._running(fault, cluster, also), share * self.undisturbed.processor_s
            while (runs := not running.process.wait(LOOKED_S)) and system.processor_s(running.process.pid) < moment_s:
                continue
            hit = fault.strike(rng, running) and runs
            struck_s = time.monotonic()
            for process in (running.process, *running.others):
                problems += self._ended(process, fault, tally)
            tally.slowest_s = max(tally.slowest_s, time.monotonic() - struck_s)
        tally.hit += hit and (not fault.marks or self.place.file(programs.MARK).exists())
        self.done = any(process.returncode == kinds.DONE for process in (running.process, *running.others))
        problems += self._mended()
        return problems

    def _running(self, fault: Fault, cluster: Cluster | None, also: list[str]) -> Running:
        def start() -> Started:
            return self.place.command(self.job, self.out, *also, *self._again(), fails=fault.fails)

        return Running(
            process=start(),
            disk=self.place.disk,
            clips=self.place.work / "clips",
            clock=self.place.file(CLOCK),
            lava=self.place.file(programs.LAVA_FAULT),
            start=start,
            scheduler=cluster.scheduler if cluster else None,
            workers=cluster.workers if cluster else [],
        )

    @property
    def _has_begun(self) -> bool:
        return (self.out / self.job.begun).exists()

    def _again(self) -> list[str]:
        """How the command goes on, or begins anew."""
        if self._has_begun:
            return ["--resume"]
        return ["--force"] if self.out.exists() else []

    @contextmanager
    def _cluster(self) -> Iterator[Cluster | None]:
        if not self.job.cluster:
            yield None
            return
        cluster = Cluster(self.place.start, self.place.work, **self.place.variables)
        try:
            yield cluster
        finally:
            for process in cluster.processes:
                _end(process)

    def _ended(self, process: Started, fault: Fault, tally: Struck) -> list[str]:
        if not process.wait(self.place.bound_s):
            _end(process)
            return [f"has not ended {self.place.bound_s:g} s after the fault: {process.said}"]
        code, said, found = process.returncode or 0, process.said, list[str]()
        tally.codes[code] += 1
        # Behind the line of exit code 4 stands what a Lava process said.
        if code not in fault.codes or "Traceback" in f"\n{said}".partition("\nerror: ")[0]:
            found.append(f"exit code {code}: {said}")
        if left := self._left(process.pid):
            found.append(f"processes left: {left}")
        return found

    def _left(self, leader: int) -> dict[int, str]:
        """Processes of a command that do not end by themselves within the bound."""
        end_s = time.monotonic() + self.place.bound_s
        while (left := system.in_session(leader)) and time.monotonic() < end_s:
            time.sleep(LOOKED_S)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def _mended(self) -> list[str]:
        """Everything as it was; returns what was left behind."""
        for folder in (self.place.disk, system.SHARED_MEMORY):
            if system.has_own_namespace():
                system.writable(folder)
                (folder / kinds.FILLER).unlink(missing_ok=True)
        for name in FILES:
            self.place.file(name).unlink(missing_ok=True)
        jobs.write_inputs(self.place.work)
        left = [*system.segments(), *sorted(self.place.temporary.iterdir())]
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [f"left behind: {', '.join(map(str, left))}"] if left else []

    def finish(self) -> list[str]:
        """The same command once more, on everything as it was; returns how what it finds differs."""
        try:
            if not self.done:
                also = self._again()
                process = self.place.command(self.job, self.out, *also)
                jobs.wait_long(process)
                if process.returncode:
                    return [f"did not go on {' '.join(also)}, exit code {process.returncode}: {process.said}"]
            found, expected = self.job.found(self.out), self.undisturbed.found
            different = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
            how = f"another result after {', '.join(self.struck)}: {', '.join(different)}; files {found['files']}"
            return [how] if different else []
        finally:
            system.unmounted(self.place.disk)


def _end(process: Started) -> None:
    for pid in system.in_session(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # by itself
    jobs.wait_long(process)
