"""Does it fit: the rule by hand, each limit in turn, and what no number of cores would help against."""

from dataclasses import replace
from typing import Any

import pytest

from hardware import (
    AttentionGeometry,
    ChipError,
    ConvGeometry,
    IdentityGeometry,
    Incoming,
    LayerResources,
    fit,
    load_chip,
)
from hardware.fit import REMEDIES

LOIHI_1, LOIHI_2 = load_chip("loihi1"), load_chip("loihi2")
CONV = ConvGeometry(in_shape=(16, 16, 16), out_channels=32, kernel=(3, 3), padding=(1, 1))
NEED = LayerResources(name="conv", shape=CONV.out_shape, inputs=(Incoming(source="image", geometry=CONV),), outgoing=2)


def alone(neurons: int, **fields: Any) -> LayerResources:
    """A layer that nothing enters."""
    return LayerResources(name="hungry", shape=(neurons, 1, 1), **{"inputs": (), "outgoing": 0, **fields})


def dense(inputs: int, outputs: int) -> tuple[Incoming, ...]:
    geometry = ConvGeometry(in_shape=(inputs, 1, 1), out_channels=outputs, kernel=(1, 1))
    return (Incoming(source="image", geometry=geometry),)


def test_need_by_hand():
    assert NEED.neurons == 32 * 16 * 16 == 8192
    assert NEED.kernel_bits == 8 * 32 * 16 * 9
    assert NEED.synapses == CONV.dense_macs()
    assert NEED.state_bits == 24 * 8192
    assert NEED.fan_in_axons == 16 * 16 * 16
    assert NEED.fan_out_axons == 2 * 8192
    assert NEED.neuron_groups == 1


def test_needs_of_several_inputs_add():
    relay = Incoming(source="shortcut", geometry=IdentityGeometry(shape=CONV.out_shape))
    need = replace(NEED, inputs=(*NEED.inputs, relay), outgoing=1)
    assert need.fan_in_axons == 16 * 16 * 16 + 32 * 16 * 16
    assert need.kernel_bits == 8 * (32 * 16 * 9 + 1)


def test_loihi_1_by_hand():
    # Cores: neurons 8192 / 1024 = 8, fan-in 4096 / 4096 = 1, fan-out 16384 / 4096 = 4, 4.5 of 128 KiB = 1.
    result = fit([NEED], LOIHI_1)
    (layer,) = result.layers
    assert layer.cores_by_limit == {"neurons": 8, "fan_in_axons": 1, "fan_out_axons": 4, "synapse_memory": 1}
    assert (layer.cores, layer.binding, result.chips) == (8, "neurons", 1)
    assert result.obstacles == ()
    assert result.unchecked == ("neuron_groups", "core_memory", "weights_of_a_neuron", "delay")


def test_loihi_2_by_hand():
    """8192 neurons / 4096 = 2; a convolution has 2 axons; 4,608 bytes are 576 of 12,000 words, 28.5 KiB with state."""
    result = fit([NEED], LOIHI_2)
    assert result.layers[0].cores_by_limit == {
        "neurons": 2,
        "neuron_groups": 1,
        "fan_in_axons": 1,
        "synapse_memory": 1,
        "core_memory": 1,
    }
    assert set(result.unchecked) == {"fan_out_axons", "weight_bits", "weights_of_a_neuron"}


@pytest.mark.parametrize(
    ("layer", "limit", "cores"),
    [
        (alone(10 * 1024 + 1), "neurons", 11),
        (alone(9, inputs=dense(9 * 4096, 9), weight_bits=1), "fan_in_axons", 9),
        (alone(12, outgoing=4095), "fan_out_axons", 12),
        (alone(1024, inputs=dense(1100, 1024), weight_bits=9), "synapse_memory", 10),  # 9.67 x 128 KiB
    ],
)
def test_each_limit_of_loihi_1_binds_in_turn(layer, limit, cores):
    result = fit([NEED, layer], LOIHI_1)
    assert (result.largest.name, result.largest.binding, result.largest.cores) == ("hungry", limit, cores)
    assert result.cores == 8 + cores


@pytest.mark.parametrize(
    ("layer", "limit", "cores"),
    [
        (alone(10 * 4096 + 1), "neurons", 11),
        (alone(17, channel_groups=tuple((i,) for i in range(17))), "neuron_groups", 3),
        (alone(1000, inputs=dense(769, 1000)), "synapse_memory", 9),  # 769,000 bytes are 96,125 words of 12,000
        (alone(8192, state_bits_per_neuron=384), "core_memory", 2),  # 384 KiB of 192
    ],
)
def test_each_limit_of_loihi_2_binds_in_turn(layer, limit, cores):
    (found,) = fit([layer], LOIHI_2).layers
    assert (found.cores_by_limit[limit], found.cores) == (cores, cores)


def test_relays_of_a_delay_by_hand():
    """Two targets hear the image 3 and 5 steps late: one line of 5 x 4096 relays, 5 cores; none on Loihi 1."""
    late = [replace(NEED, name=f"late by {lag}", inputs=(replace(NEED.inputs[0], lag=lag),)) for lag in (3, 5)]
    result = fit(late, LOIHI_2)
    assert result.delay_neurons == 5 * 16 * 16 * 16
    assert [(line.name, line.cores) for line in result.delay_lines] == [("image", 5)]
    assert result.cores == 2 + 2 + 5
    assert (fit(late, LOIHI_1).delay_lines, fit(late, LOIHI_1).delay_neurons) == ((), 0)


def test_the_papers_neurons_alone_fill_40_loihi_1_chips():
    # 5,218,304 / 1024 = 5096 cores; / 128 = 39.8 chips.
    result = fit([alone(5_218_304)], LOIHI_1)
    assert (result.cores, result.chips) == (5096, 40)


def test_obstacles_are_said_layer_by_layer():
    attention = AttentionGeometry(channels=32, tokens=64, heads=2)
    late = replace(NEED.inputs[0], lag=70)
    needs = [
        replace(NEED, name="stem", message_bits=16),
        replace(NEED, name="wide", weight_bits=12),
        replace(NEED, name="late", inputs=(late,)),
        LayerResources(
            name="attention", shape=(32, 8, 8), inputs=(Incoming(source="qkv", geometry=attention),), outgoing=1
        ),
    ]
    assert fit(needs, LOIHI_1).obstacles == (
        "stem: needs messages of 16 bits, Intel Loihi 1 has at most 1",
        "wide: needs weights of 12 bits, Intel Loihi 1 has at most 9",
        "attention: multiplies two signals (attention), for which Intel Loihi 1 has no synapse",
    )
    assert fit(needs, LOIHI_2).obstacles == (  # relays hold a message back for any time
        "attention: multiplies two signals (attention), for which Intel Loihi 2 has no synapse",
    )


def test_a_delay_is_an_obstacle_where_synapses_hold_it():
    chip = LOIHI_2.model_copy(update={"traits": type(LOIHI_2.traits)()})
    late = replace(NEED, name="late", inputs=(replace(NEED.inputs[0], lag=70),))
    assert fit([late], chip).obstacles == ("late: needs a delay of 70 steps, Intel Loihi 2 has at most 63",)


def test_a_layer_takes_at_least_one_core():
    assert fit([alone(1)], LOIHI_1).cores == 1


def test_the_layer_that_needs_most_and_what_would_shrink_it():
    # 8 cores by its neurons, 4 by the axons that leave it: fewer channels help down to 4.
    small = replace(NEED, name="small", shape=(5, 1, 1), outgoing=1)
    assert fit([small, NEED], LOIHI_1).advice == (
        "conv takes most, 8 cores of 9, by its neurons: fewer channels or a smaller image; cores grow with both in "
        "proportion; no other limit asks for more than 4"
    )
    assert fit([small], LOIHI_1).advice == "small takes most, 1 core of 1, by its neurons: it fits one core"
    twice = replace(NEED, outgoing=4)
    assert fit([twice], LOIHI_1).largest.remedy.endswith("but another limit asks for as many cores")


@pytest.mark.parametrize("chip", [LOIHI_1, LOIHI_2])
def test_every_limit_that_can_bind_has_a_remedy(chip):
    assert set(fit([NEED], chip).largest.cores_by_limit) <= set(REMEDIES)


def test_refusals():
    with pytest.raises(ChipError, match="Tianjic has no limits"):
        fit([NEED], load_chip("tianjic"))
    with pytest.raises(ChipError, match="no layers"):
        fit([], LOIHI_1)
