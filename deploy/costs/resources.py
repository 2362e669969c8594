"""What every layer of a deployed network asks of a chip's cores."""

from deploy.ir.integer import IntNetwork
from deploy.ir.machine import STATE_BITS
from deploy.ir.plan import Plan
from deploy.ir.populations.base import changes_with_time
from hardware import LayerResources


def layer_resources(network: IntNetwork, plan: Plan) -> list[LayerResources]:
    """What every population but the input, with the synapses that end in it, asks of a chip."""
    found = []
    for name, receiver in network.receivers.items():
        incoming = network.into(name)
        found.append(
            LayerResources.of(
                name,
                shape=receiver.shape,
                inputs=[c.operation.geometry for c in incoming],
                outgoing=len(network.out_of(name)),
                weight_bits=max((c.operation.weight_bits for c in incoming), default=0),
                state_bits_per_neuron=STATE_BITS,
                message_bits=receiver.message_bits,
                delay=max((plan.lag(c) for c in incoming), default=0),
                changes_with_time=any(c.changes_with_time for c in incoming) or changes_with_time(receiver.stored_bias),
            )
        )
    return found
