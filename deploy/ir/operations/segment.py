"""A segment: the values of an image at consecutive places of a larger one, which is zero elsewhere.

So signals of any shape stand one behind the other in one population, without a weight; a product of signals
(`deploy.ir.operations.product`) reads such a vector. Places are counted channel by channel, row by row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.chip import SPARSE, ChipPart
from deploy.ir.intervals import Interval
from deploy.ir.operations.base import IntPassedOn, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, Shape, Values
from hardware import OpCounts, count_accesses, count_connection, expected_ops
from hardware.geometry import IdentityGeometry
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Segment(WithoutWeights):
    """Passes the values of `in_shape` on to the places from `first` of an image of `out_shape`."""

    in_shape: Shape
    out_shape: Shape
    first: int

    passes_on, keeps_unit = True, True
    linear = None  # no kernel: chains are merged in front of it and behind it

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Array, /) -> Array:
        return _placed(x_NCHW, self.out_shape, self.first)

    def interval(self, x: Interval) -> Interval:
        return _spread(x, self)

    def rounded(self, rounding: Rounding) -> "IntSegment":
        if rounding.factor < 1:
            why = f"a spike is {rounding.factor:.2g} units beside the values that it meets, and would be lost"
            raise InputError(f"{why}; use smaller weights in front of the product")
        multiplier, exponent = round_factor(rounding.factor)
        return IntSegment(
            in_shape=self.in_shape, out_shape=self.out_shape, first=self.first, multiplier=multiplier, exponent=exponent
        )


@dataclass(frozen=True, kw_only=True)
class IntSegment(IntPassedOn):
    """The same, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    in_shape: Shape
    out_shape: Shape
    first: int

    passes_on = True
    linear = None
    reaches_unevenly = False

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        placed = _placed(x_NCHW.astype(np.int64), self.out_shape, self.first)
        return shifted(placed * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Segment, float]:
        segment = Segment(in_shape=self.in_shape, out_shape=self.out_shape, first=self.first)
        return segment, self.unit_factor / unit

    def sum_interval(self, x: Interval) -> Interval:
        return _spread(x, self).scaled(self.multiplier)

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        ops = count_connection(messages_NCHW, self.geometry, binary=binary, weight_bits=0)
        return ops + count_accesses(ops, weight_memory_bits=0, state_memory_bits=state_memory_bits)

    def expected_ops(self, rate: float, time_steps: int) -> float:
        return expected_ops(self.geometry, rate, time_steps=time_steps)

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(what="segment of a larger image", process=SPARSE)


def _placed(x_NCHW: Values, out_shape: Shape, first: int) -> Values:
    values = x_NCHW.reshape(len(x_NCHW), -1)
    placed = np.zeros((len(values), int(np.prod(out_shape))), values.dtype)
    placed[:, first : first + values.shape[1]] = values
    return placed.reshape(len(values), *out_shape)


def _spread(x: Interval, segment: Segment | IntSegment) -> Interval:
    """Every value has the range of its channel; a delay lets zeros in, which is what all other places have."""
    values, size = x.with_zero(), segment.geometry.inputs // len(x.low)
    ends = (np.repeat(end, size)[np.newaxis] for end in (values.low, values.high))
    low, high = (_placed(end, segment.out_shape, segment.first)[0] for end in ends)
    return Interval(low=low.min(axis=(1, 2)), high=high.max(axis=(1, 2)))
