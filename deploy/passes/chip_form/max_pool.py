"""Max pooling of spikes as neurons that a chip has: one for every window, which fires where any spike arrives."""

import numpy as np

from deploy.ir.integer import IntConnection
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.passes.chip_form.factors import wire_held
from deploy.passes.chip_form.wiring import Wiring, coincidences, synapses

AS_TWO = 2  # weight of a spike: alone enough for a coincidence


def wire_max_pool(wiring: Wiring, connection: IntConnection) -> None:
    """Put a max pool in: of spikes by neurons between; one of graded values stays as it is, an obstacle."""
    operation = connection.operation
    assert isinstance(operation, IntMaxPool)
    if not wiring.network.spiking(connection.source):
        wiring.connections.append(connection)
        return
    g, shape = operation.geometry, operation.out_shape
    weight = np.full(g.weight_shape, AS_TWO, dtype=np.int64)
    found = wiring.add(connection.target, "pooled", coincidences(shape))
    sums = synapses(weight, g.in_shape, groups=g.groups, padding=g.padding, stride=g.stride)
    wiring.connect(connection.source, found, sums, delay=connection.delay)
    passed = IntIdentity(in_shape=shape, out_shape=shape, multiplier=operation.multiplier, exponent=operation.exponent)
    wire_held(wiring, IntConnection(source=found, target=connection.target, operation=passed))
