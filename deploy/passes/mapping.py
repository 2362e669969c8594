"""What of a network Loihi 2 holds with the neurons that Intel's Lava extension has, and what needs microcode.

One row for each population and for each connection that ends in it, so that a person sees layer by layer what stands
between the network and the chip. Operations and populations say what a chip makes of them (`chip_parts`); delays and
gains are said here. No Lava is needed to read it; `deploy/lava_network/loihi.py` builds what it allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.ir.chip import NEURON, RELAY, ChipPart
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Mapped(ChipPart):
    """One part of the network, and where it stands."""

    where: str  # population, or source -> target

    @property
    def maps(self) -> bool:
        """Whether a process of Lava's holds it."""
        return not self.microcode


def mapping(network: IntNetwork, plan: Plan) -> list[Mapped]:
    """Every connection and population, in order of execution."""
    rows: list[Mapped] = []
    for name, receiver in network.receivers.items():
        for connection in network.into(name):
            where = f"{connection.source} -> {connection.target}"
            rows += [Mapped(where=where, **vars(part)) for part in connection.operation.chip_parts()]
            rows += [Mapped(where=where, **vars(part)) for part in _waits(network, connection, plan.lag(connection))]
        rows += [Mapped(where=name, **vars(part)) for part in receiver.chip_parts()]
    return rows


def _waits(network: IntNetwork, connection: IntConnection, lag: int) -> Iterator[ChipPart]:
    """Delays, which relays hold; those of the model are silenced when a clip begins, which takes spikes and a relay."""
    balance, delay = lag - connection.delay, connection.delay
    if balance > 0:
        yield ChipPart(what=f"delay of {balance} time steps", process=RELAY)
    if delay:
        what = f"delay of {delay} time steps within a clip"
        if not network.spiking(connection.source):
            yield ChipPart(what=what, microcode="graded messages that are forgotten when a clip begins")
        elif balance < 0:
            yield ChipPart(what=what, microcode="a loop as fast as its synapses, with no relay to be silenced")
        else:
            yield ChipPart(what=what, process=NEURON)
    if connection.gain is not None:
        each = "of every time step" if connection.changes_with_time else "of every value"
        yield ChipPart(what="gain", microcode=f"a factor {each} behind the synaptic sum")


def obstacles(rows: list[Mapped]) -> list[str]:
    """Rows that need microcode, as text."""
    return [f"{row.where} ({row.what}): {row.microcode}" for row in rows if not row.maps]
