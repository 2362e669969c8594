"""Energy: counts x published figures, broken down by cause.

What a chip has no figure for is never left out in silence. For work in synapses (graded messages,
attention, relays) the figure of the synaptic operation stands in: left out, the total would hide most of a
network with graded inputs. Other causes stay out of the total. `notes` say which, and `causes` keep each
apart, so that a reader can take a stand-in out again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from hardware.chip import Chip, Energy, EnergyFigure
from hardware.errors import ChipError
from hardware.op_counts import OpCounts

PJ_PER_MJ = 1e9


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """How one cause is priced: the counts to add up and the figure that they are multiplied by."""

    cause: str
    counts: tuple[str, ...]
    figure: str
    synaptic_op_stands_in: bool = False
    part_of_synaptic_op: bool = False  # measured figures of a synaptic operation hold it, arithmetic ones leave it out

    def count(self, counts: OpCounts) -> int:
        return sum(getattr(counts, name) for name in self.counts)


RULES = (
    _Rule(cause="synaptic_ops", counts=("synaptic_ops",), figure="synaptic_op"),
    _Rule(cause="graded_macs", counts=("macs",), figure="multiply_accumulate", synaptic_op_stands_in=True),
    _Rule(cause="attention", counts=("attention_ops",), figure="attention_op", synaptic_op_stands_in=True),
    _Rule(cause="relays", counts=("relay_adds",), figure="relay_add", synaptic_op_stands_in=True),
    _Rule(cause="step_gains", counts=("gain_macs",), figure="multiply_accumulate", synaptic_op_stands_in=True),
    _Rule(cause="biases", counts=("bias_adds",), figure="bias_add"),
    _Rule(cause="weight_reads", counts=("weight_bits_read",), figure="weight_bit_read", part_of_synaptic_op=True),
    _Rule(cause="neuron_updates", counts=("neuron_updates",), figure="neuron_update"),
    _Rule(cause="spike_transport", counts=("spikes", "graded_messages"), figure="spike"),
)


@dataclass(frozen=True, kw_only=True)
class PricedCause:
    """One line of the ledger: so many operations at so much each."""

    cause: str
    count: int
    figure: EnergyFigure
    stand_in: bool  # the figure is that of the synaptic operation, for want of one of its own

    @property
    def provenance(self) -> str:
        """Where the figure comes from, on one line."""
        return f"stand-in: {self.figure.provenance}" if self.stand_in else self.figure.provenance

    @property
    def pj(self) -> float:
        """Energy in picojoule."""
        return self.count * self.figure.pj


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
    def weighted_layers_mj(self) -> float:
        """What SNN papers report, in millijoule: the operations of weighted layers, nothing else."""
        return sum(mj for cause, mj in self.by_cause_mj().items() if cause in ("synaptic_ops", "graded_macs"))

    def by_cause_mj(self) -> dict[str, float]:
        """Millijoule of every priced cause."""
        return {cause.cause: cause.pj / PJ_PER_MJ for cause in self.causes}


class EnergyModel(TypedDict):
    """One entry of `energy.models` in report.json; energies in millijoule for all that was counted."""

    title: str
    mj_per_video: float | None  # None: the chip has no published energy, and the notes say so
    weighted_layers_mj: float | None
    breakdown: dict[str, float]
    by_layer: dict[str, dict[str, float]]
    figures: dict[str, str]
    notes: list[str]


def price(counts: OpCounts, chip: Chip) -> EnergyBreakdown:
    """Price `counts` on `chip`. Linear: the price of a sum is the sum of the prices.

    Raises ChipError for a chip without published energy.
    """
    if chip.energy is None:
        raise ChipError(f"{chip.title} cannot be priced: {chip.no_energy_because}")
    lines = (_line(rule, counts, chip.energy) for rule in RULES)
    causes = tuple(line for line in lines if line is not None)
    return EnergyBreakdown(chip=chip.name, causes=causes, notes=tuple(_notes(counts, chip.energy)))


def energy_models(counts_by_layer: Mapping[str, OpCounts], chips: Iterable[Chip]) -> dict[str, EnergyModel]:
    """Price the counts of every layer on every chip: plain values for report.json, keyed by the chip's name.

    A chip without published energy is listed without a number and with the reason.
    """
    return {chip.name: _model(counts_by_layer, chip) for chip in chips}


def _model(counts_by_layer: Mapping[str, OpCounts], chip: Chip) -> EnergyModel:
    if chip.energy is None:
        return EnergyModel(
            title=chip.title,
            mj_per_video=None,
            weighted_layers_mj=None,
            breakdown={},
            by_layer={},
            figures={},
            notes=[str(chip.no_energy_because)],
        )
    total = price(sum(counts_by_layer.values(), OpCounts()), chip)
    return EnergyModel(
        title=chip.title,
        mj_per_video=total.total_mj,
        weighted_layers_mj=total.weighted_layers_mj,
        breakdown=total.by_cause_mj(),
        by_layer={layer: price(counts, chip).by_cause_mj() for layer, counts in counts_by_layer.items()},
        figures={cause.cause: cause.provenance for cause in total.causes},
        notes=list(total.notes),
    )


def _line(rule: _Rule, counts: OpCounts, energy: Energy) -> PricedCause | None:
    own: EnergyFigure | None = getattr(energy, rule.figure)
    if own is None and not rule.synaptic_op_stands_in:
        return None
    return PricedCause(
        cause=rule.cause,
        count=rule.count(counts),
        figure=energy.synaptic_op if own is None else own,
        stand_in=own is None,
    )


def _notes(counts: OpCounts, energy: Energy) -> Iterable[str]:
    """What the total assumes or leaves out, for the operations that did occur."""
    for rule in RULES:
        count = rule.count(counts)
        if not count or getattr(energy, rule.figure) is not None:
            continue
        if rule.part_of_synaptic_op:
            yield (
                f"{rule.cause}: {count:,} bits of weights, without a figure of their own; measured synaptic operations "
                "include them, arithmetic ones leave them out"
            )
        elif rule.synaptic_op_stands_in:
            yield (
                f"{rule.cause}: no published figure of its own; {count:,} operations are priced as synaptic "
                f"operations ({energy.synaptic_op.pj:g} pJ), a stand-in that no source supports"
            )
        else:
            yield f"{rule.cause}: no published figure of its own; {count:,} of them add nothing to the total"
    if counts.neuron_updates and energy.neuron_update and energy.neuron_update_inactive:
        inactive_mj = counts.neuron_updates * energy.neuron_update_inactive.pj / PJ_PER_MJ
        yield (
            f"neuron_updates: all priced as active ({energy.neuron_update.pj:g} pJ), the upper bound; "
            f"all inactive ({energy.neuron_update_inactive.pj:g} pJ) they would cost {inactive_mj:.3g} mJ"
        )
    if counts.spikes + counts.graded_messages and energy.spike:
        yield "spike_transport: one message within a tile each, the lower bound; copies and hops are left out"
    if energy.note:
        yield energy.note
