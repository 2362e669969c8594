"""The benchmarks of a clip: the fastest, limits, what is left out and why, and clocks that change no message."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import ints
from deploy.engine.layers import build_layers, step_of
from deploy.ir.integer import run_integer
from deploy.passes.schedule import schedule
from svformer.common.errors import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_the_fastest_is_the_least_a_clip_of_those_that_ran(load: Load) -> None:
    peers = load("clip_times.peers")
    ran = [peers.Peer(framework="", way=way, batch=b, seconds=s) for way, b, s in [("a", 1, 0.4), ("b", 8, 0.3)]]
    assert peers.fastest([peers.Peer(framework="", way="c", batch=1, skipped="no compiler"), *ran]).way == "b"


def test_without_a_compiler_what_needs_one_says_so_and_the_rest_runs(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = load("clip_times.peers")
    monkeypatch.setenv("CXX", "no-such-compiler")
    ways = tuple(way for way in peers.WAYS if way.compiles or way == peers.AS_IT_IS)
    found = list(peers.measured(torch.nn.Flatten(), torch.ones(1, 2), "PyTorch", ways))
    assert {peer.batch for peer in found} == {1, 8}
    for peer in found:
        assert (peer.seconds is None) == ("compile" in peer.way)
        assert peer.skipped == (
            "torch.compile needs a C++ compiler: no-such-compiler is not there" if peer.seconds is None else None
        )
    assert all(peer.error == 0 for peer in found if peer.seconds is not None)


def test_a_limit_is_operations_over_rate(load: Load) -> None:
    limits = load("clip_times.limits")
    assert limits.Limit(name="", operations=600, unit="", by="", rate=200.0).seconds == 3.0
    assert limits.Limit(name="", operations=600, unit="", by="", rate=None, reason="no unit").seconds is None


def test_a_folder_without_spikingjelly_is_refused(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["."])
    with pytest.raises(InputError, match=r"--spikingjelly .*: no SpikingJelly there"):
        load("clip_times.jelly").add_folder(tmp_path)


def test_rows_are_skipped_with_a_reason_or_have_seconds(load: Load) -> None:
    peer = {"framework": "PyTorch", "way": "eager", "batch": 1, "seconds": 0.5, "skipped": None, "error": 0.02}
    form = {"form": "chip", "skipped": "too large"}
    found = {"peers": [peer], "spikingjelly_skipped": "not given", "integer_s_per_clip": 2.0, "forms": [form]}
    shown = [(row.name, row.seconds, row.skipped or row.remark) for row in load("clip_times.shown").rows(found)]
    assert shown == [
        ("PyTorch: eager, batch 1", 0.5, "logits differ by up to 2 %"),
        ("SpikingJelly", None, "not given"),
        ("integer interpreter (NumPy)", 2.0, ""),
        ("Lava, chip", None, "too large"),
    ]


def test_clocks_change_no_message_and_see_every_layer(load: Load) -> None:
    """Two clips of 4 frames: each receiver is charged for kernel and neurons, the input for neither."""
    phases, network = load("clip_times.phases"), ints.image_to_value()
    frames = np.random.default_rng(0).integers(-9, 10, (2, 4, 3, 4, 4))
    plan, expected = schedule(network), run_integer(network, frames)
    layers = build_layers(network, plan, frames.reshape(8, 3, 4, 4).astype(np.int32))
    clocks = phases.Clocks(network.populations, plan.steps(2))
    clocks.watch(layers, {})
    sent: dict[str, list[Any]] = {name: [] for name in layers}
    for step in range(1, plan.steps(2) + 1):
        for name, layer in layers.items():
            if 0 <= step - layer.first_step < 8:
                sent[name].append(layer.messages.copy())
        advance = step_of(layers, step)
        for name in layers:
            advance(name)
    for name, messages in sent.items():
        np.testing.assert_array_equal(np.reshape(messages, expected[name].shape), expected[name])
    full = load("layer_times").full_steps(network, plan, 2)
    times = {layer.name: layer for layer in clocks.layer_times(plan.frames, full)}
    assert [bool(times[name].ms["kernel"]) for name in ("in", "hidden", "out")] == [False, True, True]
    assert [bool(times[name].ms["neurons"]) for name in ("in", "hidden", "out")] == [False, True, True]
    assert {name: layer.neurons for name, layer in times.items()} == {"in": 48, "hidden": 80, "out": 1}


def test_all_layers_work_at_once_between_the_last_start_and_the_last_frame(load: Load) -> None:
    """The input sends frame 0 at step 1, hidden at 2, out at 3, the last frame of a clip at step 4: one clip does."""
    network = ints.image_to_value()
    plan, full_steps = schedule(network), load("layer_times").full_steps
    assert full_steps(network, plan, 1) == slice(3, 4)
    deep = ints.chain(1, input=ints.entry(), **{name: ints.relay() for name in "abc"})
    with pytest.raises(InputError, match=r"--clips 3; allowed: 5 or more, until all layers work at once"):
        full_steps(deep, schedule(deep), 3)
    assert full_steps(deep, schedule(deep), 5) == slice(4, 5)


def test_stages_of_a_run_add_up_and_a_run_that_fails_is_one_line(load: Load, tmp_path: Path) -> None:
    one_clip = load("one_clip")
    found: dict[str, float] = {}
    noted = one_clip._noted(lambda x, *, y: x + y, "record", found)
    assert [noted(1, y=2), noted(3, y=4)] == [3, 7]
    assert list(found) == ["record"]
    assert found["record"] > 0
    run = one_clip.timed([sys.executable, "-c", "import os; print(os.environ['XDG_CACHE_HOME'])"], tmp_path)
    assert run["passed_s"] > 0
    assert run["processor_s"] > 0
    with pytest.raises(InputError, match="ended with 3: no"):
        one_clip.timed([sys.executable, "-c", "import sys; sys.stderr.write('no'); sys.exit(3)"], tmp_path)
