"""Batches on several processes of this machine, or on the workers of a dask scheduler (distributed.dask.org).

Every worker takes one batch at a time, with a Lava network of its own under the watchdog, and its share of the cores
and the memory of its machine. What is the same for all batches reaches a worker once, also one that joins later or
comes in the place of one that died, and only if it has the same code as we have. dask runs the batches of dead workers
again.
"""

import logging
import os
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import distributed
from distributed.comm.core import CommClosedError

from deploy.clips.source import ClipSource, absolute, file_of
from deploy.errors import SimulatorError
from deploy.execution.batch import BatchResult
from deploy.execution.collect import Batch, OnClips, Results
from deploy.execution.resume import decode
from deploy.execution.spec import RunSpec
from deploy.execution.worker import NAME, Facts, WorkerSetup, facts, probe, reported_by_client, run_on_worker
from svformer.common.errors import InputError, UserFacingError
from svformer.common.interruption import ctrl_c_later

for logger in ("distributed", "distributed.client"):
    logging.getLogger(logger).setLevel(logging.CRITICAL)  # what a user must know is told


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a scheduler and its workers are waited for."""

    connect_s: float = 20  # until the scheduler answers
    join_s: float = 60  # until its first worker comes
    poll_s: float = 2.0  # between two looks at whether there is a worker
    looks: int = 30  # that find none, one after the other, until the run is given up
    told_s: float = 1.0  # between two of a worker's words about how far its batch is


PATIENCE = Patience()


class Workers:
    """The workers of a scheduler, as a `Runner`."""

    def __init__(self, client: distributed.Client, *, ours: bool, patience: Patience = PATIENCE) -> None:
        self.client, self.ours, self.patience = client, ours, patience
        try:
            found: dict[str, Any] = client.run(probe)
        except OSError as error:
            raise SimulatorError("the scheduler is gone, or a worker went while it was asked what it has") from error
        for address, answer in found.items():
            require_same_code(address, answer)
        on_host = Counter(answer.host for answer in found.values())
        self.workers = len(found)
        self.available_bytes = min(answer.available_bytes // on_host[answer.host] for answer in found.values())
        self._sharing = {
            host: max(_sharers(answer, found.values()) for answer in found.values() if answer.host == host)
            for host in on_host
        }

    def run(self, spec: RunSpec, sources: Sequence[ClipSource], batches: Sequence[Batch], on_clips: OnClips) -> Results:
        topic, unfinished = f"{NAME}-{uuid.uuid4()}", dict[int, float]()  # by first place of a batch: clips

        def hear(event: tuple[float, tuple[int, float]]) -> None:
            unfinished.update([event[1]])

        told_s = self.patience.told_s
        self._set_up(WorkerSetup(spec, self._sharing, facts().versions, ours=self.ours, told_s=told_s), topic, hear)
        futures = {self._submit(batch, topic): batch for batch in batches}
        finished = set[int]()
        try:
            for future in self._finished(set(futures)):
                if future is None:
                    on_clips(sum(clips for first, clips in unfinished.copy().items() if first not in finished))
                    continue
                finished.add(futures[future].places[0])
                yield read_result(future, futures[future], sources)
        except (OSError, CancelledError) as error:
            if self.client.status == "running":
                raise
            raise SimulatorError("the scheduler is gone") from error
        finally:
            if self.client.status == "running":
                with suppress(OSError):  # it goes in this moment
                    self.client.unsubscribe_topic(topic)
                    self.client.cancel(list(futures))
                    self.client.unregister_worker_plugin(NAME)

    def _set_up(self, setup: WorkerSetup, topic: str, hear: Callable[[tuple[float, Any]], None]) -> None:
        """Let every worker, also one that comes later, know the run, and hear of it; raises `SimulatorError` without a
        scheduler.
        """
        try:
            self.client.subscribe_topic(topic, hear)
            self.client.register_plugin(setup)
        except OSError as error:  # a CommClosedError, too
            if self.client.status == "running" and isinstance(error, CommClosedError):
                return  # a worker died in this moment; the scheduler has it for all others
            raise SimulatorError("the scheduler is gone") from error

    def _submit(self, batch: Batch, topic: str) -> distributed.Future[bytes]:
        sent = [
            replace(absolute(source), leave_out=source.leave_out and reported_by_client) for source in batch.sources
        ]
        files = [file for file in map(file_of, sent) if file.is_file()]
        return self.client.submit(
            run_on_worker,
            replace(batch, sources=sent),
            files,
            topic,
            resources={NAME: 1},
            pure=False,
            key=f"{NAME}-{batch.places[0]}-{uuid.uuid4()}",
        )

    def _finished(self, waiting: set[distributed.Future[bytes]]) -> Iterator[distributed.Future[bytes] | None]:
        """Each when it is done, and None after every look."""
        looks = 0
        while waiting:
            try:
                done = distributed.wait(waiting, timeout=self.patience.poll_s, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            yield from done
            waiting -= done
            yield None
            looks = 0 if self._any_worker() else looks + 1
            if waiting and looks >= self.patience.looks:
                raise SimulatorError(f"all workers are gone, and none came back in {looks * self.patience.poll_s:g} s")

    def _any_worker(self) -> bool:
        """Whether one has the right to run a batch."""
        if self.client.status != "running":
            raise SimulatorError("the scheduler is gone")
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return any(worker["resources"].get(NAME) for worker in workers)


def _sharers(one: Facts, all_of_them: Iterable[Facts]) -> int:
    """How many workers, itself included, have cores that this one has, too."""
    return sum(one.host == other.host and not one.cores.isdisjoint(other.cores) for other in all_of_them)


def require_same_code(address: str, answer: Any) -> None:
    """Raise `InputError` where what a worker answered to `probe` says that it would not run what we run."""
    if not isinstance(answer, Facts):
        raise InputError(
            f"worker {address} has not this project ({answer}); start `dask worker` from a .venv that `make setup` made"
        )
    ours = facts().versions
    if other := [
        f"{name} {answer.versions.get(name)}, here {ours[name]}"
        for name in ours
        if answer.versions.get(name) != ours[name]
    ]:
        raise InputError(
            f"worker {address} has another version: {'; '.join(other)}; take the same commit and `make setup` there"
        )


def read_result(future: distributed.Future[bytes], batch: Batch, sources: Sequence[ClipSource]) -> BatchResult:
    """What a batch came to; raises what it raised, and `SimulatorError` where no worker could run it."""
    error = future.exception() if future.status == "error" else None
    first, last = batch.places[0] + 1, batch.places[-1] + 1
    if isinstance(error, distributed.KilledWorker):
        raise SimulatorError(
            f"clips {first} to {last} ended every worker that took them, "
            f"the last {error.last_worker.address}: "
            "most often for want of memory; its log says more"
        )
    if isinstance(error, UserFacingError):
        raise error
    if future.status == "cancelled":
        raise SimulatorError("the scheduler has given up the run, or was started again")
    return decode(future.result(), sources)[0]


@contextmanager
def _environment_for_workers() -> Iterator[None]:
    """Variables that processes of dask inherit; behind the block they are as they were.

    dask itself sets some for its processes, such as the threads of their linear algebra, and leaves them there.
    """
    before = dict(os.environ)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # what a user must know is told
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _local_cluster(count: int) -> distributed.LocalCluster:
    try:
        return distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # of its other pages: any port that is free
            memory_limit=0,  # `batch_size` sees to it
        )
    except RuntimeError as error:
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        raise InputError(
            f"--workers {count}: they did not start ({first or type(first).__name__}); free memory, allow more "
            "(ulimit -v, -u), or ask for fewer"
        ) from error


@contextmanager
def local_workers(count: int) -> Iterator[Workers]:
    """`count` processes on this machine, for as long as the block lasts."""
    with ExitStack() as stack:
        stack.enter_context(_environment_for_workers())
        with ctrl_c_later():
            cluster = stack.enter_context(_local_cluster(count))
        yield Workers(stack.enter_context(distributed.Client(cluster)), ours=True)


def require_certificates(address: str) -> None:
    """Raise `InputError` for an address with TLS where dask's configuration names no readable certificates."""
    if not address.startswith(("tls://", "wss://")):
        return
    try:
        if distributed.Security().get_connection_args("client").get("ssl_context") is not None:
            return
        problem = "no certificate authority is set"
    except OSError as error:  # also what ssl raises
        problem = f"the certificates cannot be read ({' '.join(str(error).split())})"
    raise InputError(
        f"--scheduler {address}: {problem}; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, .._CLIENT__CERT and "
        ".._CLIENT__KEY to files of certificates (docs/security.md)"
    )


@contextmanager
def workers_of(address: str, patience: Patience = PATIENCE) -> Iterator[Workers]:
    """The workers of a running scheduler; raises `InputError` when it does not answer, or has none, and where TLS has
    no certificates.
    """
    require_certificates(address)
    with ExitStack() as stack:
        try:
            with warnings.catch_warnings():  # versions that differ are an error, see `require_same_code`
                warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
                client = stack.enter_context(distributed.Client(address, timeout=patience.connect_s))
        except (OSError, ValueError) as error:
            raise InputError(
                f"--scheduler {address}: no dask scheduler answers there ({' '.join(str(error).split())}); start one "
                "with `dask scheduler` and give the address that it prints, tcp://HOST:8786"
            ) from error
        try:
            client.wait_for_workers(1, timeout=patience.join_s)
        except TimeoutError as error:
            raise InputError(
                f"--scheduler {address}: no worker came in {patience.join_s:g} s; "
                f"start some with `dask worker {address}`"
            ) from error
        yield Workers(client, ours=False, patience=patience)
