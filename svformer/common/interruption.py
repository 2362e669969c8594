"""Ctrl-C, and a terminal that is closed, where processes start."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; processes that start in it, and their children, ignore it.

    A terminal sends it to all processes of a command, and it is the first that has to answer and to end the others; one
    that only just starts would answer with a traceback.
    """
    _start_tracker()  # which would end what the next line begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start Python's own process that removes named semaphores which a process leaves when it is killed.

    It ignores Ctrl-C; a terminal that is closed ends all processes of a command, and is not to end this one first.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
