"""The network on Lava: bit for bit what the integer interpreter computes, alone and with clips back to back."""

import os
import signal
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
import ints
import random_networks
from deploy import lower, quantize, simulate
from deploy.engine.layers import Layers
from deploy.errors import SimulatorError
from deploy.execution.backends import BACKENDS
from deploy.frontend.from_svformer import export
from deploy.ir.integer import IntNetwork, as_images, run_integer
from deploy.ir.populations.lif import IntLif
from deploy.lava_network.actors import shared_zeros
from deploy.lava_network.recording import Recording
from deploy.lava_network.simulate import simulate as simulate_on_lava
from deploy.passes.schedule import schedule
from processes import HANG_S, children
from svformer import SVFormer, SVFormerConfig
from svformer.common.errors import InputError

CONFIG = SVFormerConfig(
    num_classes=3, image_size=32, frames=3, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8
)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def network(clips: np.ndarray) -> IntNetwork:
    """A whole SVFormer with random weights; its norms are shifted so that every layer fires."""
    torch.manual_seed(3)
    model = SVFormer(CONFIG)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics are those of the last pass
            torch.nn.init.constant_(module.bias, 3.0 if name.endswith("attn.norm1") else 0.7)
    model(torch.as_tensor(clips).transpose(1, 2))
    return quantize(lower(export(model.double().eval())), clips)


def test_lava_equals_the_integer_interpreter_bit_for_bit(network: IntNetwork, clips: np.ndarray) -> None:
    expected = run_integer(network, as_images(clips, network))
    result = simulate(network, clips, backend="lava", timeout_s=HANG_S)
    assert result.signals.keys() == expected.keys()
    for name, signal_ in expected.items():
        np.testing.assert_array_equal(result.signals[name], signal_, err_msg=name)
    fired = {name: int(expected[name].sum()) for name, p in network.populations.items() if isinstance(p, IntLif)}
    assert all(fired.values()), fired  # a silent layer would prove nothing


@pytest.mark.parametrize("processes", [2, 5, 1000])
def test_layers_in_several_processes_send_the_same(network: IntNetwork, clips: np.ndarray, processes: int) -> None:
    """Placed by their measured work, which differs from run to run: 1000 is one for each."""
    expected = simulate(network, clips, backend="integer")
    found = simulate(network, clips, backend="lava", processes=processes, timeout_s=HANG_S)
    assert found.time_steps == expected.time_steps
    for name, signal_ in expected.signals.items():
        np.testing.assert_array_equal(found.signals[name], signal_, err_msg=name)


@pytest.mark.parametrize("processes", [1, 2, 1000])
def test_layers_without_input_run_too(processes: int) -> None:
    """A layer that its leak drives, and another that no connection joins with the output: Lava runs what is joined."""
    nodes = {
        "in": graphs.entry(3),
        "osc": graphs.lif(3, v_leak=1.5),
        "n": graphs.lif(3, v_threshold=1.2),
        "out": graphs.result(3),
        "r": graphs.lif(3, v_leak=1.3, r=-1.0),  # its own spikes hold it back
    }
    edges = [("in", "n"), ("osc", "n"), ("n", "out"), ("r", "r")]
    clips = np.random.default_rng(0).integers(0, 3, (2, 8, 3)).astype(np.float32)
    network = quantize(lower(graphs.graph(nodes, edges, T=8)), clips)
    assert network.apart == [{"r"}]
    expected = run_integer(network, as_images(clips, network))
    found = simulate(network, clips, backend="lava", processes=processes, timeout_s=HANG_S)
    for name, signal_ in expected.items():
        np.testing.assert_array_equal(found.signals[name], signal_, err_msg=name)
    assert all(0 < expected[name].mean() < 1 for name in ("osc", "n", "r"))


def test_lavas_own_processes_hold_no_part_that_nothing_joins() -> None:
    nodes = {"in": graphs.entry(3), "n": graphs.lif(3), "out": graphs.result(3), "r": graphs.lif(3, v_leak=1.3)}
    clips = np.ones((1, 8, 3), dtype=np.float32)
    edges = [("in", "n"), ("n", "out"), ("r", "r")]
    network = quantize(lower(graphs.graph(nodes, edges, T=8)), clips)
    with pytest.raises(InputError, match="r: no connection joins it with n"):
        simulate_on_lava(network, schedule(network), as_images(clips, network), blocks="stock", timeout_s=HANG_S)


def test_several_threads_send_the_same(network: IntNetwork, clips: np.ndarray) -> None:
    expected = simulate(network, clips, backend="integer")
    frames = as_images(clips, network)
    found = simulate_on_lava(network, schedule(network), frames, threads=4, timeout_s=HANG_S)
    for name, signal_ in expected.signals.items():
        np.testing.assert_array_equal(found.signals[name], signal_, err_msg=name)


def test_no_processes_are_refused(network: IntNetwork, clips: np.ndarray) -> None:
    with pytest.raises(InputError, match="0 Lava processes were asked for; allowed: 1 or more"):
        simulate(network, clips, processes=0)


@settings(max_examples=10)
@given(case=random_networks.int_networks(), processes=st.sampled_from([1, 2, 1000]))
def test_random_networks_of_any_geometry(case: tuple[IntNetwork, np.ndarray], processes: int) -> None:
    """Convolutions with groups, strides and dilation, attention, fan-in, delays, gains; several clips back to back, in
    one process, two, or one for each layer.
    """
    random_network, frames = case
    expected = run_integer(random_network, frames)
    found = simulate(random_network, frames, processes=processes, timeout_s=HANG_S).signals
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_clip_does_not_see_the_one_before_it(network: IntNetwork, clips: np.ndarray) -> None:
    together = simulate(network, clips, backend="lava", timeout_s=HANG_S)
    alone = simulate(network, clips[1:], backend="lava", timeout_s=HANG_S)
    for name, values in alone.signals.items():
        np.testing.assert_array_equal(together.signals[name][1:], values, err_msg=name)
    assert together.time_steps == alone.time_steps + CONFIG.frames  # back to back: T steps for one clip more


def test_progress_counts_all_time_steps(network: IntNetwork, clips: np.ndarray) -> None:
    seen: list[int] = []
    result = simulate(network, clips, backend="lava", timeout_s=HANG_S, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == result.time_steps


def test_a_killed_lava_process_ends_the_run_and_leaves_none_behind(network: IntNetwork, clips: np.ndarray) -> None:
    many, before = np.repeat(clips, 200, axis=0), children()  # other tests may have left a resource tracker

    def kill_one(_: int) -> None:
        os.kill(sorted(children() - before)[7], signal.SIGKILL)

    with pytest.raises(SimulatorError, match="SIGKILL"):
        simulate(network, many, backend="lava", processes=25, timeout_s=HANG_S, on_progress=kill_one)
    assert children() == before


def test_integer_backend_gives_the_same_result_without_lava(network: IntNetwork, clips: np.ndarray) -> None:
    on_lava = simulate(network, clips, backend="lava", timeout_s=HANG_S)
    np.testing.assert_array_equal(simulate(network, clips, backend="integer").logits, on_lava.logits)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("record", [(), ("hidden",)])
def test_what_is_not_asked_for_is_not_kept_and_the_rest_is_the_same(backend: str, record: tuple[str, ...]) -> None:
    network, frames = ints.image_to_value(), np.random.default_rng(1).integers(0, 2, (2, 4, 3, 4, 4))
    expected = run_integer(network, frames)
    found = simulate(network, frames, backend=backend, record=record, timeout_s=HANG_S)
    assert found.signals.keys() == {network.input_name, network.output, *record}
    for name, signal_ in found.signals.items():
        np.testing.assert_array_equal(signal_, expected[name], err_msg=name)
    np.testing.assert_array_equal(found.logits, network.logits(expected))


def test_layers_are_shown_before_they_run() -> None:
    """What is put around them there sees every layer once in each of T K + depth steps: 4 * 2 + 2 synapses."""
    network, seen = ints.image_to_value(), shared_zeros((3,), np.int64)

    def watch(layers: Layers, recordings: dict[str, Recording]) -> None:
        assert recordings.keys() == network.receivers.keys()
        for place, layer in enumerate(layers.values()):
            layer.advance = partial(count, place, layer.advance)  # type: ignore[method-assign]

    def count(place: int, advance: Callable[..., None], *arguments: object) -> None:
        seen[place] += 1
        advance(*arguments)

    plan = schedule(network)
    found = simulate_on_lava(network, plan, np.zeros((2, 4, 3, 4, 4)), timeout_s=HANG_S, on_build=watch)
    assert found.time_steps == plan.steps(2)
    assert seen.tolist() == [found.time_steps] * 3
