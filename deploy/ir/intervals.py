"""Intervals: the smallest and largest value of every channel over all inputs that can occur.

Every operation and population says what it makes of an interval; `deploy.passes.bounds` puts them together into the
proof that no register overflows. The arithmetic is float64, which is exact far beyond the 24 bits of a register.
"""

from dataclasses import dataclass

import numpy as np

from deploy.ir.types import Array, Values


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Smallest and largest value of every channel, [C]."""

    low: Array
    high: Array

    @classmethod
    def zero(cls, channels: int) -> "Interval":
        """Nothing but zeros."""
        return cls(low=np.zeros(channels), high=np.zeros(channels))

    @classmethod
    def spikes(cls, channels: int) -> "Interval":
        """Messages that are 0 or 1."""
        return cls(low=np.zeros(channels), high=np.ones(channels))

    @classmethod
    def constant(cls, low: float, high: float, channels: int) -> "Interval":
        """The same range in every channel."""
        return cls(low=np.full(channels, low) * 1.0, high=np.full(channels, high) * 1.0)

    @classmethod
    def of(cls, values: Values, channels: int) -> "Interval":
        """Range of values that broadcast to (C, H, W), or to [T, C, H, W] where they change with the time step."""
        low, high = by_channel(values)
        return cls(low=np.broadcast_to(low, channels) * 1.0, high=np.broadcast_to(high, channels) * 1.0)

    def __add__(self, other: "Interval") -> "Interval":
        """Range of a sum."""
        return Interval(low=self.low + other.low, high=self.high + other.high)

    def within(self, other: "Interval") -> "Interval":
        """What is in both: two ranges of the same values."""
        return Interval(low=np.maximum(self.low, other.low), high=np.minimum(self.high, other.high))

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return float(max(np.abs(self.low).max(), np.abs(self.high).max()))

    def scaled(self, factor: float) -> "Interval":
        """Range of the values times a positive factor."""
        return Interval(low=self.low * factor, high=self.high * factor)

    def with_zero(self) -> "Interval":
        """The range with 0 in it: padding, and a delay before the first frame, let zeros in."""
        return Interval(low=np.minimum(self.low, 0), high=np.maximum(self.high, 0))

    def floored(self) -> "Interval":
        """Range of the values rounded down."""
        return Interval(low=np.floor(self.low), high=np.floor(self.high))

    def rounded_out(self) -> "Interval":
        """Range of the values rounded in any way."""
        return Interval(low=np.floor(self.low), high=np.ceil(self.high))

    def gained(self, gain: Values | None) -> "Interval":
        """Range behind a gain for every time step, [T, C, ..]: the widest that any step leaves."""
        if gain is None:
            return self
        products = [limit * factor for limit in (self.low, self.high) for factor in by_channel(gain)]
        return Interval(low=np.minimum.reduce(products), high=np.maximum.reduce(products))

    def accumulated(self, decay: Array | None, frames: int) -> "Interval":
        """Range of a state that keeps `1 - decay` of itself and takes a value in each of `frames` time steps, from 0.

        That is a geometric series: (1 - (1 - decay)^T) / decay times the value, or T times without a leak. With
        `decay=None` the state has no memory.
        """
        if decay is None:
            return self
        slowest = np.broadcast_to(decay.min(axis=(1, 2)), self.low.shape)
        series = np.where(slowest > 0, (1 - (1 - slowest) ** frames) / np.where(slowest > 0, slowest, 1), frames)
        return Interval(low=np.minimum(self.low, 0) * series, high=np.maximum(self.high, 0) * series)

    def begun(self, start: Values | None) -> "Interval":
        """Range of a state that begins a clip with `start`, which decays from then on, instead of 0."""
        if start is None:
            return self
        low, high = by_channel(start)
        return self + Interval(low=np.minimum(low, 0), high=np.maximum(high, 0))


def by_channel(values: Values) -> tuple[Array, Array]:
    """Smallest and largest value of every channel, [C], over positions and, where there are any, time steps."""
    by_step = values.reshape(-1, *values.shape[-3:])
    return by_step.min(axis=(0, 2, 3)) * 1.0, by_step.max(axis=(0, 2, 3)) * 1.0


def in_the_middle(values: Values) -> Array:
    """The median of every channel, [C], over positions: what one neuron of it cannot move."""
    return np.asarray(np.median(values, axis=(-2, -1)) * 1.0)


def ratio(limit: float, worst: float) -> float:
    """How many times `worst` fits into `limit`; what is always zero has no limit."""
    return limit / worst if worst else float("inf")


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """How much of its register a value can fill in the worst case."""

    where: str  # population, or source -> target
    what: str  # one of the names below
    worst: float
    limit: int

    @property
    def share(self) -> float:
        """1 is a full register."""
        return self.worst / self.limit

    def __str__(self) -> str:
        return f"{self.where}: {self.what} up to {self.worst:.0f}, allowed {self.limit} ({self.share:.2f} x)"


SUM, MESSAGE, POTENTIAL, THRESHOLD = "synaptic sum", "graded message", "potential", "threshold"
CURRENT, BIAS = "input current", "bias mantissa"
NEVER = "potential of neurons that never fire"
OF_24_BITS = (SUM, MESSAGE, POTENTIAL, THRESHOLD)
