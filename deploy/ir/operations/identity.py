"""The identity: every value goes on to one place, perhaps as part of another shape, perhaps times one factor."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.chip import SPARSE, ChipPart, synapses_of
from deploy.ir.intervals import Interval
from deploy.ir.operations.base import IntPassedOn, WithoutWeights, shifted
from deploy.ir.operations.convolution import Convolution
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, Shape, Values
from hardware import OpCounts, count_accesses, count_connection, expected_ops
from hardware.geometry import ConvGeometry, IdentityGeometry


@dataclass(frozen=True, kw_only=True)
class Identity(WithoutWeights):
    """Passes values on; the shapes may differ where the order of the values is the same (a flattened image)."""

    in_shape: Shape
    out_shape: Shape

    passes_on, keeps_unit = True, True

    @property
    def linear(self) -> "Identity":
        return self

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Array, /) -> Array:
        return x_NCHW.reshape(len(x_NCHW), *self.out_shape)

    def interval(self, x: Interval) -> Interval:
        return _spread(x, self.in_shape, self.out_shape)

    def rounded(self, rounding: Rounding) -> "IntIdentity":
        multiplier, exponent = round_factor(rounding.factor)
        return IntIdentity(in_shape=self.in_shape, out_shape=self.out_shape, multiplier=multiplier, exponent=exponent)


@dataclass(frozen=True, kw_only=True)
class IntIdentity(IntPassedOn):
    """Passes values on, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    in_shape: Shape
    out_shape: Shape

    passes_on = True
    reaches_unevenly = False

    @property
    def linear(self) -> Identity | Convolution | None:
        if self.unit_factor == 1:
            return self.exact(1.0)[0]
        if self.in_shape != self.out_shape:
            return None
        weight = np.full((self.in_shape[0], 1, 1, 1), self.unit_factor)
        return Convolution(weight=weight, geometry=self.as_convolution())

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        values = x_NCHW.reshape(len(x_NCHW), *self.out_shape).astype(np.int64)
        return shifted(values * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Identity, float]:
        return Identity(in_shape=self.in_shape, out_shape=self.out_shape), self.unit_factor / unit

    def sum_interval(self, x: Interval) -> Interval:
        return _spread(x, self.in_shape, self.out_shape).scaled(self.multiplier)

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        ops = count_connection(messages_NCHW, self.geometry, binary=binary, weight_bits=0)
        return ops + count_accesses(ops, weight_memory_bits=0, state_memory_bits=state_memory_bits)

    def expected_ops(self, rate: float, time_steps: int) -> float:
        return expected_ops(self.geometry, rate, time_steps=time_steps)

    def as_convolution(self) -> ConvGeometry:
        """One weight for every channel; for shapes that are the same."""
        channels = self.in_shape[0]
        return ConvGeometry(in_shape=self.in_shape, out_channels=channels, kernel=(1, 1), groups=channels)

    def chip_parts(self) -> Iterator[ChipPart]:
        if self.in_shape == self.out_shape:
            yield ChipPart(what="identity", process=synapses_of(self.as_convolution()))
        else:
            yield ChipPart(what="identity of another shape", process=SPARSE)


def _spread(x: Interval, in_shape: Shape, out_shape: Shape) -> Interval:
    """A flattened image has one channel for every value; a delay lets zeros in before the first frame."""
    repeats, values = out_shape[0] // in_shape[0], x.with_zero()
    return Interval(low=np.repeat(values.low, repeats), high=np.repeat(values.high, repeats))
