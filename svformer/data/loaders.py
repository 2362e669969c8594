"""What the processes do first that read clips for a `DataLoader`."""

import contextlib
import multiprocessing.connection
import os
import signal
import uuid
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; processes that start in it do not hear it: their parent ends them.

    In the midst of its start such a process would answer with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_loader(number: int) -> None:
    """A `worker_init_fn`: what the process sends tensors through leaves no file behind, however it ends.

    torch hands tensors over through a socket, which multiprocessing makes in a temporary folder; a thread may do so
    while the process already ends, and then nobody removes it. An abstract socket of Linux has no file. And where
    /dev/shm is full torch leaves the segment that found no room.
    """
    multiprocessing.connection.arbitrary_address = _abstract_address  # type: ignore[attr-defined]
    Finalize(None, remove_segments, args=(os.getpid(),), exitpriority=0)


def remove_segments(pid: int) -> None:
    """Remove what a process of torch has left in /dev/shm; those that it still sends have no name any more."""
    for segment in SHARED_MEMORY.glob(f"torch_{pid}_*"):
        with contextlib.suppress(OSError):
            segment.unlink()


def _abstract_address(family: str) -> str:
    return f"\0svformer-loader-{os.getpid()}-{uuid.uuid4().hex}"
