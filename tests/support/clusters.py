"""A cluster as a user has it: processes of dask on this machine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import distributed

from processes import HANG_S, ROOT

LEVEL = "DASK_LOGGING__DISTRIBUTED"  # a scheduler says where it is in its log
DASK = [sys.executable, "-m", "dask"]


class Cluster:
    """`dask scheduler` and `dask worker` on this machine; variables are those of the environment of both."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder, self.variables, self.processes = folder, variables, list["subprocess.Popen[str]"]()
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", *options)
        self.scheduler = self._start("scheduler", *options)
        assert self.scheduler.stderr is not None
        found = None
        while found is None:
            line = self.scheduler.stderr.readline()
            assert line, "the scheduler ended"
            found = re.search(r"Scheduler at: +(t\w+://\S+)", line)
        self.address = found[1]

    def _start(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*DASK, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if words[0] == "scheduler" else subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), LEVEL: "info", **self.variables, **variables},
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def add_worker(self, *options: str, **variables: str) -> "subprocess.Popen[str]":
        return self._start("worker", self.address, "--no-dashboard", "--nthreads", "2", *options, **variables)

    def wait_for_workers(self, count: int) -> None:
        with distributed.Client(self.address) as client:
            client.wait_for_workers(count, timeout=HANG_S)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stderr:
                process.stderr.close()
