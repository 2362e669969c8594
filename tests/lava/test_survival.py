"""A network on Lava as a program runs it: stopped, killed, stuck, begun late, and again and again in one session."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 300  # of a subprocess; far above what one takes, so that only a hang reaches it

# A command line tool that streams clips without end in sight and says which processes take part.
ENDLESS = """
import sys
import numpy as np
from pathlib import Path
from deploy import simulate
from deploy.ir.integer import IntConnection, IntIdentity, IntInput, IntNetwork, IntRelay
from svformer.common.cli import run_cli

shape = (1, 2, 2)
same = IntIdentity(in_shape=shape, out_shape=shape)
relay = IntRelay(shape=shape, scale=1.0, bias=np.zeros(shape, dtype=np.int64))
names = ["in", "a", "b", "c"]
network = IntNetwork(
    populations={"in": IntInput(shape=shape, scale=1.0, low=0, high=1), "a": relay, "b": relay, "c": relay},
    connections=tuple(IntConnection(source=s, target=t, operation=same) for s, t in zip(names, names[1:])),
    output="c",
    frames=1000,
)
told = False

def tell(steps):
    global told
    if steps and not told:
        told = True
        tasks = Path("/proc/self/task").glob("*/children")
        print(*(pid for task in tasks for pid in task.read_text().split()), flush=True)

def main():
    simulate(network, np.zeros((5000, 1000, *shape), dtype=np.int8), timeout_s=float(sys.argv[1]), on_progress=tell)

sys.exit(run_cli(main))
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def ended_by(action: Callable[["subprocess.Popen[str]", list[int]], None], timeout_s: int) -> tuple[int, str]:
    """Exit code and standard error of the endless tool after something happened to it; no process may be left."""
    parent = python(ENDLESS, str(timeout_s))
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    try:
        assert len(pids) >= 2, parent.communicate(timeout=LIMIT_S)[1]
        assert all(map(is_running, pids))
        action(parent, pids)
        _, errors = parent.communicate(timeout=LIMIT_S)
        for pid in pids:
            wait_for_end(pid)
        return parent.returncode, errors
    finally:
        for pid in (parent.pid, *pids):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def wait_for_end(pid: int) -> None:
    """Orphans are collected by init, which takes a moment."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([descriptor], [], [], LIMIT_S)[0], f"process {pid} is still there"
    os.close(descriptor)


def test_ctrl_c_is_exit_code_130_and_leaves_no_process() -> None:
    code, errors = ended_by(lambda parent, _: os.killpg(parent.pid, signal.SIGINT), LIMIT_S)
    assert code == 130
    assert errors.strip() == "interrupted: nothing half-written was left"


def test_killed_program_leaves_no_process() -> None:
    code, _ = ended_by(lambda parent, _: parent.kill(), LIMIT_S)
    assert code == -signal.SIGKILL


def test_stuck_process_is_ended_by_the_timeout() -> None:
    """A process that is stopped answers nothing; only `--timeout` can end that, with exit code 4."""
    code, errors = ended_by(lambda _, pids: os.kill(pids[-1], signal.SIGSTOP), 20)
    assert code == 4
    assert "error: Lava took longer than the 20 s allowed, at " in errors
    assert "time steps; allow more" in errors


def test_killed_process_is_exit_code_4() -> None:
    code, errors = ended_by(lambda _, pids: os.kill(pids[0], signal.SIGKILL), LIMIT_S)
    assert code == 4
    assert "was killed (SIGKILL" in errors


# Each uses something that does not survive a fork, or that Lava cannot bear before it is imported.
EARLIER = {
    "data loader workers": """
        from torch.utils.data import DataLoader
        data = DataLoader(list(range(8)), num_workers=2, persistent_workers=True)
        assert len([x for x in data]) == 8
    """,
    "torch threads": """
        import torch
        torch.set_num_threads(2)
        torch.exp(torch.ones(2**20)).sum()
        loss = torch.nn.Conv2d(3, 8, 3)(torch.ones(4, 3, 64, 64)).sum()
        loss.backward()
    """,
    "multiprocessing by spawn": """
        import multiprocessing
        multiprocessing.set_start_method("spawn")
        queue = multiprocessing.Queue()
        manager = multiprocessing.Manager()
        values = manager.list([1, 2])
    """,
    "compiled threads and BLAS": """
        import numba, numpy as np

        @numba.njit
        def total(x):
            s = 0.0
            for value in x:
                s += value
            return s

        total(np.ones(1000))
        np.ones((600, 600)) @ np.ones((600, 600))
    """,
}

LATE = """
import multiprocessing, os, sys, threading
import numpy as np

{earlier}

assert "lava" not in sys.modules
method, threads = multiprocessing.get_start_method(allow_none=True), __import__("torch").get_num_threads()
from deploy import simulate
sys.path.insert(0, {tests!r})
from test_memory import network

net = network()
clips = np.random.default_rng(0).integers(-9, 10, size=(2, 4, 3, 4, 4)).astype(float)
on_lava = simulate(net, clips, timeout_s=120).signals
expected = simulate(net, clips, backend="integer").signals
assert all((on_lava[name] == expected[name]).all() for name in expected)
assert expected["hidden"].any()
assert multiprocessing.get_start_method(allow_none=True) == method
assert __import__("torch").get_num_threads() == threads
print("equal")
"""


@pytest.mark.parametrize("earlier", EARLIER)
def test_lava_is_imported_late_and_works(earlier: str) -> None:
    code = LATE.format(earlier=textwrap.dedent(EARLIER[earlier]), tests=str(ROOT / "tests" / "execution"))
    with python(code) as process:
        output, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, output) == (0, "equal\n"), errors


def test_many_runs_in_one_session_leave_nothing() -> None:
    """The command of 200 runs, with 20."""
    command = [sys.executable, str(ROOT / "benchmarks" / "endurance.py"), "--runs", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 runs in one session, all equal to the integer interpreter" in done.stdout


def test_the_command_of_many_runs_sees_what_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own check: weights that are kept, a file that stays open, a process that stays."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import endurance

    before = {"memory_mb": 600.0, "open_files": 6, "threads": 1, "children": 0, "mappings": 1900, "named_segments": 0}
    assert endurance.grown([before, before]) == []
    assert endurance.grown([before, {**before, "memory_mb": 600 + 20 * endurance.WEIGHT_MB}]) == [
        "memory_mb 600 -> 920"
    ]
    for what in ("open_files", "threads", "children", "named_segments"):
        (found,) = endurance.grown([before, {**before, what: before[what] + 1}])
        assert found.startswith(what)
    held = endurance.state()
    with Path(__file__).open() as file:
        assert endurance.state()["open_files"] == held["open_files"] + 1
        assert file.readable()
    assert np.isfinite(held["memory_mb"])
