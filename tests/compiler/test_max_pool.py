"""Max pools of graded values and of spikes: by hand, against torch, in integers, bounds, counts and other forms."""

from dataclasses import replace
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
import ints
import random_networks
from deploy.costs.counting import count_operations
from deploy.execution.simulate import simulate
from deploy.frontend.portable import portable
from deploy.ir.contracts import check_integer
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import IntNetwork, as_images, run_integer
from deploy.ir.interpreter import interpret
from deploy.ir.network import Network, run_float
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Junction
from deploy.ir.operations.max_pool import IntMaxPool, MaxPool, MaxPool2d
from deploy.ir.populations.lif import Lif
from deploy.ir.populations.relay import Relay
from deploy.passes.bounds import float_ranges, prove
from deploy.passes.chip_form import chip_form
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from hardware import ConvGeometry, OpCounts, load_chip, price
from processes import HANG_S
from svformer.common.errors import InputError

T = 4
Floats = NDArray[np.float64]


def pool(*shape: int, kernel: int = 3, stride: int = 2, padding: int = 1) -> MaxPool2d:
    sizes = (np.array([value] * 2) for value in (kernel, stride, padding))
    return MaxPool2d(np.array(shape), *sizes)


def conv(out: int, size: int, rng: np.random.Generator, channels: int = 2) -> nir.Conv2d:
    weight, bias = rng.normal(0, 0.5, size=(out, channels, 3, 3)), rng.normal(0, 0.2, size=out)
    return nir.Conv2d((size, size), weight, 1, 1, 1, 1, bias)


def of_currents(seed: int = 0) -> tuple[nir.NIRGraph, Floats]:
    """A convolution, a max pool of its currents, neurons; as in the networks that pool between norm and neuron."""
    rng = np.random.default_rng(seed)
    nodes = {
        "in": graphs.entry(2, 6, 6),
        "conv": conv(4, 6, rng),
        "pool": pool(4, 6, 6),
        "lif": graphs.lif(4, 3, 3, v_threshold=0.4),
        "out": graphs.result(4, 3, 3),
    }
    return graphs.chain(nodes, T=T), rng.normal(size=(3, T, 2, 6, 6))


def of_spikes(padding: int = 1) -> tuple[nir.NIRGraph, Floats]:
    rng = np.random.default_rng(1)
    nodes = {
        "in": graphs.entry(2, 6, 6),
        "conv": conv(4, 6, rng),
        "first": graphs.lif(4, 6, 6, v_threshold=1.2),
        "pool": pool(4, 6, 6, padding=padding),
        "next": conv(3, 3 if padding else 2, rng, channels=4),
        "lif": graphs.lif(3, *([3, 3] if padding else [2, 2]), v_threshold=0.3),
        "out": graphs.result(3, *([3, 3] if padding else [2, 2])),
    }
    return graphs.chain(nodes, T=T), rng.normal(size=(3, T, 2, 6, 6))


def test_by_hand_what_lies_outside_the_image_is_never_the_largest() -> None:
    """Windows of 3, 2 apart, 1 outside: -1 -2 | -3 in the first row and column; a 0 of padding would win everywhere."""
    image = -np.arange(1.0, 10.0).reshape(1, 1, 1, 3, 3)
    np.testing.assert_array_equal(graphs.run(pool(1, 3, 3), image)[0, 0, 0], [[-1, -2], [-4, -5]])
    np.testing.assert_array_equal(
        graphs.run(pool(1, 3, 3, kernel=2, stride=1, padding=0), image)[0, 0, 0], [[-1, -2], [-4, -5]]
    )


@given(operation=random_networks.max_pools(), seed=st.integers(0, 2**32 - 1))
def test_it_is_torchs(operation: IntMaxPool, seed: int) -> None:
    g = operation.geometry
    node = MaxPool2d(*map(np.array, (g.in_shape, g.kernel, g.stride, g.padding)))
    x = np.random.default_rng(seed).normal(size=(1, 3, *g.in_shape))
    expected = torch.nn.functional.max_pool2d(torch.from_numpy(x[0]), g.kernel, g.stride, g.padding)
    np.testing.assert_array_equal(graphs.run(node, x)[0], expected.numpy())


@pytest.mark.parametrize("case", [of_currents(), of_currents(1), of_spikes()])
def test_interpreter_and_lowered_network_are_the_same(case: tuple[nir.NIRGraph, Floats]) -> None:
    graph, frames = case
    network, expected = lower(graph), interpret(graph, frames)
    found = run_float(network, as_images(frames, network))
    for name in network.populations:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12, err_msg=name)
    assert 0.05 < expected["lif"].mean() < 0.95


def test_integers_are_exact_behind_graded_values() -> None:
    """Source and target share a scale, and the largest of scaled values is the scaled largest: a factor of 1."""
    graph, frames = of_currents()
    integers = quantize(lower(graph), frames)
    check_integer(integers, after="quantize")
    (link,) = integers.into("lif")
    assert isinstance(link.operation, IntMaxPool)
    assert link.operation.unit_factor == 1
    assert integers.populations["conv"].scale == integers.populations["lif"].scale
    sent = run_integer(integers, as_images(frames, integers))
    pooled = torch.nn.functional.max_pool2d(torch.from_numpy(sent["conv"][0]).double(), 3, 2, 1)
    np.testing.assert_array_equal(link(sent["conv"])[0], pooled.numpy())


def test_of_spikes_it_is_neurons_that_fire_where_any_arrives() -> None:
    """A sum of the window with weights of one, above half a spike: what a chip has, and spikes for what is behind."""
    graph, frames = of_spikes()
    network = lower(graph)
    pooled = network.populations["pool"]
    assert isinstance(pooled, Lif)
    (link,) = network.into("pool")
    assert isinstance(link.operation, Convolution)
    assert link.operation.geometry == ConvGeometry(
        in_shape=(4, 6, 6), out_channels=4, kernel=(3, 3), stride=(2, 2), padding=(1, 1), groups=4
    )
    integers = quantize(network, frames)
    assert obstacles(mapping(integers, schedule(integers))) == []
    sent = run_integer(integers, as_images(frames, integers))
    windows = torch.nn.functional.max_pool2d(torch.from_numpy(sent["first"][0]).double(), 3, 2, 1)
    np.testing.assert_array_equal(sent["pool"][0], windows.numpy())
    assert 0.05 < sent["pool"].mean() < 0.95


def test_a_pool_of_pooled_spikes_is_one_of_spikes() -> None:
    """Of what an integrator, two layers or a weight sends, it is one of graded values."""
    nodes = {"in": graphs.entry(1, 4, 4), "lif": graphs.lif(1, 4, 4), "a": pool(1, 4, 4), "b": pool(1, 2, 2)}
    network = lower(graphs.chain(nodes | {"out": graphs.result(1, 1, 1)}, T=T))
    assert [type(network.populations[name]) for name in "ab"] == [Lif, Lif]
    nodes["lif"] = nir.LI(**graphs.filled((1, 4, 4), tau=2e-3, r=1.0, v_leak=0.0))
    read = from_nir(graphs.chain(nodes | {"out": graphs.result(1, 1, 1)}, T=T))
    assert [type(read.populations[name]) for name in "ab"] == [Relay, Relay]


def test_attention_takes_pooled_spikes() -> None:
    nodes = {"in": graphs.entry(3, 4, 4), "lif": graphs.lif(3, 4, 4), "pool": pool(3, 4, 4)}
    nodes |= {"attention": SpikingAttention(np.array([3, 2, 2]), 1, 0.5), "out": graphs.result(1, 2, 2)}
    graph, frames = graphs.chain(nodes, T=T), np.random.default_rng(0).uniform(0, 3, size=(2, T, 3, 4, 4))
    network, expected = lower(graph), interpret(graph, frames)["attention"]
    np.testing.assert_array_equal(run_float(network, frames)[network.output], expected)
    assert expected.any()


def delayed(network: Network, steps: int) -> Network:
    links = (replace(c, delay=steps if isinstance(c.operation, MaxPool) else 0) for c in network.connections)
    return replace(network, connections=tuple(links))


def test_its_bound_is_that_of_its_input() -> None:
    """Values from 5 to 8 stay so behind padding, since none of it is ever the largest; a delay lets zeros in first."""
    nodes = {
        "in": graphs.entry(1, 4, 4),
        "pool": pool(1, 4, 4),
        "twice": nir.Scale(np.full((1, 2, 2), 2.0)),
        "out": graphs.result(1, 2, 2),
    }
    network = lower(graphs.chain(nodes, T=T))
    ranges = float_ranges(network, (5.0, 8.0))
    assert (ranges["pool"].low.item(), ranges["pool"].high.item()) == (5.0, 8.0)
    late = float_ranges(delayed(network, 1), (5.0, 8.0))
    assert (late["pool"].low.item(), late["pool"].high.item()) == (0.0, 8.0)


@given(case=random_networks.int_networks())
def test_no_message_of_a_random_network_leaves_its_bound(case: tuple[IntNetwork, Floats]) -> None:
    network, frames = case
    worst = {headroom.where: headroom.worst for headroom in prove(network) if headroom.what == "graded message"}
    for name, sent in run_integer(network, frames).items():
        assert name not in worst or np.abs(sent).max() <= worst[name]


def test_comparisons_by_hand_and_their_price() -> None:
    """3 x 3 pixels, windows of 2 one apart: corners reach 1, edges 2, the centre 4 windows, 16 in all. A centre and a
    corner are sent: 5 comparisons, each priced as the addition of a graded value, and the 16 where all are sent.
    """
    network = ints.network(
        {"in": ints.entry((1, 3, 3), low=-9, high=9), "out": ints.relay((1, 2, 2))},
        ints.link("in", "out", ints.max_pool((1, 3, 3), (2, 2))),
        frames=1,
    )
    frame = np.zeros((1, 1, 1, 3, 3))
    frame[..., 0, 0], frame[..., 1, 1] = -4, 3
    counted = [count_operations(network, schedule(network), run_integer(network, x))["out"] for x in (frame, frame - 9)]
    assert [ops.comparisons for ops in counted] == [5, 16]
    assert [ops.macs + ops.relay_adds + ops.synaptic_ops + ops.dense_macs for ops in counted] == [0, 0]
    assert [ops.state_reads for ops in counted] == [5 + 4, 16 + 4]
    chip = load_chip("cmos45_int8")
    assert price(OpCounts(comparisons=7), chip).total_pj == price(OpCounts(relay_adds=7), chip).total_pj > 0


def test_of_graded_values_it_is_an_obstacle_on_a_chip_but_for_the_chip_form() -> None:
    integers = quantize(*_lowered(of_currents()))
    found = obstacles(mapping(integers, schedule(integers)))
    what = "conv -> lif (max pool 3x3, stride 2): the largest of the messages of a time step in the place of their sum"
    assert f"{what} (of gates: --form chip)" in found
    form = chip_form(integers).network
    assert not any("max pool" in row for row in obstacles(mapping(form, schedule(form))))


def _lowered(case: tuple[nir.NIRGraph, Floats]) -> tuple[Network, Floats]:
    graph, frames = case
    return lower(graph), frames


@pytest.mark.lava
@pytest.mark.parametrize("blocks", ["fused", "stock"])
@pytest.mark.parametrize("case", [of_currents(), of_spikes()])
def test_lava_is_the_integers_bit_for_bit(case: tuple[nir.NIRGraph, Floats], blocks: str) -> None:
    graph, frames = case
    integers = quantize(lower(graph), frames)
    expected = simulate(integers, frames, backend="integer").signals
    found = simulate(integers, frames, backend="lava", blocks=blocks, timeout_s=HANG_S).signals
    for name, signal in expected.items():
        np.testing.assert_array_equal(found[name], signal, err_msg=name)


def test_portable_of_spikes_of_one_layer() -> None:
    """A sum of the window and a threshold: the same spikes in the last layer."""
    graph, frames = of_spikes()
    graph.nodes["first"], graph.nodes["lif"] = (
        graphs.lif(*graph.nodes[n].tau.shape, v_threshold=1.2) for n in ("first", "lif")
    )
    standard = portable(graph)
    assert {type(node) for node in standard.nodes.values()} == {nir.Input, nir.Conv2d, nir.LIF, nir.Output}
    expected, found = interpret(graph, frames)["lif"], interpret(standard, frames)["lif"]
    np.testing.assert_array_equal(found, expected)
    assert expected.mean() > 0.01


def test_portable_of_graded_values_is_refused() -> None:
    graph, _ = of_currents()
    with pytest.raises(InputError, match=r"pool: a max pool of graded values \(Conv2d\) has no portable form"):
        portable(graph)


def test_a_file_holds_it_and_stock_nir_refuses_it(tmp_path: Path) -> None:
    graph, frames = of_currents()
    write_nir(graph, tmp_path / "x.nir")
    found = interpret(read_nir(tmp_path / "x.nir"), frames)
    np.testing.assert_array_equal(found["lif"], interpret(graph, frames)["lif"])
    with pytest.raises((AssertionError, KeyError)):
        nir.read(tmp_path / "x.nir")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("padding", [2, 1], r"pool \(MaxPool2d\): MaxPool2d: padding \[2, 1\] of a window of \[3, 3\]; allowed: half"),
        ("kernel_size", [9, 3], "the kernel is larger than the padded input"),
        ("stride", [0, 1], r"pool \(MaxPool2d\): stride: \[0, 1\]; allowed: whole numbers from 1"),
        ("padding", b"same", r"pool \(MaxPool2d\): padding: the text 'same'; allowed: real numbers"),
        ("input_shape", [4, 6], r"input_shape \[4, 6\]; allowed: \[C, H, W\]"),
        ("version", 2, r"MaxPool2d version 2 \(pool\)"),
        ("ceil_mode", 1, "the field ceil_mode is unknown"),
    ],
)
def test_damaged_nodes_are_refused_by_name(field: str, value: object, told: str, tmp_path: Path) -> None:
    graph, _ = of_currents()
    write_nir(graph, tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "a") as file:
        node = file["node/nodes/pool"]
        node.pop(field, None)
        node[field] = value
    with pytest.raises(InputError, match=told):
        read_nir(tmp_path / "x.nir")


def test_of_several_edges_the_sum_is_pooled() -> None:
    """An x and 1 - x arrive: each sum is 1, while the largest of each alone, 5 and 3, are 8 together."""
    nodes = {"in": graphs.entry(1, 2, 2), "same": Junction(np.array([1, 2, 2]))}
    nodes["minus"] = nir.Conv2d((2, 2), -np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.ones(1))
    nodes |= {
        "pool": pool(1, 2, 2, kernel=2, stride=2, padding=0),
        "lif": graphs.lif(1, 1, 1),
        "out": graphs.result(1, 1, 1),
    }
    edges = [("in", "same"), ("in", "minus"), ("same", "pool"), ("minus", "pool"), ("pool", "lif"), ("lif", "out")]
    graph = graphs.graph(nodes, edges, T=2)
    frames = np.tile(np.array([1.0, -2.0, 5.0, 0.5]).reshape(1, 1, 1, 2, 2), (1, 2, 1, 1, 1))
    assert interpret(graph, frames)["pool"].ravel().tolist() == [1.0, 1.0]
    read = from_nir(graph)
    assert run_float(read, frames)["pool"].ravel().tolist() == [1.0, 1.0]
    lowered = lower(graph)
    np.testing.assert_array_equal(run_float(lowered, frames)["lif"], interpret(graph, frames)["lif"])
