"""Hold the weights of the first layers by two synapses each: an 8-bit weight, and five bits below it.

Before:  input -> [w] -> stem       in integers: [8 bits]
After:   input -> [w, fine] -> stem       in integers: [8 bits << 5] and [5 bits], two connections

What rounding flips in the first layers reaches every layer behind them, and the first layers have few weights: of a
residual network with four stages 2 % of the weights are those of its first block. In real numbers nothing changes.

Weights that 8 bits hold exactly (those of a pool, or trained on a grid) and those behind a gain of every time step
stay as they are.
"""

from dataclasses import replace

from deploy.ir.machine import WEIGHT_BITS, largest_mantissa
from deploy.ir.network import Connection, Network


def refine_first_layers(network: Network, *, layers: int, weight_bits: int = WEIGHT_BITS) -> Network:
    """The network with the weights of its first layers marked to be held by two synapses."""
    if not layers:
        return network
    rounded = [c for c in network.connections if _is_rounded(c, weight_bits)]
    targets = [name for name in network.populations if any(c.target == name for c in rounded)][:layers]
    fine = {id(c) for c in rounded if c.target in targets}
    weights = sum(c.operation.weights for c in network.connections)
    held_twice = sum(c.operation.weights for c in rounded if id(c) in fine)
    of_which = f"those of {', '.join(targets)}" if targets else "no layer has weights that are rounded"
    note = f"two synapses for each of {held_twice:,} weights of {weights:,}: {of_which}"
    if 0 < len(targets) < layers:
        note += f"; {layers} layers were asked for, no other has weights that are rounded"
    return replace(
        network,
        connections=tuple(replace(c, fine=True) if id(c) in fine else c for c in network.connections),
        notes=(*network.notes, note),
    )


def _is_rounded(connection: Connection, weight_bits: int) -> bool:
    weighted = connection.gain is None and connection.operation.largest_weight
    return bool(weighted) and connection.operation.levels(largest_mantissa(weight_bits)) is None
