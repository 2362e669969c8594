"""Inputs made and read one after the other in a process with limits, which is replaced where one of them ends it."""

import contextlib
import faulthandler
import io
import math
import mmap
import multiprocessing
import os
import re
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.kind import Kind
from svformer.common.cli import run_cli

TAKEN, REFUSED = "taken", "refused"
TRACEBACKS, HANGS, MEMORY, CRASHES = "tracebacks", "hangs", "memory", "crashes"
FAILURES = (TRACEBACKS, HANGS, MEMORY, CRASHES)
WHY, STACK = "failure.txt", "stack.txt"
INPUTS_A_PROCESS = 2000  # then another takes its place, so that nothing adds up
WALL = 12  # times the seconds of processor time; behind that a process that only waits is taken to hang
KEPT = 3  # inputs that are kept of failures that look alike

Found = tuple[int, str, str]  # number of an input, what became of it, what its failure looks like


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one input may take."""

    hang_s: float = 10.0  # of the processor
    memory_mb: int = 2048  # beyond what the process has before the first


@dataclass(kw_only=True)
class Tally:
    """What became of the inputs of a kind; `next` is the number of the first that was not tried."""

    next: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)  # failures by what they look like

    def plain(self) -> dict[str, Any]:
        counted = {"counts": dict(self.counts), "alike": dict(self.alike)}
        return {"next": self.next, "seconds": self.seconds, **counted}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Tally":
        names = {name: Counter(plain[name]) for name in ("counts", "alike")}
        return cls(next=plain["next"], seconds=plain["seconds"], **names)

    @property
    def failures(self) -> int:
        return sum(self.counts[name] for name in FAILURES)

    def add(self, number: int, outcome: str, look: str) -> None:
        self.next = number + 1
        self.counts[outcome] += 1
        if look:
            self.alike[look] += 1


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """Inputs of one kind, by their numbers: the same of the same seed, whichever were made before."""

    kind: Kind
    name: str
    seed: int
    out: Path
    limits: Limits

    @property
    def folder(self) -> Path:
        """Where the input lies that is being read."""
        return self.out / "input"

    def make(self, number: int) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what makes inputs, not of what reads them
            self.kind.make(Random(f"{self.seed}/{self.name}/{number}"), self.folder)

    def run(self, tally: Tally, seconds: float, *, most: int | None = None) -> None:
        """Try inputs from `tally.next` on, for so many seconds or `most`, and add up what becomes of them."""
        started_s = time.monotonic()
        until_s = started_s + seconds
        last = math.inf if most is None else tally.next + most
        while time.monotonic() < until_s and tally.next < last:
            results = self._in_a_process(tally, until_s)
            for found in results:
                tally.add(*found)
                if tally.next >= last:
                    results.close()
        tally.seconds += time.monotonic() - started_s

    def _in_a_process(self, tally: Tally, until_s: float) -> Generator[Found, None, None]:
        """What became of inputs; one that ends the process, or only waits, is the last."""
        context = multiprocessing.get_context("fork")  # what was imported is there at once
        ours, theirs = context.Pipe()
        process = context.Process(target=self._serve, args=(tally, theirs), daemon=False)
        process.start()
        theirs.close()
        at = tally.next
        try:
            while time.monotonic() < until_s:
                if not ours.poll(WALL * self.limits.hang_s):
                    yield self._ended(at, HANGS, tally)
                    return
                at, outcome, look = ours.recv()
                if outcome:
                    yield at, outcome, look
        except EOFError:
            process.join()
            if process.exitcode == 1:  # not the product: an input could not be made
                raise RuntimeError(f"input {at} of {self.name}: {(self.out / STACK).read_text()}") from None
            if process.exitcode:
                yield self._ended(at, HANGS if process.exitcode == -signal.SIGPROF else CRASHES, tally)
        finally:
            process.kill()
            process.join()
            ours.close()

    def _ended(self, number: int, outcome: str, tally: Tally) -> Found:
        """An input that ended its process: the stack, where there is one, says where."""
        said = (self.out / STACK).read_text("utf-8", errors="replace")
        lines = [line.strip() for line in said.splitlines() if "File " in line][:3]
        look = f"{outcome}: {'; '.join(lines)}"
        self.keep(number, said or outcome, tally.alike[look])
        return number, outcome, look

    def keep(self, number: int, said: str, alike: int) -> None:
        """Keep the input that was read last, and what was said, unless there are enough like it."""
        if alike < KEPT:
            kept = self.out / "failures" / f"{self.name}-{number}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.folder, kept, symlinks=True)
            (kept / WHY).write_text(said, "utf-8")

    def _serve(self, tally: Tally, pipe: Connection) -> None:
        """In the process with limits: a message before every input and one behind it."""
        with (self.out / STACK).open("w") as stack:
            _limit(self.limits, stack)
            alike = Counter(tally.alike)
            for number in range(tally.next, tally.next + INPUTS_A_PROCESS):
                pipe.send((number, "", ""))
                try:
                    self.make(number)
                except Exception:
                    stack.write(traceback.format_exc())
                    raise
                signal.setitimer(signal.ITIMER_PROF, self.limits.hang_s)
                outcome, said = outcome_of(self.kind, self.folder)
                signal.setitimer(signal.ITIMER_PROF, 0)
                look = look_of(said) if outcome in FAILURES else ""
                if look:
                    self.keep(number, said, alike[look])
                    alike[look] += 1
                pipe.send((number, outcome, look))


def _limit(limits: Limits, stack: Any) -> None:
    """Limits of this process; where the time of one input is over, the stack is written and the process ends."""
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(silence, stream)  # FFmpeg and HDF5 print there
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGPROF, file=stack, chain=True)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * mmap.PAGESIZE + limits.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def outcome_of(kind: Kind, folder: Path) -> tuple[str, str]:
    """What became of an input as a command would end on it, and what was said."""
    said, beyond = io.StringIO(), list[str]()

    def read(argv: object) -> None:
        try:
            kind.read(folder)
        except MemoryError:
            beyond.append(traceback.format_exc())
            raise

    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
            code = run_cli(read)
    except Exception:  # noqa: BLE001 (whatever it is, it is what is looked for)
        text = traceback.format_exc()
        return (MEMORY if "can't allocate memory" in text else TRACEBACKS), text
    if beyond:
        return MEMORY, beyond[0]
    errors = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
    if code == 0:
        return TAKEN, ""
    if code == 2 and len(errors) == 1 and said.getvalue().endswith(f"{errors[0]}\n"):
        return REFUSED, errors[0]
    return TRACEBACKS, f"exit code {code}, and not one line but:\n{said.getvalue()}"


def look_of(said: str) -> str:
    """Where it happened, in the project's own files, and the kind of error: failures that look alike have one cause."""
    lines = said.strip().splitlines()
    if not said.startswith("Traceback"):
        return lines[0]
    places = [line.strip() for line in lines if line.strip().startswith("File ") and "site-packages" not in line]
    own = [place for place in places if "/fuzzing/" not in place] or places
    kind = next((line for line in reversed(lines) if re.match(r"[\w.]+(:|$)", line)), "")
    return f"{kind.partition(':')[0]} {own[-1].rpartition('/')[2] if own else ''}"
