"""Rate against cost, as positions in per cent: which layers pay for their spikes, and what the published limits say.

Both axes are logarithmic. x is the share of time steps in which a synapse behind a neuron is used, y the energy of one
synapse and time step. A layer lies above the line of its spikes by what it spends on neurons, biases and shortcuts.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.report.keys.report import Report
from hardware.energy import PJ_PER_MJ

LOWEST_RATE = 1e-3
DECADES = -math.log10(LOWEST_RATE)
SEGMENTS = 24
MARGIN = 2.0  # the y axis ends at this factor above and below what is drawn


@dataclass(frozen=True, kw_only=True)
class ChartPoint:
    """A layer in the chart, or a tick of an axis; x and y in per cent from the lower left corner."""

    name: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class ChartLine:
    """A piece of a line."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, kw_only=True)
class ChartBand:
    """Published limits: spikes cost less on the left of the band, more on its right."""

    x1: float
    x2: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """All that is drawn of one cost model."""

    title: str
    verdict: str
    spikes: tuple[ChartLine, ...]
    dense: ChartLine
    layers: tuple[ChartPoint, ...]
    mean: ChartPoint
    limits: tuple[ChartBand, ...]
    x_ticks: tuple[ChartPoint, ...]
    y_ticks: tuple[ChartPoint, ...]


def cost_chart(report: Report, model: str) -> Chart | None:
    """The chart of one model; None where the model knows no multiply-accumulate or nothing lies behind a neuron."""
    found = report.energy.break_even
    if found is None or model not in found.models:
        return None
    lines = found.models[model]
    costs = dict(_layer_costs(report, model))

    def spike_pj(rate: float) -> float:
        return lines.fixed_pj + rate * lines.spike_pj

    drawn = [spike_pj(LOWEST_RATE), spike_pj(1.0), lines.dense_pj, *(pj for _, pj in costs.values() if pj)]
    low, high = min(drawn) / MARGIN, max(drawn) * MARGIN

    def x(rate: float) -> float:
        return 100 * (1 + math.log10(max(rate, LOWEST_RATE)) / DECADES)

    def y(pj: float) -> float:
        return 100 * math.log(max(pj, low) / low) / math.log(high / low)

    rates = [10 ** (-DECADES * (1 - i / SEGMENTS)) for i in range(SEGMENTS + 1)]
    points = [(x(rate), y(spike_pj(rate))) for rate in rates]
    level = y(lines.dense_pj)
    return Chart(
        title=report.energy.models[model].title,
        verdict=lines.verdict,
        spikes=tuple(ChartLine(x1=a[0], y1=a[1], x2=b[0], y2=b[1]) for a, b in itertools.pairwise(points)),
        dense=ChartLine(x1=0, y1=level, x2=100, y2=level),
        layers=tuple(ChartPoint(name=name, x=x(rate), y=y(pj)) for name, (rate, pj) in costs.items()),
        mean=ChartPoint(name="mean", x=x(lines.rate), y=y(spike_pj(lines.rate))),
        limits=tuple(
            ChartBand(
                x1=min(x(reading.rates[0]), 100.0),
                x2=min(x(reading.rates[1]), 100.0),
                title=f"{limit.source}: an inference is {reading.inference}",
            )
            for limit in found.published
            for reading in limit.readings
        ),
        x_ticks=tuple(
            ChartPoint(name=name, x=x(rate), y=0)
            for name, rate in (("0.1 %", 1e-3), ("1 %", 1e-2), ("10 %", 0.1), ("100 %", 1.0))
        ),
        y_ticks=tuple(ChartPoint(name=f"{pj:g} pJ", x=0, y=y(pj)) for pj in _powers_of_ten(low, high)),
    )


def _layer_costs(report: Report, model: str) -> Iterator[tuple[str, tuple[float, float]]]:
    """Rate and energy (pJ) of a synapse and time step of every layer behind spikes alone."""
    by_layer = report.energy.models[model].by_layer
    for layer in report.layers:
        if layer.dense_synaptic_ops and not layer.macs:
            pj = PJ_PER_MJ * sum(by_layer[layer.name].values()) / layer.dense_synaptic_ops
            yield layer.name, (layer.synaptic_ops / layer.dense_synaptic_ops, pj)


def _powers_of_ten(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [10.0**exponent for exponent in range(first, last + 1)]
