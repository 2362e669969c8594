"""Networks placed on cores: reach, events, energy and time by hand, and against unrolled synapses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardware import AttentionGeometry, ChipError, ConvGeometry, IdentityGeometry, Incoming, LayerResources, load_chip
from hardware.geometry import ProductGeometry, SparseConvGeometry
from hardware.more_cores import fill, slowest
from hardware.placed import Events, PlacedNetwork
from hardware.reach import reach
from hardware.spread import Spread, spread
from random_networks import convolutions
from unrolled import unrolled

LOIHI_1 = load_chip("loihi1")
SANA_FE, DAVIES = LOIHI_1.events


def layer(name: str, shape: tuple[int, int, int], *inputs: Incoming) -> LayerResources:
    return LayerResources(name=name, shape=shape, inputs=inputs, outgoing=1)


def by_core(synapses: NDArray[np.int64], cores: NDArray[np.int64], many: int) -> NDArray[np.int64]:
    return np.stack([synapses[:, cores == core].sum(axis=1) for core in range(many)], axis=1)


@given(geometry=convolutions(), seed=st.integers(0, 2**32 - 1), sparse=st.booleans())
def test_a_reach_is_what_unrolled_synapses_say(geometry: ConvGeometry, seed: int, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    if sparse:
        geometry = SparseConvGeometry(**vars(geometry), reached=rng.random(geometry.weight_shape) < 0.5)
    many = 3
    cores = rng.integers(0, many, int(np.prod(geometry.out_shape)))
    expected = by_core(unrolled(geometry), cores, many)
    found = reach([geometry], cores, many)
    assert np.array_equal(found.synapses.toarray()[found.row_of], expected)
    assert np.array_equal(found.messages, (expected > 0).sum(axis=1))


def test_a_neuron_sends_one_message_over_all_connections_to_a_core() -> None:
    """A depthwise and a dense kernel between the same layers: synapses add up, messages do not."""
    shape = (2, 1, 3)
    deep = ConvGeometry(in_shape=shape, out_channels=2, kernel=(1, 1), groups=2)
    wide = ConvGeometry(in_shape=shape, out_channels=2, kernel=(1, 1))
    cores = np.array([0, 0, 0, 1, 1, 1])  # by channel
    found = reach([deep, wide], cores, 2)
    assert found.synapses.toarray()[found.row_of].tolist() == [[2, 1]] * 3 + [[1, 2]] * 3
    assert found.messages.tolist() == [2] * 6


def test_relays_and_attention_have_one_synapse_for_each_value() -> None:
    cores = np.array([0, 0, 1, 1])
    assert (
        reach([IdentityGeometry(shape=(1, 2, 2))], cores, 2).synapses.toarray().tolist() == [[1, 0]] * 2 + [[0, 1]] * 2
    )
    found = reach([AttentionGeometry(channels=2, tokens=2, heads=1)], cores, 2)
    assert found.synapses.toarray()[found.row_of].sum(axis=0).tolist() == [6, 6]


def test_values_reach_the_places_that_the_geometry_names_and_products_have_inputs_of_any_number() -> None:
    """Two values become the last and the first of four; a product of five inputs has four outputs."""
    cores = np.array([0, 0, 1, 1])
    moved = IdentityGeometry(shape=(2, 1, 1), places=np.array([3, 0]))
    assert reach([moved], cores, 2).synapses.toarray().tolist() == [[0, 1], [1, 0]]
    product = ProductGeometry(sizes=(4, 1), left=(0,), right=(1,), output=(0,), out_shape=(4, 1, 1))
    found = reach([product], cores, 2)
    assert found.by_row(np.ones((1, 5))).sum() == 5
    assert found.synapses.toarray().sum(axis=0).tolist() == [3, 2]


def two_layers(*, cores: int, order: Any = "pixel") -> tuple[PlacedNetwork, Spread]:
    """Four inputs, each to its own of four relays, and all of these to two neurons."""
    first = layer("a", (2, 1, 2), Incoming(source="in", geometry=IdentityGeometry(shape=(2, 1, 2))))
    dense = ConvGeometry(in_shape=(2, 1, 2), out_channels=2, kernel=(1, 2))
    layers = [first, layer("b", (2, 1, 1), Incoming(source="a", geometry=dense))]
    numbers = {"in": 1, "a": cores, "b": 1}
    found = Spread(chip=LOIHI_1, order=order, shapes={"in": (2, 1, 2), "a": (2, 1, 2), "b": (2, 1, 1)}, numbers=numbers)
    return PlacedNetwork(layers, found), found


def activity() -> dict[str, NDArray[np.bool_]]:
    """One step: two inputs fire, three of a, one of b."""
    values = {"in": [1, 1, 0, 0], "a": [1, 1, 1, 0], "b": [1, 0]}
    return {name: np.array([fired], dtype=bool) for name, fired in values.items()}


def test_events_energy_and_time_of_a_step_by_hand() -> None:
    """Inputs: 2 messages of 1 synapse; a: 3 messages of 2. Its core takes 4 neurons up, 3 fire and send."""
    network, _ = two_layers(cores=1)
    work = network.work(activity())
    expected = Events(synapses=2 + 3 * 2, updates=4 + 2, spikes=3 + 1, messages=2 + 3)
    assert work.events == expected
    mj = work.events.energy_mj(SANA_FE)
    assert mj["synapses"] == pytest.approx(8 * 24.0 / 1e9)
    assert mj["neurons"] == pytest.approx(6 * (51.2 + 21.6) / 1e9)
    assert mj["spikes"] == pytest.approx(4 * 69.3 / 1e9)
    assert mj["messages"] == pytest.approx(5 * 111.0 / 1e9)
    assert mj["hops"] == 0
    neurons_ns = 4 * (6.0 + 3.7) + 3 * 30.0 + 3 * 5.1
    messages_ns = 3 * 16.0 + 6 * 3.1  # of b
    assert work.step_s(SANA_FE) == pytest.approx([(max(neurons_ns, messages_ns) + 600) * 1e-9])
    assert work.step_s(DAVIES) == pytest.approx([(max(4 * 8.4 + 3 * 2.1, 6 * 3.5) + 113) * 1e-9])


def test_orders_deal_neurons_out_by_pixel_or_by_channel() -> None:
    _, by_pixel = two_layers(cores=2)
    _, by_channel = two_layers(cores=2, order="channel")
    assert by_pixel.cores_of("a").tolist() == [0, 1, 0, 1]  # C, H, W: a core for each of the two pixels
    assert by_channel.cores_of("a").tolist() == [0, 0, 1, 1]


def test_cores_lie_on_tiles_row_by_row_and_chips_side_by_side() -> None:
    """Four cores a tile, eight tiles a row: core 32 begins the second row at its end, core 128 the second chip."""
    found = Spread(chip=LOIHI_1, order="pixel", shapes={"a": (200, 1, 1)}, numbers={"a": 130})
    places = found.places("a")
    assert [places[core].tolist() for core in (0, 3, 4, 31, 32, 128)] == [
        [0, 0],
        [0, 0],
        [1, 0],
        [7, 0],
        [7, 1],
        [8, 0],
    ]
    assert (found.chips, found.tiles) == (2, 33)
    assert found.chips_of("a")[[127, 128]].tolist() == [0, 1]


def test_hops_are_those_of_the_mesh() -> None:
    """Layer a has cores 1 to 6; its neurons lie in tiles 0 and 1, b in core 7 of tile 1."""
    first = layer("a", (6, 1, 1), Incoming(source="in", geometry=IdentityGeometry(shape=(6, 1, 1))))
    dense = ConvGeometry(in_shape=(6, 1, 1), out_channels=1, kernel=(1, 1))
    numbers = {"in": 1, "a": 6, "b": 1}
    shapes = {"in": (6, 1, 1), "a": (6, 1, 1), "b": (1, 1, 1)}
    network = PlacedNetwork(
        [first, layer("b", (1, 1, 1), Incoming(source="a", geometry=dense))],
        Spread(chip=LOIHI_1, order="pixel", shapes=shapes, numbers=numbers),
    )
    fired = {name: np.ones((1, int(np.prod(shape))), dtype=bool) for name, shape in shapes.items()}
    found = network.work(fired).events
    assert (found.hops_east_west, found.hops_north_south) == (3 + 3, 0)  # input to cores 4, 5, 6; cores 1, 2, 3 to b


def networks() -> Iterator[tuple[list[LayerResources], dict[str, tuple[int, int, int]]]]:
    """A convolution, a depthwise one, a shortcut around it, and a dense end."""
    shape = (8, 12, 12)
    dense = ConvGeometry(in_shape=shape, out_channels=5, kernel=(12, 12))
    yield (
        [
            layer("a", shape, Incoming(source="in", geometry=conv((2, 12, 12), 8, 3))),
            layer("b", shape, Incoming(source="a", geometry=conv(shape, 8, 5, groups=8))),
            layer(
                "c",
                shape,
                Incoming(source="b", geometry=conv(shape, 8, 1)),
                Incoming(source="a", geometry=IdentityGeometry(shape=shape)),
            ),
            layer("d", (5, 1, 1), Incoming(source="c", geometry=dense)),
        ],
        {"in": (2, 12, 12)},
    )


def conv(in_shape: tuple[int, int, int], outputs: int, size: int, **fields: Any) -> ConvGeometry:
    half = size // 2
    return ConvGeometry(in_shape=in_shape, out_channels=outputs, kernel=(size, size), padding=(half, half), **fields)


def drawn(found: Spread, *, steps: int = 3, seed: int = 0) -> dict[str, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    return {name: rng.random((steps, int(np.prod(shape)))) < 0.3 for name, shape in found.shapes.items()}


def on(cores: int, order: Any) -> tuple[PlacedNetwork, Spread]:
    ((layers, entries),) = networks()
    numbers = {"in": 1, **{layer.name: min(cores, layer.neurons) for layer in layers}}
    shapes = {**entries, **{layer.name: layer.shape for layer in layers}}
    found = Spread(chip=LOIHI_1, order=order, shapes=shapes, numbers=numbers)
    return PlacedNetwork(layers, found), found


@pytest.mark.parametrize("order", ["pixel", "channel"])
def test_more_cores_never_send_fewer_messages_and_never_change_synapses_and_neurons(order: str) -> None:
    found = [(network, network.work(drawn(placed))) for network, placed in (on(n, order) for n in (1, 2, 5, 9))]
    messages = [work.events.messages for _, work in found]
    assert messages == sorted(messages)
    assert len({(w.events.synapses, w.events.updates, w.events.spikes) for _, w in found}) == 1


def test_both_orders_agree_but_for_messages_and_hops() -> None:
    one, other = (on(6, order)[0].work(drawn(on(6, order)[1])).events for order in ("pixel", "channel"))
    assert (one.synapses, one.updates, one.spikes) == (other.synapses, other.updates, other.spikes)
    assert one.messages < other.messages


def test_in_one_tile_nothing_hops_and_every_message_goes_once_to_a_core() -> None:
    network, placed = on(1, "pixel")
    fired = {name: np.ones((1, int(np.prod(shape))), dtype=bool) for name, shape in placed.shapes.items()}
    events = network.work({name: fired[name] for name in placed.shapes}).events
    sizes = {name: int(np.prod(shape)) for name, shape in placed.shapes.items()}
    to_d = sizes["c"]  # each reaches d's one core
    assert events.messages == sizes["in"] + 2 * sizes["a"] + sizes["b"] + to_d
    assert events.hops_east_west == to_d  # d is the fifth core, the first of the second tile
    assert events.hops_north_south == 0


def test_work_is_linear_in_what_is_sent() -> None:
    """Energy of a sum of clips is the sum of their energies; that of rates is that of the expected messages."""
    network, placed = on(4, "pixel")
    one, two = drawn(placed, seed=1), drawn(placed, seed=2)
    both = {name: one[name].astype(float) + two[name] for name in one}
    total = network.work(one).events + network.work(two).events
    found = network.work(both).events
    assert found.messages == pytest.approx(total.messages)
    assert found.hops_east_west == pytest.approx(total.hops_east_west)
    assert found.synapses == pytest.approx(total.synapses)


def test_the_slowest_layer_gets_the_next_core() -> None:
    network, placed = on(1, "pixel")
    fired = drawn(placed)
    work = network.work(fired)
    first = slowest(network, work, SANA_FE)[0]
    seconds = network.layer_s(work, SANA_FE)
    assert seconds[first] == max(seconds.values())
    found = fill(network, network.work(fired), fired, SANA_FE, most=12)
    assert found is not None
    assert found.cores == 12
    assert found.clip_s < work.step_s(SANA_FE).sum()
    assert fill(network, network.work(fired), fired, SANA_FE, most=placed.cores) is None


def test_a_moved_network_is_one_placed_anew() -> None:
    network, placed = on(3, "pixel")
    fired, spread_out = drawn(placed), placed.with_one_more("b")
    moved, anew = network.moved(spread_out).work(fired), PlacedNetwork(network.layers, spread_out).work(fired)
    assert moved.events == anew.events
    assert np.array_equal(moved.core_s(SANA_FE), anew.core_s(SANA_FE))
    with_known = network.moved(spread_out).work(fired, known=network.work(fired))
    assert with_known.events == anew.events
    assert np.array_equal(with_known.core_s(SANA_FE), anew.core_s(SANA_FE))
    other = drawn(placed, seed=2)
    of_other = network.moved(spread_out).work(other, known=network.work(fired))
    assert of_other.events == network.moved(spread_out).work(other).events, "another activity takes nothing over"


def test_a_spread_takes_the_cores_of_the_rule() -> None:
    """8 x 144 neurons of 1024 a core are two cores by neurons; the input of 288 values takes one."""
    ((layers, entries),) = networks()
    found = spread(layers, entries, LOIHI_1, "pixel")
    assert found.numbers["in"] == 1
    assert found.numbers["a"] == 2
    assert found.cores == sum(found.numbers.values())


def test_a_chip_without_times_is_refused_with_its_reason() -> None:
    ((layers, entries),) = networks()
    with pytest.raises(ChipError, match=r"Intel Loihi 2 has no times: .*2601\.10035.*abstract alone"):
        spread(layers, entries, load_chip("loihi2"), "pixel")
