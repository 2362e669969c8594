"""What every layer of a deployed network asks of a chip's cores."""

from collections.abc import Iterable, Mapping

import numpy as np

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import STATE_BITS
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.plan import Plan
from deploy.ir.populations.base import IntReceiver, changes_with_time
from hardware import Incoming, LayerResources, OpCounts


def layer_resources(network: IntNetwork, plan: Plan) -> list[LayerResources]:
    """What every population but the input, with the synapses that end in it, asks of a chip."""
    found = []
    for name, receiver in network.receivers.items():
        incoming = network.into(name)
        found.append(
            LayerResources(
                name=name,
                shape=receiver.shape,
                inputs=tuple(
                    Incoming(source=c.source, geometry=c.operation.geometry, lag=plan.lag(c)) for c in incoming
                ),
                outgoing=len(network.out_of(name)),
                weights_of_a_neuron=most_weights(network.whole_connections, name),
                weight_bits=max((c.operation.weight_bits for c in incoming), default=0),
                state_bits_per_neuron=STATE_BITS,
                message_bits=receiver.message_bits,
                changes_with_time=any(c.changes_with_time for c in incoming) or changes_with_time(receiver.stored_bias),
                channel_groups=channel_groups(receiver),
            )
        )
    return found


def most_weights(connections: Iterable[IntConnection], target: str) -> int:
    """Weights other than zero that differ at one neuron of a population, the most that one connection brings."""
    operations = (c.operation for c in connections if c.target == target)
    kernels = (operation.mantissa for operation in operations if isinstance(operation, IntConvolution))
    return max((len(np.unique(row[row != 0])) for kernel in kernels for row in kernel), default=0)


def channel_groups(receiver: IntReceiver) -> tuple[tuple[int, ...], ...]:
    """By channel: the sets of shared parameters that its neurons have, as numbers; empty where all have the same."""
    channels, shared = receiver.shape[0], receiver.shared_parameters
    if all(parameter.size == 1 for parameter in shared):
        return ()
    values = np.stack([np.broadcast_to(parameter, receiver.shape).reshape(-1) for parameter in shared], axis=1)
    _, sets = np.unique(values, axis=0, return_inverse=True)
    return tuple(tuple(map(int, np.unique(of_channel))) for of_channel in sets.reshape(channels, -1))


def messages_sent(steps: Mapping[str, list[OpCounts]], clips: int) -> dict[str, float]:
    """Messages that every population sends in the mean clip; `steps` are its counts by time step, of all clips."""
    return {
        name: sum(step.spikes + step.graded_messages for step in counted) / clips for name, counted in steps.items()
    }
