"""Constant biases of relays move into what hears them: sums by hand, any network, and what has to stay where it is."""

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

import graphs
import reals
from deploy.ir.contracts import check_network
from deploy.ir.integer import as_images, run_integer
from deploy.ir.interpreter import interpret
from deploy.ir.network import Network, run_float
from deploy.ir.operations.base import Operation
from deploy.ir.operations.identity import Junction
from deploy.ir.operations.max_pool import MaxPool
from deploy.ir.populations.base import Population
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import Lif
from deploy.ir.populations.relay import IntRelay, Relay
from deploy.passes.chain_cost import count_biases
from deploy.passes.chip_form import chip_form
from deploy.passes.drifts import pass_drifts_on
from deploy.passes.lowering import lowering_steps
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.move_biases import move_biases
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from hardware import PoolGeometry

T = 5
Floats = NDArray[np.float64]
SHAPE = (2, 3, 3)


def heard(operation: Operation | None = None, *, bias: Any = (0.5, -0.25), **link: Any) -> Network:
    """Input -> relay with a bias -> an operation -> neurons with one -> output."""
    operation = operation or reals.same(SHAPE)
    populations: dict[str, Population] = {
        "in": Input(shape=SHAPE),
        "sum": reals.relay(SHAPE, bias),
        "lif": reals.lif(operation.out_shape, bias=np.full((operation.out_shape[0], 1, 1), 0.125)),
        "out": reals.relay(operation.out_shape),
    }
    links = reals.link("in", "sum", reals.same(SHAPE)), reals.link("sum", "lif", operation, **link)
    last = reals.link("lif", "out", reals.same(operation.out_shape))
    return reals.network(populations, *links, last, frames=T)


def biases(network: Network) -> dict[str, list[float]]:
    return {name: r.bias.ravel().tolist() for name, r in network.receivers.items() if r.bias.any()}


def assert_same_spikes(before: Network, after: Network) -> None:
    check_network(after, after="move_biases")
    frames = np.random.default_rng(0).normal(0, 2, size=(2, T, *before.input.shape))
    expected, found = run_float(before, frames), run_float(after, frames)
    for name in [*before.neuron_layers, before.output]:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12, err_msg=name)


def test_over_an_identity_by_hand() -> None:
    """0.5 and -0.25 of the relay, and 0.125 that the neurons have."""
    before = heard()
    after = move_biases(before)
    assert biases(after) == {"lif": [0.625, -0.125]}
    assert biases(before) == {"sum": [0.5, -0.25], "lif": [0.125, 0.125]}
    assert after.notes == ("constant biases of sum are added by what hears them; these send that much less",)
    assert_same_spikes(before, after)


def test_through_weights_and_on_from_relay_to_relay_by_hand() -> None:
    """2 x 0.5 - 4 x 0.25 = 0 and 0.5 + 0.25 = 0.75 arrive at a relay of 1; its 1 and 1.75 at neurons of 0.125."""
    weight = np.array([[2.0, 4.0], [1.0, -1.0]])[:, :, None, None]
    network = heard(reals.conv(weight, SHAPE))
    second = reals.relay(SHAPE, [1.0, 1.0])
    populations = {"in": Input(shape=SHAPE), "sum": network.populations["sum"], "second": second}
    populations |= {name: network.populations[name] for name in ("lif", "out")}
    first, weighted, last = network.connections
    links = first, replace(weighted, target="second"), reals.link("second", "lif", reals.same(SHAPE)), last
    chained = reals.network(populations, *links, frames=T)
    after = move_biases(chained)
    assert biases(after) == {"lif": [1.125, 1.875]}
    assert_same_spikes(chained, after)


def pool() -> MaxPool:
    return MaxPool(geometry=PoolGeometry(in_shape=SHAPE, out_channels=2, kernel=(2, 2), groups=2))


def padded() -> Operation:
    return reals.conv(np.ones((2, 2, 3, 3)), SHAPE, padding=(1, 1))


def remembering(network: Network) -> Network:
    lif = network.populations["lif"]
    assert isinstance(lif, Lif)
    return replace(network, populations={**network.populations, "lif": replace(lif, current_decay=reals.values(0.5))})


@pytest.mark.parametrize(
    "network",
    [
        heard(pool()),
        heard(padded()),  # the border of the image sees less of it: a bias of every pixel, 18 values for 2
        heard(delay=1),  # it comes a time step late
        heard(gain=np.linspace(1, 2, T).reshape(T, 1, 1, 1)),
        heard(bias=np.linspace(1, 2, T * 2).reshape(T, 2, 1, 1)),
        remembering(heard()),  # its current would have to begin with less
    ],
)
def test_where_it_is_not_exact_or_takes_more_it_stays(network: Network) -> None:
    assert move_biases(network) is network


def test_the_result_itself_keeps_its_bias() -> None:
    """A relay that is the output may be heard as well: what it sends is looked at."""
    assert biases(move_biases(replace(heard(), output="sum"))) == biases(heard())


@pytest.mark.parametrize("stuck", ["the output", "a max pool behind it"])
def test_into_a_relay_that_cannot_pass_it_on_none_is_moved(stuck: str) -> None:
    """Input -> relay -> relay -> max pool -> output, or no further: one of both relays would keep a bias anyway."""
    populations: dict[str, Population] = {"in": Input(shape=SHAPE)}
    populations |= {"sum": reals.relay(SHAPE, [0.5, 0.25]), "second": reals.relay(SHAPE, [1.0, 1.0])}
    links = [reals.link("in", "sum", reals.same(SHAPE)), reals.link("sum", "second", reals.same(SHAPE))]
    if stuck != "the output":
        populations["out"] = reals.relay(pool().out_shape)
        links.append(reals.link("second", "out", pool()))
    network = reals.network(populations, *links, frames=T)
    assert move_biases(network) is network


def several(biased: int, bare: int) -> Network:
    """A relay with a bias that so many layers with a bias and so many without hear."""
    populations: dict[str, Population] = {"in": Input(shape=SHAPE), "sum": reals.relay(SHAPE, [0.5, 0.25])}
    names = [f"lif{i}" for i in range(biased + bare)]
    for i, name in enumerate(names):
        populations[name] = reals.lif(SHAPE, bias=[0.125, 0.25] if i < biased else 0.0)
    links = [reals.link("in", "sum", reals.same(SHAPE)), *(reals.link("sum", n, reals.same(SHAPE)) for n in names)]
    return reals.network(populations, *links, frames=T)


READERS = [(1, 0, True), (0, 1, True), (2, 1, True), (0, 2, False), (1, 2, False)]


@pytest.mark.parametrize(("biased", "bare", "moves"), READERS)
def test_it_moves_where_additions_do_not_grow(biased: int, bare: int, moves: bool) -> None:
    """Its 18 additions of a time step become 18 of each layer that had none."""
    network = several(biased, bare)
    after = move_biases(network)
    assert ("sum" not in biases(after)) == moves
    assert_same_spikes(network, after)
    assert additions(after) <= additions(network)


def additions(network: Network) -> int:
    return sum(count_biases(r.bias, r.shape, steps=1).bias_adds for r in network.receivers.values())


def shortcuts(seed: int, blocks: int = 3) -> tuple[nir.NIRGraph, Floats]:
    """A membrane shortcut: norms folded into convolutions with a bias, sums of them, neurons in front of each."""
    rng = np.random.default_rng(seed)

    def conv(channels: int) -> nir.Conv2d:
        return nir.Conv2d((3, 3), rng.normal(0, 0.6, (4, channels, 1, 1)), 1, 0, 1, 1, rng.normal(0, 0.3, 4))

    nodes: dict[str, nir.NIRNode] = {"in": graphs.entry(2, 3, 3), "stem": conv(2)}
    edges, sent = [("in", "stem")], "stem"
    for i in range(blocks):
        nodes |= {f"lif{i}": graphs.lif(4, 3, 3, v_threshold=0.3), f"conv{i}": conv(4)}
        nodes[f"sum{i}"] = Junction(np.array([4, 3, 3]))
        edges += [(sent, f"lif{i}"), (f"lif{i}", f"conv{i}"), (f"conv{i}", f"sum{i}"), (sent, f"sum{i}")]
        sent = f"sum{i}"
    nodes |= {"last": graphs.lif(4, 3, 3, v_threshold=0.4), "out": graphs.result(4, 3, 3)}
    return graphs.graph(nodes, [*edges, (sent, "last"), ("last", "out")], T=T), rng.normal(size=(4, T, 2, 3, 3))


@pytest.mark.parametrize("seed", range(5))
def test_a_shortcut_of_relays_has_no_bias_left(seed: int) -> None:
    """Every spike of the graph, no addition more; in integers no relay has one either, rounding included, so that a
    chip holds all of them, with fewer synapses in the place of biases.
    """
    graph, frames = shortcuts(seed)
    steps = {step.name: step.network for step in lowering_steps(graph)}
    network, expected = steps["balance_rows"], interpret(graph, frames)
    assert sum(r.kind == "relay" and r.bias.any() for r in steps["normalise_gains"].receivers.values()) == 3
    assert any("constant biases of stem, sum0, sum1 are" in note for note in network.notes)
    assert not any(r.kind == "relay" and r.bias.any() for r in network.receivers.values())
    assert additions(steps["move_biases"]) <= additions(steps["normalise_gains"])
    found = run_float(network, as_images(frames, network))
    for name in network.neuron_layers:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    integers = quantize(network, frames)
    assert not any(isinstance(r, IntRelay) and r.bias.any() for r in integers.receivers.values())
    assert obstacles(mapping(integers, schedule(integers))) == []
    same = run_integer(integers, as_images(frames, integers))
    assert np.mean([(same[name] == expected[name]).mean() for name in network.neuron_layers]) > 0.97
    assert "always" not in chip_form(integers).network.added


def test_what_rounding_adds_on_average_is_taken_back_behind_the_relay_by_hand() -> None:
    """A mean of 0.25 and 0.5 too much at a relay without a bias: neurons behind weights of 2 and 1 see 1 of it, and
    their own 0.5. A relay with a bias of its own keeps it.
    """
    sums = heard(reals.conv(np.array([[2.0, 1.0]])[:, :, None, None], SHAPE), bias=0.0)
    drifts = {"sum": reals.values([0.25, 0.5]), "lif": reals.values(0.5)}
    found = pass_drifts_on(sums, drifts)
    assert {name: drift.ravel().tolist() for name, drift in found.items()} == {"sum": [0.0], "lif": [1.5]}
    biased = heard(reals.conv(np.array([[2.0, 1.0]])[:, :, None, None], SHAPE))
    assert pass_drifts_on(biased, drifts) == drifts
    assert drifts["sum"].ravel().tolist() == [0.25, 0.5]


def test_a_reader_that_has_no_bias_gets_none_by_rounding_alone() -> None:
    network = several(1, 1)
    network.populations["sum"] = Relay(shape=SHAPE, bias=reals.values(0.0))
    drifts = {"sum": reals.values([0.25, 0.5])}
    assert pass_drifts_on(network, drifts) == drifts
