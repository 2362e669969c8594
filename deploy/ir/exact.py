"""An integer network in real numbers: what it would compute if nothing were rounded, shifted away or cut off."""

import numpy as np

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.network import Connection, Network
from deploy.ir.types import Array


def exact_network(network: IntNetwork, *, in_units: bool = False) -> Network:
    """The same populations and connections in real numbers: messages and potentials in the units of the float network.

    With `in_units` they stay in the units of the integers: weights are `mantissa * 2^exponent`, thresholds whole
    numbers. Raises `ValueError` for what works in integers alone (`deploy.passes.chip_form`).
    """
    units = {name: 1.0 if in_units else p.scale for name, p in network.populations.items()}
    sent = {name: 1.0 if in_units else p.message_unit for name, p in network.populations.items()}
    return Network(
        populations={name: p.exact(units[name]) for name, p in network.populations.items()},
        connections=tuple(_exact(c, units[c.target] / sent[c.source]) for c in network.connections),
        output=network.output,
        frames=network.frames,
        notes=network.notes,
        readout=network.readout,
    )


def _exact(connection: IntConnection, unit: float) -> Connection:
    operation, factor = connection.operation.exact(unit)
    gain: Array | None = None if factor == 1 else np.full((1, 1, 1, 1), factor)
    if connection.gain is not None:
        gain = connection.gain.multiplier.astype(np.float64) * (factor * 2.0**connection.gain.exponent)
    return Connection(
        source=connection.source, target=connection.target, operation=operation, delay=connection.delay, gain=gain
    )
