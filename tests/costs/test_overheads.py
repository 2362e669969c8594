"""The bill of deployment, item by item by hand in a network of few neurons."""

from dataclasses import replace

import numpy as np
import pytest

import ints
import reals
from deploy.costs.chain_forms import MERGED, MIXED, RELAYED
from deploy.costs.counting import count_operations
from deploy.costs.overheads import Overhead, overheads
from deploy.ir.integer import IntConnection, IntGain, IntNetwork, run_integer
from deploy.ir.network import Network
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import Convolution, IntConvolution
from deploy.ir.operations.identity import Identity
from deploy.ir.populations.base import IntPopulation, Population
from deploy.ir.populations.input import Input, IntInput
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Shape
from deploy.passes.schedule import schedule
from hardware import ConvGeometry, OpCounts

IMAGE: Shape = (2, 3, 3)
FRAMES = 2


def kernel(size: int, out_channels: int = 2, *, groups: int = 1) -> ConvGeometry:
    return ConvGeometry(
        in_shape=IMAGE, out_channels=out_channels, kernel=(size, size), padding=(size // 2, size // 2), groups=groups
    )


def link(source: str, target: str, operation: IntConvolution | None = None) -> IntConnection:
    return ints.link(source, target, operation or ints.same(IMAGE))


@pytest.fixture
def deployed() -> IntNetwork:
    """A stem whose sum three layers need, one of them behind a second sum, and a 3 x 3 kernel between.

    in -> [1x1] -> stem -> a -> [3x3] -> sum -> b -> [1x1] -> out
                    |------------------->|---> c -> [1x1] -> out
    """
    populations: dict[str, IntPopulation] = {
        "in": ints.entry(IMAGE, high=2),
        "stem": ints.relay(IMAGE),
        "a": ints.lif(IMAGE),
        "sum": ints.relay(IMAGE),
        "b": ints.lif(IMAGE),
        "c": ints.lif(IMAGE),
        "out": ints.relay(IMAGE),
    }
    connections = (
        link("in", "stem", ints.constant(kernel(1))),
        link("stem", "a"),
        link("stem", "sum"),
        link("a", "sum", ints.constant(kernel(3))),
        link("sum", "b"),
        link("sum", "c"),
        link("b", "out", ints.constant(kernel(1))),
        link("c", "out", ints.constant(kernel(1))),
    )
    return ints.network(populations, *connections, frames=FRAMES)


def before(deployed: IntNetwork) -> Network:
    """The same network as it was lowered from: the 3 x 3 kernel was 1x1, depthwise 3x3 and 1x1 with relays between."""
    populations: dict[str, Population] = {}
    for name, population in deployed.populations.items():
        populations[name] = as_float(population)
        if name == "a":
            populations |= {"conv1": as_float(ints.relay(IMAGE)), "depthwise": as_float(ints.relay(IMAGE))}
    hops = ["a", "conv1", "depthwise", "sum"]
    chain = [
        reals.link(source, target, as_float_operation(ints.constant(g)))
        for source, target, g in zip(hops, hops[1:], [kernel(1), kernel(3, groups=2), kernel(1)], strict=False)
    ]
    others = [
        reals.link(c.source, c.target, as_float_operation(c.operation))
        for c in deployed.connections
        if (c.source, c.target) != ("a", "sum")
    ]
    return reals.network(populations, *others, *chain, frames=FRAMES)


def as_float(population: IntPopulation) -> Population:
    if isinstance(population, IntInput):
        return Input(shape=population.shape)
    if isinstance(population, IntLif):
        return reals.lif(population.shape, decay=1.0, threshold=0.0)
    return reals.relay(population.shape)


def as_float_operation(operation: IntOperation) -> Convolution | Identity:
    if isinstance(operation, IntConvolution):
        return Convolution(weight=operation.mantissa.astype(np.float64), geometry=operation.geometry)
    return reals.same(IMAGE)


@pytest.fixture
def items(deployed: IntNetwork) -> dict[tuple[str, bool], Overhead]:
    """By item and whether it was deployed; one clip in which every pixel is one: all neurons fire at both steps."""
    counts = count_operations(deployed, schedule(deployed), run_integer(deployed, np.ones((1, FRAMES, *IMAGE))))
    found = overheads(deployed, before(deployed), schedule(deployed), counts)
    return {(entry.item, entry.deployed): entry for entry in found}


def test_relayed_shortcuts(items: dict[tuple[str, bool], Overhead]) -> None:
    """18 sums of the stem to two places and of the second sum to two, at 2 steps: 144 additions of 72 messages."""
    found = items["shortcuts", True]
    assert found.counts.relay_adds == found.counts.deliveries == 4 * 18 * 2
    assert found.counts.graded_messages == 2 * 18 * 2
    assert found.counts.traffic_bits == 144 * (5 + 24)  # one of 18 neurons
    assert found.counts.state_reads == 144 + 2 * 18 * 2  # where they arrive, and what the relays take up
    assert found.memory_bits == 2 * 18 * 24


def test_repeated_synapses(items: dict[tuple[str, bool], Overhead]) -> None:
    """The stem's sum is needed by a, b and c: twice more. The 3 x 3 kernel's by b and c: once more."""
    found = items["shortcuts", False]
    stem = 2 * (18 * 2)  # 18 pixels reach 2 channels, at 2 steps
    conv = 2 * (2 * 2 * 49)  # 2 x 2 channels; 49 pairs of pixels are 3 x 3 neighbours
    assert (found.counts.macs, found.counts.synaptic_ops) == (2 * stem, conv)
    assert found.counts.parameter_reads == 2 * stem + conv
    assert found.memory_bits == 2 * (4 * 2) + 36 * 2  # two-bit weights


def test_merged_kernel_or_relays(items: dict[tuple[str, bool], Overhead]) -> None:
    merged, relays = (items["convolutions without a neuron between", deployed] for deployed in (True, False))
    assert merged.counts.synaptic_ops == merged.counts.parameter_reads == 2 * (2 * 2 * 49)
    assert (merged.counts.macs, merged.counts.graded_messages, merged.counts.deliveries) == (0, 0, 2 * 18)
    assert merged.memory_bits == 36 * 2
    # spikes through 1x1: 18 x 2 channels; then every sum: depthwise 2 x 49 and 1x1 again 18 x 2; two relays of 18
    assert relays.counts.synaptic_ops == 2 * 18 * 2
    assert relays.counts.macs == 2 * (2 * 49 + 18 * 2)
    assert relays.counts.graded_messages == 2 * (18 + 18)
    assert relays.counts.deliveries == 2 * 3 * 18
    # every operation reads a sum and writes it, and every relay takes its sums up and clears them
    assert relays.counts.state_reads == relays.counts.synaptic_ops + relays.counts.macs + 2 * (18 + 18)
    assert relays.memory_bits == (4 + 18 + 4) * 2 + 2 * 18 * 24


def test_the_same_items_whichever_form_is_deployed(deployed: IntNetwork) -> None:
    """With the relays deployed and every sum other than zero, traced and expected operations are the same."""
    unmerged = before(deployed)
    populations = {name: deployed.populations.get(name, ints.relay(IMAGE)) for name in unmerged.populations}
    connections = tuple(
        link(c.source, c.target, ints.constant(c.operation.geometry) if isinstance(c.operation, Convolution) else None)
        for c in unmerged.connections
    )
    network = replace(deployed, populations=populations, connections=connections)
    counts = count_operations(network, schedule(network), run_integer(network, np.ones((1, FRAMES, *IMAGE))))
    found = {
        i.deployed: i for i in overheads(network, unmerged, schedule(network), counts) if i.item.startswith("conv")
    }
    assert (found[True].choice, found[False].choice) == (RELAYED, MERGED)
    traced = sum((counts[name] for name in ("conv1", "depthwise")), OpCounts())
    assert found[True].counts.synaptic_ops == traced.synaptic_ops
    assert found[True].counts.macs == traced.macs + 2 * 18 * 2  # and the last 1x1, which ends in the sum
    assert found[False].counts.synaptic_ops == 2 * (2 * 2 * 49)


def test_a_form_between_the_two_is_an_item_of_its_own(deployed: IntNetwork) -> None:
    """The first relay stays, the second does not: 1x1, then a dense 3 x 3 kernel of every sum."""
    names = list(deployed.populations)
    populations = {name: deployed.populations[name] for name in names[:3]} | {"conv1": ints.relay(IMAGE)}
    populations |= {name: deployed.populations[name] for name in names[3:]}
    others = [c for c in deployed.connections if (c.source, c.target) != ("a", "sum")]
    chain = [link("a", "conv1", ints.constant(kernel(1))), link("conv1", "sum", ints.constant(kernel(3)))]
    network = replace(deployed, populations=populations, connections=(*others, *chain))
    counts = count_operations(network, schedule(network), run_integer(network, np.ones((1, FRAMES, *IMAGE))))
    found = [i for i in overheads(network, before(deployed), schedule(network), counts) if i.item.startswith("conv")]
    assert [i.choice for i in found if i.deployed] == [MIXED]
    assert [i.choice for i in found if not i.deployed] == [MERGED, RELAYED]
    assert (found[-1].counts.synaptic_ops, found[-1].counts.macs) == (2 * 18 * 2, 2 * (2 * 2 * 49))


def test_delay_lines(items: dict[tuple[str, bool], Overhead]) -> None:
    """The shortcut from stem to sum is one synapse shorter than the way over a: 18 messages wait at each step."""
    found = items["delay lines", True]
    assert (found.counts.held_messages, found.counts.held_steps) == (36, 36)
    assert found.memory_bits == 18 * 24


def test_readout(items: dict[tuple[str, bool], Overhead]) -> None:
    """The result is the last step's sum: half of what is added."""
    every, once = (items["readout over time", deployed].counts.synaptic_ops for deployed in (True, False))
    assert (every, once) == (2 * 2 * 36, 2 * 36)


def test_gains_are_billed_where_there_are_some(deployed: IntNetwork) -> None:
    gain = IntGain(multiplier=np.ones((FRAMES, 2, 1, 1), dtype=np.int64), exponent=0)
    first, *others = deployed.connections
    gained = replace(deployed, connections=(replace(first, gain=gain), *others))
    counts = count_operations(gained, schedule(gained), run_integer(gained, np.ones((1, FRAMES, *IMAGE))))
    (found,) = (i for i in overheads(gained, before(gained), schedule(gained), counts) if i.item.startswith("norm"))
    assert found.counts.gain_macs == found.counts.parameter_reads == 2 * 18
    assert found.memory_bits == FRAMES * 2 * 13
    assert not [i for i in overheads(deployed, before(deployed), schedule(deployed), counts) if i.counts == OpCounts()]


def test_a_network_without_any_of_it_has_no_bill() -> None:
    """A stack of two layers, as other frameworks write them: nothing waits, nothing is passed on, nothing merged."""
    network = ints.network(
        {"in": ints.entry(IMAGE), "a": ints.lif(IMAGE), "b": ints.lif(IMAGE)},
        link("in", "a", ints.constant(kernel(3))),
        link("a", "b", ints.constant(kernel(1))),
        frames=FRAMES,
    )
    counts = count_operations(network, schedule(network), run_integer(network, np.ones((1, FRAMES, *IMAGE))))
    plain = reals.network(
        {name: as_float(p) for name, p in network.populations.items()},
        *(reals.link(c.source, c.target, as_float_operation(c.operation)) for c in network.connections),
        frames=FRAMES,
    )
    assert overheads(network, plain, schedule(network), counts) == []
