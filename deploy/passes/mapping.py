"""What of a network Loihi 2 holds with the neurons that Intel's Lava extension has, and what needs microcode.

One row for each population and for each connection that ends in it, so that a person sees layer by layer what stands
between the network and the chip. Operations and populations say what a chip makes of them (`chip_parts`); delays and
gains are said here. No Lava is needed to read it; `deploy/lava_network/loihi.py` builds what it allows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deploy.ir.chip import NEURON, RELAY, ChipPart
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Mapped(ChipPart):
    """One part of the network, and where it stands."""

    where: str  # population, or source -> target
    neurons: int = 0  # that it takes; those of a delay beyond what other connections of its source have taken

    @property
    def maps(self) -> bool:
        """Whether a process of Lava's holds it."""
        return not self.microcode


def mapping(network: IntNetwork, plan: Plan) -> list[Mapped]:
    """Every connection and population, in order of execution."""
    rows: list[Mapped] = []
    lines = _Lines(network, plan)
    for name, receiver in network.receivers.items():
        for connection in network.into(name):
            where = f"{connection.source} -> {connection.target}"
            rows += [Mapped(where=where, **vars(part)) for part in connection.operation.chip_parts()]
            rows += [Mapped(where=where, neurons=neurons, **vars(part)) for part, neurons in lines.held(connection)]
            rows += [Mapped(where=where, **vars(part)) for part in _gain(connection)]
        rows += [Mapped(where=name, neurons=network.size(name), **vars(part)) for part in receiver.chip_parts()]
    return rows


@dataclass
class _Lines:
    """Delay lines: relays for balance, neurons that a clock silences for delays of the model (`ChipWiring`).

    Attributes:
        ends: Time steps that the relays of a source hold back, so far.
        silenced: The same of the neurons behind so many of its relays.
        clocks: Time steps for which there is a neuron that fires once a clip.
    """

    network: IntNetwork
    plan: Plan
    ends: dict[str, int] = field(default_factory=dict)
    silenced: dict[tuple[str, int], int] = field(default_factory=dict)
    clocks: set[int] = field(default_factory=set)

    def held(self, connection: IntConnection) -> Iterator[tuple[ChipPart, int]]:
        """What holds the messages of a connection back, and how many neurons that adds."""
        source, delay = connection.source, connection.delay
        balance, size = self.plan.lag(connection) - delay, self.network.size(source)
        if balance > 0:
            before = self.ends.setdefault(source, 0)
            self.ends[source] = max(before, balance)
            yield (
                ChipPart(what=f"delay of {balance} time steps", process=RELAY),
                size * (self.ends[source] - before),
            )
        if not delay:
            return
        what = f"delay of {delay} time steps within a clip"
        if not self.network.spiking(source):
            yield ChipPart(what=what, microcode="graded messages that are forgotten when a clip begins"), 0
        elif balance < 0:
            yield ChipPart(what=what, microcode="a loop as fast as its synapses, with no relay to be silenced"), 0
        else:
            before = self.silenced.setdefault((source, balance), 0)
            self.silenced[source, balance] = max(before, delay)
            yield ChipPart(what=what, process=NEURON), size * (self.silenced[source, balance] - before)
            begins = self.plan.first_step(source) + balance
            if begins not in self.clocks:
                self.clocks.add(begins)
                yield ChipPart(what="neuron that fires once a clip", process=NEURON), 1


def _gain(connection: IntConnection) -> Iterator[ChipPart]:
    if connection.gain is not None:
        each = "of every time step" if connection.changes_with_time else "of every value"
        yield ChipPart(what="gain", microcode=f"a factor {each} behind the synaptic sum")


def obstacles(rows: Iterable[Mapped]) -> list[str]:
    """Rows that need microcode, as text."""
    return [f"{row.where} ({row.what}): {row.microcode}" for row in rows if not row.maps]
