"""Integer network -> integer network of what a Loihi 2 holds: LIF neurons, relays, and synapses of 8 bits.

Products of values and spikes become gates, too (products.py), and so do max pools (max_pools.py).

Before:  q, k, v -> attention -> lif          relay + bias           x -> [w x 2^9] -> y
After:   q, k, v -> coincidences -> counts    always -> [bias] ->    x -> [w x 2^7] -> relay -> [2^2] -> y
                 -> gates -> lif              relay

Every population that was there sends the same messages in the same time steps, bit for bit; what is put in is named in
`IntNetwork.added`. The fused form is the one that quantisation leaves; both run everywhere, and a chip takes this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.intervals import Headroom, Interval
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.operations.product import IntProduct
from deploy.ir.populations.base import changes_with_time
from deploy.ir.populations.relay import IntRelay
from deploy.passes.bounds import message_ranges, prove_added
from deploy.passes.chip_form import max_pools, products
from deploy.passes.chip_form.attention import wire_attention
from deploy.passes.chip_form.biases import wire_bias
from deploy.passes.chip_form.factors import wire_held
from deploy.passes.chip_form.wiring import Wiring
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ChipForm:
    """A network in chip form, and how full its added registers can be."""

    network: IntNetwork
    headroom: list[Headroom]


def chip_form(network: IntNetwork) -> ChipForm:
    """The network as a chip holds it.

    Raises `InputError` with every part that has no such form, by name, and with every register that could overflow,
    with its margin.
    """
    wiring, sent = Wiring(network), _ranges(network)
    for name, population in network.receivers.items():
        for connection in network.into(name):
            _wire(wiring, connection, sent)
        if isinstance(population, IntRelay) and not changes_with_time(population.bias):
            wire_bias(wiring, name, population)
            population = replace(population, bias=np.zeros((1, 1, 1), dtype=np.int64))
        wiring.populations[name] = population
    formed = wiring.finished()
    problems = obstacles(mapping(formed, schedule(formed)))
    if problems:
        raise InputError(f"this network has no chip form: {'; '.join(problems)}; use --form fused")
    return ChipForm(network=formed, headroom=prove_added(formed, network, wiring.sends))


def _ranges(network: IntNetwork) -> Mapping[str, Interval]:
    """What every population can send, where a product of signals or a max pool asks for it."""
    asked = any(isinstance(c.operation, (IntProduct, IntMaxPool)) for c in network.connections)
    return message_ranges(network) if asked else {}


def _wire(wiring: Wiring, connection: IntConnection, sent: Mapping[str, Interval]) -> None:
    operation, source = connection.operation, connection.source
    if connection.gain is not None:
        wiring.connections.append(connection)
    elif isinstance(operation, IntProduct) and products.has_form(connection, sent[source]):
        products.wire_product(wiring, connection, sent[source])
    elif isinstance(operation, IntMaxPool) and max_pools.has_form(sent[source]):
        max_pools.wire_max_pool(wiring, connection, sent[source])
    elif isinstance(connection.operation, IntAttention):
        wire_attention(wiring, connection)
    else:
        wire_held(wiring, connection)
