"""Give neurons of one layer a common size: a unit of its own for every channel whose weights are far smaller or larger.

Before:  [rows of 1 and of 0.001] -> lif: thresholds 5 and 0.005
After:   [rows of 1 and of 0.5]   -> lif: thresholds 5 and 2.5       factors 1 and 512

All weights of a connection share one exponent, and all neurons of a layer one scale: next to a row of large weights
those of a small one round to a few steps, or to nothing. What a neuron sends is a spike, whatever the unit of its
potential; so weights, bias, threshold and start of a channel are multiplied by a power of two, and it fires as before,
in every bit. Channels that are alike share a factor, so that a chip has few thresholds to hold, and most have none.

Neurons that share a stream with others through identities, and what sends real numbers, keep the unit that they share.
"""

from dataclasses import replace

import numpy as np

from deploy.ir.intervals import by_channel, in_the_middle
from deploy.ir.machine import CURRENT_LIMIT, WEIGHT_BITS, largest_mantissa
from deploy.ir.network import Connection, Network
from deploy.ir.populations.lif import Lif
from deploy.ir.types import Array

UNLIKE = 2  # bits between the largest and the smallest channel of a band, which shares a factor
LARGE = CURRENT_LIMIT / (2.0 * largest_mantissa(WEIGHT_BITS))  # times the largest weight; more costs its bits


def balance_rows(network: Network) -> Network:
    """The network with the channels of its neurons balanced; it fires as before."""
    for name, population in network.receivers.items():
        if isinstance(population, Lif):
            network = _balanced(network, name, population)
    return network


def _balanced(network: Network, name: str, lif: Lif) -> Network:
    entering = network.into(name)
    rows = [rows for c in entering if (rows := c.operation.largest_of_rows) is not None]
    if not rows or len(rows) < len(entering):
        return network
    factors = _factors(np.max(rows, axis=0), lif)
    if (factors == 1).all():
        return network
    return replace(
        network,
        populations={**network.populations, name: lif.with_unit(factors[:, np.newaxis, np.newaxis])},
        connections=tuple(_scaled(c, factors) if c.target == name else c for c in network.connections),
    )


def _scaled(connection: Connection, factors: Array) -> Connection:
    operation = connection.operation.with_output_factors(factors)
    assert operation is not None, "what has weights takes factors"
    return replace(connection, operation=operation)


def _factors(largest_of_rows: Array, lif: Lif) -> Array:
    """A power of two for every channel, [C]; 1 for the one in the middle."""
    threshold = in_the_middle(np.where(np.isfinite(lif.threshold), lif.threshold, 0.0))
    threshold = np.broadcast_to(threshold, largest_of_rows.shape)
    _, bias = by_channel(np.abs(lif.bias))
    weighted = (largest_of_rows > 0) & (threshold > 0)
    if not weighted.any():
        return np.ones_like(largest_of_rows)
    usual = float(np.median(largest_of_rows[weighted] / threshold[weighted]))
    rows = np.where(largest_of_rows > 0, largest_of_rows, threshold * usual)  # what has no weights has a threshold
    return _in_bands(np.maximum(rows, np.maximum(bias, threshold) / LARGE))


def _in_bands(sizes: Array) -> Array:
    """Powers of two that bring sizes close to the largest; those of one band, at most `UNLIKE` bits wide, get one."""
    order = np.argsort(-sizes)
    below, top = np.zeros_like(sizes), sizes[order[0]]
    for channel in order[sizes[order] > 0]:
        if sizes[channel] * 2.0**UNLIKE <= top:
            top = sizes[channel]
        below[channel] = np.floor(np.log2(sizes[order[0]] / top))
    below -= np.sort(below)[len(below) // 2]
    return np.where(sizes > 0, 2.0**below, 1.0)
