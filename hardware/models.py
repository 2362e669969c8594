"""Cost models side by side, as plain values for report.json.

The same counts on several chips: arithmetic alone (the field's convention), arithmetic and memory, the constants of
real chips. Beside each total stand what other sources would make of it, what each constant does to it, and what the
chips draw while they wait (static power at a stated latency).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from hardware.chip import Chip
from hardware.energy import PJ_PER_MJ, EnergyBreakdown, price
from hardware.op_counts import OpCounts


class Static(TypedDict):
    """What the chips draw whether anything happens or not, during the latency that is stated."""

    chips: int
    latency_s: float
    mj: float
    total_mj: float  # with the energy of the operations
    figure: str


class Sensitivity(TypedDict):
    """The total if one constant of the chip file were another."""

    constant: str
    unit: str  # pJ, or pJ/bit
    pj: float
    low_pj: float
    high_pj: float
    low_mj: float
    high_mj: float
    sources: int  # 1: nobody else says anything, and half and double are shown


class EnergyModel(TypedDict):
    """One entry of `energy.models` in report.json; energies in millijoule for all that was counted."""

    title: str
    mj_per_video: float | None  # None: the chip has no published energy, and the notes say so
    range_mj: list[float]  # by the lowest and by the highest figures of all sources
    weighted_layers_mj: float | None
    breakdown: dict[str, float]
    by_layer: dict[str, dict[str, float]]
    sensitivity: list[Sensitivity]
    static: Static | None
    figures: dict[str, str]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Chips that a network takes, and how long it keeps them for one video."""

    chips: int
    latency_s: float


def energy_models(
    counts_by_layer: Mapping[str, OpCounts],
    chips: Iterable[Chip],
    *,
    placements: Mapping[str, Placement] | None = None,
) -> dict[str, EnergyModel]:
    """Price the counts of every layer on every chip: plain values for report.json, keyed by the chip's name.

    A chip without published energy is listed without a number and with the reason. `placements` says, by the name of
    the chip, how many are needed and for how long; without it static power is left out.
    """
    placed = placements or {}
    return {chip.name: _model(counts_by_layer, chip, placed.get(chip.name)) for chip in chips}


def _model(counts_by_layer: Mapping[str, OpCounts], chip: Chip, placement: Placement | None) -> EnergyModel:
    if chip.energy is None:
        return EnergyModel(
            title=chip.title,
            mj_per_video=None,
            range_mj=[],
            weighted_layers_mj=None,
            breakdown={},
            by_layer={},
            sensitivity=[],
            static=None,
            figures={},
            notes=[str(chip.no_energy_because)],
        )
    total = price(sum(counts_by_layer.values(), OpCounts()), chip)
    return EnergyModel(
        title=chip.title,
        mj_per_video=total.total_mj,
        range_mj=list(total.range_mj),
        weighted_layers_mj=total.weighted_layers_mj,
        breakdown=total.by_cause_mj(),
        by_layer={layer: price(counts, chip).by_cause_mj() for layer, counts in counts_by_layer.items()},
        sensitivity=sensitivity(total),
        static=static(total, chip, placement),
        figures={cause.cause: cause.provenance for cause in total.causes},
        notes=list(total.notes),
    )


def static(energy: EnergyBreakdown, chip: Chip, placement: Placement | None) -> Static | None:
    """Static energy of a placed network; None where the chip file has no static power or nothing was placed."""
    if placement is None or chip.energy is None or chip.energy.static_power is None:
        return None
    mj = placement.chips * chip.energy.static_power.value * placement.latency_s
    return Static(
        chips=placement.chips,
        latency_s=placement.latency_s,
        mj=mj,
        total_mj=mj + energy.total_mj,
        figure=chip.energy.static_power.provenance,
    )


def sensitivity(energy: EnergyBreakdown) -> list[Sensitivity]:
    """What each constant does to the total, the most influential first (a tornado diagram).

    A constant varies between what its sources say. Where there is one source alone, half and double are shown: how
    much it would matter, not how uncertain it is.
    """
    found = (_vary(constant, energy) for constant in dict.fromkeys(cause.constant for cause in energy.causes))
    return sorted(found, key=lambda line: line["low_mj"] - line["high_mj"])


def _vary(constant: str, energy: EnergyBreakdown) -> Sensitivity:
    causes = [cause for cause in energy.causes if cause.constant == constant]
    figure, mj = causes[0].figure, sum(cause.pj for cause in causes) / PJ_PER_MJ
    low, high = figure.range_pj if figure.others else (figure.pj / 2, figure.pj * 2)
    return Sensitivity(
        constant=constant,
        unit="pJ/bit" if figure.unit == "pJ/bit" else "pJ",
        pj=figure.pj,
        low_pj=low,
        high_pj=high,
        low_mj=energy.total_mj + mj * (low / figure.pj - 1),
        high_mj=energy.total_mj + mj * (high / figure.pj - 1),
        sources=1 + len(figure.others),
    )
