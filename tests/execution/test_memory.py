"""What a run takes is said before it starts: sums by hand, limits of machines and containers, refusals."""

import mmap
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ints
from deploy import simulate
from deploy.execution import memory
from deploy.execution.batch import BATCH
from deploy.execution.memory import (
    MemoryNeed,
    calibration_need,
    float_need,
    integer_need,
    lava_need,
    message_bytes,
    require_memory,
    torch_need,
)
from deploy.execution.run import batch_size
from deploy.gates.fidelity import fidelity
from deploy.ir.integer import run_integer
from deploy.passes.bounds import prove
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.quantize import quantize_calibrated as quantize
from deploy.pipeline import firing_rates
from svformer.common.errors import InputError
from svformer.common.room import available_bytes

FRAMES = 4


def test_bytes_of_a_clip_by_hand() -> None:
    """Input 3 x 4 x 4 = 48 values, hidden 5 x 4 x 4 = 80 spikes, one output; 4 frames.

    Kept: 48 * 4 + 80 + 4 = 276 bytes a frame. Most is there while the hidden neurons run: input and spikes, and 8 bytes
    of 4 currents and 8 values of a time step for each of 80 neurons, 7,680. The first convolution, once for all clips:
    4 frames with 8 bytes each of two arrays of 48 inputs and four of 80 outputs, 32 * 416 = 13,312; windows, 8 bytes
    each of twice 48 inputs, of 16 positions with 3 * 9 = 27 weights, of three times 80 outputs, 32 * (96 + 432 + 240)
    = 24,576; 135 weights of 8 bytes, 1,080. Recorded by Lava: 80 bits and 4 bytes; returned 80 spikes; 48 inputs of 8
    bytes.
    """
    net = ints.image_to_value()
    work = 13_312 + 24_576 + 1_080
    assert message_bytes(net) == 4 * 276
    assert integer_need(net) == MemoryNeed(fixed=work, per_clip=4 * (48 * 4 + 80) + 7_680)
    assert float_need(net) == MemoryNeed(fixed=work, per_clip=4 * 8 * (48 + 80) + 7_680)
    assert lava_need(net).per_clip == 4 * (10 + 4 + 80 + 48 * 8)
    weights = 5 * 27 + 80
    assert lava_need(net).fixed == 8 * weights + 32 * 81 + 2 * memory.PROCESS_BYTES


def test_bytes_of_what_is_recorded_alone() -> None:
    """The same, of which the output alone is kept: 4 bytes a frame by Lava, and 48 inputs of 8 bytes. The interpreter
    has as much at its worst moment: input and spikes are still needed then.
    """
    net = ints.image_to_value()
    only_output = [net.input_name, net.output]
    assert lava_need(net, record=only_output).per_clip == 4 * (4 + 48 * 8)
    assert integer_need(net, record=only_output) == integer_need(net)
    saved = torch_need(net).per_clip - torch_need(net, record=only_output).per_clip
    assert saved == sum(message_bytes(net, record=[n]) for n in net.populations if n not in only_output) > 0


def test_processes_of_lava_by_hand() -> None:
    """Three populations and two connections: one process for all and Lava's service; asked for 2 or for more than there
    are layers, 2 and 3; stock, 2 * 3 + 3 * 2 at most.
    """
    net = ints.image_to_value()
    others = lava_need(net).fixed - 2 * memory.PROCESS_BYTES
    for options, count in (({}, 1), ({"processes": 2}, 2), ({"processes": 9}, 3), ({"blocks": "stock"}, 12)):
        assert lava_need(net, **options).fixed == others + (1 + count) * memory.PROCESS_BYTES


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_estimate_is_close_to_what_the_interpreter_takes() -> None:
    """For many clips; a single one takes no more. Connections and time steps, both counted, take turns."""
    net = ints.image_to_value(size=48, channels=8, hidden=16)
    frames = np.random.default_rng(0).integers(-9, 10, size=(12, FRAMES, 8, 48, 48)).astype(np.float64)
    assert 0.5 < peak_bytes(lambda: run_integer(net, frames)) / integer_need(net).of(12) <= 1.0
    assert peak_bytes(lambda: run_integer(net, frames[:1])) <= integer_need(net).of(1)


def test_calibration_takes_no_more_than_is_said(exported: Any) -> None:
    """Of a whole SVFormer, all of it: rates, sums, the search for scales, the fixed-point report. What is compiled at
    the first time stays, and belongs to no run.
    """
    net = lower(exported.graph, merge="always")

    def work(clips: int, search: bool) -> None:
        frames = exported.frames_NTCHW[:clips]
        firing_rates(exported.graph, net, frames)
        integers = quantize(net, calibrate(net, frames), search=search)
        fidelity(net, integers, prove(integers), frames)

    work(1, search=True)
    for clips, search in ((1, False), (2, True)):
        assert 0.3 < peak_bytes(lambda: work(clips, search)) / calibration_need(net).of(clips) <= 1.0  # noqa: B023


def test_clips_that_fit() -> None:
    need = MemoryNeed(fixed=100, per_clip=30)
    assert need.of(3) == 190
    assert [need.clips_in(available) for available in (0, 129, 130, 190)] == [0, 0, 1, 3]
    assert need + need == MemoryNeed(fixed=200, per_clip=60)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 8 MB free, whose files can be changed."""
    write(tmp_path / "proc" / "meminfo", "MemTotal: 99999 kB\nMemAvailable:       8000 kB\n")
    write(tmp_path / "proc" / "self" / "cgroup", "")
    write(tmp_path / "proc" / "self" / "statm", "100 50 20 1 0 30 0\n")
    allow(tmp_path, "unlimited")
    return tmp_path


def allow(machine: Path, address_space: int | str) -> None:
    """The soft limit, as `ulimit -v` sets it."""
    write(
        machine / "proc" / "self" / "limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            unlimited            seconds   \n"
        f"Max address space         {address_space:<21}unlimited            bytes     \n",
    )


def free(machine: Path) -> int:
    return available_bytes(proc=machine / "proc", cgroups=machine / "cgroup")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_memory_of_a_machine(machine: Path) -> None:
    assert free(machine) == 8000 * 1024


def test_limit_of_a_container_counts(machine: Path) -> None:
    """Version 2: of 5 MB, 4 are used, but 1 of it are files that the kernel can drop: 2 MB are free."""
    write(machine / "proc" / "self" / "cgroup", "0::/\n")
    write(machine / "cgroup" / "memory.max", "5000000\n")
    write(machine / "cgroup" / "memory.current", "4000000\n")
    write(machine / "cgroup" / "memory.stat", "anon 3000000\ninactive_file 1000000\n")
    assert free(machine) == 2_000_000
    write(machine / "cgroup" / "memory.max", "max\n")
    assert free(machine) == 8000 * 1024


def test_limit_of_a_group_or_of_one_above_it_counts(machine: Path) -> None:
    """Version 1, as a batch system sets it: the job's group has 3 MB, the user's 2.5 MB of which 1 is used."""
    write(machine / "proc" / "self" / "cgroup", "5:cpu:/user/job\n4:memory:/user/job\n")
    for group, limit, usage in (("user/job", 3_000_000, 0), ("user", 2_500_000, 1_000_000)):
        folder = machine / "cgroup" / "memory" / group
        write(folder / "memory.limit_in_bytes", f"{limit}\n")
        write(folder / "memory.usage_in_bytes", f"{usage}\n")
        write(folder / "memory.stat", "total_inactive_file 0\n")
    assert free(machine) == 1_500_000


def test_limit_of_the_process_counts(machine: Path) -> None:
    """`ulimit -v`: of 1,000 pages, 100 are taken."""
    allow(machine, 1000 * mmap.PAGESIZE)
    assert free(machine) == 900 * mmap.PAGESIZE


def test_this_machine_says_what_is_free() -> None:
    assert 0 < available_bytes() < 2**50


def test_too_many_clips_are_refused_by_what_there_is() -> None:
    need = lava_need(ints.image_to_value())
    with pytest.raises(InputError, match=r"here: 9 clips at the same time need about .* 7 fit at the same"):
        require_memory(need, 9, "here", available=need.of(7))
    with pytest.raises(InputError, match=r"here: 9 clips .* not one fits: take a machine"):
        require_memory(need, 9, "here", available=10)


@pytest.mark.parametrize("backend", ["lava", "integer"])
def test_too_many_clips_are_refused_before_the_run(backend: Any) -> None:
    """Clips that take no memory themselves, but whose run would take more than any machine has."""
    clips = np.broadcast_to(0.0, (10**15, FRAMES, 3, 4, 4))
    with pytest.raises(InputError, match=rf"the {backend} backend: {10**15} clips at the same time need about"):
        simulate(ints.image_to_value(), clips, backend=backend)


def test_a_data_set_runs_in_batches_that_fit() -> None:
    """One clip: floats, integer messages, Lava with a process for every layer; and the messages of 8 clips."""
    net = ints.image_to_value()
    layers = len(net.populations)
    per_clip = float_need(net).per_clip + message_bytes(net) + lava_need(net).per_clip
    fixed = float_need(net).fixed + lava_need(net, processes=layers).fixed + 8 * message_bytes(net)
    for free, expected in (
        (fixed + 5 * per_clip, 5),
        (fixed + 99 * per_clip, BATCH),
        (10**12, BATCH),
    ):
        assert batch_size(net, 1000, available=free) == expected
    assert batch_size(net, 1000, largest=7, available=10**12) == 7
    assert batch_size(net, 3) == 3
    with pytest.raises(InputError, match="2 workers: one clip in each needs"):
        batch_size(net, 1000, workers=2, available=fixed)
    with pytest.raises(InputError, match="one clip in all executions"):
        batch_size(ints.image_to_value(frames=10**12), 1000)
