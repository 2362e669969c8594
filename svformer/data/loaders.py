"""Processes that read clips for a `DataLoader`: how they start, and that they leave nothing behind."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import uuid
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from svformer.common.interruption import ctrl_c_later

SHARED_MEMORY = Path("/dev/shm")
AFTER_CHILDREN = -1  # of `multiprocessing.util.Finalize`: a process that ends runs these when its children have ended


def batches(dataset: Dataset[Any], **options: Any) -> Iterator[Any]:
    """The batches of a `DataLoader` with these options, whose processes have started when this returns."""
    loader: DataLoader[Any] = DataLoader(dataset, worker_init_fn=_begin, **options)
    with ctrl_c_later():
        others = multiprocessing.active_children()
        started = iter(loader)
        readers = [child.pid for child in multiprocessing.active_children() if child not in others]
        Finalize(None, _remove_segments_of_ended, args=(readers,), exitpriority=AFTER_CHILDREN)
        return started


def _begin(number: int) -> None:
    """In the process first: what it sends tensors through leaves no file behind, however it ends.

    torch hands tensors over through a socket, which multiprocessing makes in a temporary folder; a thread may do so
    while the process already ends, and then nobody removes it. An abstract socket of Linux has no file. And where
    /dev/shm is full torch leaves the segment that found no room.
    """
    multiprocessing.connection.arbitrary_address = _abstract_address  # type: ignore[attr-defined]
    Finalize(None, _remove_segments, args=(os.getpid(),), exitpriority=0)


def _remove_segments_of_ended(pids: list[int]) -> None:
    """Remove what readers have left that were killed, or that went on sending while they ended."""
    for pid in pids:
        if not Path("/proc", str(pid)).exists():  # the number may be another process by now
            _remove_segments(pid)


def _remove_segments(pid: int) -> None:
    """Remove what a process of torch has left in /dev/shm; those that it still sends have no name any more."""
    for segment in SHARED_MEMORY.glob(f"torch_{pid}_*"):
        with contextlib.suppress(OSError):
            segment.unlink()


def _abstract_address(family: str) -> str:
    return f"\0svformer-loader-{os.getpid()}-{uuid.uuid4().hex}"
