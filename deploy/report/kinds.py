"""The kinds of populations (`deploy.ir.populations.base.Kind`) in words for readers."""

from collections.abc import Iterable
from dataclasses import dataclass

from deploy.ir.populations.base import Kind

NEURONS: tuple[Kind, ...] = ("lif", "integrator")  # kinds with a membrane potential


@dataclass(frozen=True, kw_only=True)
class KindWords:
    """A kind in a table, and a group of populations of it in a sentence."""

    label: str
    one: str
    several: str
    remark: str = ""

    def group(self, number: int) -> str:
        """`number` populations of the kind, with the remark that explains it."""
        noun = self.one if number == 1 else self.several
        return f"{number:,} {noun} ({self.remark})" if self.remark else f"{number:,} {noun}"


WORDS: dict[Kind, KindWords] = {
    "lif": KindWords(label="LIF", one="layer of LIF neurons", several="layers of LIF neurons"),
    "integrator": KindWords(
        label="integrator",
        one="layer of integrators",
        several="layers of integrators",
        remark="neurons that send their potential and do not reset",
    ),
    "relay": KindWords(
        label="relay",
        one="graded relay",
        several="graded relays",
        remark="sums that pass on without a threshold",
    ),
    "gate": KindWords(
        label="gate",
        one="layer of gates",
        several="layers of gates",
        remark="sums that pass on above a threshold",
    ),
    "constant": KindWords(
        label="constant",
        one="neuron that always fires",
        several="neurons that always fire",
    ),
    "input": KindWords(label="input", one="input", several="inputs"),
}


def groups(kinds: Iterable[Kind]) -> str:
    """How many populations there are of each kind: "1 layer of LIF neurons, 2 graded relays (...), 1 input"."""
    counted = list(kinds)
    return ", ".join(words.group(number) for kind, words in WORDS.items() if (number := counted.count(kind)))
