"""What a deployed network asks of a chip: bits of its weights, and what every layer needs of the cores' resources."""

from deploy.ir.integer import (
    IntInput,
    IntLif,
    IntNetwork,
)
from deploy.ir.machine import GRADED_BITS, STATE_BITS
from deploy.ir.plan import Plan
from deploy.ir.storage import bias_of, weight_bits
from hardware import LayerResources


def layer_resources(network: IntNetwork, plan: Plan) -> list[LayerResources]:
    """What every population, with the synapses that end in it, asks of a chip."""
    lags = dict(zip(map(id, network.connections), plan.lags, strict=True))
    needs = []
    for name, population in network.populations.items():
        if isinstance(population, IntInput):
            continue
        incoming = network.into(name)
        needs.append(
            LayerResources.of(
                name,
                shape=population.shape,
                inputs=[c.operation.geometry for c in incoming],
                outgoing=sum(c.source == name for c in network.connections),
                weight_bits=max(weight_bits(c.operation) for c in incoming),
                state_bits_per_neuron=STATE_BITS,
                message_bits=1 if isinstance(population, IntLif) else GRADED_BITS,
                delay=max((lags[id(c)] for c in incoming), default=0),
                changes_with_time=any(c.gain is not None and c.gain.changes_with_time for c in incoming)
                or bias_of(population).ndim > len(population.shape),
            )
        )
    return needs
