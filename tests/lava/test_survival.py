"""A network on Lava as a program runs it: stopped, killed, stuck, begun late, and again and again in one session."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.errors import GateError
from deploy.execution.simulate import simulate
from processes import HANG_S, ROOT, is_running, run_python, start_python, wait_until

# A command line tool that streams clips without end in sight and says which processes take part. Its clock goes forward
# by a day when it gets SIGUSR1.
ENDLESS = """
import signal, sys, time
import ints
import numpy as np
from deploy.lava_network.simulate import simulate
from deploy.passes.schedule import schedule
from processes import HANG_S, children
from svformer.common.cli import run_cli

shape = (1, 2, 2)
relays = {name: ints.relay(shape) for name in "abc"}
network = ints.chain(1000, **{"in": ints.entry(shape), **relays})
announced, ahead_s = False, 0

def announce(steps):
    global announced
    if steps and not announced:
        announced = True
        print(*children(), flush=True)

def a_day_passes(*_):
    global ahead_s
    ahead_s += 86_400

def main(argv=None):
    clips = np.zeros((5000, 1000, *shape), dtype=np.int8)
    clock = lambda: time.monotonic() + ahead_s
    simulate(network, schedule(network), clips, timeout_s=HANG_S, clock=clock, on_progress=announce)

signal.signal(signal.SIGUSR1, a_day_passes)
sys.exit(run_cli(main))
"""


def ended_by(action: Callable[["subprocess.Popen[str]", list[int]], None]) -> tuple[int, str]:
    """Exit code and standard error of the endless tool after something happened to it; no process may be left."""
    parent = start_python(ENDLESS)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    try:
        assert len(pids) >= 2, parent.communicate(timeout=HANG_S)[1]
        assert all(map(is_running, pids))
        action(parent, pids)
        _, errors = parent.communicate(timeout=HANG_S)
        assert wait_until(lambda: not any(map(is_running, pids))), "orphans are left"
        return parent.returncode, errors
    finally:
        for pid in (parent.pid, *pids):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def test_ctrl_c_is_exit_code_130_and_leaves_no_process() -> None:
    code, errors = ended_by(lambda parent, _: os.killpg(parent.pid, signal.SIGINT))
    assert code == 130
    assert errors.strip() == "interrupted: nothing half-written was left"


def test_killed_program_leaves_no_process() -> None:
    code, _ = ended_by(lambda parent, _: parent.kill())
    assert code == -signal.SIGKILL


def test_stuck_process_is_ended_by_the_timeout() -> None:
    """A process that is stopped answers nothing; only `--timeout` can end that, with exit code 4."""

    def stop_one(parent: "subprocess.Popen[str]", pids: list[int]) -> None:
        os.kill(pids[-1], signal.SIGSTOP)
        parent.send_signal(signal.SIGUSR1)

    code, errors = ended_by(stop_one)
    assert code == 4
    assert f"error: Lava took longer than the {HANG_S} s allowed, at " in errors
    assert "time steps; allow more" in errors


def test_killed_process_is_exit_code_4() -> None:
    code, errors = ended_by(lambda _, pids: os.kill(pids[0], signal.SIGKILL))
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
import ints
net = ints.image_to_value()
clips = np.random.default_rng(0).integers(-9, 10, size=(2, 4, 3, 4, 4)).astype(float)
on_lava = simulate(net, clips, timeout_s=600).signals
expected = simulate(net, clips, backend="integer").signals
assert all((on_lava[name] == expected[name]).all() for name in expected)
assert expected["hidden"].any()
assert multiprocessing.get_start_method(allow_none=True) == method
assert __import__("torch").get_num_threads() == threads
print("equal")
"""


@pytest.mark.parametrize("earlier", EARLIER)
def test_lava_is_imported_late_and_works(earlier: str) -> None:
    done = run_python(LATE.format(earlier=textwrap.dedent(EARLIER[earlier])))
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


def test_many_runs_in_one_session_leave_nothing(tmp_path: Path) -> None:
    """The command of 2,000 runs, with 50; it goes on where an earlier one was stopped, and not with another seed."""
    out, script = tmp_path / "soak.json", str(ROOT / "benchmarks" / "soak.py")
    for runs, seed, code in (("30", "0", 0), ("50", "0", 0), ("60", "1", 2)):
        command = [sys.executable, script, "--runs", runs, "--seed", seed, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == code, done.stderr
    found = json.loads(out.read_text())
    assert (found["seed"], found["runs"]) == (0, 50)
    assert 0 < found["refused"] < 50
    assert found["messages"] > 5 * 2 * 3 * 4000  # of the heavy runs alone
    assert "of --seed 0; go on with it, or choose another --out" in done.stderr


def test_a_message_that_differs_ends_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which run of which seed it was."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import soak

    def errs(network: Any, clips: Any, *, backend: str, **options: Any) -> Any:
        found = simulate(network, clips, backend="integer")
        if backend == "torch":
            found.signals[network.output][0, 0] += 1
        return found

    monkeypatch.setattr(soak, "simulate", errs)
    with pytest.raises(GateError, match="integer interpreter and torch differ") as error:
        soak.one_run(soak.Soaked(seed=3))
    assert error.value.__notes__ == ["run 0 of --seed 3"]


def test_the_command_of_many_runs_sees_what_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own check: weights that are kept, a file that stays open, a process that stays."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import soak

    before = {"memory_mb": 600.0, "open_files": 6, "threads": 1, "children": 0, "mappings": 1900, "named_segments": 0}
    assert soak.grown([before, before]) == []
    assert soak.grown([before, {**before, "memory_mb": 600 + 20 * soak.WEIGHT_MB}]) == ["memory_mb 600 -> 920"]
    for what in ("open_files", "threads", "children", "named_segments"):
        (found,) = soak.grown([before, {**before, what: before[what] + 1}])
        assert found.startswith(what)
    held = soak.state()
    with Path(__file__).open() as file:
        assert soak.state()["open_files"] == held["open_files"] + 1
        assert file.readable()
    assert np.isfinite(held["memory_mb"])
