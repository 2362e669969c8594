"""Threads that share the layers of a time step. The kernels hold no lock of Python's, so they run at the same time."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor


class Workers:
    """So many threads; one alone is the caller's."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.begun: list[Future[None]] = []

    def begin(self, work: Callable[[str], None], names: Iterable[str]) -> None:
        """Do `work` for every name, each as soon as a thread is free; the caller goes on, and calls `finish` later."""
        left = iter(names)

        def take() -> None:
            for name in left:  # `next` of an iterator is one step for Python's threads: none is taken twice
                work(name)

        if self.pool is None:
            take()
        else:
            self.begun = [self.pool.submit(take) for _ in range(self.threads)]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def finish(self) -> None:
        """Wait until all that was begun is done; what a thread raised is raised here."""
        begun, self.begun = self.begun, []
        for future in begun:
            future.result()
