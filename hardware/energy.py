"""Energy: counts x published figures, broken down by cause.

A cause that a chip has no figure for is never left out in silence. For work in synapses (graded messages,
attention, relays) the figure of the synaptic operation stands in: left out, the total would hide most of a
network with graded inputs. Other causes stay out of the total. `notes` say which, and `causes` keep each
apart, so that a reader can take a stand-in out again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hardware.causes import RULES, Rule
from hardware.chip import Chip, Energy
from hardware.counts import Counts
from hardware.errors import ChipError
from hardware.figures import EnergyFigure

PJ_PER_MJ = 1e9
WEIGHTED = ("synaptic_ops", "graded_macs", "products")  # causes that papers count

AnyEnergy = EnergyFigure[Any]


@dataclass(frozen=True, kw_only=True)
class PricedCause:
    """One line of the ledger: `count` operations at the price of one."""

    cause: str
    count: float
    constant: str  # name of the figure in the chip file
    figure: AnyEnergy
    stand_in: bool  # the figure is that of the synaptic operation, for want of one of its own

    @property
    def provenance(self) -> str:
        """Where the figure comes from, on one line."""
        return f"stand-in: {self.figure.provenance}" if self.stand_in else self.figure.provenance

    @property
    def pj(self) -> float:
        """Energy in picojoule."""
        return self.count * self.figure.pj

    @property
    def range_pj(self) -> tuple[float, float]:
        """Energy by the lowest and by the highest figure of all sources, in picojoule."""
        low, high = self.figure.range_pj
        return self.count * low, self.count * high


@dataclass(frozen=True, kw_only=True)
class EnergyBreakdown:
    """What some counts cost on one chip: `causes` holds what is priced, `notes` what a reader must know."""

    chip: str
    causes: tuple[PricedCause, ...]
    notes: tuple[str, ...]

    @property
    def total_pj(self) -> float:
        """Energy of all priced causes, in picojoule."""
        return sum(cause.pj for cause in self.causes)

    @property
    def total_mj(self) -> float:
        """Energy of all priced causes, in millijoule."""
        return self.total_pj / PJ_PER_MJ

    @property
    def stand_in_mj(self) -> float:
        """Energy of operations without a figure of their own, priced as synaptic operations, in millijoule."""
        return sum(cause.pj for cause in self.causes if cause.stand_in) / PJ_PER_MJ

    @property
    def synapses_alone(self) -> bool:
        """Whether nothing is priced but work in synapses: neurons, biases and messages have no figure."""
        in_synapses = {rule.cause for rule in RULES if rule.synaptic_op_stands_in or rule.figure == "synaptic_op"}
        return {cause.cause for cause in self.causes} <= in_synapses

    @property
    def range_mj(self) -> tuple[float, float]:
        """Energy by the lowest and by the highest figures of all sources, in millijoule."""
        lows, highs = zip(*(cause.range_pj for cause in self.causes), strict=True)
        return sum(lows) / PJ_PER_MJ, sum(highs) / PJ_PER_MJ

    @property
    def weighted_layers_mj(self) -> float:
        """What SNN papers report, in millijoule: the operations of weighted layers, nothing else."""
        return sum(mj for cause, mj in self.by_cause_mj().items() if cause in WEIGHTED)

    def by_cause_mj(self) -> dict[str, float]:
        """Millijoule of every priced cause."""
        return {cause.cause: cause.pj / PJ_PER_MJ for cause in self.causes}


def price(counts: Counts[Any], chip: Chip) -> EnergyBreakdown:
    """Price `counts` on `chip`. Linear: the price of a sum is the sum of the prices.

    Raises ChipError for a chip without published energy.
    """
    if chip.energy is None:
        raise ChipError(f"{chip.title} cannot be priced: {chip.no_energy_because}")
    lines = (_line(rule, counts, chip.energy) for rule in RULES)
    causes = tuple(line for line in lines if line is not None)
    return EnergyBreakdown(chip=chip.name, causes=causes, notes=tuple(_notes(counts, causes, chip.energy)))


def _line(rule: Rule, counts: Counts[Any], energy: Energy) -> PricedCause | None:
    own = rule.constant(energy)
    if own is None and not rule.synaptic_op_stands_in:
        return None
    constant = own or "synaptic_op"
    return PricedCause(
        cause=rule.cause,
        count=rule.count(counts),
        constant=constant,
        figure=getattr(energy, constant),
        stand_in=own is None,
    )


def _notes(counts: Counts[Any], causes: Iterable[PricedCause], energy: Energy) -> Iterable[str]:
    """What the total assumes or leaves out, for the operations that did occur."""
    for rule in RULES:
        count = rule.count(counts)
        if not count or rule.memory or rule.drawn_with or rule.constant(energy):
            continue
        if rule.synaptic_op_stands_in:
            yield (
                f"{rule.cause}: no published figure of its own; {count:,.0f} operations are priced as synaptic "
                f"operations ({energy.synaptic_op.pj:g} pJ), a stand-in that no source supports"
            )
        else:
            yield f"{rule.cause}: no published figure of its own; {count:,.0f} of them add nothing to the total"
    yield from _memory_note(counts, energy)
    for cause in causes:
        if cause.count and cause.figure.others and not cause.stand_in:
            yield f"{cause.cause}: {_alternatives(cause)}"
    if counts.spikes + counts.graded_messages and energy.spike:
        yield "spike_transport: one message within a tile each, the lower bound; copies and hops are left out"
    if energy.note:
        yield energy.note


def _memory_note(counts: Counts[Any], energy: Energy) -> Iterable[str]:
    accesses = counts.parameter_reads + counts.state_reads + counts.state_writes
    if accesses + counts.weight_bits_read and not any(rule.constant(energy) for rule in RULES if rule.memory):
        yield (
            f"memory: {accesses:,.0f} accesses to parameters and potentials without a figure of their own; measured "
            "synaptic operations include them, arithmetic ones leave them out"
        )


def _alternatives(cause: PricedCause) -> str:
    said = (
        f"{other.value:g} {other.unit} ({other.source}) would make "
        f"{cause.pj * other.value / cause.figure.value / PJ_PER_MJ:.3g} mJ"
        for other in cause.figure.others
    )
    return f"priced at {cause.figure.pj:g} pJ, {cause.pj / PJ_PER_MJ:.3g} mJ; {'; '.join(said)}"
