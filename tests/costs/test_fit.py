"""Does it fit: the rule by hand, each limit in turn, and what no number of cores would help against."""

from dataclasses import replace

import pytest

from hardware import AttentionGeometry, ChipError, ConvGeometry, IdentityGeometry, LayerResources, fit, load_chip
from hardware.fit import REMEDIES

LOIHI_1, LOIHI_2 = load_chip("loihi1"), load_chip("loihi2")
CONV = ConvGeometry(in_shape=(16, 16, 16), out_channels=32, kernel=(3, 3), padding=(1, 1))
NEED = LayerResources.of("conv", shape=CONV.out_shape, inputs=[CONV], outgoing=2)


def test_need_by_hand():
    assert NEED.neurons == 32 * 16 * 16 == 8192
    assert NEED.kernel_bits == 8 * 32 * 16 * 9
    assert NEED.synapses == CONV.dense_macs()
    assert NEED.state_bits == 24 * 8192
    assert NEED.fan_in_axons == 16 * 16 * 16
    assert NEED.fan_out_axons == 2 * 8192


def test_needs_of_several_inputs_add():
    relay = IdentityGeometry(shape=CONV.out_shape)
    need = LayerResources.of("junction", shape=CONV.out_shape, inputs=[CONV, relay], outgoing=1)
    assert need.fan_in_axons == 16 * 16 * 16 + 32 * 16 * 16
    assert need.kernel_bits == 8 * (32 * 16 * 9 + 1)


def test_loihi_1_by_hand():
    # Cores: neurons 8192 / 1024 = 8, fan-in 4096 / 4096 = 1, fan-out 16384 / 4096 = 4, 4.5 of 128 KiB = 1.
    result = fit([NEED], LOIHI_1)
    (layer,) = result.layers
    assert layer.cores_by_limit == {"neurons": 8, "fan_in_axons": 1, "fan_out_axons": 4, "synapse_memory": 1}
    assert (layer.cores, layer.binding, result.chips) == (8, "neurons", 1)
    assert result.obstacles == ()
    assert result.unchecked == ("core_memory", "delay")


def test_loihi_2_by_hand():
    # Weights and state share 192 KiB: 36,864 + 196,608 bits = 28.5 KiB. Its axon limits are not published.
    result = fit([NEED], LOIHI_2)
    assert result.layers[0].cores_by_limit == {"neurons": 1, "core_memory": 1}
    assert set(result.unchecked) == {"fan_in_axons", "fan_out_axons", "synapse_memory", "weight_bits"}


@pytest.mark.parametrize(
    ("change", "limit", "cores"),
    [
        ({"neurons": 10 * 1024 + 1}, "neurons", 11),
        ({"fan_in_axons": 9 * 4096}, "fan_in_axons", 9),
        ({"fan_out_axons": 12 * 4096 - 1}, "fan_out_axons", 12),
        ({"kernel_bits": 9 * 128 * 1024 * 8 + 1}, "synapse_memory", 10),
    ],
)
def test_each_limit_binds_in_turn(change, limit, cores):
    result = fit([NEED, replace(NEED, name="hungry", **change)], LOIHI_1)
    assert (result.largest.name, result.largest.binding, result.largest.cores) == ("hungry", limit, cores)
    assert result.cores == 8 + cores


def test_state_binds_on_loihi_2():
    # 8192 neurons with 384 bits of state: 384 KiB and 4.5 KiB of weights, so 3 cores of 192 KiB.
    need = replace(NEED, state_bits=8192 * 384)
    assert fit([need], LOIHI_2).largest.cores_by_limit == {"neurons": 1, "core_memory": 3}


def test_the_papers_neurons_alone_fill_40_loihi_1_chips():
    # 5,218,304 / 1024 = 5096 cores; / 128 = 39.8 chips.
    need = replace(NEED, neurons=5_218_304, fan_in_axons=0, fan_out_axons=0)
    result = fit([need], LOIHI_1)
    assert (result.cores, result.chips) == (5096, 40)


def test_obstacles_are_said_layer_by_layer():
    attention = AttentionGeometry(channels=32, tokens=64, heads=2)
    needs = [
        replace(NEED, name="stem", message_bits=16),
        replace(NEED, name="wide", weight_bits=12),
        replace(NEED, name="late", delay=70),
        LayerResources.of("attention", shape=(32, 8, 8), inputs=[attention], outgoing=1),
    ]
    assert fit(needs, LOIHI_1).obstacles == (
        "stem: needs messages of 16 bits, Intel Loihi 1 has at most 1",
        "wide: needs weights of 12 bits, Intel Loihi 1 has at most 9",
        "attention: multiplies two signals (attention), for which Intel Loihi 1 has no synapse",
    )
    assert fit(needs, LOIHI_2).obstacles == (
        "late: needs a delay of 70 steps, Intel Loihi 2 has at most 62",
        "attention: multiplies two signals (attention), for which Intel Loihi 2 has no synapse",
    )


def test_a_layer_takes_at_least_one_core():
    nothing = replace(NEED, neurons=0, kernel_bits=0, fan_in_axons=0, fan_out_axons=0)
    assert fit([nothing], LOIHI_1).cores == 1


def test_the_layer_that_needs_most_and_what_would_shrink_it():
    # 8 cores by its neurons, 4 by the axons that leave it: fewer channels help down to 4.
    small = replace(NEED, name="small", neurons=5, fan_out_axons=5)
    assert fit([small, NEED], LOIHI_1).advice == (
        "conv takes most, 8 cores of 9, by its neurons: fewer channels or a smaller image; cores grow with both in "
        "proportion; no other limit asks for more than 4"
    )
    assert fit([small], LOIHI_1).advice == "small takes most, 1 core of 1, by its neurons: it fits one core"
    twice = replace(NEED, fan_out_axons=8 * 4096)
    assert fit([twice], LOIHI_1).largest.remedy.endswith("but another limit asks for as many cores")


@pytest.mark.parametrize("chip", [LOIHI_1, LOIHI_2])
def test_every_limit_that_can_bind_has_a_remedy(chip):
    assert set(fit([NEED], chip).largest.cores_by_limit) <= set(REMEDIES)


def test_refusals():
    with pytest.raises(ChipError, match="TrueNorth has no limits"):
        fit([NEED], load_chip("truenorth"))
    with pytest.raises(ChipError, match="no layers"):
        fit([], LOIHI_1)
