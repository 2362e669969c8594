"""Mark neurons whose threshold no input can reach and no register needs to hold.

Before:  lif: thresholds 1, 1, 1e6         potentials up to 30 in the worst case
After:   lif: thresholds 1, 1, never       a scale for thresholds of 1

A scale has to hold the largest threshold of a layer. One that is far beyond everything that its neuron can ever take
would leave the others a few steps, or none. In integers such a neuron has the largest threshold that there is, and no
memory, so that the bound of its current proves that it never fires.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deploy.ir.intervals import Interval
from deploy.ir.network import Network
from deploy.ir.populations.base import Population
from deploy.ir.populations.lif import Lif
from deploy.ir.types import BoolArray

FAR = 16.0  # times the largest threshold that an input reaches, or current: what a register can spare for all others


def mark_silent(network: Network, ranges: Mapping[str, Interval]) -> Network:
    """The network with such neurons marked, for currents in these ranges (`deploy.passes.bounds.float_ranges`)."""
    populations: dict[str, Population] = {}
    for name, population in network.populations.items():
        populations[name] = population
        if isinstance(population, Lif):
            populations[name] = replace(population, silent=_silent(population, ranges[name], network.frames))
    return replace(network, populations=populations)


def _silent(lif: Lif, charge: Interval, frames: int) -> BoolArray | None:
    """The silent neurons of a layer; None where there is none."""
    highest = charge.accumulated(lif.decay, frames).begun(lif.start).high[:, np.newaxis, np.newaxis]
    threshold, bound = np.broadcast_arrays(lif.threshold, highest)
    never = threshold >= bound
    needed = max(charge.magnitude, float(threshold[~never].max(initial=0.0)))
    silent = never & (threshold > FAR * needed if needed else np.isinf(threshold))
    return silent if silent.any() else None
