"""NIR graph -> lowered network: the list of passes, and its execution, which can stop after any of them.

`LOWERING` is the order in which they run; every network on the way is checked against its contract
(`deploy.ir.contracts`) and can be looked at (`lowering_steps`).
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import nir

from deploy.ir.contracts import check_network
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.network import Network
from deploy.passes.balance_rows import balance_rows
from deploy.passes.chain_choice import Merge
from deploy.passes.defaults import DEFAULT_MERGE
from deploy.passes.drop_markers import drop_markers
from deploy.passes.from_nir import from_nir
from deploy.passes.group_rows import group_rows
from deploy.passes.merge_linear_chains import merge_linear_chains, read_merge
from deploy.passes.move_biases import move_biases
from deploy.passes.normalise_gains import normalise_gains
from deploy.passes.refine_first_layers import refine_first_layers
from deploy.passes.split_relays import split_relays
from deploy.passes.split_streams import split_streams


@dataclass(frozen=True, kw_only=True)
class LoweringOptions:
    """What decides about the form of the network.

    Attributes:
        merge: About chains of convolutions: a chip by its energy, "always" or "never" (see `merge_linear_chains`).
        rates: Firing rates by neuron layer, for the chip's energy (default: one that is assumed for all).
        weight_bits: Width of the weights that quantisation will make, sign included.
        fine_layers: How many of the first layers have their weights held by two synapses each.
    """

    merge: Merge
    rates: Mapping[str, float] | None = None
    weight_bits: int = WEIGHT_BITS
    fine_layers: int = 0


Pass = Callable[[Network, LoweringOptions], Network]

LOWERING: dict[Callable[..., Network], Pass] = {
    # convolutions without a neuron between: one kernel where that is exact and cheaper
    merge_linear_chains: lambda network, options: merge_linear_chains(
        network, merge=options.merge, rates=options.rates, weight_bits=options.weight_bits
    ),
    # an output that only marks a population needs none of its own
    drop_markers: lambda network, options: drop_markers(network),
    # what a gain has in common over time goes into the weights
    normalise_gains: lambda network, options: normalise_gains(network),
    # a relay of a chip has no bias; the neurons that hear it have one anyway
    move_biases: lambda network, options: move_biases(network),
    # sums too coarse for the weights of spikes get a finer relay in front
    split_relays: lambda network, options: split_relays(network, weight_bits=options.weight_bits),
    # channels of neurons whose weights are far smaller or larger than the others' get a unit of their own
    balance_rows: lambda network, options: balance_rows(network),
    # with fine layers: their weights get a second synapse each
    refine_first_layers: lambda network, options: refine_first_layers(
        network, layers=options.fine_layers, weight_bits=options.weight_bits
    ),
    # readers that would make a whole shortcut stream coarse get a copy of it
    split_streams: lambda network, options: split_streams(network, weight_bits=options.weight_bits),
    # rows of what sends real numbers, which share its unit, get an exponent for each size instead
    group_rows: lambda network, options: group_rows(network, weight_bits=options.weight_bits),
}


@dataclass(frozen=True, kw_only=True)
class LoweringStep:
    """The network after one pass, and how large it is."""

    name: str
    what: str  # first sentence of what the pass says about itself
    network: Network

    @property
    def populations(self) -> int:
        """How many there are."""
        return len(self.network.populations)

    @property
    def relays(self) -> int:
        """Populations that pass on real numbers."""
        return sum(population.kind == "relay" for population in self.network.populations.values())

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self.network.connections)

    @property
    def weights(self) -> int:
        """Values of all kernels."""
        return sum(c.operation.weights for c in self.network.connections)


def passes(network: Network, options: LoweringOptions) -> Iterator[LoweringStep]:
    """The network as it was read from a graph (`from_nir`), then after every pass of `LOWERING`."""
    yield _checked(network, "from_nir", "Every node becomes a population or a connection.")
    for named, lowering in LOWERING.items():
        network = lowering(network, options)
        documentation = str(sys.modules[named.__module__].__doc__)
        yield _checked(network, named.__name__, documentation.split("\n\n")[0].replace("\n", " "))


def _checked(network: Network, name: str, what: str) -> LoweringStep:
    check_network(network, after=name)
    return LoweringStep(name=name, what=what, network=network)


def lowering_steps(
    graph: nir.NIRGraph,
    *,
    frames: int | None = None,
    dt_s: float | None = None,
    merge: Merge | None = None,
    rates: Mapping[str, float] | None = None,
    weight_bits: int = WEIGHT_BITS,
    fine_layers: int = 0,
) -> Iterator[LoweringStep]:
    """The network as read, then after every pass; raises `InputError` for what cannot be mapped exactly.

    `frames` (T) and `dt_s` default to the graph's metadata; the other arguments are those of `LoweringOptions`, with
    Loihi 1 for `merge`.
    """
    chosen = read_merge(DEFAULT_MERGE) if merge is None else merge
    options = LoweringOptions(merge=chosen, rates=rates, weight_bits=weight_bits, fine_layers=fine_layers)
    yield from passes(from_nir(graph, frames=frames, dt_s=dt_s), options)


def lower(
    graph: nir.NIRGraph,
    *,
    frames: int | None = None,
    dt_s: float | None = None,
    merge: Merge | None = None,
    rates: Mapping[str, float] | None = None,
    weight_bits: int = WEIGHT_BITS,
    fine_layers: int = 0,
) -> Network:
    """NIR graph -> network of populations, by all passes; the arguments and errors are those of `lowering_steps`."""
    *_, last = lowering_steps(
        graph, frames=frames, dt_s=dt_s, merge=merge, rates=rates, weight_bits=weight_bits, fine_layers=fine_layers
    )
    return last.network
