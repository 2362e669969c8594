"""Runs as points: accuracy against what it costs, in per cent from the lower left corner.

What it costs begins at 0, so that a small difference looks small; from a factor of ten on, the axis is logarithmic.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.report import typeset

LOGARITHMIC = 10.0  # from this ratio of the largest to the smallest value on
STEPS = 5  # between ticks, about
MOST_TICKS = 6  # that are legible side by side on a phone
ROOM = 1.08  # the axis ends at this factor of the largest value
GRAIN = 0.1  # of the axis of shares


class Values(Protocol):
    """A measure of every run; None where one has no such figure."""

    @property
    def title(self) -> str: ...

    @property
    def values(self) -> tuple[float | None, ...]: ...

    @property
    def texts(self) -> tuple[str, ...]: ...

    def write(self, value: float) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ScatterPoint:
    """A run, or a tick of an axis."""

    name: str
    x: float
    y: float
    colour: int = 0  # of `svformer.pictures.palette.SERIES`
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """A chart; ticks have a place on their own axis alone."""

    title: str
    points: tuple[ScatterPoint, ...]
    x_ticks: tuple[ScatterPoint, ...]
    y_ticks: tuple[ScatterPoint, ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where values lie, in per cent."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]


def scatter(names: Sequence[str], across: Values, up: Values) -> Scatter | None:
    """Runs by what it costs and by their share of right videos; None where they all cost the same, or one has both."""
    pairs = enumerate(zip(across.values, up.values, strict=True))
    both = [(i, x, y) for i, (x, y) in pairs if x is not None and y is not None]
    if len({across.texts[i] for i, _, _ in both}) < 2:
        return None
    horizontal, vertical = axis_of_amounts([x for _, x, _ in both]), axis_of_shares([y for _, _, y in both])
    return Scatter(
        title=f"{up.title} against {across.title}",
        points=tuple(
            ScatterPoint(
                name=names[i],
                x=horizontal.place(x),
                y=vertical.place(y),
                colour=i % 8,
                says=f"{names[i]}: {up.texts[i]}, {across.texts[i]}",
            )
            for i, x, y in both
        ),
        x_ticks=tuple(ScatterPoint(name=across.write(x), x=horizontal.place(x), y=0.0) for x in horizontal.ticks),
        y_ticks=tuple(ScatterPoint(name=typeset.percent(y, 0), x=0.0, y=vertical.place(y)) for y in vertical.ticks),
    )


def axis_of_amounts(values: Sequence[float]) -> Axis:
    """From 0, or of logarithms."""
    low, high = min(values), max(values)
    if low > 0 and high >= LOGARITHMIC * low:
        start, end = math.log(low / ROOM), math.log(high * ROOM)
        ticks = _decades(low / ROOM, high * ROOM)
        return Axis(place=lambda value: 100 * (math.log(value) - start) / (end - start), ticks=tuple(ticks))
    end = ROOM * high or 1.0
    return Axis(place=lambda value: 100 * value / end, ticks=tuple(_round(0.0, end)))


def axis_of_shares(values: Sequence[float]) -> Axis:
    """Between whole tenths; it may begin above 0, as its ticks say."""
    low = GRAIN * math.floor(min(values) / GRAIN - 0.5)
    start, end = max(0.0, low), min(1.0, GRAIN * math.ceil(max(values) / GRAIN)) + 0.04
    return Axis(place=lambda value: 100 * (value - start) / (end - start), ticks=tuple(_round(start, min(end, 1.0))))


def _round(start: float, end: float) -> Iterator[float]:
    """Round values from `start` to `end`, steps of 1, 2 or 5 times a power of ten."""
    rough = (end - start) / STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(start / step - 1e-9)
    yield from (step * i for i in range(first, math.floor(end / step + 1e-9) + 1))


def _decades(start: float, end: float) -> list[float]:
    """Powers of ten between two values, with twice and five times them where they are few, or every nth power."""
    powers = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [value for power in powers for factor in factors if start <= (value := factor * 10.0**power) <= end]
        if len(found) <= MOST_TICKS:
            return found
    return found[:: math.ceil(len(found) / MOST_TICKS)]
