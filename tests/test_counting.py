"""Operations of a deployed network, all of them counted by hand in two small examples."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.counting import (
    count_operations,
    layer_needs,
    parameter_count,
    synapse_memory_bits,
    weight_bits,
    widest_weight_bits,
)
from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntIdentity,
    IntInput,
    IntLif,
    IntNetwork,
    IntRelay,
    run_integer,
)
from deploy.ir.network import Shape
from deploy.passes.schedule import schedule
from hardware import AttentionGeometry, ConvGeometry, OpCounts


def conv(weight_OIHW: NDArray[np.int64], in_shape: Shape) -> IntConvolution:
    out, _, height, width = weight_OIHW.shape
    geometry = ConvGeometry(in_shape=in_shape, out_channels=out, kernel=(height, width))
    return IntConvolution(mantissa=weight_OIHW.astype(np.int16), exponent=0, geometry=geometry)


def lif(shape: Shape, bias: list[int], threshold: int) -> IntLif:
    """Neurons without memory; the bias counts in 1/64 of a weight."""
    return IntLif(
        shape=shape,
        scale=1.0,
        bias_mantissa=np.array(bias)[:, None, None],
        bias_exponent=0,
        decay=np.full((1, 1, 1), 4096),
        threshold=np.full((1, 1, 1), threshold),
    )


def relay(shape: Shape) -> IntRelay:
    return IntRelay(shape=shape, scale=1.0, bias=np.zeros((1, 1, 1), dtype=np.int64))


FRAMES = np.array([[[1, 0], [0, 2]], [[0, 0], [0, 0]]], dtype=np.float64).reshape(1, 2, 1, 2, 2)


@pytest.fixture
def two_layers() -> IntNetwork:
    """2 x 2 pixels -> (kernel 2 x 2) 3 neurons -> (dense) 2 outputs, over two time steps.

    Currents of the first frame: 5 * (1 + 2) = 15, -1 * (1 + 2) = -3, 3 * 2 = 6; of the second: 0. The second neuron has
    a bias of 320 / 64 = 5. With threshold 4: spikes (15, -3 + 5, 6) -> 1 0 1, then (0, 5, 0) -> 0 1 0.
    Outputs: (1 - 1, 2) = 0 2, then 1 0.
    """
    hidden = np.array([[[[5, 5], [5, 5]]], [[[-1, -1], [-1, -1]]], [[[0, 0], [0, 3]]]])
    out = np.array([[1, 1, -1], [2, 0, 0]])[:, :, None, None]
    return IntNetwork(
        populations={
            "in": IntInput(shape=(1, 2, 2), scale=1.0, low=0, high=2),
            "hidden": lif((3, 1, 1), [0, 320, 0], 4),
            "out": relay((2, 1, 1)),
        },
        connections=(
            IntConnection(source="in", target="hidden", operation=conv(hidden, (1, 2, 2))),
            IntConnection(source="hidden", target="out", operation=conv(out, (3, 1, 1))),
        ),
        output="out",
        frames=2,
    )


def counts(network: IntNetwork, frames: NDArray[np.float64] = FRAMES) -> dict[str, OpCounts]:
    return count_operations(network, run_integer(network, frames))


def test_two_layers_by_hand(two_layers: IntNetwork) -> None:
    found = counts(two_layers)
    assert found["in"] == OpCounts(graded_messages=2)
    assert found["hidden"] == OpCounts(
        macs=2 * 3,  # each non-zero pixel reaches three neurons
        weight_bits_read=2 * 3 * 4,  # -1 to 5: four bits
        dense_macs=2 * 12,  # 4 pixels x 3 neurons, two time steps
        padded_macs=2 * 12,
        neuron_updates=2 * 3,
        bias_adds=2 * 1,
        spikes=3,
    )
    assert found["out"] == OpCounts(
        synaptic_ops=3 * 2,  # each spike reaches two outputs
        weight_bits_read=3 * 2 * 3,  # -1 to 2: three bits
        dense_macs=2 * 6,
        padded_macs=2 * 6,
        graded_messages=2,
    )


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
    attention = IntAttention(
        geometry=AttentionGeometry(channels=1, tokens=2, heads=1), in_shape=shape, multiplier=1, exponent=0
    )
    network = IntNetwork(
        populations={
            "in": IntInput(shape=shape, scale=1.0, low=0, high=1),
            "qkv": lif(shape, [0, 0, 0], 0),
            "ones": IntRelay(shape=(1, 1, 2), scale=1.0, bias=np.ones((1, 1, 1), dtype=np.int64)),
            "sum": relay((1, 1, 2)),
        },
        connections=(
            IntConnection(source="in", target="qkv", operation=IntIdentity(in_shape=shape, out_shape=shape)),
            IntConnection(source="qkv", target="sum", operation=attention),
            IntConnection(source="ones", target="sum", operation=IntIdentity(in_shape=(1, 1, 2), out_shape=(1, 1, 2))),
        ),
        output="sum",
        frames=2,
    )
    frames = np.stack([np.array([[1, 1], [1, 1], [1, 0]]), np.zeros((3, 2))]).reshape(1, 2, *shape)
    found = counts(network, frames)
    assert found["qkv"] == OpCounts(relay_adds=5, neuron_updates=2 * 6, spikes=5)
    assert found["ones"] == OpCounts(graded_messages=4, bias_adds=2 * 2)
    assert found["sum"] == OpCounts(
        attention_coincidences=1,
        attention_gated_adds=2,
        attention_gated_adds_nonzero=2,
        dense_attention_ops=2 * (2 * 2),  # two products of 2 tokens x 1 x 1, two time steps
        relay_adds=2 * 2,
        graded_messages=4,
    )


def test_what_a_chip_must_hold(two_layers: IntNetwork) -> None:
    """Weights of -1, 5 and 3, 2: four and three bits with the sign; 12 + 6 weights, 3 biases and the relay's one."""
    hidden, out = layer_needs(two_layers, schedule(two_layers))
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
        ([0, 0], 1),
        ([5, 15], 5),  # 5 is shared, too, but a chip has powers of two only
    ],
)
def test_bits_that_weights_need(weights: list[int], bits: int) -> None:
    assert weight_bits(conv(np.array(weights)[:, None, None, None], (1, 1, 1))) == bits


def test_the_longest_delay_counts_the_balance_and_the_models_own(two_layers: IntNetwork) -> None:
    """A second edge from the input passes one synapse less and is 3 frames late: 1 + 3 steps."""
    short = IntConnection(
        source="in", target="out", operation=conv(np.ones((2, 1, 2, 2), dtype=np.int64), (1, 2, 2)), delay=3
    )
    branched = replace(two_layers, connections=(*two_layers.connections, short))
    assert [need.delay for need in layer_needs(branched, schedule(branched))] == [0, 4]
