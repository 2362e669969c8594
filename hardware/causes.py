"""Causes of energy: which counts each adds up, which figure of a chip prices it, what it is called and its colour.

A new cause is a `Rule` here; tables, charts and the page iterate over them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardware.chip import Energy
from hardware.counts import Counts

MEMORY = "memory"  # the part of a bar that all causes of memory are drawn as


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one cause is priced: the counts to add up and the figure that they are multiplied by; and how it is drawn."""

    cause: str
    label: str
    counts: tuple[str, ...]
    figure: str
    colour: int  # its place among the colours of causes (svformer/pictures/palette.py)
    otherwise: str | None = None  # the figure of a chip that has none of the first
    drawn_with: str | None = None  # the cause whose part of a bar it is drawn in
    synaptic_op_stands_in: bool = False
    memory: bool = False  # measured figures of a synaptic operation hold it, arithmetic ones leave it out

    def count(self, counts: Counts[Any]) -> float:
        """Operations that the cause asks for."""
        return sum(getattr(counts, name) for name in self.counts)

    def constant(self, energy: Energy) -> str | None:
        """Name of the figure by which a chip prices it; None where the chip has none."""
        return next((name for name in (self.figure, self.otherwise) if name and getattr(energy, name)), None)

    @property
    def part(self) -> str:
        """The part of a bar that it is drawn in: its own, or the one of all memory."""
        return MEMORY if self.memory else self.drawn_with or self.cause


def _memory(cause: str, label: str, *counts: str, figure: str, otherwise: str | None = None) -> Rule:
    return Rule(cause=cause, label=label, counts=counts, figure=figure, otherwise=otherwise, colour=6, memory=True)


RULES = (
    Rule(cause="synaptic_ops", label="synaptic operations", counts=("synaptic_ops",), figure="synaptic_op", colour=0),
    Rule(
        cause="graded_macs",
        label="MACs of graded messages",
        counts=("macs",),
        figure="multiply_accumulate",
        colour=1,
        synaptic_op_stands_in=True,
    ),
    Rule(  # what a multiply-accumulate costs more the wider its message is, where a chip's figures say so
        cause="products",
        label="products of 8 x 8 bits",
        counts=("products",),
        figure="product",
        colour=1,
        drawn_with="graded_macs",
    ),
    Rule(
        cause="attention",
        label="attention",
        counts=("attention_ops",),
        figure="attention_op",
        colour=2,
        synaptic_op_stands_in=True,
    ),
    Rule(
        cause="relays",
        label="relay additions",
        counts=("relay_adds",),
        figure="relay_add",
        colour=3,
        synaptic_op_stands_in=True,
    ),
    Rule(  # a comparison is an addition: the difference of two values, of which the sign is looked at
        cause="max_pooling",
        label="max pooling",
        counts=("comparisons",),
        figure="relay_add",
        colour=9,
        synaptic_op_stands_in=True,
    ),
    Rule(
        cause="step_gains",
        label="gains of time steps",
        counts=("gain_macs",),
        figure="gain_mac",
        otherwise="multiply_accumulate",
        colour=8,
        synaptic_op_stands_in=True,
    ),
    Rule(cause="biases", label="biases", counts=("bias_adds",), figure="bias_add", colour=4),
    Rule(cause="neuron_updates", label="neuron updates", counts=("neuron_updates",), figure="neuron_update", colour=5),
    Rule(  # on a chip whose relays are neurons
        cause="relay_updates",
        label="relay updates",
        counts=("relay_updates",),
        figure="relay_update",
        colour=5,
        drawn_with="neuron_updates",
    ),
    Rule(
        cause="spike_transport",
        label="message transport",
        counts=("spikes", "graded_messages"),
        figure="spike",
        colour=7,
    ),
    _memory("weight_reads", "weight reads", "weight_bits_read", figure="weight_bit_read"),
    _memory(
        "parameter_access", "parameter access", "parameter_reads", figure="parameter_access", otherwise="memory_access"
    ),
    _memory("parameter_memory_size", "parameter memory size", "parameter_reach", figure="memory_access_per_bit"),
    _memory("state_access", "state access", "state_reads", "state_writes", figure="memory_access"),
    _memory("state_memory_size", "state memory size", "state_reach", figure="memory_access_per_bit"),
    # written once, read at every connection, and once more each for a delay line
    _memory(
        "message_access",
        "message access",
        *("spikes", "graded_messages", "deliveries", "held_messages", "held_messages"),
        figure="memory_access",
    ),
    _memory("event_addressing", "event addressing", "synaptic_ops", "macs", "comparisons", figure="event_address"),
    _memory("message_addressing", "message addressing", "deliveries", figure="message_address"),
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a drawn bar: one cause, or all that memory costs, addressing included."""

    label: str
    colour: int


PARTS = {
    rule.part: Part(label=MEMORY if rule.memory else rule.label, colour=rule.colour)
    for rule in RULES
    if not rule.drawn_with
}
LABELS = {MEMORY: MEMORY, **{rule.cause: rule.label for rule in RULES}}


_PART = {rule.cause: rule.part for rule in RULES}


def memory_as_one(by_cause: Mapping[str, float]) -> dict[str, float]:
    """Amounts by cause as amounts by part: all that memory costs is one, and left out where it is nothing."""
    parts: dict[str, float] = {}
    for cause, amount in by_cause.items():
        parts[_PART[cause]] = parts.get(_PART[cause], 0.0) + amount
    memory = parts.pop(MEMORY, 0.0)
    return {**parts, MEMORY: memory} if memory else parts
