"""What the deployed network did: operations of every layer and time step, counted from the messages that were sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.costs.resources import layer_resources
from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntIdentity,
    IntInput,
    IntLif,
    IntNetwork,
    IntPopulation,
    IntRelay,
)
from deploy.ir.machine import GAIN_BITS, GRADED_BITS, STATE_BITS
from deploy.ir.storage import bias_of, parameter_count, synapse_memory_bits, weight_bits, widest_weight_bits
from deploy.passes.chain_cost import count_biases
from deploy.passes.schedule import schedule
from hardware import (
    OpCounts,
    count_accesses,
    count_attention,
    count_connection,
    count_gains,
    count_messages,
    count_neurons,
    count_parameter_reads,
    count_state_accesses,
    count_traffic,
    expected_ops,
)

__all__ = [
    "count_by_step",
    "count_operations",
    "expected_operations",
    "layer_resources",
    "parameter_count",
    "readout_layers",
    "synapse_memory_bits",
    "weight_bits",
    "widest_weight_bits",
]

Signals = dict[str, NDArray[Any]]  # [N, T, C, H, W]


def count_operations(network: IntNetwork, signals: Signals) -> dict[str, OpCounts]:
    """Operations of every population and of the synapses that end in it, summed over all clips and time steps."""
    return {name: sum(steps, OpCounts()) for name, steps in count_by_step(network, signals).items()}


def count_by_step(network: IntNetwork, signals: Signals) -> dict[str, list[OpCounts]]:
    """The same for every time step of a clip, summed over all clips.

    An operation belongs to the step at which its target sees the frame; what a delay holds back beyond the end of a
    clip is dropped by the reset and counted nowhere.
    """
    lags = schedule(network).lags
    held = {id(c): lag for c, lag in zip(network.connections, lags, strict=True)}
    return {
        name: [_count(network, name, signals, step, held) for step in range(network.frames)]
        for name in network.populations
    }


def _count(network: IntNetwork, name: str, signals: Signals, step: int, held: Mapping[int, int]) -> OpCounts:
    """One population at one time step."""
    population, messages = network.populations[name], signals[name][:, step]
    found = count_messages(messages, binary=isinstance(population, IntLif))
    if isinstance(population, IntInput):
        return found
    found += _count_population(population, clips=len(messages))
    for connection in network.into(name):
        frame = step - connection.delay
        if frame >= 0:
            found += _count_connection(network, connection, signals[connection.source][:, frame], held[id(connection)])
        found += _count_gain(connection, population, clips=len(messages))
    return found


def _count_population(population: IntPopulation, *, clips: int) -> OpCounts:
    """What happens at every time step whatever arrives: biases, updates, each potential or sum taken up and kept."""
    values, relayed = int(np.prod(population.shape)), isinstance(population, IntRelay)
    return (
        count_neurons(clips, 0 if relayed else values)
        + count_biases(bias_of(population), population.shape, steps=clips)
        + count_state_accesses(reads=clips * values, writes=clips * values, memory_bits=values * STATE_BITS)
    )


def _count_connection(
    network: IntNetwork, connection: IntConnection, messages_NCHW: NDArray[Any], held_steps: int
) -> OpCounts:
    """What the messages of one frame cause on their way through one connection."""
    operation, binary = connection.operation, isinstance(network.populations[connection.source], IntLif)
    payload_bits = 0 if binary else GRADED_BITS
    traffic = count_traffic(messages_NCHW, payload_bits=payload_bits, held_steps=held_steps)
    state_memory_bits = int(np.prod(network.populations[connection.target].shape)) * STATE_BITS
    if isinstance(operation, IntAttention):
        ops = count_attention(messages_NCHW, operation.geometry.heads)
        product_bits = operation.geometry.channels * operation.geometry.head_dim * STATE_BITS
        accesses = count_accesses(
            ops, weight_memory_bits=0, state_memory_bits=state_memory_bits, product_memory_bits=product_bits
        )
        return ops + accesses + traffic
    ops = count_connection(messages_NCHW, operation.geometry, binary=binary, weight_bits=weight_bits(operation))
    weight_memory_bits = (
        operation.mantissa.size * weight_bits(operation) if isinstance(operation, IntConvolution) else 0
    )
    accesses = count_accesses(ops, weight_memory_bits=weight_memory_bits, state_memory_bits=state_memory_bits)
    return ops + accesses + traffic


def _count_gain(connection: IntConnection, target: IntPopulation, *, clips: int) -> OpCounts:
    if connection.gain is None:
        return OpCounts()
    currents = clips * int(np.prod(target.shape))
    memory_bits = connection.gain.multiplier.size * GAIN_BITS
    return count_gains(clips, int(np.prod(target.shape))) + count_parameter_reads(currents, memory_bits=memory_bits)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Operations of a layer by rate x synapses, and why the traced count may be another."""

    ops: float
    reasons: tuple[str, ...]  # empty: the traced count must be the same


def expected_operations(network: IntNetwork, sent: Mapping[str, float]) -> dict[str, Expected]:
    """Static counts: additions and multiply-accumulates of every layer from geometry and rate alone.

    `sent` holds the messages of every population during one clip. Attention, a product of two rates, is left out. The
    traced count differs where messages gather at or away from the borders of the image, which reach fewer neurons, and
    where a delay cuts off the last frames of a clip while the rate is that of all.
    """
    return {
        name: _expected([c for c in network.into(name) if not isinstance(c.operation, IntAttention)], network, sent)
        for name, population in network.populations.items()
        if not isinstance(population, IntInput)
    }


def _expected(connections: list[IntConnection], network: IntNetwork, sent: Mapping[str, float]) -> Expected:
    ops, reasons = 0.0, dict[str, None]()
    for connection in connections:
        operation = connection.operation
        assert isinstance(operation, IntConvolution | IntIdentity)
        frames = max(network.frames - connection.delay, 0)
        rate = sent[connection.source] / (operation.geometry.inputs * network.frames)
        ops += expected_ops(operation.geometry, rate, time_steps=frames)
        if np.ptp(operation.geometry.fan_out_map()):
            reasons["borders"] = None
        if connection.delay:
            reasons["delays"] = None
    return Expected(ops=ops, reasons=tuple(reasons))


def readout_layers(network: IntNetwork) -> list[str]:
    """Populations behind the last neurons: no spike is fired because of them, they only sum up the result."""
    feeds = {name for name, p in network.populations.items() if isinstance(p, IntLif)}
    while more := {c.source for c in network.connections if c.target in feeds} - feeds:
        feeds |= more
    return [name for name in network.populations if name not in feeds]
