"""Operations of a deployed network, all of them counted by hand in two small examples."""

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

import ints
import random_networks
from deploy.costs.counting import count_by_clip, count_by_step, count_operations, expected_operations, readout_layers
from deploy.costs.resources import layer_resources
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.kernels import kernel_of
from deploy.ir.linear import convolve
from deploy.ir.operations.attention import IntAttention
from deploy.ir.populations.lif import IntLif
from deploy.ir.storage import parameter_count, synapse_memory_bits, widest_weight_bits
from deploy.ir.types import Shape
from deploy.passes.schedule import schedule
from hardware import ConvGeometry, OpCounts, count_connection

FRAMES = np.array([[[1, 0], [0, 2]], [[0, 0], [0, 0]]], dtype=np.float64).reshape(1, 2, 1, 2, 2)


@pytest.fixture
def two_layers() -> IntNetwork:
    """2 x 2 pixels -> (kernel 2 x 2) 3 neurons -> (dense) 2 outputs, over two time steps.

    Currents of the first frame: 5 * (1 + 2) = 15, -1 * (1 + 2) = -3, 3 * 2 = 6; of the second: 0. The second neuron has
    a bias of 320 / 64 = 5. With threshold 4: spikes (15, -3 + 5, 6) -> 1 0 1, then (0, 5, 0) -> 0 1 0.
    Outputs: (1 - 1, 2) = 0 2, then 1 0.
    """
    hidden = np.array([[[[5, 5], [5, 5]]], [[[-1, -1], [-1, -1]]], [[[0, 0], [0, 3]]]])
    return ints.network(
        {
            "in": ints.entry((1, 2, 2), high=2),
            "hidden": ints.lif((3, 1, 1), bias_mantissa=[0, 320, 0], threshold=4),
            "out": ints.relay((2, 1, 1)),
        },
        ints.link("in", "hidden", ints.conv(hidden, (1, 2, 2))),
        ints.link("hidden", "out", ints.dense([[1, 1, -1], [2, 0, 0]])),
        frames=2,
    )


def counts(network: IntNetwork, frames: NDArray[np.float64] = FRAMES) -> dict[str, OpCounts]:
    return count_operations(network, schedule(network), run_integer(network, frames))


def test_two_layers_by_hand(two_layers: IntNetwork) -> None:
    found = counts(two_layers)
    assert found["in"] == OpCounts(graded_messages=2)
    assert found["hidden"] == OpCounts(
        macs=2 * 3,  # each non-zero pixel reaches three neurons
        products=6 * 3,  # messages of 24 bits take three products of 8 x 8
        weight_bits_read=2 * 3 * 4,  # -1 to 5: four bits
        parameter_reads=6 + 2,  # a weight for each MAC, and two biases
        parameter_reach=6 * (12 * 4) + 2 * (3 * 13),  # 12 weights of 4 bits, 3 biases of 13
        state_reads=6 + 2 * 3,  # for each MAC, and for each neuron at each step
        state_writes=6 + 2 * 3,
        state_reach=2 * 12 * (3 * 24),  # 3 potentials of 24 bits
        dense_macs=2 * 12,  # 4 pixels x 3 neurons, two time steps
        padded_macs=2 * 12,
        neuron_updates=2 * 3,
        bias_adds=2 * 1,
        spikes=3,
        deliveries=2,
        traffic_bits=2 * (2 + 24),  # address of one of 4 pixels, and its value
    )
    assert found["out"] == OpCounts(
        synaptic_ops=3 * 2,  # each spike reaches two outputs
        weight_bits_read=3 * 2 * 3,  # -1 to 2: three bits
        parameter_reads=6,
        parameter_reach=6 * (6 * 3),
        state_reads=6 + 2 * 2,
        state_writes=6 + 2 * 2,
        state_reach=2 * 10 * (2 * 24),
        dense_synaptic_ops=2 * 6,
        dense_macs=2 * 6,
        padded_macs=2 * 6,
        graded_messages=2,
        relay_updates=2 * 2,
        deliveries=3,
        traffic_bits=3 * 2,  # address of one of 3 neurons
    )


def test_each_time_step_by_hand(two_layers: IntNetwork) -> None:
    """Frame 0: two pixels, spikes 1 0 1; frame 1: none, spikes 0 1 0."""
    steps = count_by_step(two_layers, schedule(two_layers), run_integer(two_layers, FRAMES))
    assert [step.macs for step in steps["hidden"]] == [6, 0]
    assert [step.spikes for step in steps["hidden"]] == [2, 1]
    assert [step.synaptic_ops for step in steps["out"]] == [4, 2]
    assert [step.neuron_updates for step in steps["hidden"]] == [3, 3]


def static(found: OpCounts) -> int:
    """What rate x synapses stands for."""
    return found.synaptic_ops + found.macs + found.relay_adds + found.comparisons


@given(case=random_networks.int_networks())
def test_time_steps_add_up_to_the_clip_and_static_counts_explain_theirs(case: tuple[IntNetwork, NDArray[Any]]) -> None:
    """Any network; the sums are those of the whole signals, layer by layer, and no message is lost on the way."""
    network, frames = case
    signals = run_integer(network, frames)
    steps, whole = (count(network, schedule(network), signals) for count in (count_by_step, count_operations))
    by_clip = count_by_clip(network, schedule(network), signals)
    assert len(by_clip) == len(frames)
    assert sum(by_clip, OpCounts()) == sum(whole.values(), OpCounts())
    assert {len(found) for found in steps.values()} == {network.frames}
    for name, population in network.populations.items():
        counted = sum(steps[name], OpCounts())
        assert counted == whole[name]
        assert counted.spikes + counted.graded_messages == np.count_nonzero(signals[name])
        if isinstance(population, IntLif):
            assert counted.neuron_updates == signals[name].size
    sent = {name: (found.spikes + found.graded_messages) / len(frames) for name, found in whole.items()}
    for name, expected in expected_operations(network, sent).items():
        traced = static(whole[name]) / len(frames)
        assert expected.reasons or traced == pytest.approx(expected.ops)


def test_the_difference_at_the_border_is_that_of_rate_and_reach() -> None:
    """3 x 3 kernel on 3 x 3 pixels: corners reach 4, edges 6, the centre 9; 49 synapses.

    The centre alone fires: a rate of 1 / 9 makes 49 / 9 = 5.4 additions, but there are 9.
    """
    geometry = ConvGeometry(in_shape=(1, 3, 3), out_channels=1, kernel=(3, 3), padding=(1, 1))
    network = ints.network(
        {"in": ints.entry((1, 3, 3)), "out": ints.relay((1, 3, 3))},
        ints.link("in", "out", ints.constant(geometry)),
        frames=1,
    )
    frame = np.zeros((1, 1, 1, 3, 3))
    frame[..., 1, 1] = 1
    (expected,) = expected_operations(network, {"in": 1.0}).values()
    assert expected.ops == pytest.approx(49 / 9)
    assert expected.reasons == ("borders",)
    assert counts(network, frame)["out"].synaptic_ops == 9


@given(case=random_networks.int_networks())
def test_borders_and_delays_are_all_of_the_difference(case: tuple[IntNetwork, NDArray[Any]]) -> None:
    """Any network, any layer: traced = rate x synapses + borders + delays, each from its definition.

    Borders: sum over positions of (messages there - messages of the mean position) x the neurons that one reaches.
    Delays: (messages of the frames that arrive - as many frames of the mean frame) x synapses / inputs.
    """
    network, frames = case
    signals = run_integer(network, frames)
    counted = count_operations(network, schedule(network), signals)
    sent = {name: np.count_nonzero(signal) / len(frames) for name, signal in signals.items()}
    for name, expected in expected_operations(network, sent).items():
        found = counted[name]
        traced = static(found) / len(frames)
        borders = delays = 0.0
        for c in network.into(name):
            if isinstance(c.operation, IntAttention):
                continue
            geometry, arrive = c.operation.geometry, max(network.frames - c.delay, 0)
            sent_HW = np.count_nonzero(signals[c.source][:, :arrive], axis=(0, 1, 2)) / len(frames)
            reach = geometry.fan_out_map()
            borders += ((sent_HW - sent_HW.mean()) * reach).sum()
            delays += (sent_HW.sum() - sent[c.source] * arrive / network.frames) * reach.mean()
        assert traced == pytest.approx(expected.ops + borders + delays)
        assert ("borders" in expected.reasons) or borders == pytest.approx(0, abs=1e-6)
        assert ("delays" in expected.reasons) or delays == pytest.approx(0, abs=1e-6)


def test_a_delay_cuts_off_the_last_frames(two_layers: IntNetwork) -> None:
    """3 spikes in two frames: 0.5 a neuron and frame, one frame seen of two: 3 additions; the first two arrived: 4."""
    first, second = two_layers.connections
    late = replace(two_layers, connections=(first, replace(second, delay=1)))
    expected = expected_operations(late, {"in": 2.0, "hidden": 3.0, "out": 2.0})["out"]
    assert (expected.ops, expected.reasons) == (pytest.approx(3.0), ("delays",))
    assert counts(late)["out"].synaptic_ops == 4


def test_messages_wait_in_delay_lines(two_layers: IntNetwork) -> None:
    """A shortcut from the input passes one synapse less, and waits one step; with a delay of its own, one more."""
    short = ints.link("in", "out", ints.conv(np.ones((2, 1, 2, 2)), (1, 2, 2)), delay=1)
    branched = replace(two_layers, connections=(*two_layers.connections, short))
    found = counts(branched)["out"]
    # both pixels of frame 0 arrive, two steps late; the spikes do not wait
    assert (found.held_messages, found.held_steps, found.deliveries) == (2, 4, 3 + 2)


def test_what_lies_behind_the_last_neurons_is_the_readout(two_layers: IntNetwork) -> None:
    assert readout_layers(two_layers) == ["out"]
    spiking = replace(
        two_layers,
        populations={**two_layers.populations, "out": ints.lif((2, 1, 1), bias_mantissa=[0, 0], threshold=1)},
    )
    assert readout_layers(spiking) == []


def test_clips_add_up(two_layers: IntNetwork) -> None:
    twice = counts(two_layers, np.concatenate([FRAMES, FRAMES]))
    assert twice == {name: one + one for name, one in counts(two_layers).items()}


@pytest.mark.parametrize(("delay", "arrived"), [(1, 2), (2, 0), (5, 0)])
def test_what_a_delay_holds_back_beyond_the_clip_costs_nothing(
    two_layers: IntNetwork, delay: int, arrived: int
) -> None:
    """Of the spikes 1 0 1, then 0 1 0, a delay of one step lets the first two through."""
    first, second = two_layers.connections
    late = replace(two_layers, connections=(first, replace(second, delay=delay)))
    assert counts(late)["out"].synaptic_ops == arrived * 2
    assert counts(late)["out"].dense_macs == max(2 - delay, 0) * 6


def test_attention_and_relays_by_hand() -> None:
    """Two tokens, one head of one channel: q = 1 1, k = 1 1, v = 1 0, then nothing.

    K^T V: one coincidence (token 0). Q: two spikes, each adds one number, which is not zero.
    The relay gets 1 1, adds 1 1 from its second source, and sends 2 2 (one step), then 1 1: 4 messages.
    """
    shape: Shape = (3, 1, 2)
    network = ints.network(
        {
            "in": ints.entry(shape, high=2),
            "qkv": ints.lif(shape),
            "ones": ints.relay((1, 1, 2), 1),
            "sum": ints.relay((1, 1, 2)),
        },
        ints.link("in", "qkv", ints.same(shape)),
        ints.link("qkv", "sum", ints.attention(shape)),
        ints.link("ones", "sum", ints.same((1, 1, 2))),
        frames=2,
    )
    frames = np.stack([np.array([[1, 1], [1, 1], [1, 0]]), np.zeros((3, 2))]).reshape(1, 2, *shape)
    found = counts(network, frames)
    assert found["qkv"] == OpCounts(
        relay_adds=5,
        neuron_updates=2 * 6,
        state_reads=5 + 12,
        state_writes=5 + 12,
        state_reach=2 * 17 * (6 * 24),
        spikes=5,
        deliveries=5,
        traffic_bits=5 * (3 + 24),
    )
    assert found["ones"] == OpCounts(
        graded_messages=4,
        relay_updates=2 * 2,  # two sums, two time steps
        bias_adds=2 * 2,
        parameter_reads=4,
        parameter_reach=4 * 13,  # one bias for all
        state_reads=4,
        state_writes=4,
        state_reach=2 * 4 * (2 * 24),
    )
    assert found["sum"] == OpCounts(
        attention_coincidences=1,
        attention_gated_adds=2,
        attention_gated_adds_nonzero=2,
        dense_attention_ops=2 * (2 * 2),  # two products of 2 tokens x 1 x 1, two time steps
        relay_adds=2 * 2,
        relay_updates=2 * 2,
        state_reads=(1 + 2) + 2 + 4 + 2 * 2,  # K^T V twice, sums of both sources, and of each token at each step
        state_writes=1 + 2 + 4 + 2 * 2,
        state_reach=(3 + 1) * (1 * 24) + 2 * (2 + 4 + 4) * (2 * 24),
        graded_messages=4,
        deliveries=5 + 4,
        traffic_bits=5 * 3 + 4 * (1 + 24),
    )


def test_what_a_chip_must_hold(two_layers: IntNetwork) -> None:
    """Weights of -1, 5 and 3, 2: four and three bits with the sign; 12 + 6 weights, 3 biases and the relay's one."""
    hidden, out = layer_resources(two_layers, schedule(two_layers))
    assert widest_weight_bits(two_layers) == 4
    assert synapse_memory_bits(two_layers) == 12 * 4 + 6 * 3
    assert parameter_count(two_layers) == 12 + 6 + 3 + 1
    assert (hidden.name, hidden.neurons, hidden.kernel_bits, hidden.synapses) == ("hidden", 3, 12 * 4, 12)
    assert (hidden.fan_in_axons, hidden.fan_out_axons, hidden.message_bits) == (4, 3, 1)
    assert (out.name, out.neurons, out.kernel_bits, out.message_bits) == ("out", 2, 6 * 3, 24)
    assert (out.state_bits, out.fan_out_axons, out.delay) == (2 * 24, 0, 0)


@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ([3, -3], 3),
        ([96, -64], 3),  # 32 * 3: the factor is a matter of the exponent
        ([127, 0], 8),
        ([-1, 0], 2),
        ([-128, 127], 8),
        ([-256, 254], 8),  # what a Loihi synapse with a sign holds
        ([0, 0], 1),
        ([5, 15], 5),  # 5 is shared, too, but a chip has powers of two only
    ],
)
def test_bits_that_weights_need(weights: list[int], bits: int) -> None:
    assert ints.dense([[weight] for weight in weights]).weight_bits == bits


def test_the_longest_delay_counts_the_balance_and_the_models_own(two_layers: IntNetwork) -> None:
    """A second edge from the input passes one synapse less and is 3 frames late: 1 + 3 steps."""
    short = ints.link("in", "out", ints.conv(np.ones((2, 1, 2, 2)), (1, 2, 2)), delay=3)
    branched = replace(two_layers, connections=(*two_layers.connections, short))
    assert [need.delay for need in layer_resources(branched, schedule(branched))] == [0, 4]


@pytest.mark.parametrize(("high", "ops", "macs"), [(1, 5, 0), (2, 0, 5)])
def test_a_clip_of_zeros_and_ones_is_one_of_spikes(high: int, ops: int, macs: int) -> None:
    """Five events go to one neuron each. An input that can send 2 sends graded values, with 24 bits of payload."""
    network = ints.network(
        {"in": ints.entry((2, 1, 3), high=high), "out": ints.lif((1, 1, 3))},
        ints.link("in", "out", ints.conv([[[[1]], [[1]]]], (2, 1, 3))),
        frames=1,
    )
    found = counts(network, np.array([1, 0, 1, 1, 1, 1]).reshape(1, 1, 2, 1, 3))
    assert (found["out"].synaptic_ops, found["out"].macs) == (ops, macs)
    assert found["out"].traffic_bits == 5 * (3 + (24 if macs else 0))
    assert (found["in"].spikes, found["in"].graded_messages) == (ops, macs)


def test_padding_same_of_an_even_kernel_is_no_work() -> None:
    """A kernel of 2 with dilation 3 on 5 values: its span of 3 is odd, so it is written out as _0w00w with 2 in front.

    Torch pads 1 in front and 2 behind: output n hears values n - 1 and n + 2. Of 5 outputs the first tap reaches 4, the
    second 3, so ones everywhere make 4 + 3 additions, and two weights are stored for each of the 2 outputs.
    """
    node = nir.Conv1d(
        input_shape=5,
        weight=np.full((2, 1, 2), 0.5),
        stride=1,
        padding="same",
        dilation=3,
        groups=1,
        bias=np.zeros(2),
    )
    weight, geometry = kernel_of(node, (1, 5))
    assert (geometry.weights, geometry.synapses) == (4, 2 * 7)
    ones = np.ones((1, 1, 1, 5))
    assert count_connection(ones, geometry, binary=True).synaptic_ops == 2 * 7
    assert convolve(ones, weight, geometry)[0, 0, 0].tolist() == [0.5, 1.0, 1.0, 0.5, 0.5]
