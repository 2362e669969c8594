"""Ctrl-C and a terminal that is closed, where processes start."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from processes import HANG_S
from svformer.common.interruption import ctrl_c_later

SHARED_MEMORY = Path("/dev/shm")
NAMED = """
    import multiprocessing, signal, sys
    from svformer.common.interruption import ctrl_c_later

    with ctrl_c_later():
        semaphore = multiprocessing.get_context("spawn").Semaphore(0)
    print(semaphore._semlock.name, flush=True)
    signal.pause()
"""


def test_a_ctrl_c_waits_until_processes_have_started() -> None:
    with pytest.raises(KeyboardInterrupt), ctrl_c_later():  # noqa: PT012 (where it comes is what is tested)
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no /dev/shm here")
def test_a_closed_terminal_leaves_no_semaphore() -> None:
    """It ends every process of the command at once, also the one that Python has for what the others leave."""
    program = textwrap.dedent(NAMED)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        left = SHARED_MEMORY / f"sem.{process.stdout.readline().strip().removeprefix('/')}"
        assert left.exists()
        os.killpg(process.pid, signal.SIGHUP)
        assert process.wait(HANG_S) == -signal.SIGHUP
        end_s = time.monotonic() + HANG_S
        while left.exists() and time.monotonic() < end_s:
            time.sleep(0.01)
    assert not left.exists()
