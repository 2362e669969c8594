"""Split relays whose scale is too coarse for the weights of spikes that enter them: fine sums, then one rounding.

What a relay sends has to leave room in the 24-bit sums of all that hear it, in the worst case; weights of spikes are
whole numbers of its least significant bit. A relay that adds up hundreds of spikes for hundreds of readers would get
weights of 0 and 1. So its sums are made in a relay in front of it, as fine as 24 bits allow; a kernel of one weight,
the same for every channel, brings them to the coarser scale, rounded once (`quantize` rounds to the nearest).
"""

from dataclasses import replace

import numpy as np

from deploy.ir.network import Connection, Convolution, Network, Population, Relay
from deploy.passes.bounds import Interval, float_ranges
from deploy.passes.rounding import largest_mantissa
from deploy.passes.scales import largest_scale
from hardware import ConvGeometry

WEIGHT_BITS = 8
FINE = ".fine"  # name of the relay in front
COARSE = 0.5  # of the largest mantissa: a relay whose largest weight does not get that far loses a bit of 8, or more
ANY_INPUT = (0.0, 1.0)  # the sums of spikes do not depend on it


def split_relays(network: Network) -> Network:
    """The network with all such relays split; nothing changes in real numbers."""
    ranges = float_ranges(network, ANY_INPUT)
    for name in list(network.populations):
        if _is_coarse(network, name, ranges):
            network = _split(network, name)
    return network


def _is_coarse(network: Network, name: str, ranges: dict[str, Interval]) -> bool:
    entering, leaving = network.into(name), network.out_of(name)
    weights = [c.operation.weight for c in entering if isinstance(c.operation, Convolution) and c.gain is None]
    sums_spikes = all(network.spiking(c.source) for c in entering) and len(weights) == len(entering) > 0
    is_weighted = all(isinstance(c.operation, Convolution) for c in leaving) and len(leaving) > 0
    if not (isinstance(network.populations[name], Relay) and sums_spikes and is_weighted):
        return False
    largest = max(float(np.abs(weight).max()) for weight in weights)
    scale = largest_scale(network, name, ranges[name], WEIGHT_BITS)
    return 0 < largest * scale < COARSE * largest_mantissa(WEIGHT_BITS)


def _split(network: Network, name: str) -> Network:
    relay, fine = network.populations[name], name + FINE
    assert isinstance(relay, Relay)
    populations: dict[str, Population] = {}
    for other, population in network.populations.items():
        if other == name:
            populations |= {fine: relay, name: Relay(shape=relay.shape, bias=np.zeros((1, 1, 1)))}
        else:
            populations[other] = population
    channels = relay.shape[0]
    geometry = ConvGeometry(in_shape=relay.shape, out_channels=channels, kernel=(1, 1), groups=channels)
    passed_on = Convolution(weight=np.ones((channels, 1, 1, 1)), geometry=geometry)
    entering = [replace(c, target=fine) if c.target == name else c for c in network.connections]
    connections = (*entering, Connection(source=fine, target=name, operation=passed_on))
    return replace(network, populations=populations, connections=connections)
