"""Words for too little memory: of a GPU, of the machine, or of the processes that read clips."""

import contextlib
from collections.abc import Iterator

import torch

from svformer.common.errors import InputError


@contextlib.contextmanager
def shortage_explained(work: str, advice: str, *, workers: int) -> Iterator[None]:
    """Make an error for want of memory one line: what was too much (`work`) and what to change (`advice`)."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        message = _explained(error, work, advice, workers)
        if message is None:
            raise
        raise InputError(message) from error


def _explained(error: Exception, work: str, advice: str, workers: int) -> str | None:
    """None where the error is not about memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error):
        return f"out of memory with {work}; {advice}"
    if "DataLoader worker" in str(error):
        return (
            f"a process that reads clips was killed, most often for want of memory or of shared memory (/dev/shm): "
            f"{error}; lower --loaders (now {workers})"
        )
    return None
