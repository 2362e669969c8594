"""Ctrl-C where processes start."""

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
    resource_tracker.ensure_running()  # its start would end what the next line begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
