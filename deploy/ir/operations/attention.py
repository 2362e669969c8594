"""Spiking attention `q (k^T v)`: a product of signals, the one operation here that is not linear.

Input channels are those of q, then k, then v of one population; each is `heads` heads of equal width. Tokens are the
positions. Source: Yu et al., arXiv 2406.15034, eq. 8.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.intervals import Interval
from deploy.ir.linear import attend
from deploy.ir.machine import STATE_BITS
from deploy.ir.operations.base import IntWithoutWeights, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, Shape, Values
from hardware import OpCounts, count_accesses, count_attention
from hardware.geometry import AttentionGeometry


@dataclass(frozen=True, kw_only=True)
class Attention(WithoutWeights):
    """`scale * q (k^T v)` of the 3C channels q, k, v of one population of spikes."""

    geometry: AttentionGeometry
    in_shape: Shape
    scale: float

    passes_on, keeps_unit = False, False
    linear = None

    @property
    def out_shape(self) -> Shape:
        return _out_shape(self.in_shape)

    @property
    def factor(self) -> float:
        return self.scale

    def __call__(self, x_NCHW: Array, /) -> Array:
        return attend(x_NCHW, heads=self.geometry.heads) * self.scale

    def interval(self, x: Interval) -> Interval:
        return _counted(self.geometry).scaled(self.scale)

    def rounded(self, rounding: Rounding) -> "IntAttention":
        multiplier, exponent = round_factor(self.scale * rounding.factor)
        return IntAttention(geometry=self.geometry, in_shape=self.in_shape, multiplier=multiplier, exponent=exponent)


@dataclass(frozen=True, kw_only=True)
class IntAttention(IntWithoutWeights):
    """`q (k^T v) * multiplier * 2^exponent`, exact in integers."""

    geometry: AttentionGeometry
    in_shape: Shape

    passes_on = False
    linear = None
    unit_factor = None
    fills_register = True
    reaches_unevenly = False

    @property
    def out_shape(self) -> Shape:
        return _out_shape(self.in_shape)

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        products = attend(x_NCHW.astype(np.float64), heads=self.geometry.heads).astype(np.int64)
        return shifted(products * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Attention, float]:
        scale = self.multiplier * 2.0**self.exponent / unit
        return Attention(geometry=self.geometry, in_shape=self.in_shape, scale=scale), 1.0

    def sum_interval(self, x: Interval) -> Interval:
        return _counted(self.geometry).scaled(self.multiplier)

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        ops = count_attention(messages_NCHW, self.geometry.heads)
        return ops + count_accesses(
            ops,
            weight_memory_bits=0,
            state_memory_bits=state_memory_bits,
            product_memory_bits=self.geometry.channels * self.geometry.head_dim * STATE_BITS,
        )

    def expected_ops(self, rate: float, time_steps: int) -> None:
        """A product of two rates has no such count."""

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(
            what="attention Q (K^T V)",
            microcode="product of two signals: K^T V counted, then added to the rows that Q gates",
        )


def _out_shape(in_shape: Shape) -> Shape:
    channels, height, width = in_shape
    return channels // 3, height, width


def _counted(geometry: AttentionGeometry) -> Interval:
    """K^T V counts every token at most once; a row of Q adds at most head_dim of the counts."""
    return Interval.constant(0.0, float(geometry.tokens * geometry.head_dim), geometry.channels)
