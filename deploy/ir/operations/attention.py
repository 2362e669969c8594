"""Spiking attention `q (k^T v)`: a product of the spikes of one population.

Input channels are those of q, then k, then v of one population; each is `heads` heads of equal width. Tokens are the
positions. Source: Yu et al., arXiv 2406.15034, eq. 8.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import nir
import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.extension import FROM_ONE, ExtensionNode, LoweredNode, Operator
from deploy.ir.intervals import Interval
from deploy.ir.kernels import by_clip
from deploy.ir.linear import attend
from deploy.ir.operations.base import IntWithoutWeights, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
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

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
        if (before, after) != (self.in_shape, self.out_shape):
            return None
        return [SpikingAttention(np.array(before), heads=self.geometry.heads, scale=self.scale)]


@dataclass(frozen=True, kw_only=True)
class IntAttention(IntWithoutWeights):
    """`q (k^T v) * multiplier * 2^exponent`, exact in integers."""

    geometry: AttentionGeometry
    in_shape: Shape

    passes_on = False
    linear = None
    unit_factor = None
    fills_register = True

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


@dataclass(eq=False)
class SpikingAttention(ExtensionNode):
    """`scale * q (k^T v)` in every head, without softmax, for the spikes of one time step.

    Input [3C, H, W]: the channels of q, then k, then v; each is `heads` heads of C / heads channels; tokens are the
    H x W positions. Output [C, H, W]. No state (arXiv 2406.15034, eq. 8).
    """

    input_shape: IntArray  # (3C, H, W)
    heads: int = field(metadata=FROM_ONE)
    scale: float
    version: int = 1

    takes_spikes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.input_shape = np.asarray(self.input_shape, dtype=np.int64)
        channels, *positions = self.input_shape.tolist()
        if channels % (3 * int(self.heads)):
            raise ValueError(f"SpikingAttention: {channels} channels are not q, k, v of {self.heads} heads")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": np.array([channels // 3, *positions])}

    def run(self, x_NT: Array) -> Array:
        return by_clip(lambda frames: attend(frames, heads=int(self.heads)), x_NT) * self.scale

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        channels, height, width = out_shape
        geometry = AttentionGeometry(channels=channels, tokens=height * width, heads=int(self.heads))
        return LoweredNode(operation=Attention(geometry=geometry, in_shape=in_shape, scale=float(self.scale)))


OPERATOR = Operator(integer=IntAttention, nodes=(SpikingAttention,))
