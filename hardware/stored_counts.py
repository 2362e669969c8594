"""Operations of a clip, counted from the messages of a stored network: docs/counting.md, for files alone."""

import numpy as np

from hardware.counts import OpCounts
from hardware.integers import Ints, StoredConnection, StoredNetwork, StoredPopulation
from hardware.op_counts import (
    count_biases,
    count_gains,
    count_messages,
    count_multiplications,
    count_neurons,
    count_operation,
    count_parameter_reads,
    count_relays,
    count_state_accesses,
    count_traffic,
)


def counts_of(network: StoredNetwork, messages: dict[str, Ints]) -> dict[str, OpCounts]:
    """Operations by population; `messages` [T, C, H, W] are those of one clip."""
    return {name: _count(network, name, messages) for name in network.populations}


def _count(network: StoredNetwork, name: str, messages: dict[str, Ints]) -> OpCounts:
    population, steps = network.populations[name], len(messages[name])
    found = count_messages(messages[name], binary=population.binary)
    if population.kind == "IntInput":
        return found
    found += _count_population(network, population, steps)
    for connection in network.into(name):
        seen = messages[connection.source][: max(steps - connection.delay, 0)]
        found += _count_connection(network, connection, seen) + _count_gain(network, connection, steps)
    return found


def _count_population(network: StoredNetwork, population: StoredPopulation, steps: int) -> OpCounts:
    size, relayed = population.size, population.kind == "IntRelay"
    bias = population.bias[:steps] if population.bias.ndim == 4 else population.bias
    return (
        count_neurons(steps, 0 if relayed else size)
        + count_relays(steps, size if relayed else 0)
        + count_biases(bias, population.shape, steps=steps, bias_bits=network.widths["bias"])
        + count_state_accesses(reads=steps * size, writes=steps * size, memory_bits=size * network.widths["state"])
    )


def _count_connection(network: StoredNetwork, connection: StoredConnection, seen_TCHW: Ints) -> OpCounts:
    source, graded = network.populations[connection.source], network.widths["graded"]
    mantissa = connection.operation.get("mantissa")
    ops = count_operation(
        seen_TCHW,
        connection.geometry,
        binary=source.binary,
        weight_bits=0 if mantissa is None else weight_bits(mantissa),
        state_bits=network.widths["state"],
        state_memory_bits=network.populations[connection.target].size * network.widths["state"],
    )
    return (
        ops
        + count_multiplications(ops.macs, 1 if source.spiking else graded)
        + count_traffic(seen_TCHW, payload_bits=0 if source.binary else graded, held_steps=connection.lag)
    )


def _count_gain(network: StoredNetwork, connection: StoredConnection, steps: int) -> OpCounts:
    if connection.gain is None:
        return OpCounts()
    size, multiplier = network.populations[connection.target].size, connection.gain["multiplier"][:steps]
    memory_bits = multiplier.size * network.widths["gain"]
    return count_gains(steps, size) + count_parameter_reads(steps * size, memory_bits=memory_bits)


def weight_bits(mantissa: Ints) -> int:
    """Bits that weights need, sign included (-128 to 127 are 8), without the factors of two that all of them share."""
    shared = int(np.gcd.reduce(np.abs(mantissa), axis=None))
    reduced = mantissa // max(shared & -shared, 1)
    return max(int(reduced.max()), int(~reduced.min()), int(reduced.any())).bit_length() + 1
