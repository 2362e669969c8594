"""A product of two signals: graded values, or spikes, times spikes, summed over any of their axes.

Both lie in the vector of one population, the values first (`deploy.ir.operations.segment` puts them there). A spike is
a message other than zero, so in integers it adds the values that it meets, and nothing is multiplied. Matrix products
of a transformer are such sums, and so is a mask (no axis is summed): attention of neurons of several levels, whose
spikes have an axis of levels, or of v wider than q, as k^T v and then q; DSSA of SpikingResformer (Shi et al., CVPR
2024), whose values are currents.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.intervals import Interval
from deploy.ir.machine import FACTOR_BITS, STATE_BITS
from deploy.ir.operations.base import IntWithoutWeights, OfGeometry, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, Values
from hardware import OpCounts, ProductGeometry, contract, count_accesses, count_product


@dataclass(frozen=True, kw_only=True)
class Product(OfGeometry, WithoutWeights):
    """`scale` times the sum of the products of values and spikes."""

    geometry: ProductGeometry
    scale: float

    passes_on, keeps_unit = False, False
    linear = None

    @property
    def factor(self) -> float:
        return abs(self.scale)

    def __call__(self, x_NCHW: Array, /) -> Array:
        return _product(x_NCHW, self.geometry) * self.scale

    def interval(self, x: Interval) -> Interval:
        return _signed(_bounds(x, self.geometry), self.scale)

    def largest_sum(self, x: Interval, weight_bits: int) -> float:
        """The sum without its factor, which is a power of two where the scale is one, and else has a few bits."""
        exact = np.log2(abs(self.scale)).is_integer()
        return _bounds(x, self.geometry).magnitude * (1 if exact else 2**FACTOR_BITS)

    def rounded(self, rounding: Rounding) -> "IntProduct":
        multiplier, exponent = round_factor(abs(self.scale) * rounding.factor)
        sign = -1 if self.scale < 0 else 1
        return IntProduct(geometry=self.geometry, multiplier=sign * multiplier, exponent=exponent)


@dataclass(frozen=True, kw_only=True)
class IntProduct(OfGeometry, IntWithoutWeights):
    """The sum times `multiplier * 2^exponent`, exact in integers but for what a right shift cuts off."""

    geometry: ProductGeometry

    passes_on = False
    linear = None
    unit_factor = None
    fills_register = True
    reaches_unevenly = False

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        return shifted(_product(x_NCHW, self.geometry).astype(np.int64) * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Product, float]:
        return Product(geometry=self.geometry, scale=self.multiplier * 2.0**self.exponent / unit), 1.0

    def sum_interval(self, x: Interval) -> Interval:
        return _signed(_bounds(x, self.geometry), self.multiplier)

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        ops = count_product(messages_NCHW, self.geometry, binary=binary)
        return ops + count_accesses(
            ops,
            weight_memory_bits=0,
            state_memory_bits=state_memory_bits,
            product_memory_bits=state_memory_bits if binary else self.geometry.values * STATE_BITS,
        )

    def expected_ops(self, rate: float, time_steps: int) -> None:
        """A product of two rates has no such count."""

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(
            what="product of two signals",
            microcode="values kept for a time step, and added up where the spikes that they meet come",
        )


def _product(x_NCHW: Values, geometry: ProductGeometry) -> Array:
    """In float64, which holds sums of 24 bits and their products exactly."""
    flat = x_NCHW.reshape(len(x_NCHW), -1)
    values, spikes = flat[:, : geometry.values], flat[:, geometry.values :]
    return contract(values.astype(np.float64), (spikes != 0).astype(np.float64), geometry)


def _bounds(x: Interval, geometry: ProductGeometry) -> Interval:
    """Of the sum: every value at its own worst, and a spike wherever that makes the sum larger."""
    fired = np.ones((1, geometry.inputs - geometry.values))
    ends = (np.minimum(x.low, 0), np.maximum(x.high, 0))
    low, high = (contract(end[np.newaxis, : geometry.values], fired, geometry)[0] for end in ends)
    return Interval(low=low.min(axis=(1, 2)), high=high.max(axis=(1, 2)))


def _signed(x: Interval, factor: float) -> Interval:
    """Range of the values times a factor of either sign."""
    ends = x.low * factor, x.high * factor
    return Interval(low=np.minimum(*ends), high=np.maximum(*ends))
