"""What the processes do first that read clips for a `DataLoader`."""

import multiprocessing.connection
import os
import uuid


def begin_loader(number: int) -> None:
    """A `worker_init_fn`: what the process sends tensors through leaves no file behind, however it ends.

    torch hands tensors over through a socket, which multiprocessing makes in a temporary folder; a thread may do so
    while the process already ends, and then nobody removes it. An abstract socket of Linux has no file.
    """
    multiprocessing.connection.arbitrary_address = _abstract_address  # type: ignore[attr-defined]


def _abstract_address(family: str) -> str:
    return f"\0svformer-loader-{os.getpid()}-{uuid.uuid4().hex}"
