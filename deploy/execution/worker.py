"""What is put on a worker of dask, and runs there: see `deploy.execution.cluster`."""

import atexit
import multiprocessing
import os
import platform
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import distributed
import torch
from threadpoolctl import threadpool_limits

from deploy.execution.batch import run_batch
from deploy.execution.collect import Batch, in_clips
from deploy.execution.fingerprint import versions
from deploy.execution.resume import encode
from deploy.execution.spec import RunSpec
from svformer.common.errors import InputError
from svformer.common.room import available_bytes

NAME = "svformer-loihi"  # of what we put on workers, and of the right to run a batch


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a worker says of itself."""

    host: str
    cores: frozenset[int]
    available_bytes: int
    versions: dict[str, str]


def facts() -> Facts:
    found = {**versions(), "distributed": version("distributed"), "python": platform.python_version()}
    cores = frozenset(os.sched_getaffinity(0))
    return Facts(host=socket.gethostname(), cores=cores, available_bytes=available_bytes(), versions=found)


class WorkerSetup(distributed.WorkerPlugin):
    """What a worker needs for batches, and its right to run them, one at a time."""

    name = NAME

    def __init__(
        self, spec: RunSpec, sharing: dict[str, int], code: dict[str, str], *, ours: bool, told_s: float
    ) -> None:
        self.spec, self.sharing, self.code, self.ours, self.told_s = spec, sharing, code, ours, told_s
        self.cores = 1

    async def setup(self, worker: distributed.Worker) -> None:
        here = facts()
        if here.versions != self.code:
            return  # without the right, it gets no batch
        self.cores = max(1, len(here.cores) // self.sharing.get(here.host, 1))
        multiprocessing.current_process().daemon = False  # dask's default; Lava forks, and sees to its children's end
        threadpool_limits(self.cores)
        torch.set_num_threads(self.cores)
        if self.ours:
            atexit.register(os._exit, 0)  # else taking down what torch and Lava have made takes seconds
        await worker.set_resources(**{NAME: 1})

    async def teardown(self, worker: distributed.Worker) -> None:
        await worker.set_resources(**{NAME: 0})


def run_on_worker(batch: Batch, files: Sequence[Path], topic: str) -> bytes:
    """A batch on a worker, which has to see the `files` that its sender sees.

    Who listens to the `topic` hears now and then the first place of the batch and how many of its clips are done.
    """
    worker = distributed.get_worker()
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(
            f"{missing[0]}: not there on worker {worker.address} ({socket.gethostname()}); "
            "all machines need the data under the same path"
        )
    equipment = worker.plugins[NAME]
    assert isinstance(equipment, WorkerSetup)
    heard_s = time.monotonic()

    def tell(clips: float) -> None:
        nonlocal heard_s
        if time.monotonic() - heard_s >= equipment.told_s:
            heard_s = time.monotonic()
            worker.log_event(topic, (batch.places[0], clips))

    on_steps = in_clips(equipment.spec, batch, tell)
    return encode(
        run_batch(equipment.spec, batch.sources, places=batch.places, cores=equipment.cores, on_steps=on_steps)
    )


def probe() -> Any:
    """`facts` of a worker, or why it cannot say them; sent as it is, since the worker may not have this module."""
    try:
        from deploy.execution import worker as equipment
    except ImportError as error:
        return str(error)
    return equipment.facts()


probe.__module__ = "__main__"  # or it would be sent as a name


def reported_by_client(error: InputError) -> None:
    """`ClipSource.leave_out` on workers: the clip may be left out, and the client reports the error to the user."""
