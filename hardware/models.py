"""Cost models side by side, as report.json has them.

The same counts on several chips: arithmetic alone (the field's convention), arithmetic and memory, the constants of
real chips. Beside each total stand what other sources would make of it, what each constant does to it, and what the
chips draw while they wait (static power at a stated latency).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hardware.anchor import Extrapolation, extrapolated
from hardware.causes import MEMORY, memory_as_one
from hardware.chip import Chip
from hardware.counts import Counts, MeanCounts
from hardware.energy import PJ_PER_MJ, EnergyBreakdown, price
from hardware.interval import Interval, drawn_mj
from hardware.keys import key


@dataclass(frozen=True, kw_only=True)
class StaticEnergy:
    """What the chips draw whether anything happens or not, during the latency that is stated."""

    chips: int = field(metadata=key("chips that the network takes"))
    latency_s: float = field(
        metadata=key("time for which a clip keeps them, at the rate of its frames (`operating_points`)", "s")
    )
    mj: float = field(metadata=key("static energy of all of them in that time", "mJ"))
    total_mj: float = field(metadata=key("the same and the energy of the operations", "mJ"))
    figure: str = field(metadata=key("static power of a chip, and its source"))


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The total if one constant of the chip file were another."""

    constant: str = field(metadata=key("name of the figure in the chip file"))
    unit: str = field(metadata=key("unit of the figure: pJ, or pJ/bit"))
    pj: float = field(metadata=key("the figure that is used", "pJ or pJ/bit"))
    low_pj: float = field(metadata=key("the lowest figure of all sources, or half of a lone one", "pJ or pJ/bit"))
    high_pj: float = field(metadata=key("the highest figure of all sources, or twice a lone one", "pJ or pJ/bit"))
    low_mj: float = field(metadata=key("energy of a clip with the lowest figure", "mJ"))
    high_mj: float = field(metadata=key("energy of a clip with the highest figure", "mJ"))
    sources: int = field(metadata=key("sources of the figure; 1: it is a lone one"))


@dataclass(frozen=True, kw_only=True)
class EnergyModel:
    """What a clip costs on one chip. A chip without published energy has no numbers, and the notes say why."""

    title: str = field(metadata=key("name of the chip in texts"))
    mj_per_video: float | None = field(
        metadata=key("energy of all causes that have a figure, all views of a video together", "mJ")
    )
    holds: str = field(metadata=key("whether the chip holds the network; empty: what is priced is no chip"))
    mj_per_view: float | None = field(metadata=key("the same of one view, as all figures below", "mJ"))
    stand_in_mj: float | None = field(
        metadata=key("of it, operations that the chip has no figure for, priced as synaptic operations", "mJ")
    )
    synapses_alone: bool = field(metadata=key("whether neurons, biases and messages have no figure, and add nothing"))
    interval: Interval | None = field(
        metadata=key("between what the total lies if constants and counts are as uncertain as their sources and clips")
    )
    weighted_interval: Interval | None = field(metadata=key("the same of weighted layers alone"))
    extrapolation: Extrapolation | None = field(
        metadata=key("dynamic energy by a network that was measured on the chip; null where the chip file has none")
    )
    range_mj: tuple[float, ...] = field(metadata=key("by the lowest and by the highest figures of all sources", "mJ"))
    weighted_layers_mj: float | None = field(
        metadata=key("synaptic operations and multiply-accumulates alone, what papers report; no memory is in it", "mJ")
    )
    breakdown: dict[str, float] = field(metadata=key("energy by cause", "mJ"))
    by_layer: dict[str, dict[str, float]] = field(metadata=key("energy by layer and cause", "mJ"))
    sensitivity: tuple[Sensitivity, ...] = field(
        metadata=key("what each constant does to the total, the most influential first")
    )
    static: StaticEnergy | None = field(
        metadata=key("static energy; null where the chip file has no static power or no limits")
    )
    figures: dict[str, str] = field(metadata=key("by cause: the figure and its source"))
    notes: tuple[str, ...] = field(metadata=key("what the total assumes and what it leaves out"))

    @property
    def has_memory(self) -> bool:
        """Whether accesses to memories are priced, which are in no figure of weighted layers."""
        return MEMORY in memory_as_one(self.breakdown)


@dataclass(frozen=True, kw_only=True)
class ChipTime:
    """Chips that a network takes, and how long a clip keeps them."""

    chips: int
    latency_s: float


def energy_models(
    counts_by_layer: Mapping[str, Counts[Any]],
    chips: Iterable[Chip],
    *,
    held: Mapping[str, ChipTime] | None = None,
    views: float = 1,
    obstacles: Mapping[str, int] | None = None,
    by_clip: Sequence[Counts[Any]] = (),
) -> dict[str, EnergyModel]:
    """Price the counts of every layer on every chip; the cost models by the name of the chip.

    A chip without published energy is listed without a number and with the reason. `held` gives, by the name of the
    chip, how many chips a clip keeps and for how long; a chip that it does not name has no static energy. The counts
    are those of one view, and a video has `views`. `obstacles` says, by the name of the chip, how many things of the
    network it cannot hold; of a chip that it does not name, nobody looked. `by_clip` are the counts of every
    clip, whose spread goes into the intervals.
    """
    held, obstacles = held or {}, obstacles or {}
    return {
        chip.name: _model(
            counts_by_layer, chip, held.get(chip.name), views, _holds(chip, obstacles.get(chip.name)), by_clip
        )
        for chip in chips
    }


def _holds(chip: Chip, obstacles: int | None) -> str:
    if chip.no_limits_because:
        return ""
    if obstacles is None:
        return "not checked: does it hold this?"
    return f"cannot hold it: {obstacles} obstacle{'s' if obstacles > 1 else ''}" if obstacles else "holds it"


def _model(
    counts_by_layer: Mapping[str, Counts[Any]],
    chip: Chip,
    held: ChipTime | None,
    views: float,
    holds: str,
    by_clip: Sequence[Counts[Any]],
) -> EnergyModel:
    counts = sum(counts_by_layer.values()) or MeanCounts()
    if chip.energy is None:
        return EnergyModel(
            title=chip.title,
            holds=holds,
            mj_per_video=None,
            mj_per_view=None,
            stand_in_mj=None,
            synapses_alone=False,
            range_mj=(),
            weighted_layers_mj=None,
            breakdown={},
            by_layer={},
            sensitivity=(),
            static=None,
            interval=None,
            weighted_interval=None,
            extrapolation=extrapolated(counts, chip.anchor),
            figures={},
            notes=(str(chip.no_energy_because),),
        )
    total = price(counts, chip)
    return EnergyModel(
        title=chip.title,
        holds=holds,
        mj_per_video=views * total.total_mj,
        mj_per_view=total.total_mj,
        stand_in_mj=total.stand_in_mj,
        synapses_alone=total.synapses_alone,
        interval=Interval.of(drawn_mj(by_clip or [counts], chip)),
        weighted_interval=Interval.of(drawn_mj(by_clip or [counts], chip, weighted=True)),
        extrapolation=extrapolated(counts, chip.anchor),
        range_mj=total.range_mj,
        weighted_layers_mj=total.weighted_layers_mj,
        breakdown=total.by_cause_mj(),
        by_layer={layer: price(counts, chip).by_cause_mj() for layer, counts in counts_by_layer.items()},
        sensitivity=sensitivity(total),
        static=static_energy(total, chip, held),
        figures={cause.cause: cause.provenance for cause in total.causes},
        notes=total.notes,
    )


def static_energy(energy: EnergyBreakdown, chip: Chip, held: ChipTime | None) -> StaticEnergy | None:
    """Static energy of the chips that a clip keeps; None where the chip file has no static power or `held` is None."""
    if held is None or chip.energy is None or chip.energy.static_power is None:
        return None
    mj = held.chips * chip.energy.static_power.value * held.latency_s
    return StaticEnergy(
        chips=held.chips,
        latency_s=held.latency_s,
        mj=mj,
        total_mj=mj + energy.total_mj,
        figure=chip.energy.static_power.provenance,
    )


def sensitivity(energy: EnergyBreakdown) -> tuple[Sensitivity, ...]:
    """What each constant does to the total, the most influential first (a tornado diagram).

    A constant varies between what its sources say. Where there is one source alone, half and double are shown: how
    much it would matter, not how uncertain it is.
    """
    found = (_vary(constant, energy) for constant in dict.fromkeys(cause.constant for cause in energy.causes))
    return tuple(sorted(found, key=lambda line: line.low_mj - line.high_mj))


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
