"""A product of two signals: graded values, or spikes, times spikes, summed over any of their axes.

Both lie in the vector of one population, the values first (`deploy.ir.operations.segment` puts them there). A spike is
a message other than zero, so in integers it adds the values that it meets, and nothing is multiplied. Matrix products
of a transformer are such sums, and so is a mask (no axis is summed): attention of neurons of several levels, whose
spikes have an axis of levels, or of v wider than q, as k^T v and then q; DSSA of SpikingResformer (Shi et al., CVPR
2024), whose values are currents.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import nir
import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.extension import FROM_ONE, ExtensionNode, LoweredNode, Operator
from deploy.ir.intervals import Interval
from deploy.ir.machine import FACTOR_BITS
from deploy.ir.operations.base import IntWithoutWeights, OfGeometry, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
from hardware import ProductGeometry, contract
from svformer.common.errors import InputError


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

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
        g = self.geometry
        axes = (np.array(row) for row in (before, g.sizes, g.left, g.right, g.output, after))
        return [SignalProduct(*axes, scale=self.scale)] if len(after) == 3 else None


@dataclass(frozen=True, kw_only=True)
class IntProduct(OfGeometry, IntWithoutWeights):
    """The sum times `multiplier * 2^exponent`, exact in integers but for what a right shift cuts off."""

    geometry: ProductGeometry

    passes_on = False
    linear = None
    unit_factor = None
    fills_register = True

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        return shifted(_product(x_NCHW, self.geometry).astype(np.int64) * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Product, float]:
        return Product(geometry=self.geometry, scale=self.multiplier * 2.0**self.exponent / unit), 1.0

    def sum_interval(self, x: Interval) -> Interval:
        return _signed(_bounds(x, self.geometry), self.multiplier)

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(
            what="product of two signals",
            microcode="values kept for a time step, and added up where the spikes that they meet come (small ones: "
            "--form chip)",
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


@dataclass(eq=False)
class SignalProduct(ExtensionNode):
    """`scale` times a sum of products of two signals, which lie in a vector one behind the other: values, then spikes.

    Axes are numbers, `sizes` says how large each is. `values` and `spikes` are the axes of the two, outermost first,
    `output` those of the result, which lie in the image `output_shape`; what is in neither is summed. A spike is a 1;
    all else in its place but 0 is none, and is refused. No state.
    """

    input_shape: IntArray  # a vector, or an image of one pixel
    sizes: IntArray = field(metadata=FROM_ONE)
    values: IntArray
    spikes: IntArray
    output: IntArray
    output_shape: IntArray  # (C, H, W)
    scale: float
    version: int = 1

    takes_sum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("input_shape", "sizes", "values", "spikes", "output", "output_shape"):
            setattr(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        if not np.isfinite(self.scale) or self.scale == 0:
            raise ValueError(f"SignalProduct: scale {self.scale}; allowed: a finite number other than 0")
        if self.input_shape[0] != self.geometry.inputs or np.prod(self.input_shape[1:]) != 1:
            raise ValueError(f"SignalProduct: input_shape {self.input_shape.tolist()}; allowed: {self.geometry.inputs}")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": self.output_shape}

    @property
    def geometry(self) -> ProductGeometry:
        """Which values meet which spikes; raises `ChipError`, a `ValueError`, where the axes make no product."""
        channels, height, width = self.output_shape.tolist()
        return ProductGeometry(
            sizes=tuple(self.sizes.tolist()),
            left=tuple(self.values.tolist()),
            right=tuple(self.spikes.tolist()),
            output=tuple(self.output.tolist()),
            out_shape=(channels, height, width),
        )

    def run(self, x_NT: Array) -> Array:
        spikes = x_NT[:, :, self.geometry.values :]
        if ((spikes != 0) & (spikes != 1)).any():
            raise InputError(
                "a SignalProduct of other values than 0 and 1 where it takes spikes; allowed: neurons that fire"
            )
        frames = x_NT.reshape(-1, *self.geometry.in_shape)
        operation = Product(geometry=self.geometry, scale=float(self.scale))
        return operation(frames).reshape(*x_NT.shape[:2], *self.geometry.out_shape)

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        return LoweredNode(operation=Product(geometry=self.geometry, scale=float(self.scale)))


OPERATOR = Operator(integer=IntProduct, nodes=(SignalProduct,))
