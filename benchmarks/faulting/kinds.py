"""What can happen to a command while it runs: faults of benchmarks/faults.py, and the exit codes that each allows."""

import errno
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from faulting import programs
from faulting.starting import Started
from faulting.system import SHARED_MEMORY, in_session
from svformer.common.files import write_bytes

DONE, REFUSED, SIMULATOR, INTERRUPTED = 0, 2, 4, 130
MOMENTS = (0.05, 0.9)  # when a run is struck, as shares of its processor time, which a busy machine does not change
EARLY = (0.05, 0.5)  # where what is struck comes, or is asked for, only later
AT_ONCE = (0.0, 0.0)
LOOKED_S = 0.01  # between two looks for a child
STOPPED_S = 1.0  # seconds that a process stands still
BETWEEN_S = (0.05, 0.5)  # seconds between two of Ctrl-C
MEMORY_MB = (1, 400)  # that a process may still take
FILE_KB = (1, 200)  # size that no file may exceed
HANDLES = (4, 40)  # files that a process may open beside those that are open
SENDS = (0, 18)  # messages of all Lava processes together, of 20 or so, before one of them fails
FILLER = "filler"


@dataclass(kw_only=True)
class Running:
    """A command that runs, and where."""

    process: Started
    disk: Path  # on which its out folder lies
    clips: Path  # folder of the clips
    clock: Path  # a file: while it is there, the clock is a day behind
    lava: Path  # a file: what a Lava process does instead of sending, and when
    start: Callable[[], Started]  # starts the same command once more
    scheduler: Started | None = None  # of dask, with workers elsewhere
    workers: list[Started] = field(default_factory=list)
    others: list[Started] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind: what is done to a command, and how it may end then.

    `strike` returns whether there was something to hit. What is done by the command's own process later is told by a
    mark that it leaves (`marks`).
    """

    name: str
    strike: Callable[[Random, Running], bool]
    codes: tuple[int, ...]
    moments: tuple[float, float] = MOMENTS
    marks: bool = False
    jobs: tuple[str, ...] = ("integer", "lava", "workers", "training")  # which of faulting.jobs it strikes
    needs_mount: bool = False  # a disk, or a /dev/shm, of one's own
    fails: bool = False  # the command is one whose Lava can fail


def _signal(running: Running, number: int) -> bool:
    try:
        os.killpg(running.process.pid, number)
    except ProcessLookupError:
        return False  # it has ended by itself
    return True


def _sent(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _kill(rng: Random, running: Running) -> bool:
    """The command alone: what it has started has to end by itself."""
    return _sent(running.process.pid, signal.SIGKILL)


def _stand_still(rng: Random, running: Running) -> bool:
    stood = _signal(running, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    return _signal(running, signal.SIGCONT) and stood


def _ctrl_c(rng: Random, running: Running) -> bool:
    return _signal(running, signal.SIGINT)


def _ctrl_c_twice(rng: Random, running: Running) -> bool:
    first = _signal(running, signal.SIGINT)
    time.sleep(rng.uniform(*BETWEEN_S))
    _signal(running, signal.SIGINT)
    return first


def _terminal_closed(rng: Random, running: Running) -> bool:
    return _signal(running, signal.SIGHUP)


def _limited(running: Running, what: int, most: int) -> bool:
    try:
        _, hard = resource.prlimit(running.process.pid, what)
        resource.prlimit(running.process.pid, what, (most, hard))
    except ProcessLookupError:
        return False
    return True


def _file_size(rng: Random, running: Running) -> bool:
    """As on a disk that is full: no file grows beyond a size."""
    return _limited(running, resource.RLIMIT_FSIZE, 1024 * rng.randint(*FILE_KB))


def _handles(rng: Random, running: Running) -> bool:
    try:
        there = len(os.listdir(f"/proc/{running.process.pid}/fd"))
    except OSError:
        return False
    return _limited(running, resource.RLIMIT_NOFILE, there + rng.randint(*HANDLES))


def _memory(rng: Random, running: Running) -> bool:
    try:
        pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[0])
    except OSError:
        return False
    taken = pages * os.sysconf("SC_PAGE_SIZE")
    return _limited(running, resource.RLIMIT_AS, taken + rng.randint(*MEMORY_MB) * 2**20)


def _filled(folder: Path) -> bool:
    """No byte is left there."""
    try:
        with (folder / FILLER).open("wb", buffering=0) as file:
            while file.write(bytes(65536)):
                continue
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False


def _full_disk(rng: Random, running: Running) -> bool:
    """That of the out folder, a small one of its own."""
    return _filled(running.disk)


def _full_shared_memory(rng: Random, running: Running) -> bool:
    return _filled(SHARED_MEMORY)


def _read_only(rng: Random, running: Running) -> bool:
    words = ["mount", "-o", "remount,ro", str(running.disk)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _clock_back(rng: Random, running: Running) -> bool:
    running.clock.touch()
    return True


def _clip_gone(rng: Random, running: Running) -> bool:
    rng.choice(sorted(running.clips.iterdir())).unlink()
    return True


def _clip_replaced(rng: Random, running: Running) -> bool:
    rng.choice(sorted(running.clips.iterdir())).write_bytes(rng.choice((b"", b"nothing", bytes(500))))
    return True


def _second_run(rng: Random, running: Running) -> bool:
    running.others.append(running.start())
    return True


def _child_gone(rng: Random, running: Running) -> bool:
    """One of the processes that a command has started, once there is one: of Lava, a worker, a reader of clips."""
    while not (children := _children(running.process.pid)):
        if running.process.wait(LOOKED_S):
            return False
    return _sent(rng.choice(sorted(children)), signal.SIGKILL)


def _children(leader: int) -> list[int]:
    return [pid for pid, words in in_session(leader).items() if pid != leader and "resource_tracker" not in words]


def _lava_fails(rng: Random, running: Running, *, how: str) -> bool:
    """The process that sends this message of the run, and every one after it."""
    write_bytes(running.lava, f"{how} after {rng.randint(*SENDS)}".encode())
    return True


def _worker_gone(rng: Random, running: Running) -> bool:
    return _sent(rng.choice(running.workers).pid, signal.SIGKILL)


def _scheduler_gone(rng: Random, running: Running) -> bool:
    return running.scheduler is not None and _sent(running.scheduler.pid, signal.SIGKILL)


KILLED, HUNG_UP = -signal.SIGKILL, -signal.SIGHUP
AS_IT_BEGAN = AS_IT_ENDED = -signal.SIGINT  # before Python listened, or as it ended; a shell shows 130 all the same
ABORTED = -signal.SIGABRT  # C++ of a library, which gets no memory, ends the process by itself (std::bad_alloc)
OF_CLIPS, WITH_CHILDREN = ("integer", "lava", "workers"), ("lava", "workers", "training")
FAULTS = (
    Fault(name="kill -9", strike=_kill, codes=(DONE, KILLED)),
    Fault(name="stop and go on", strike=_stand_still, codes=(DONE,)),
    Fault(name="Ctrl-C", strike=_ctrl_c, codes=(DONE, INTERRUPTED, AS_IT_BEGAN)),
    Fault(name="Ctrl-C twice", strike=_ctrl_c_twice, codes=(DONE, INTERRUPTED, AS_IT_ENDED)),
    Fault(name="terminal closed", strike=_terminal_closed, codes=(DONE, HUNG_UP)),
    Fault(name="file size limit", strike=_file_size, codes=(DONE, REFUSED, SIMULATOR)),
    Fault(name="no file handles", strike=_handles, codes=(DONE, REFUSED, SIMULATOR)),
    Fault(name="memory limit", strike=_memory, codes=(DONE, REFUSED, SIMULATOR, ABORTED)),
    Fault(name="full disk", strike=_full_disk, codes=(DONE, REFUSED, SIMULATOR), needs_mount=True),
    Fault(name="read-only folder", strike=_read_only, codes=(DONE, REFUSED, SIMULATOR), needs_mount=True),
    Fault(name="full /dev/shm", strike=_full_shared_memory, codes=(DONE, REFUSED, SIMULATOR), needs_mount=True),
    Fault(name="clock set back", strike=_clock_back, codes=(DONE,), moments=EARLY, marks=True),
    Fault(name="clip deleted", strike=_clip_gone, codes=(DONE, REFUSED), jobs=OF_CLIPS),
    Fault(name="clip replaced", strike=_clip_replaced, codes=(DONE, REFUSED), jobs=OF_CLIPS),
    Fault(name="two runs in one folder", strike=_second_run, codes=(DONE, REFUSED)),
    Fault(
        name="child killed",
        strike=_child_gone,
        codes=(DONE, REFUSED, SIMULATOR),
        moments=EARLY,
        jobs=WITH_CHILDREN,
    ),
    *(
        Fault(
            name=f"Lava process {how}",
            strike=partial(_lava_fails, how=how),
            codes=(DONE, SIMULATOR),
            jobs=("lava",),
            moments=AT_ONCE,
            marks=True,
            fails=True,
        )
        for how in (programs.RAISES, programs.SLEEPS, programs.WRONG_SHAPE)
    ),
    Fault(name="worker gone", strike=_worker_gone, codes=(DONE, SIMULATOR), jobs=("cluster",)),
    # Refused where it goes before the run has reached it.
    Fault(name="scheduler gone", strike=_scheduler_gone, codes=(DONE, REFUSED, SIMULATOR), jobs=("cluster",)),
)
