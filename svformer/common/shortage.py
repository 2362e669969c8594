"""Messages for too little memory: of a GPU, of the machine, or of the processes that read clips."""

import contextlib
from collections.abc import Iterator

import torch

from svformer.common.errors import InputError


@contextlib.contextmanager
def shortage_explained(work: str, advice: str, *, workers: int) -> Iterator[None]:
    """Turn an error about memory into an `InputError` of one line: what was too much and what to change.

    `work` names what was too much, `advice` what to change; `workers` is the number of processes that read clips.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        message = _explained(error, work, advice, workers)
        if message is None:
            raise
        raise InputError(message) from error


def _explained(error: Exception, work: str, advice: str, workers: int) -> str | None:
    """The message; None where the error is not about memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error):
        return f"out of memory with {work}; {advice}"
    if "DataLoader worker" in str(error):
        return (
            f"a process that reads clips was killed, most often for want of memory or of shared memory (/dev/shm): "
            f"{error}; lower --loaders (now {workers})"
        )
    return None
