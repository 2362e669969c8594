"""Placement: cuts, packings and traffic by hand, and what holds for any layers."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware import (
    AttentionGeometry,
    ChipError,
    ConvGeometry,
    IdentityGeometry,
    Incoming,
    LayerResources,
    fit,
    load_chip,
    place,
    traffic,
)
from hardware.cutting import cut
from hardware.packing import first_fit_decreasing, least_bins, pack, solve
from hardware.placement import Placement, in_order
from hardware.sharing import Part, inputs_for, weights_for, window

LOIHI_1, LOIHI_2 = load_chip("loihi1"), load_chip("loihi2")


def layer(name: str, shape: tuple[int, int, int], *inputs: Incoming, **fields: Any) -> LayerResources:
    return LayerResources(name=name, shape=shape, inputs=inputs, **{"outgoing": 1, **fields})


def conv(source: str, in_shape: tuple[int, int, int], outputs: int, size: int = 1, lag: int = 0) -> Incoming:
    geometry = ConvGeometry(
        in_shape=in_shape, out_channels=outputs, kernel=(size, size), padding=(size // 2, size // 2)
    )
    return Incoming(source=source, geometry=geometry, lag=lag)


def parts(found: Placement, name: str) -> list[tuple[int, int, int, int]]:
    """First channel, channels, first position and positions of every part of a layer."""
    return [tuple(vars(s.part).values()) for core in found.cores for s in core.slices if s.layer.name == name]


# What a part needs


def test_a_part_needs_the_weights_of_its_channels_and_the_window_of_its_positions():
    """3x3 over 4x6: positions 7 and 8 are row 1, columns 1 and 2; they see rows 0 to 2 and columns 0 to 3."""
    geometry = conv("in", (5, 4, 6), 8, size=3).geometry
    assert weights_for(geometry, 2) == 2 * 5 * 9
    assert inputs_for(geometry, 2, 2) == 5 * 4 * 6  # two in a row may lie in two rows, which see four
    found = window(geometry, Part(first_channel=0, channels=2, first_position=7, positions=2))
    assert (found.channels, found.rows, found.columns) == ((0, 5), (0, 3), (0, 4))


def test_a_part_that_may_begin_anywhere_needs_two_rows():
    geometry = conv("in", (1, 4, 6), 1).geometry
    assert [inputs_for(geometry, 1, positions) for positions in (1, 2, 7, 8, 24)] == [1, 12, 12, 18, 24]


def test_groups_and_heads_that_a_part_touches():
    grouped = ConvGeometry(in_shape=(8, 1, 1), out_channels=4, kernel=(1, 1), groups=4)  # two inputs for each output
    assert [inputs_for(grouped, channels, 1) for channels in (1, 2, 4)] == [2, 4, 8]
    heads = AttentionGeometry(channels=4, tokens=3, heads=2)  # q, k, v of two channels a head
    assert [inputs_for(heads, channels, 1) for channels in (1, 2, 4)] == [18, 36, 36]
    assert inputs_for(IdentityGeometry(shape=(4, 2, 2)), 2, 3) == 6


# Cuts


def test_a_layer_is_cut_by_its_neurons():
    """16 channels of 32 x 32 are four times 4096: whole images of four channels, or all channels at 256 positions."""
    found = cut(layer("a", (16, 32, 32)), LOIHI_2, LOIHI_2.limits)
    assert [s.part.neurons for s in found] == [4096] * 4
    assert {(s.part.channels, s.part.positions) for s in found} == {(16, 256)}


def test_a_rest_is_cut_again():
    """5000 neurons of one channel: 4096 and 904."""
    found = cut(layer("a", (1, 1, 5000)), LOIHI_2, LOIHI_2.limits)
    assert [s.part.neurons for s in found] == [4096, 904]


def test_a_kernel_is_stored_as_far_as_the_channels_of_a_core_need_it():
    """256 x 1000 bytes are 32,000 words: 96 channels (12,000 words) in a core, twice, and 64 (8,000 words)."""
    found = cut(layer("a", (256, 1, 1), conv("in", (1000, 1, 1), 256)), LOIHI_2, LOIHI_2.limits)
    assert [s.asked["synapse_memory"] // 64 for s in found] == [12_000, 12_000, 8_000]
    assert sum(s.asked["synapse_memory"] for s in found) == 256 * 1000 * 8


def test_a_kernel_is_stored_again_for_other_positions():
    """64 channels at 128 positions, 4096 neurons a core: both cores hold all 64 x 32 weights."""
    found = cut(layer("a", (64, 8, 16), conv("in", (32, 8, 16), 64)), LOIHI_2, LOIHI_2.limits)
    assert [(s.part.channels, s.part.positions) for s in found] == [(64, 64), (64, 64)]
    assert [s.asked["synapse_memory"] for s in found] == [64 * 32 * 8] * 2


def test_a_core_holds_eight_sets_of_decay_and_threshold():
    groups = tuple((channel % 10,) for channel in range(20))
    found = cut(layer("a", (20, 1, 1), channel_groups=groups), LOIHI_2, LOIHI_2.limits)
    assert all(s.asked["neuron_groups"] <= 8 for s in found)
    assert len(found) == 3  # 20 channels, 7 or 8 in a core


def test_a_neuron_that_no_core_holds_is_refused():
    wide = layer("head", (2, 1, 1), conv("in", (96_001, 1, 1), 2))
    with pytest.raises(ChipError, match=r"head: one neuron takes 768,008 of the synapse memory of a core, .* 768,000"):
        place([wide], LOIHI_2)
    many = layer("dense", (2, 1, 1), conv("in", (5000, 1, 1), 2))
    with pytest.raises(ChipError, match=r"dense: one neuron takes 5,000 of the fan in axons of a core, .* 4,096"):
        place([many], LOIHI_1)


# Packings


def test_small_layers_share_a_core():
    """3 x 1000 neurons in one core of 4096; the rule takes three."""
    layers = [layer(name, (1000, 1, 1)) for name in "abc"]
    found = place(layers, LOIHI_2)
    assert (len(found.cores), found.optimal, fit(layers, LOIHI_2).cores) == (1, True, 3)
    assert found.fill["neurons"] == pytest.approx(3000 / 4096)
    assert found.fill["neuron_groups"] == 3 / 8


def test_the_solver_finds_what_first_fit_misses():
    """First fit begins with 6 + 5 and needs three bins of 13; 6 + 4 + 3 and 5 + 4 + 4 fill two."""
    sizes = np.array([[6], [5], [4], [4], [4], [3]])
    held = np.array([13])
    assert len(first_fit_decreasing(sizes, held)) == 3
    found = pack(sizes, held, solver_nodes=10_000)
    assert (len(found.bins), found.method, found.optimal) == (2, "mixed-integer program", True)


def test_without_nodes_first_fit_stands():
    sizes = np.array([[6], [5], [4], [4], [4], [3]])
    found = pack(sizes, np.array([13]), solver_nodes=0)
    assert (len(found.bins), found.method, found.least) == (3, "first-fit decreasing", 2)


def test_a_proof_that_there_is_no_better():
    """Three times 6 of 10: the sum asks for two bins, but no two lie in one."""
    sizes, held = np.array([[6], [6], [6]]), np.array([10])
    assert least_bins(sizes, held) == 2
    assert solve(sizes, held, fewer_than=3, least=2, solver_nodes=10_000) == (None, 3)


@given(st.data())
@settings(max_examples=60)
def test_a_proven_optimum_is_never_beaten(data: st.DataObject):
    """Every item once, no bin overfull, no more bins than first fit takes, no fewer than the proven least."""
    limits = data.draw(st.integers(1, 3))
    held = np.array(data.draw(st.lists(st.integers(5, 30), min_size=limits, max_size=limits)))
    item = st.tuples(*(st.integers(0, int(amount)) for amount in held))
    sizes = np.array(data.draw(st.lists(item, min_size=1, max_size=9))).reshape(-1, limits)
    greedy, found = first_fit_decreasing(sizes, held), pack(sizes, held, solver_nodes=10_000)
    assert sorted(i for items in found.bins for i in items) == list(range(len(sizes)))
    assert all((sizes[list(items)].sum(axis=0) <= held).all() for items in found.bins)
    assert least_bins(sizes, held) <= found.least <= len(found.bins) <= len(greedy)


# Delay lines and traffic


def test_relays_of_a_delay_line_are_placed():
    """Layer b hears a two steps late: a, two layers of relays, b; each 4096 neurons, so four cores."""
    ordered = [(found.name, found.delay_step) for found in in_order(late_pair(2), LOIHI_2)]
    assert ordered == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    assert [found.delay_step for found in in_order(late_pair(2), LOIHI_1)] == [0, 0]


def late_pair(lag: int) -> list[LayerResources]:
    identity = Incoming(source="a", geometry=IdentityGeometry(shape=(4096, 1, 1)), lag=lag)
    return [layer("a", (4096, 1, 1)), layer("b", (4096, 1, 1), identity)]


def test_traffic_of_a_delay_line_by_hand():
    """Cores in a row: a, relays, relays, b. 100 messages go one tile far three times."""
    found = place(late_pair(2), LOIHI_2)
    assert [core.place for core in found.cores] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    sent = traffic(found, LOIHI_2, {"a": 100.0, "b": 0.0})
    assert (sent.sent, sent.between_cores, sent.between_chips, sent.hops) == (300, 300, 0, 300)


def test_a_message_goes_to_every_core_that_needs_it():
    """a: 2 x 4096 positions, one core each. b sums 3 neighbours: the core of the other half needs one position."""
    geometry = ConvGeometry(in_shape=(1, 1, 8192), out_channels=1, kernel=(1, 3), padding=(0, 1))
    layers = [layer("a", (1, 1, 8192)), layer("b", (1, 1, 8192), Incoming(source="a", geometry=geometry))]
    found = place(layers, LOIHI_2)
    assert parts(found, "b") == [(0, 1, 0, 4096), (0, 1, 4096, 4096)]
    sent = traffic(found, LOIHI_2, {"a": 8192.0, "b": 0.0})
    assert sent.sent == 2 * (4096 + 1)
    assert sent.hops == 4096 * 2 + 4096 * 2 + 1 * 3 + 1 * 1  # cores 0, 1 to 2, 3


@pytest.mark.parametrize(("keeps_places", "cores"), [(True, 1), (False, 2)])
def test_values_in_another_order_may_be_needed_everywhere(keeps_places: bool, cores: int):
    """Both layers fill two cores: what keeps its place goes to one of them, else it may be needed in either."""
    places = None if keeps_places else np.arange(8192)[::-1]
    geometry = IdentityGeometry(shape=(1, 1, 8192), places=places)
    layers = [layer("a", (1, 1, 8192)), layer("b", (1, 1, 8192), Incoming(source="a", geometry=geometry))]
    assert traffic(place(layers, LOIHI_2), LOIHI_2, {"a": 8192.0, "b": 0.0}).sent == cores * 8192


def test_nothing_leaves_a_core_that_holds_all():
    layers = [layer("a", (8, 1, 1)), layer("b", (8, 1, 1), conv("a", (8, 1, 1), 8))]
    found = place(layers, LOIHI_2)
    sent = traffic(found, LOIHI_2, {"a": 5.0, "b": 0.0})
    assert (sent.sent, sent.between_cores, sent.hops) == (5, 0, 0)


def test_cores_beyond_a_chip_lie_on_the_next():
    found = place([layer("a", (1, 1, 130 * 4096))], LOIHI_2)
    assert (len(found.cores), found.chips) == (130, 2)
    assert [core.place for core in (found.cores[15], found.cores[16], found.cores[128])] == [(15, 0), (15, 1), (0, 0)]
    assert place([layer("a", (1, 1, 4))], LOIHI_2.model_copy(update={"mesh": None})).cores[0].place is None


def test_refusals():
    with pytest.raises(ChipError, match="Tianjic has no limits"):
        place([layer("a", (1, 1, 1))], load_chip("tianjic"))
    with pytest.raises(ChipError, match="no layers"):
        place([], LOIHI_1)


# Any layers


@st.composite
def networks(draw: st.DrawFn) -> list[LayerResources]:
    """Layers in a row, each a convolution of the one before it, and some that hear it late."""
    found, before, shape = list[LayerResources](), "in", (draw(st.integers(1, 6)), 8, draw(st.integers(1, 40)))
    for number in range(draw(st.integers(1, 5))):
        outputs, size = draw(st.sampled_from([1, 3, 16, 40])), draw(st.sampled_from([1, 3]))
        incoming = conv(before, shape, outputs, size, lag=draw(st.integers(0, 2)))
        groups = tuple((channel % draw(st.integers(1, 3)),) for channel in range(outputs))
        name, shape = f"layer{number}", incoming.geometry.out_shape
        found.append(layer(name, shape, incoming, channel_groups=groups))
        before = name
    return found


def held_neurons(found: Placement) -> Iterator[tuple[str, int, int]]:
    """Name, delay and flat index of every neuron in a core."""
    for placed in (placed for core in found.cores for placed in core.slices):
        _, height, width = placed.layer.shape
        part = placed.part
        for channel in range(part.first_channel, part.first_channel + part.channels):
            for position in range(part.first_position, part.first_position + part.positions):
                yield placed.layer.name, placed.layer.delay_step, channel * height * width + position


@given(networks(), st.sampled_from(["loihi1", "loihi2"]), st.integers(50, 400))
@settings(max_examples=40)
def test_every_neuron_is_placed_once_and_no_limit_is_exceeded(layers: list[LayerResources], name: str, neurons: int):
    chip = load_chip(name)
    limits = chip.limits.model_copy(update={"neurons": chip.limits.neurons.model_copy(update={"value": neurons})})
    chip = chip.model_copy(update={"limits": limits})
    found = place(layers, chip, solver_nodes=5)
    expected = [(x.name, x.delay_step, i) for x in in_order(layers, chip) for i in range(x.neurons)]
    assert Counter(held_neurons(found)) == Counter(expected)
    assert max(core.fullest for core in found.cores) <= 1
    assert found.least_cores <= len(found.cores)
    sent = traffic(found, chip, dict.fromkeys(["in", *(x.name for x in layers)], 10.0))
    assert 0 <= sent.between_chips <= sent.between_cores <= sent.sent
