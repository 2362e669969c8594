"""All that is counted, each kind with its label, its meaning and its unit: a new kind is a field of `Counts`.

Counts are exact and additive: those of layers, of clips, or of single time steps may be added, and the sum is the count
of the whole. No joule in this file.
"""

import operator
from dataclasses import Field, dataclass, field, fields
from typing import Any, Generic, Self, TypeVar

from hardware.keys import key

Number = TypeVar("Number", bound=float)


ZERO: Any = 0  # the default of whole and of real counts


def _count(label: str, meaning: str, unit: str = "operations", *, listed: bool = True) -> dict[str, Any]:
    """Metadata of a count: what it is called, what one of them is, its unit, and whether reports list it."""
    return {"label": label, "meaning": meaning, "listed": listed, **key(f"{label}: {meaning}", unit)}


@dataclass(frozen=True, kw_only=True)
class Counts(Generic[Number]):
    """All that is counted. Labels and meanings of every table, page and chart come from here (`COUNTS`)."""

    synaptic_ops: Number = field(
        default=ZERO, metadata=_count("synaptic operations", "a weight added to a neuron, caused by a spike")
    )
    macs: Number = field(
        default=ZERO,
        metadata=_count(
            "multiply-accumulates of graded messages",
            "a weight times a non-zero value of the input, of an integrator or of a relay",
        ),
    )
    products: Number = field(
        default=ZERO,
        metadata=_count(
            "products of 8 x 8 bits",
            "as many as the multiply-accumulates above take: one for every 8 bits of their message",
            "products",
        ),
    )
    attention_coincidences: Number = field(
        default=ZERO, metadata=_count("attention: coincidences", "KᵀV: a k and a v spike of one token and head")
    )
    attention_gated_adds: Number = field(
        default=ZERO,
        metadata=_count("attention: gated additions", "Q (KᵀV): a q spike adds a row entry, zeros included"),
    )
    attention_gated_adds_nonzero: Number = field(
        default=ZERO,
        metadata=_count(
            "attention: gated additions of other than zero", "a q spike adds a row entry that is not zero", listed=False
        ),
    )
    relay_adds: Number = field(
        default=ZERO, metadata=_count("relay additions", "a graded value passed on over a shortcut, without a weight")
    )
    comparisons: Number = field(
        default=ZERO,
        metadata=_count(
            "max pooling: comparisons", "a message other than zero, in every window of a max pool that it reaches"
        ),
    )
    weight_bits_read: Number = field(
        default=ZERO,
        metadata=_count(
            "weight bits read", "each operation above fetches a weight, as wide as its connection needs", "bits"
        ),
    )
    gain_macs: Number = field(
        default=ZERO,
        metadata=_count(
            "gains of time steps", "a current times the gain of its time step (per-step norm), zeros included"
        ),
    )
    bias_adds: Number = field(
        default=ZERO, metadata=_count("bias additions", "one for each neuron with a bias, each time step")
    )
    neuron_updates: Number = field(
        default=ZERO, metadata=_count("neuron updates", "leak, sum, comparison and reset, each time step")
    )
    relay_updates: Number = field(
        default=ZERO,
        metadata=_count("relay updates", "a sum that a relay takes up and sends, each time step, zeros included"),
    )
    parameter_reads: Number = field(
        default=ZERO,
        metadata=_count("parameters read", "weights, gains and biases: one for each operation with one", "accesses"),
    )
    parameter_reach: Number = field(
        default=ZERO,
        metadata=_count(
            "reach of parameter reads",
            "for each parameter read the bits of the memory it goes to: larger ones cost more",
            "bits",
            listed=False,
        ),
    )
    state_reads: Number = field(
        default=ZERO,
        metadata=_count(
            "potentials and sums read",
            "by each operation, and once a time step by each neuron and relay",
            "accesses",
        ),
    )
    state_writes: Number = field(
        default=ZERO,
        metadata=_count(
            "potentials and sums written",
            "by each operation, and once a time step by each neuron and relay",
            "accesses",
        ),
    )
    state_reach: Number = field(
        default=ZERO,
        metadata=_count(
            "reach of state accesses",
            "for each potential or sum that is read or written the bits of its memory",
            "bits",
            listed=False,
        ),
    )
    spikes: Number = field(
        default=ZERO, metadata=_count("spikes sent", "once each, however many neurons they reach", "messages")
    )
    graded_messages: Number = field(
        default=ZERO,
        metadata=_count(
            "graded messages sent", "non-zero values of the input, of integrators and of relays", "messages"
        ),
    )
    deliveries: Number = field(
        default=ZERO, metadata=_count("messages delivered", "once for each connection that a message takes", "messages")
    )
    traffic_bits: Number = field(
        default=ZERO,
        metadata=_count("bits between layers", "address of the sender, and 24 bits of a graded value", "bits"),
    )
    held_messages: Number = field(
        default=ZERO,
        metadata=_count(
            "messages held in delay lines", "until a longer path has caught up, or the last frame is there", "messages"
        ),
    )
    held_steps: Number = field(
        default=ZERO, metadata=_count("time steps held", "the time steps of all held messages, added up", "time steps")
    )
    dense_synaptic_ops: Number = field(
        default=ZERO,
        metadata=_count(
            "dense synaptic operations", "connections behind spikes, if every neuron fired at every step", listed=False
        ),
    )
    dense_macs: Number = field(
        default=ZERO,
        metadata=_count("dense equivalent", "multiply-accumulates if every input were non-zero, borders exact"),
    )
    padded_macs: Number = field(
        default=ZERO,
        metadata=_count(
            "dense equivalent with padding",
            "multiply-accumulates if every input were non-zero, padding counted as work (the convention of the field)",
            listed=False,
        ),
    )
    dense_attention_ops: Number = field(
        default=ZERO,
        metadata=_count(
            "dense attention operations", "attention, if every q, k and v fired at every step", listed=False
        ),
    )

    def __add__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        found = object.__new__(type(self))  # without __init__, which takes most of the time of long sums
        vars(found).update(zip(COUNTS, map(operator.add, vars(self).values(), vars(other).values()), strict=True))
        return found

    def __radd__(self, other: int) -> Self:
        """`sum` starts from the integer 0."""
        return self if other == 0 else NotImplemented

    @property
    def attention_ops(self) -> float:
        """Additions of both attention products; a row of K^T V is read whole, its zeros included."""
        return self.attention_coincidences + self.attention_gated_adds


@dataclass(frozen=True, kw_only=True)
class MeanCounts(Counts[float]):
    """Counts of the mean clip."""

    def rounded(self) -> "OpCounts":
        """Whole operations, which can be priced."""
        return OpCounts(**{name: round(value) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class OpCounts(Counts[int]):
    """Operations of any part of a run; add them with `+` or `sum`."""

    def mean(self, clips: int) -> MeanCounts:
        """Counts of the mean of `clips` clips, where these are the counts of all of them."""
        return MeanCounts(**{name: value / clips for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Count:
    """One kind of operation, as tables write it."""

    name: str
    label: str
    meaning: str
    unit: str
    listed: bool  # whether reports have a line for it


def _described(counted: "Field[Any]") -> Count:
    about = counted.metadata
    return Count(
        name=counted.name,
        label=about["label"],
        meaning=about["meaning"],
        unit=about["json_schema_extra"]["unit"],
        listed=about["listed"],
    )


COUNTS = {counted.name: _described(counted) for counted in fields(Counts)}
LISTED = tuple(count for count in COUNTS.values() if count.listed)
