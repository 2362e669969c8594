"""A process that has imported the libraries of all commands, and forks them.

    python benchmarks/faulting/warm.py SOCKET        # until its standard input is closed

A request comes over a connection to the socket. Back go the process id of the command, which leads a session of its
own, and in the end its exit code, negative for a signal. The command itself ends as an interpreter ends.
"""

import importlib
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

IMPORTED = (
    *("deploy.run_lava", "deploy.session", "deploy.lava_network.simulate", "deploy.execution.cluster"),
    *("svformer.training.session", "svformer.train"),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command to start."""

    program: str  # of faulting.programs
    words: list[str]
    folder: Path
    errors: Path  # file for standard error
    variables: Mapping[str, str]


def connected(address: Path) -> Connection:
    found = socket.socket(socket.AF_UNIX)
    found.connect(str(address))
    return Connection(found.detach())


def serve(address: Path) -> Asked | None:
    """Fork for every request; returns what is asked in the process that is the command, None at the end."""
    for module in IMPORTED:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch a command
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return None
            connection = Connection(listener.accept()[0].detach())
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _watched(connection)
            connection.close()


def _watched(connection: Connection) -> Asked:
    """Fork the command and tell what becomes of it; returns in the command alone."""
    asked: Asked = connection.recv()
    if pid := os.fork():
        connection.send(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            connection.send(code)
        finally:
            os._exit(0)
    connection.close()
    return asked


def become(asked: Asked) -> int:
    """Run the command as if it had been started in its folder; returns its exit code."""
    import dask.config

    from faulting.programs import PROGRAMS
    from svformer.common.cli import run_cli

    os.setsid()
    os.chdir(asked.folder)
    os.environ.update(asked.variables)
    tempfile.tempdir = None  # read TMPDIR again
    dask.config.refresh()  # and its own variables
    sys.argv = [asked.program, *asked.words]
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(asked.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream, target in enumerate((nothing, nothing, said)):
        os.dup2(target, stream)
    return run_cli(PROGRAMS[asked.program], asked.words)


if __name__ == "__main__":
    request = serve(Path(sys.argv[1]))
    sys.exit(become(request) if request else 0)
