"""Threads that share the layers of a time step. The kernels hold no lock of Python's, so they run at the same time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


class Workers:
    """So many threads, the caller's among them."""

    def __init__(self, threads: int) -> None:
        self.others = threads - 1
        self.pool = ThreadPoolExecutor(self.others) if self.others else None

    def each(self, work: Callable[[str], None], names: Iterable[str]) -> None:
        """Do `work` for every name, each as soon as a thread is free; what a thread raises is raised here."""
        left = iter(names)

        def take() -> None:
            for name in left:  # `next` of an iterator is one step for Python's threads: none is taken twice
                work(name)

        futures = [self.pool.submit(take) for _ in range(self.others)] if self.pool else []
        take()
        for future in futures:
            future.result()
