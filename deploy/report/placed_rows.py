"""Rows about the placed network and the rate of the frames, as text, for the page, report.md and the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.report import typeset
from deploy.report.keys.placed import BySource, PlacedSummary, SlowLayer
from deploy.report.keys.report import Estimate, Report
from hardware.operating_point import FrameRate, OperatingPoint
from svformer.common.terminal import counted

# By unit: causes of the ledger that stand beside it, and why the two differ.
LEDGER = {
    "synapses": (
        ("synaptic_ops", "graded_macs", "attention", "relays", "max_pooling"),
        "another figure of a synapse, attention as one for each q, k and v spike, what delays hand on behind the clip",
    ),
    "neurons": (("neuron_updates", "relay_updates"), "another figure of an update"),
    "spikes": ((), "making a spike, for which the ledger has no figure"),
    "messages": (("spike_transport",), "one for each core that a spike reaches; the ledger has one for each spike"),
    "hops": ((), "from tile to tile, left out of the ledger"),
}
COLOURS = {"dynamic": 0, "traffic": 7, "static": 4}  # of the parts of a bar at a rate


@dataclass(frozen=True, kw_only=True)
class UnitRow:
    """Energy of one unit, as placed and by the ledger."""

    unit: str
    placed: str
    ledger: str
    why: str


def units(report: Report, chip: str) -> list[UnitRow]:
    """Every unit by the first source, and their sums."""
    found, ledger = report.placed[chip].sources[0], report.energy.models[chip].breakdown
    beside = {unit: [ledger[cause] for cause in causes if cause in ledger] for unit, (causes, _) in LEDGER.items()}
    rows = [
        UnitRow(
            unit=unit,
            placed=typeset.energy(found.units[unit]),
            ledger=typeset.energy(sum(beside[unit])) if beside[unit] else typeset.NONE,
            why=why,
        )
        for unit, (_, why) in LEDGER.items()
    ]
    total = report.energy.models[chip].mj_per_view
    return [*rows, UnitRow(unit="all", placed=typeset.energy(found.mj), ledger=typeset.energy(total), why="")]


def headline(found: PlacedSummary) -> str:
    """Energy and time of a clip, in a sentence without its end."""
    first, (low, high) = found.sources[0], found.range_mj
    where = f"{cores(found)} on {counted(found.chips, 'chip')}, by {found.order}"
    at_rates = ", at the rates of the calibration clips, with a message of every input and graded value in every step"
    at_rates = at_rates if found.of == "rates" else ""
    return (
        f"estimated as if placed on {found.title} ({where}{at_rates}): {typeset.energy(first.mj)} a clip "
        f"({typeset.energy(low)} to {typeset.energy(high)} by source), {times(first)}"
    )


def cores(found: PlacedSummary) -> str:
    """Cores of the layers and of the input, which the rule of the fit has no core for."""
    layers = found.cores - found.input_cores
    return f"{counted(found.cores, 'core')}, {layers:,} of layers and {found.input_cores:,} of the input,"


def times(source: BySource) -> str:
    """Lower bounds of the time of a clip."""
    a_clip, first = typeset.duration(source.clip_s), typeset.duration(source.first_result_s)
    return f"at least {a_clip} a clip, {first} to the first result"


def slow(layer: SlowLayer, found: PlacedSummary) -> str:
    """What bounds the time of a step, and what one more core would buy."""
    text = f"{layer.layer}: {typeset.duration(layer.step_s)} a time step on {counted(layer.cores, 'core')}"
    if layer.one_more is None or found.now is None:
        return text
    before, after = (typeset.duration(of.clip_s) for of in (found.now, layer.one_more))
    energies = (typeset.energy(of.mj) for of in (found.now, layer.one_more))
    return f"{text}; one core more: {before} become {after}, {' become '.join(energies)} (first clip)"


def filled(found: PlacedSummary) -> str:
    """What all cores of the chip would buy; empty where that was not tried, or none is left."""
    if found.filled is None or found.now is None:
        return ""
    slower = "; slower, since a spike is a message to every core of the layers that hear it"
    return (
        f"with {found.filled.cores} cores, each given to the slowest layer as long as that can use one, "
        f"{typeset.duration(found.now.clip_s)} a clip become {typeset.duration(found.filled.clip_s)} and "
        f"{typeset.energy(found.now.mj)} become {typeset.energy(found.filled.mj)} (first clip)"
        f"{slower if found.filled.clip_s > found.now.clip_s else ''}"
    )


@dataclass(frozen=True, kw_only=True)
class PointRow:
    """A chip at the rate of the frames."""

    chip: str
    title: str
    point: OperatingPoint
    dynamic: str
    traffic: str
    static: str
    total: str
    step: str
    reachable: str
    latency: str
    product: str


def points(report: Report) -> list[PointRow]:
    """Every chip that has a figure for energy."""
    found = report.energy.operating_points.items()
    return [
        _point(name, report.energy.models[name].title, point) for name, point in found if point.dynamic_mj is not None
    ]


def _point(chip: str, title: str, point: OperatingPoint) -> PointRow:
    speed = point.speed
    return PointRow(
        chip=chip,
        title=title,
        point=point,
        dynamic=typeset.energy(point.dynamic_mj),
        traffic=_known(point.traffic_mj),
        static=_static(point),
        total=typeset.energy(point.total_mj),
        step="unknown" if speed is None else f"≥ {typeset.duration(speed.step_s)}",
        reachable="unknown" if speed is None else f"≤ {typeset.significant(speed.reachable_fps)} a second",
        latency="unknown" if speed is None else f"≥ {typeset.duration(speed.first_result_s)}",
        product=_product(point),
    )


def _known(mj: float | None) -> str:
    return "unknown" if mj is None else typeset.energy(mj)


def _static(point: OperatingPoint) -> str:
    if point.static_mj is None:
        return "unknown"
    return f"{typeset.energy(point.static_mj)} ({counted(point.chips or 0, 'chip')})"


def _product(point: OperatingPoint) -> str:
    if point.speed is None or point.speed.energy_delay_mj_s is None:
        return "unknown"
    return f"≥ {typeset.significant(1000 * point.speed.energy_delay_mj_s)}{typeset.NARROW}µJ·s"


def rate(found: FrameRate) -> str:
    """The rate of the frames in words."""
    fps = f"{found.fps:g} frames a second"
    return fps if found.every == 1 else f"{fps}, one of {found.every} taken"


def at_rate(row: PointRow) -> str:
    """A chip at the rate, in a sentence without its end."""
    point = row.point
    return (
        f"{row.title} at {rate(point.rate)}: a clip lasts {typeset.duration(point.clip_s)}, static {row.static}, "
        f"dynamic {row.dynamic}, traffic {row.traffic}; host, input and output unknown"
    )


def unknown_times(report: Report) -> Iterator[tuple[str, str]]:
    """Chips without times, and why."""
    for name, point in report.energy.operating_points.items():
        if point.speed is None:
            yield report.energy.models[name].title, point.no_times_because or "the network was not placed in this run"


def at_rates(report: Report) -> dict[str, Any]:
    """What the page needs to draw the chips at any rate."""
    shown = [row for row in points(report) if row.point.static_mw is not None]
    return {
        "colours": COLOURS,
        "chips": [
            {
                "title": row.title,
                "dynamic": row.point.dynamic_mj,
                "traffic": row.point.traffic_mj or 0,
                "mw": row.point.static_mw,
                "step": row.point.speed.step_s if row.point.speed else 0,
                "steps": row.point.steps,
                "every": row.point.rate.every,
                "fps": row.point.rate.fps,
            }
            for row in shown
        ],
    }


def placed_lines(report: Estimate) -> Iterator[str]:
    """The placed network on a terminal."""
    for found in report.placed.values():
        yield headline(found)
        yield from (f"  slowest {slow(layer, found)}" for layer in found.slowest)
        if more := filled(found):
            yield f"  {more}"
