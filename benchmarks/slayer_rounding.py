"""Parameters of a network rounded by the rules of lava-dl 0.6.0 (slayer), in real numbers.

- weights and biases: to multiples of 2 / scale, clipped to -256 / scale and 254 / scale
  (`lava.lib.dl.slayer.neuron.base.Neuron.quantize_8bit`, the `pre_hook_fx` of synapses and norms);
- thresholds: cut off to multiples of 1 / scale (`Neuron.__init__`: `int(threshold * self.w_scale) / self.w_scale`);
- decays: to multiples of 1 / 4096 (`lava.lib.dl.slayer.neuron.cuba.Neuron.cx_voltage_decay`).

`scale` is one number for a block, 64 where its user says nothing (`cuba.Neuron.__init__`: `scale=1 << 6`), so weights
above 4 are clipped and thresholds have steps of 1/64. Nobody compensates biases for what rounding adds on average.
Registers are not rounded here, which slayer does (`utils.quantize` in its dynamics): the rest is what it loses before.
"""

from dataclasses import replace

import numpy as np

from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.base import Population, Receiver
from deploy.ir.populations.lif import Lif
from deploy.ir.types import Array

SCALE, DECAYS = 64, 4096
LOWEST, HIGHEST = -256, 254  # even whole numbers: the mantissas of stock Lava
FINEST = 20  # exponent of two above which no scale is taken


def rounded_weights(values: Array, scale: float) -> Array:
    """Weights or biases on slayer's grid; halves go to the even multiple, as torch rounds."""
    return np.clip(np.rint(values * scale / 2) * 2, LOWEST, HIGHEST) / scale


def rounded_threshold(values: Array, scale: float) -> Array:
    """Thresholds, cut off towards 0; at least one step, since a threshold of 0 would fire without an input."""
    return np.maximum(np.trunc(values * scale), 1) / scale


def rounded_decay(values: Array) -> Array:
    """The share of a potential that is lost in a time step, in 1/4096."""
    return np.rint(values * DECAYS) / DECAYS


def finest_scale(largest: float) -> float:
    """The largest power of two at which a weight or bias of this size is not clipped."""
    return 2.0 ** min(np.floor(np.log2(HIGHEST / largest)), FINEST) if largest else float(SCALE)


def rounded_as_slayer(network: Network, *, fits: bool) -> Network:
    """A lowered network with weights, biases, thresholds and decays as slayer rounds them.

    `fits`: every population has the finest scale that clips neither its biases nor the weights that reach it, which a
    user of slayer may set block by block; without it all have the scale that is the default.
    """
    scales = {name: _scale(network, name) if fits else float(SCALE) for name in network.receivers}
    populations: dict[str, Population] = {
        **network.populations,
        **{name: _population(receiver, scales[name]) for name, receiver in network.receivers.items()},
    }
    return replace(
        network,
        populations=populations,
        connections=tuple(_connection(c, scales[c.target]) for c in network.connections),
    )


def _scale(network: Network, name: str) -> float:
    weights = [c.operation.largest_weight or 0.0 for c in network.connections if c.target == name]
    return finest_scale(max(*weights, float(np.abs(_bias(network.receivers[name])).max()), 0.0))


def _bias(receiver: Receiver) -> Array:
    return receiver.bias


def _population(receiver: Receiver, scale: float) -> Population:
    changed = {"bias": rounded_weights(receiver.bias, scale)}
    if isinstance(receiver, Lif):
        changed |= {"threshold": rounded_threshold(receiver.threshold, scale), "decay": rounded_decay(receiver.decay)}
    return replace(receiver, **changed)  # type: ignore[type-var]


def _connection(connection: Connection, scale: float) -> Connection:
    operation = connection.operation
    if not isinstance(operation, Convolution):
        return connection
    return replace(connection, operation=replace(operation, weight=rounded_weights(operation.weight, scale)))
