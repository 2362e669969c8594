"""What the deployed network did: operations of every layer, counted from the messages that were sent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntInput,
    IntLif,
    IntNetwork,
    IntOperation,
    IntRelay,
)
from deploy.passes.schedule import Plan
from hardware import (
    LayerNeed,
    OpCounts,
    count_attention,
    count_connection,
    count_gains,
    count_messages,
    count_neurons,
    layer_need,
)

Signals = dict[str, NDArray[Any]]  # [N, T, C, H, W]

STATE_BITS = 24
GRADED_BITS = 24


def count_operations(network: IntNetwork, signals: Signals) -> dict[str, OpCounts]:
    """Operations of every population and of the synapses that end in it, summed over all clips."""
    return {name: _count(network, name, signals) for name in network.populations}


def _count(network: IntNetwork, name: str, signals: Signals) -> OpCounts:
    population, messages = network.populations[name], signals[name]
    steps, binary = messages.shape[0] * messages.shape[1], isinstance(population, IntLif)
    total = count_messages(messages.reshape(steps, *messages.shape[2:]), binary=binary)
    if isinstance(population, IntInput):
        return total
    bias = population.bias_mantissa if isinstance(population, IntLif) else population.bias
    neurons = int(np.prod(population.shape)) if binary else 0
    total += count_neurons(steps, neurons, biases=_biased(bias, population.shape))
    return sum((_count_synapses(network, c, signals) for c in network.into(name)), start=total)


def _biased(bias: NDArray[np.int64], shape: tuple[int, ...]) -> int:
    """Neurons that have a bias; one that is zero at some time steps is added all the same."""
    return int(np.count_nonzero(np.broadcast_to(bias.any(axis=0) if bias.ndim > len(shape) else bias, shape)))


def _count_synapses(network: IntNetwork, connection: IntConnection, signals: Signals) -> OpCounts:
    counts = _count_operation(network, connection, signals)
    if connection.gain is None:
        return counts
    clips, frames = signals[connection.target].shape[:2]
    return counts + count_gains(clips * frames, int(np.prod(network.populations[connection.target].shape)))


def _count_operation(network: IntNetwork, connection: IntConnection, signals: Signals) -> OpCounts:
    sent = signals[connection.source]
    seen = sent[:, : max(sent.shape[1] - connection.delay, 0)]  # a delayed synapse never sees the last frames of a clip
    messages = seen.reshape(-1, *sent.shape[2:])
    if isinstance(connection.operation, IntAttention):
        return count_attention(messages, connection.operation.geometry.heads)
    binary = isinstance(network.populations[connection.source], IntLif)
    operation = connection.operation
    return count_connection(messages, operation.geometry, binary=binary, weight_bits=weight_bits(operation))


def layer_needs(network: IntNetwork, plan: Plan) -> list[LayerNeed]:
    """What every population, with the synapses that end in it, asks of a chip."""
    lags = dict(zip(map(id, network.connections), plan.lags, strict=True))
    needs = []
    for name, population in network.populations.items():
        if isinstance(population, IntInput):
            continue
        incoming = network.into(name)
        needs.append(
            layer_need(
                name,
                shape=population.shape,
                inputs=[c.operation.geometry for c in incoming],
                outgoing=sum(c.source == name for c in network.connections),
                weight_bits=max(weight_bits(c.operation) for c in incoming),
                state_bits_per_neuron=STATE_BITS,
                message_bits=1 if isinstance(population, IntLif) else GRADED_BITS,
                delay=max((lags[id(c)] for c in incoming), default=0),
                changes_with_time=any(c.gain is not None for c in incoming) or _bias_changes(population),
            )
        )
    return needs


def _bias_changes(population: IntRelay | IntLif) -> bool:
    bias = population.bias_mantissa if isinstance(population, IntLif) else population.bias
    return bias.ndim > len(population.shape)


def weight_bits(operation: IntOperation) -> int:
    """Bits that the weights of a connection need, sign included; factors of two that all share are in the exponent."""
    if not isinstance(operation, IntConvolution):
        return 0
    magnitudes = np.abs(operation.mantissa.astype(np.int64))
    shared = int(np.gcd.reduce(magnitudes, axis=None))
    power_of_two = shared & -shared
    return (int(magnitudes.max()) // max(power_of_two, 1)).bit_length() + 1


def widest_weight_bits(network: IntNetwork) -> int:
    """Bits of the widest weight, sign included."""
    return max((weight_bits(c.operation) for c in network.connections), default=1)


def synapse_memory_bits(network: IntNetwork) -> int:
    """Bits of all stored weights, a kernel stored once however many positions share it."""
    convolutions = (c.operation for c in network.connections if isinstance(c.operation, IntConvolution))
    return sum(operation.mantissa.size * weight_bits(operation) for operation in convolutions)


def parameter_count(network: IntNetwork) -> int:
    """Weights, gains and biases stored in the deployed network."""
    weights = sum(c.operation.mantissa.size for c in network.connections if isinstance(c.operation, IntConvolution))
    gains = sum(c.gain.multiplier.size for c in network.connections if c.gain is not None)
    biases = [p.bias_mantissa if isinstance(p, IntLif) else p.bias for p in _with_bias(network)]
    return int(weights + gains + sum(bias.size for bias in biases))


def _with_bias(network: IntNetwork) -> list[Any]:
    return [p for p in network.populations.values() if not isinstance(p, IntInput)]
