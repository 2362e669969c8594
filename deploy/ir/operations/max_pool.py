"""Max pooling: the largest value of every window, of graded values or of spikes.

Not linear, but the largest of scaled values is the scaled largest one: source and target share a scale, and the
integers are exact. What lies outside the image is never the largest, as in PyTorch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.intervals import Interval
from deploy.ir.operations.base import IntPassedOn, OfGeometry, WithoutWeights, shifted
from deploy.ir.pooling import largest
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, Values
from hardware import OpCounts, PoolGeometry, count_accesses, count_comparisons, expected_ops


@dataclass(frozen=True, kw_only=True)
class MaxPool(OfGeometry, WithoutWeights):
    """The largest value of every window; every window has a pixel in the image."""

    geometry: PoolGeometry

    passes_on, keeps_unit = False, True
    linear = None

    def __call__(self, x_NCHW: Array, /) -> Array:
        return largest(x_NCHW, self.geometry)

    def interval(self, x: Interval) -> Interval:
        return x

    def rounded(self, rounding: Rounding) -> "IntMaxPool":
        multiplier, exponent = round_factor(rounding.factor)
        return IntMaxPool(geometry=self.geometry, multiplier=multiplier, exponent=exponent)


@dataclass(frozen=True, kw_only=True)
class IntMaxPool(OfGeometry, IntPassedOn):
    """The largest, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    geometry: PoolGeometry

    passes_on = False
    linear = None

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        return shifted(largest(x_NCHW, self.geometry).astype(np.int64) * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[MaxPool, float]:
        return MaxPool(geometry=self.geometry), self.unit_factor / unit

    def sum_interval(self, x: Interval) -> Interval:
        return x.scaled(self.multiplier)

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        ops = count_comparisons(messages_NCHW, self.geometry)
        return ops + count_accesses(ops, weight_memory_bits=0, state_memory_bits=state_memory_bits)

    def expected_ops(self, rate: float, time_steps: int) -> float:
        return expected_ops(self.geometry, rate, time_steps=time_steps)

    @property
    def reaches_unevenly(self) -> bool:
        return bool(np.ptp(self.geometry.fan_out_map()))

    def chip_parts(self) -> Iterator[ChipPart]:
        g = self.geometry
        yield ChipPart(
            what=f"max pool {g.kernel[0]}x{g.kernel[1]}, stride {g.stride[0]}",
            microcode="the largest of the messages of a time step in the place of their sum",
        )
