"""Every way in which a Lava run can end: with the right error, soon, and with nothing left behind."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.errors import SimulatorError
from deploy.lava_network.actors import shared_zeros
from deploy.lava_network.compat import ModelMap
from deploy.lava_network.watchdog import LavaRun
from processes import HANG_S, children, is_running, start_python, wait_until
from svformer.common.errors import InputError

# isort: split
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

Clock = Callable[[], float]


def nothing(*_: object) -> None:
    pass


class Task(AbstractProcess):
    """Sends what it receives plus one; calls what it is given when built, and before and after each step."""

    def __init__(
        self,
        *,
        build: Callable[[], None] = nothing,
        before: Callable[[int], None] = nothing,
        after: Callable[[int], None] = nothing,
        seen: np.ndarray | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(build=build, before=before, after=after, seen=seen, name=name)
        self.inp = InPort(shape=(2,))
        self.out = OutPort(shape=(2,))


@implements(proc=Task, protocol=LoihiProtocol)
@requires(CPU)
class TaskModel(PyLoihiProcessModel):
    inp = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: object) -> None:
        super().__init__(proc_params)
        self.proc_params["build"]()

    def run_spk(self) -> None:
        self.proc_params["before"](self.time_step)
        received = self.inp.recv()
        self.out.send(received + 1)
        if self.proc_params["seen"] is not None:
            self.proc_params["seen"][...] = received
        self.proc_params["after"](self.time_step)


class UnpicklableError(Exception):
    """Neither can it be sent to the parent nor made there."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__("two arguments")
        self.trap = lambda: (first, second)


def chain(*tasks: Task) -> Task:
    for sender, receiver in itertools.pairwise(tasks):
        sender.out.connect(receiver.inp)
    return tasks[0]


def lava_run(process: Task, *, timeout_s: float = HANG_S, clock: Clock = time.monotonic) -> LavaRun:
    run_cfg = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=ModelMap({Task: TaskModel}))
    return LavaRun(process, run_cfg=run_cfg, timeout_s=timeout_s, clock=clock)


def fail(*_: object) -> None:
    raise ValueError("first line\nsecond line")


def fail_unpicklably(*_: object) -> None:
    raise UnpicklableError(1, 2)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def leave(*_: object) -> None:
    os._exit(7)


def sleep(*_: object) -> None:
    time.sleep(3600)


def at_step_3(action: Callable[[], None]) -> Callable[[int], None]:
    return lambda time_step: action() if time_step == 3 else None


def named_shared_memory(pid: int) -> list[str]:
    """Files of /dev/shm that a process has mapped and that have a name, so that they could be left behind."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line for line in maps if "/dev/shm/" in line and not line.endswith("(deleted)")]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    children_before, threads_before = children(), threading.active_count()
    yield
    assert children() == children_before
    assert wait_until(lambda: threading.active_count() <= threads_before)


def test_steps_go_on_across_calls_and_progress_is_reported() -> None:
    seen, progress = shared_zeros((2,), np.int32), []
    last = Task(seen=seen)
    network = chain(Task(before=lambda _: time.sleep(0.05)), Task(), last)
    with lava_run(network) as run:
        run.step(10, on_progress=progress.append)
        assert run.steps_done >= 9  # a process may be between its answer and its count
        assert seen.tolist() == [2, 2], "0 from the open port, plus one in each of the two processes before"
        run.step(5)
        assert wait_until(lambda: run.steps_done == 15)
    assert run.build_s > 0
    assert progress[-1] == 10
    assert progress == sorted(progress)
    assert len(progress) > 1


def test_frames_go_in_and_spikes_come_out_through_shared_arrays() -> None:
    frame, seen = shared_zeros((), np.int32), shared_zeros((2,), np.int32)
    watched = shared_zeros((), np.int32)

    def copy_frame(_: int) -> None:
        watched[...] = frame * 10

    with lava_run(chain(Task(before=copy_frame), Task(seen=seen))) as run:
        for value in (3, 4):
            frame[...] = value
            run.step(1)
            assert watched == value * 10


def test_channels_have_no_name_in_the_file_system() -> None:
    with lava_run(chain(Task(), Task())) as run:
        run.step(2)
        processes = children() | {os.getpid()}
        assert len(processes) >= 4  # two processes, the runtime service and this one
        assert [line for pid in processes for line in named_shared_memory(pid)] == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            {"before": at_step_3(fail)},
            "Lava process 'middle' (TaskModel) failed after 2 time steps: ValueError: first",
        ),
        ({"after": at_step_3(fail)}, "failed after 2 time steps: ValueError: first line second line"),
        (
            {"before": at_step_3(fail_unpicklably)},
            "failed after 2 time steps: UnpicklableError: two arguments",
        ),
        ({"before": at_step_3(sys.exit)}, "failed after 2 time steps: SystemExit"),
        ({"build": fail}, "Lava process 'middle' (TaskModel) failed while it was built: ValueError: first"),
        ({"build": fail_unpicklably}, "failed while it was built: UnpicklableError: two arguments"),
    ],
    ids=["before sending", "after sending", "unpicklable", "exit", "build", "build unpicklable"],
)
def test_raising_process_ends_the_run_with_its_traceback(
    broken: dict[str, Callable[..., None]], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(SimulatorError) as caught,
        lava_run(chain(Task(), Task(name="middle", **broken), Task())) as run,
    ):
        run.step(10)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback (most recent call last)" in caught.value.child_traceback
    assert caught.value.__notes__ == [caught.value.child_traceback]
    assert capfd.readouterr() == ("", ""), "what there is to say is in the error"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"before": at_step_3(die)}, "Lava process 'middle' (TaskModel) was killed (SIGKILL"),
        ({"after": at_step_3(terminate)}, "died of SIGTERM after 2 time steps"),
        ({"before": at_step_3(leave)}, "left with exit code 7 after 2 time steps"),
        ({"build": die}, "was killed (SIGKILL"),
        ({"build": leave}, "left with exit code 7 while it was built"),
    ],
    ids=["killed", "terminated", "left", "killed in build", "left in build"],
)
def test_dead_process_ends_the_run(broken: dict[str, Callable[..., None]], message: str) -> None:
    with (
        pytest.raises(SimulatorError) as caught,
        lava_run(chain(Task(), Task(name="middle", **broken), Task())) as run,
    ):
        run.step(10)
    assert message in str(caught.value)
    assert caught.value.child_traceback == ""


def test_killed_runtime_service_ends_the_run() -> None:
    def kill_service(_: int) -> None:
        for actor in run._running.actors:
            if not actor.counts_steps:  # it is no Lava process
                actor.kill()

    expected = "LoihiPyRuntimeService was killed"
    with pytest.raises(SimulatorError, match=expected), lava_run(Task(before=at_step_3(sleep))) as run:
        run.step(10, on_progress=kill_service)


class Later:
    """A clock that a test puts forward, so that none depends on how fast the machine is."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def test_run_that_takes_too_long_is_ended() -> None:
    clock, expected = Later(), "longer than the 900 s allowed, at 2 of 10 time steps"

    def wait(done: int) -> None:
        clock.ahead_s += 1000 * (done == 2)

    with (
        pytest.raises(SimulatorError, match=expected),
        lava_run(chain(Task(), Task(before=at_step_3(sleep))), timeout_s=900, clock=clock) as run,
    ):
        run.step(10, on_progress=wait)


def test_build_that_takes_too_long_is_ended() -> None:
    expected = "longer than the 1 s allowed, before it was built"
    with pytest.raises(SimulatorError, match=expected), lava_run(Task(build=sleep), timeout_s=1.0):
        pass


def test_time_between_steps_does_not_count() -> None:
    clock = Later()
    with lava_run(Task(), timeout_s=900, clock=clock) as run:
        clock.ahead_s += 1000
        run.step(1)
        clock.ahead_s += 1000
        assert run.poll()
        run.step(1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_exception_of_the_caller_ends_the_run(interruption: type[BaseException]) -> None:
    def interrupt(_: int) -> None:
        raise interruption

    with pytest.raises(interruption), lava_run(chain(Task(), Task(before=at_step_3(sleep)))) as run:
        run.step(10, on_progress=interrupt)


def test_network_is_built_once_only() -> None:
    network = Task()
    with lava_run(network) as run:
        run.step(1)
    expected = "Lava could not build the network: ProcessAlreadyCompiled"
    with pytest.raises(SimulatorError, match=expected) as caught, lava_run(network):
        pass
    assert caught.value.__cause__ is not None


def test_misuse_is_refused() -> None:
    with lava_run(Task()) as run, pytest.raises(InputError, match="0 time steps"):
        run.step(0)
    with pytest.raises(SimulatorError, match="not running"):
        run.step(1)


def test_many_runs_leave_nothing_and_free_their_processes() -> None:
    def one_run() -> weakref.ref[Task]:
        task = chain(Task(), Task())
        with lava_run(task) as run:
            run.step(1)
        return weakref.ref(task)

    one_run()
    files_before = len(os.listdir("/proc/self/fd"))
    traces = [one_run() for _ in range(5)]
    gc.collect()
    assert [trace() for trace in traces] == [None] * 5
    assert len(os.listdir("/proc/self/fd")) <= files_before


def test_child_computes_with_torch_though_the_parent_used_its_thread_pool() -> None:
    sums, threads = shared_zeros((2,), np.float32), torch.get_num_threads()

    def multiply(_: int) -> None:
        sums[0] = torch.ones(512, 512).matmul(torch.ones(512, 512)).sum().item()
        sums[1] = torch.get_num_threads()

    torch.set_num_threads(2)
    torch.exp(torch.ones(2**20)).sum()  # starts the pool, whose second thread no fork copies
    try:
        with lava_run(Task(before=multiply)) as run:
            run.step(1)
        assert torch.get_num_threads() == 2, "the parent keeps its threads"
    finally:
        torch.set_num_threads(threads)
    assert sums.tolist() == [512.0**3, 1.0]


# A run that hangs in its first step, in an interpreter of its own that says which processes are in it.
HANGING_RUN = """
import sys
sys.path.insert(0, {tests!r})
from test_watchdog import Task, chain, children, lava_run, sleep

with lava_run(chain(Task(), Task(before=sleep))) as run:
    run.start(1)
    print(*children(), flush=True)
    while not run.poll():
        pass
"""


def hanging_run() -> tuple[subprocess.Popen[str], list[int]]:
    parent = start_python(HANGING_RUN.format(tests=str(Path(__file__).parent)))
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 3
    assert all(is_running(pid) for pid in pids)
    return parent, pids


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_children_die_with_their_parent(how: signal.Signals) -> None:
    parent, pids = hanging_run()
    with parent:
        parent.send_signal(how)
    assert parent.returncode == -how
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_ctrl_c_ends_the_interpreter_and_only_the_parent_answers_it() -> None:
    parent, pids = hanging_run()
    os.killpg(parent.pid, signal.SIGINT)  # what a terminal does
    _, errors = parent.communicate(timeout=HANG_S)
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1
    assert not any(is_running(pid) for pid in pids)
