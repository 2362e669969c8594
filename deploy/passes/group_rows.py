"""Give rows of very different size an exponent each: a connection to what sends real numbers becomes several.

Before:  [rows of 1 and of 0.001] -> integrator: one exponent, the small rows round to nothing
After:   [rows of 1] -> integrator, [rows of 0.001] -> integrator: an exponent each

All weights of a connection share one exponent. Neurons with small weights get a unit of their own (`balance_rows`), but
what sends real numbers cannot, since its readers count on one unit. So its rows are grouped by size, and every group is
a connection of its own, with its own exponent: a chip holds and counts it as such. No synapse is added.
"""

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from deploy.ir.machine import WEIGHT_BITS, largest_mantissa
from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.types import Array, BoolArray
from hardware.geometry import ConvGeometry, SparseConvGeometry, SpreadConvGeometry

LEAST_STEPS = 4  # that the largest weight of a row should have
LEAST_RATIO = 8.0  # between groups, where weights have so few bits that many rows have fewer steps


def group_rows(network: Network, *, weight_bits: int = WEIGHT_BITS) -> Network:
    """The network with connections of unlike rows split; it computes as before."""
    ratio = max(largest_mantissa(weight_bits) / LEAST_STEPS, LEAST_RATIO)
    connections, notes = list[Connection](), list[str]()
    for c in network.connections:
        parts = [c] if network.spiking(c.target) else list(_parts(c, ratio))
        connections += parts
        if len(parts) > 1:
            notes.append(f"{c.source} -> {c.target}: {len(parts)} connections, since its rows need as many exponents")
    return replace(network, connections=tuple(connections), notes=(*network.notes, *notes))


def _parts(connection: Connection, ratio: float) -> Iterator[Connection]:
    operation = connection.operation
    if not isinstance(operation, Convolution):
        yield connection
        return
    groups = _groups(operation.largest_of_rows, ratio)
    for group in range(groups.max() + 1):
        yield replace(connection, operation=_rows(operation, groups == group)) if groups.any() else connection


def _groups(sizes: Array, ratio: float) -> NDArray[np.int64]:
    """The group of every row, from 0 for the largest; a row of zeros needs no exponent."""
    found, top, group = np.zeros(sizes.shape, dtype=np.int64), float(sizes.max()), 0
    for row in np.argsort(-sizes):
        if 0 < sizes[row] * ratio < top:
            top, group = float(sizes[row]), group + 1
        found[row] = group if sizes[row] else 0
    return found


def _rows(operation: Convolution, rows: BoolArray) -> Convolution:
    """The operation with these rows alone; the others are no synapses."""
    chosen, g = rows.reshape(-1, 1, 1, 1), operation.geometry
    reached = (
        g.reached & chosen if isinstance(g, SparseConvGeometry) else np.broadcast_to(chosen, operation.weight.shape)
    )
    window = {field.name: getattr(g, field.name) for field in fields(ConvGeometry)}
    geometry = SpreadConvGeometry(reached=reached.copy(), **window)
    return replace(operation, weight=np.where(chosen, operation.weight, 0.0), geometry=geometry)
