"""Give readers that weight a shortcut stream a coarser copy of it, where their sums would make the whole stream coarse.

Before:  stream -> [1] -> lif, stream -> [1] -> stream.next, stream -> [many weights] -> next
After:   stream -> [1] -> lif, stream -> [1] -> stream.next, stream -> [1] -> stream.coarse -> [many weights] -> next

All members of a stream share one scale. A sum of hundreds of graded messages has to fit 24 bits in the worst case, so
one dense or strided reader at its end leaves a threshold of every neuron on the way a few units: too few for 8-bit
weights, or for the finer ones of first layers (`refine_first_layers`). Such readers get a relay of their own, whose
messages are rounded once; the neurons see the stream as fine as the registers of the stream allow.
"""

from dataclasses import replace

import numpy as np

from deploy.ir.intervals import Interval, ratio
from deploy.ir.machine import STATE_LIMIT, WEIGHT_BITS
from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.base import Population
from deploy.ir.populations.relay import Relay
from deploy.passes.bounds import float_ranges
from deploy.passes.scales import FINEST, streams
from hardware import ConvGeometry

COPY = ".coarse"  # name of the relay behind
COARSE = 0.25  # of the scale that a stream needs and could have: a reader that takes more than two bits gets a copy
NO_INPUT = (0.0, 0.0)  # a decision that depends on no unit


def split_streams(network: Network, *, weight_bits: int = WEIGHT_BITS) -> Network:
    """The network with copies for such readers; nothing changes in real numbers."""
    ranges = float_ranges(network, NO_INPUT)
    units = FINEST if any(c.fine for c in network.connections) else 2.0**weight_bits
    for stream in streams(network):
        wanted = COARSE * _scale_without_readers(network, stream, ranges, units)
        for name in stream:
            if network.populations[name].kind != "relay":
                continue
            coarse = [c for c in network.out_of(name) if _limit(c, ranges[name], weight_bits) < wanted]
            if coarse and wanted < np.inf:
                network = _split(network, name, coarse)
    return network


def _scale_without_readers(
    network: Network, stream: tuple[str, ...], ranges: dict[str, Interval], units: float
) -> float:
    """The scale of a stream whose neurons have thresholds of so many units, or that its own registers hold."""
    members = [network.receivers[name] for name in stream]
    fire = [currents for member in members if (currents := member.least_currents(network.frames)) is not None]
    reached = [float(np.median(found[np.isfinite(found)])) for found in fire if np.isfinite(found).any()]
    if not reached:
        return 0.0
    own = min(member.largest_scale(ranges[name]) for name, member in zip(stream, members, strict=True))
    return min(own, ratio(units, min(reached)))


def _limit(connection: Connection, found: Interval, weight_bits: int) -> float:
    return ratio(STATE_LIMIT, connection.operation.largest_sum(found, weight_bits))


def _split(network: Network, name: str, readers: list[Connection]) -> Network:
    relay, copy = network.receivers[name], name + COPY
    populations: dict[str, Population] = {}
    for other, population in network.populations.items():
        populations[other] = population
        if other == name:
            populations[copy] = Relay(shape=relay.shape, bias=np.zeros((1, 1, 1)))
    channels = relay.shape[0]
    geometry = ConvGeometry(in_shape=relay.shape, out_channels=channels, kernel=(1, 1), groups=channels)
    copied = Convolution(weight=np.ones((channels, 1, 1, 1)), geometry=geometry)
    moved = {id(c) for c in readers}
    connections = [replace(c, source=copy) if id(c) in moved else c for c in network.connections]
    return replace(
        network,
        populations=populations,
        connections=(*connections, Connection(source=name, target=copy, operation=copied)),
    )
