"""Split relays whose scale is too coarse for the weights of spikes that enter them: fine sums, then one rounding.

Before:  lif -> [many weights] -> relay -> [many weights] -> ..
After:   lif -> [many weights] -> relay.fine -> [1] -> relay -> [many weights] -> ..

What a relay sends has to leave room in the 24-bit sums of everything it reaches, in the worst case; weights of spikes
are whole numbers of its least significant bit. A relay that adds up hundreds of spikes for hundreds of readers would
get weights of 0 and 1. So its sums are made in a relay in front of it, as fine as 24 bits allow; a kernel of one
weight, the same for every channel, brings them to the coarser scale, rounded once (`quantize` rounds to the nearest).
"""

from dataclasses import replace

import numpy as np

from deploy.ir.intervals import Interval
from deploy.ir.machine import WEIGHT_BITS, largest_mantissa
from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.base import Population
from deploy.ir.populations.relay import Relay
from deploy.passes.bounds import float_ranges
from deploy.passes.scales import largest_scale
from hardware import ConvGeometry

FINE = ".fine"  # name of the relay in front
COARSE = 0.5  # of the largest mantissa: a relay whose largest weight does not get that far loses a bit or more
ANY_INPUT = (0.0, 1.0)  # the sums of spikes do not depend on it


def split_relays(network: Network, *, weight_bits: int = WEIGHT_BITS) -> Network:
    """The network with all such relays split; nothing changes in real numbers."""
    ranges = float_ranges(network, ANY_INPUT)
    for name in network.receivers:
        if _is_coarse(network, name, ranges[name], weight_bits):
            network = _split(network, name)
    return network


def _is_coarse(network: Network, name: str, found: Interval, weight_bits: int) -> bool:
    entering, leaving = network.into(name), network.out_of(name)
    weights = [w for c in entering if c.gain is None and (w := c.operation.largest_weight) is not None]
    sums_spikes = all(network.spiking(c.source) for c in entering) and len(weights) == len(entering) > 0
    is_weighted = all(c.operation.largest_weight is not None for c in leaving) and len(leaving) > 0
    if not (network.populations[name].kind == "relay" and sums_spikes and is_weighted):
        return False
    scale = largest_scale(network, name, found, weight_bits)
    return 0 < max(weights) * scale < COARSE * largest_mantissa(weight_bits)


def _split(network: Network, name: str) -> Network:
    relay, fine = network.receivers[name], name + FINE
    coarse = Relay(shape=relay.shape, bias=np.zeros((1, 1, 1)))
    populations: dict[str, Population] = {}
    for other, population in network.populations.items():
        populations |= {fine: relay, name: coarse} if other == name else {other: population}
    channels = relay.shape[0]
    geometry = ConvGeometry(in_shape=relay.shape, out_channels=channels, kernel=(1, 1), groups=channels)
    rounded_once = Convolution(weight=np.ones((channels, 1, 1, 1)), geometry=geometry)
    entering = [replace(c, target=fine) if c.target == name else c for c in network.connections]
    connections = (*entering, Connection(source=fine, target=name, operation=rounded_once))
    return replace(network, populations=populations, connections=connections)
