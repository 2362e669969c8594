"""What of a network Loihi 2 holds with the neurons that Intel's Lava extension has, and what needs microcode.

One row for each population and for each connection that ends in it, so that a person sees layer by layer what stands
between the network and the chip. No Lava is needed to read it; `deploy/lava_network/loihi.py` builds what it allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntInput,
    IntIntegrator,
    IntLif,
    IntMembrane,
    IntNetwork,
    IntPopulation,
    IntRelay,
)
from deploy.ir.plan import Plan
from deploy.ir.storage import bias_of

NEURONS = "LIFReset"
RELAY = "GradedVec"


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """One part of the network: the Lava process that holds it, or why it takes a microcode neuron."""

    where: str  # population, or source -> target
    what: str
    process: str  # Lava's process; empty where none holds it
    microcode: str = ""  # what a neuron program would have to do; empty where none is needed

    @property
    def maps(self) -> bool:
        return not self.microcode


def mapping(network: IntNetwork, plan: Plan) -> list[Mapped]:
    """Every connection and population, in order of execution."""
    lags = dict(zip(map(id, network.connections), plan.lags, strict=True))
    rows: list[Mapped] = []
    for name, population in network.populations.items():
        for connection in network.into(name):
            rows += _connection(connection, lags[id(connection)])
        rows += _population(name, population)
    return rows


def _connection(connection: IntConnection, lag: int) -> Iterator[Mapped]:
    where, operation = f"{connection.source} -> {connection.target}", connection.operation
    if isinstance(operation, IntConvolution):
        g = operation.geometry
        dense = g.kernel == g.in_shape[1:] and g.out_shape[1:] == (1, 1) and g.groups == 1
        what = "dense" if dense else f"convolution {g.kernel[0]}x{g.kernel[1]}, stride {g.stride[0]}"
        yield Mapped(where=where, what=what, process="Conv")
    elif isinstance(operation, IntAttention):
        yield Mapped(
            where=where,
            what="attention Q (K^T V)",
            process="",
            microcode="product of two signals: K^T V counted, then added to the rows that Q gates",
        )
    elif operation.in_shape == operation.out_shape:
        yield Mapped(where=where, what="identity", process="Conv")
    else:
        yield Mapped(where=where, what="identity of another shape", process="Dense")
    if lag:
        yield Mapped(where=where, what=f"delay of {lag} time steps", process=RELAY)
    if connection.gain is not None:
        yield Mapped(where=where, what="gain", process="", microcode=_gain(connection))


def _gain(connection: IntConnection) -> str:
    assert connection.gain is not None
    each = "of every time step" if connection.gain.changes_with_time else "of every value"
    return f"a factor {each} behind the synaptic sum"


def _population(name: str, population: IntPopulation) -> Iterator[Mapped]:
    if isinstance(population, IntInput):
        return
    by_step = bias_of(population).ndim > len(population.shape)
    if isinstance(population, IntRelay):
        needs = "a bias of every time step" if by_step else "a bias" if np.any(population.bias) else ""
        yield Mapped(where=name, what="graded relay", process="" if needs else RELAY, microcode=needs)
        return
    needs = ", ".join(_beyond_lif(population, by_step))
    what = "LIF neurons" if isinstance(population, IntLif) else "neurons that send their potential"
    yield Mapped(where=name, what=what, process="" if needs else NEURONS, microcode=needs)


def _beyond_lif(population: IntMembrane, by_step: bool) -> Iterator[str]:
    """What a layer asks for beside Lava's LIF with a reset between clips."""
    if isinstance(population, IntIntegrator):
        yield "a potential as graded message"
    if by_step:
        yield "a bias of every time step"
    if population.start is not None or population.start_current is not None:
        yield "a start other than rest after every clip"


def obstacles(rows: list[Mapped]) -> list[str]:
    """Rows that need microcode, as text."""
    return [f"{row.where} ({row.what}): {row.microcode}" for row in rows if not row.maps]
