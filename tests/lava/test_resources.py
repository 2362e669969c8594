"""What Lava takes of the machine: semaphores, shared memory, channels; and that a full /dev/shm is one line."""

import mmap
import os
from multiprocessing.synchronize import SemLock
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ints
from deploy import simulate
from deploy.ir.integer import run_integer
from deploy.lava_network import actors
from deploy.lava_network.actors import require_semaphores, shared_zeros
from processes import HANG_S
from svformer.common.errors import InputError

# isort: split
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

FRAMES = 4


def test_shared_memory_that_the_system_refuses_is_one_line() -> None:
    with pytest.raises(InputError, match=r"refuses 1[\d,.]* MB of shared memory .*; run fewer clips"):
        shared_zeros((1 << 40, 1 << 10), np.int8)


def test_full_dev_shm_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 channels between processes and 2 of the runtime, 2 semaphores each; 5 processes and a service, 3 each."""
    network = SimpleNamespace(
        channel_builders=[None] * 10,
        sync_channel_builders=[None] * 2,
        proc_builders=dict.fromkeys(range(5)),
        runtime_service_builders={"service": None},
    )
    assert actors.semaphores(network) == 2 * 12 + 3 * 6
    needed = 42 * mmap.PAGESIZE
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=needed // 1024, f_frsize=1024))
    require_semaphores(network)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=needed // 1024 - 1, f_frsize=1024))
    with pytest.raises(InputError, match=f"needs {needed // 1024} KB there for 42 semaphores") as caught:
        require_semaphores(network)
    assert "docker run --shm-size=64m" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def executables(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Lava's compiler made of the networks that a test runs."""
    seen: list[Any] = []
    monkeypatch.setattr("deploy.lava_network.watchdog.require_semaphores", seen.append)
    return seen


def test_semaphores_of_a_run_are_as_many_as_are_asked_for(
    executables: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], SemLock.__init__
    monkeypatch.setattr(SemLock, "__init__", lambda lock, *args, **options: made.append(make(lock, *args, **options)))
    simulate(ints.image_to_value(), np.zeros((1, FRAMES, 3, 4, 4)), processes=3, timeout_s=HANG_S)
    (built,) = executables
    assert len(made) == actors.semaphores(built) > 12


def test_a_channel_holds_one_message(executables: list[Any]) -> None:
    """Lava's default is 64, which for the published geometry would be gigabytes."""
    simulate(ints.image_to_value(), np.zeros((1, FRAMES, 3, 4, 4)), processes=1000, timeout_s=HANG_S)
    (built,) = executables
    ends = [end for b in built.channel_builders for end in (b.src_port_initializer, b.dst_port_initializer)]
    assert ends
    assert {end.size for end in ends} == {1}
    assert all(np.dtype(end.d_type).itemsize <= 4 for end in ends)


@pytest.mark.parametrize("blocks", ["fused", "stock"])
def test_process_models_are_found_without_a_search(blocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search would run every module of the folder again, for each process of the network."""
    monkeypatch.setattr(ProcGroupDiGraphs, "_find_proc_models", lambda proc: pytest.fail(f"searched for {proc}"))
    net = ints.image_to_value()
    clips = np.random.default_rng(0).integers(-9, 10, size=(2, FRAMES, 3, 4, 4))
    found = simulate(net, clips, blocks=blocks, timeout_s=HANG_S).signals
    np.testing.assert_array_equal(found["out"], run_integer(net, clips)["out"])
