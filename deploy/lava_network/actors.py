"""The child processes of a Lava network, watched, and Lava's runtime on top of them.

Lava starts one operating system process, an actor, for each Lava process and one for each runtime service. In
stock Lava the caller waits for ever when an actor raises or dies, and actors stay for ever when the caller is
killed. Here every actor reports its failure, dies with its parent, and talks through memory without a name,
so that neither a process nor a segment of shared memory can outlive a run. `watchdog` is what uses them.
"""

import contextlib
import ctypes
import gc
import math
import mmap
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
from lava.magma.compiler.builders.py_builder import PyProcessBuilder
from lava.magma.compiler.executable import Executable
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.process.process import AbstractProcess
from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing
from lava.magma.runtime.runtime import Runtime
from numpy.typing import DTypeLike, NDArray

from deploy.engine.autotune import one_thread
from deploy.errors import SimulatorError
from svformer.common.errors import InputError

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
MADV_POPULATE_WRITE = 23  # <linux/mman.h>
SEMAPHORE_FOLDER = "/dev/shm"  # where sem_open of glibc makes them
SEMAPHORES_PER_CHANNEL = 2  # a request and an acknowledgement
SEMAPHORES_PER_ACTOR = 3  # of the queue that Lava makes for its exceptions
_LIBC = ctypes.CDLL(None)


def shared_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros that this process and all processes forked from it afterwards share.

    As a parameter of a Lava process it is the fast way for frames in and spikes out: no channel, no copy.

    Raises `InputError` when the system does not give so much.
    """
    return np.ndarray(shape, dtype, buffer=_shared_memory(math.prod(shape) * np.dtype(dtype).itemsize))


def _shared_memory(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, max(1, size))
    except OSError as error:
        raise InputError(
            f"the system refuses {size / 1e6:,.1f} MB of shared memory ({error.strerror}); run fewer clips at the same "
            "time, or allow more (ulimit -v, vm.overcommit_memory)"
        ) from error


def semaphores(executable: Executable) -> int:
    """How many a network takes; each has a page of memory in /dev/shm."""
    channels = [*executable.channel_builders, *(executable.sync_channel_builders or ())]
    actors = [*executable.proc_builders, *(executable.runtime_service_builders or ())]
    return SEMAPHORES_PER_CHANNEL * len(channels) + SEMAPHORES_PER_ACTOR * len(actors)


def require_semaphores(executable: Executable) -> None:
    """Raise `InputError` when /dev/shm has no room for them; messages are elsewhere (`_NamelessMemory`)."""
    count = semaphores(executable)
    needed = count * mmap.PAGESIZE
    try:
        free = os.statvfs(SEMAPHORE_FOLDER)
    except OSError as error:
        raise InputError(
            f"{SEMAPHORE_FOLDER} cannot be used ({error.strerror}); Lava's semaphores live there"
        ) from error
    if free.f_bavail * free.f_frsize < needed:
        raise InputError(
            f"{SEMAPHORE_FOLDER} has {free.f_bavail * free.f_frsize // 1024:,} KB free, this run needs "
            f"{needed // 1024:,} KB there for {count} semaphores; remove files from it, or give it more (docker "
            "run --shm-size=64m, or mount -o remount,size=64m /dev/shm)"
        )


def populate(shared: NDArray[Any]) -> None:
    """Give this process all pages of `shared_zeros`, where the system can (Linux 5.14); else they come one by one."""
    with contextlib.suppress(OSError):
        shared.base.madvise(MADV_POPULATE_WRITE)  # type: ignore[union-attr]


def release(shared: NDArray[Any]) -> None:
    """Give the pages of `shared_zeros` back to the system, where it can take them (Linux); they are zeros again."""
    with contextlib.suppress(OSError, AttributeError):
        shared.base.madvise(mmap.MADV_REMOVE)  # type: ignore[union-attr]


class WatchedRuntime(Runtime):
    """Lava's runtime on watched actors; its end cannot hang."""

    def __init__(self, executable: Executable) -> None:
        super().__init__(executable, ActorType.MultiProcessing)
        self.answered = threading.Event()
        self._owner_pid = os.getpid()

    @property
    def actors(self) -> list["Actor"]:
        return self._messaging_infrastructure.actors if self._messaging_infrastructure else []

    def stop(self) -> None:
        """Kill the actors and let go of everything.

        Lava calls this, too: from `Process.stop`, and for collected objects, even those that a fork copied.
        """
        if os.getpid() != self._owner_pid:
            return
        self._is_started = self._is_running = False
        for actor in self.actors:
            actor.kill()
        for actor in self.actors:
            actor.join()
        self.actors.clear()
        self.join()  # ends the threads behind this side of the channels
        for process in self._executable.process_list:
            process.runtime = None

    def initialize(self, node_cfg_idx: int = 0) -> None:
        """Start the actors, each with one thread for NumPy and torch, which is the fastest where they run in parallel.

        A fork copies no thread, and work for threads that are not there would wait for ever. An actor that only chose
        one thread after it had started would first start those that it has not, and they look for work for 20 ms.
        """
        with one_thread():
            super().initialize(node_cfg_idx)

    def _build_message_infrastructure(self) -> None:
        self._messaging_infrastructure = _WatchedActors()
        self._messaging_infrastructure.start()

    def _create_external_channels(self, process: AbstractProcess, builder: PyProcessBuilder) -> None:
        super()._create_external_channels(process, builder)
        for port in (*process.in_ports.members, *process.out_ports.members):
            ends = (getattr(port, f"external_pipe_csp_{way}_port", None) for way in ("send", "recv"))
            self._open_ports += [end for end in ends if end]

    def _start_ports(self) -> None:
        super()._start_ports()
        self.exception_q: list[Any] = []  # stock Lava waits here for every actor, for ever if one was killed
        for port in self.service_to_runtime:
            port.observer = self.answered.set


class _WatchedActors(MultiProcessing):
    """What the runtime starts actors and makes channels with."""

    def start(self) -> None:
        self._smm = _NamelessMemory()

    def build_actor(self, target_fn: Callable[..., None], builder: Any, exception_q: Any = None) -> "Actor":
        actor = Actor(builder)
        self._actors.append(actor)
        return actor


class _NamelessMemory:
    """Memory that forked actors inherit, and that ends with the last of them.

    It is no part of /dev/shm, which containers limit to 64 MB unless told otherwise; see `require_semaphores`.
    """

    def create_shared_memory(self, size: int) -> SimpleNamespace:
        return SimpleNamespace(buf=memoryview(_shared_memory(size)))


class Actor:
    """A child process with one Lava process model, or one runtime service, in it.

    Attributes:
        report: Where the child's news arrive; see `_act`.
        is_ready: The child has said that its model is built.
        counts_steps: It has time steps; those that it has finished since the build are in `steps[0]`.
    """

    def __init__(self, builder: Any) -> None:
        self._label, kind = _describe(builder)
        self.counts_steps = issubclass(kind, PyLoihiProcessModel)
        self.steps = shared_zeros((1,), np.int64)
        self.is_ready = False
        fork = multiprocessing.get_context("fork")
        self.report, child_end = fork.Pipe(duplex=False)
        arguments = (builder, self.steps, child_end, os.getpid())
        self._process = fork.Process(target=_act, args=arguments, daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork of many threads; `initialize` sees to those that matter.
            warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
            self._process.start()
        child_end.close()

    @property
    def exit_code(self) -> int | None:
        """None while the child lives, 0 after it ended by itself, minus the signal that killed it."""
        return self._process.exitcode

    @property
    def death(self) -> SimulatorError:
        return SimulatorError(f"{self._label} {_death(self.exit_code)} {self._when}")

    def take_news(self) -> None:
        """Raise SimulatorError if the child has reported a failure."""
        while (news := self._next_news()) is not None:
            if news:
                summary, child_traceback = news
                message = f"{self._label} failed {self._when}: {summary}"
                raise SimulatorError(message, child_traceback=child_traceback)
            self.is_ready = True

    def kill(self) -> None:
        self._process.kill()

    def join(self) -> None:
        self._process.join()
        self._process.close()
        self.report.close()

    def _next_news(self) -> tuple[str, ...] | None:
        try:
            return self.report.recv() if self.report.poll() else None
        except EOFError:
            return None

    @property
    def _when(self) -> str:
        return f"after {self.steps[0]} time steps" if self.is_ready else "while it was built"


def _describe(builder: Any) -> tuple[str, type]:
    if not isinstance(builder, PyProcessBuilder):
        return f"Lava's {builder.rs_class.__name__}", builder.rs_class
    name = builder.proc_params.get("name") or f"Process_{builder._model_id}"
    return f"Lava process {name!r} ({builder.proc_model.__name__})", builder.proc_model


def _death(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "was killed (SIGKILL: by someone, or by the system when memory runs out)"
    if exit_code and exit_code < 0:
        return f"died of {signal.Signals(-exit_code).name}"
    return f"left with exit code {exit_code}"


def _act(builder: Any, steps: NDArray[Any], report: Connection, parent_pid: int) -> None:
    """Body of a child. Its news are () when the model is built and (summary, traceback) when it fails."""
    try:
        _prepare_child(parent_pid)
        model = builder.build()
        if isinstance(model, PyLoihiProcessModel):
            _count_steps(model, steps)
        report.send(())
        model.start()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent raises it
        report.send((one_line(error), traceback.format_exc()))


def _prepare_child(parent_pid: int) -> None:
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the parent died before the line above
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the parent answers it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # what the parent made is never collected here, so looking through it would only copy its pages


def _count_steps(model: PyLoihiProcessModel, steps: NDArray[Any]) -> None:
    def spike_and_count() -> None:
        model._spike()
        steps[0] = model.time_step

    model._cmd_handlers[PyLoihiProcessModel.Phase.SPK[0]] = spike_and_count


def one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
