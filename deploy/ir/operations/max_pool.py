"""Max pooling: the largest value of every window, of graded values or of spikes.

Not linear, but the largest of scaled values is the scaled largest one: source and target share a scale, and the
integers are exact. What lies outside the image is never the largest, as in PyTorch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import nir
import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.extension import ExtensionNode, LoweredNode, Operator
from deploy.ir.intervals import Interval
from deploy.ir.kernels import by_clip
from deploy.ir.operations.base import IntPassedOn, OfGeometry, WithoutWeights, shifted
from deploy.ir.operations.convolution import Convolution
from deploy.ir.pooling import largest
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
from hardware import ConvGeometry, PoolGeometry


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

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
        g = self.geometry
        if (before, after) != (g.in_shape, g.out_shape):
            return None
        return [MaxPool2d(np.array(before), *(np.array(values) for values in (g.kernel, g.stride, g.padding)))]


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

    def chip_parts(self) -> Iterator[ChipPart]:
        g = self.geometry
        yield ChipPart(
            what=f"max pool {g.kernel[0]}x{g.kernel[1]}, stride {g.stride[0]}",
            microcode="the largest of the messages of a time step in the place of their sum (of gates: --form chip)",
        )


@dataclass(eq=False)
class MaxPool2d(ExtensionNode):
    """The largest value of every window, channel by channel; what lies outside the image is never the largest.

    As torch's MaxPool2d without dilation and `ceil_mode`: sizes, strides and paddings of two axes each, a window of at
    least twice its padding.
    """

    input_shape: IntArray  # (C, H, W)
    kernel_size: IntArray
    stride: IntArray
    padding: IntArray
    version: int = 1

    takes_sum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.input_shape = np.asarray(self.input_shape, dtype=np.int64)
        if self.input_shape.shape != (3,):
            raise ValueError(f"MaxPool2d: input_shape {self.input_shape.tolist()}; allowed: [C, H, W]")
        for name in ("kernel_size", "stride", "padding"):
            setattr(self, name, np.broadcast_to(np.asarray(getattr(self, name), dtype=np.int64), (2,)).copy())
        if (2 * self.padding > self.kernel_size).any():
            wide, kernel = self.padding.tolist(), self.kernel_size.tolist()
            raise ValueError(f"MaxPool2d: padding {wide} of a window of {kernel}; allowed: half the window at most")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": np.array(self.geometry.out_shape)}

    @property
    def geometry(self) -> PoolGeometry:
        """Its windows; raises `ChipError`, a `ValueError`, where one is larger than the padded image."""
        channels, height, width = self.input_shape.tolist()
        (ky, kx), (sy, sx), (py, px) = (v.tolist() for v in (self.kernel_size, self.stride, self.padding))
        return PoolGeometry(
            in_shape=(channels, height, width),
            out_channels=channels,
            kernel=(ky, kx),
            stride=(sy, sx),
            padding=(py, px),
            groups=channels,
        )

    def run(self, x_NT: Array) -> Array:
        return by_clip(lambda frames: largest(frames, self.geometry), x_NT)

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        return LoweredNode(operation=MaxPool(geometry=self.geometry))

    def lowered_behind_spikes(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        """The largest of spikes is a spike, where any arrives: their sum is above half a spike."""
        sums = ConvGeometry(**vars(self.geometry))
        operation = Convolution(weight=np.ones(sums.weight_shape), geometry=sums)
        return LoweredNode(operation=operation, threshold=np.full((1, 1, 1), 0.5))


OPERATOR = Operator(integer=IntMaxPool, nodes=(MaxPool2d,))
