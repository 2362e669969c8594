"""A segment: the values of an image at consecutive places of a larger one, which is zero elsewhere.

So signals of any shape stand one behind the other in one population, without a weight; a product of signals
(`deploy.ir.operations.product`) reads such a vector. Places are counted channel by channel, row by row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import nir
import numpy as np

from deploy.ir.chip import SPARSE, ChipPart
from deploy.ir.extension import ExtensionNode, LoweredNode, Operator
from deploy.ir.intervals import Interval
from deploy.ir.operations.base import IntPassedOn, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
from hardware.geometry import IdentityGeometry
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PlacedSegment(WithoutWeights):
    """Passes the values of `in_shape` on to the places from `first` of an image of `out_shape`."""

    in_shape: Shape
    out_shape: Shape
    first: int

    passes_on, keeps_unit = True, True
    linear = None  # no kernel: chains are merged in front of it and behind it

    @property
    def geometry(self) -> IdentityGeometry:
        return _geometry(self.in_shape, self.first)

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

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode]:
        return [Segment(np.array(before), np.array(after), self.first)]


@dataclass(frozen=True, kw_only=True)
class IntSegment(IntPassedOn):
    """The same, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    in_shape: Shape
    out_shape: Shape
    first: int

    passes_on = True
    linear = None

    @property
    def geometry(self) -> IdentityGeometry:
        return _geometry(self.in_shape, self.first)

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        placed = _placed(x_NCHW.astype(np.int64), self.out_shape, self.first)
        return shifted(placed * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[PlacedSegment, float]:
        segment = PlacedSegment(in_shape=self.in_shape, out_shape=self.out_shape, first=self.first)
        return segment, self.unit_factor / unit

    def sum_interval(self, x: Interval) -> Interval:
        return _spread(x, self).scaled(self.multiplier)

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(what="segment of a larger image", process=SPARSE)


def _geometry(in_shape: Shape, first: int) -> IdentityGeometry:
    return IdentityGeometry(shape=in_shape, places=first + np.arange(int(np.prod(in_shape))))


def _placed(x_NCHW: Values, out_shape: Shape, first: int) -> Values:
    values = x_NCHW.reshape(len(x_NCHW), -1)
    placed = np.zeros((len(values), int(np.prod(out_shape))), values.dtype)
    placed[:, first : first + values.shape[1]] = values
    return placed.reshape(len(values), *out_shape)


def _spread(x: Interval, segment: PlacedSegment | IntSegment) -> Interval:
    """Every value has the range of its channel; a delay lets zeros in, which is what all other places have."""
    values, size = x.with_zero(), segment.geometry.inputs // len(x.low)
    ends = (np.repeat(end, size)[np.newaxis] for end in (values.low, values.high))
    low, high = (_placed(end, segment.out_shape, segment.first)[0] for end in ends)
    return Interval(low=low.min(axis=(1, 2)), high=high.max(axis=(1, 2)))


@dataclass(eq=False)
class Segment(ExtensionNode):
    """The values of its input, in their order, from place `first` of an image or a vector that is zero elsewhere."""

    input_shape: IntArray
    output_shape: IntArray
    first: int
    version: int = 1

    def __post_init__(self) -> None:
        self.input_shape, self.output_shape = (
            np.asarray(shape, dtype=np.int64) for shape in (self.input_shape, self.output_shape)
        )
        self.first, total = int(self.first), int(np.prod(self.output_shape))
        last = self.first + int(np.prod(self.input_shape))
        if not 0 <= self.first <= last <= total:
            raise ValueError(f"Segment: places {self.first} to {last} of {total}; allowed: those that are there")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": self.output_shape}

    def run(self, x_NT: Array) -> Array:
        values = x_NT.reshape(*x_NT.shape[:2], -1)
        placed = np.zeros((*values.shape[:2], int(np.prod(self.output_shape))))
        placed[..., self.first : self.first + values.shape[2]] = values
        return placed.reshape(*values.shape[:2], *self.output_shape.tolist())

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        return LoweredNode(operation=PlacedSegment(in_shape=in_shape, out_shape=out_shape, first=self.first))


OPERATOR = Operator(integer=IntSegment, nodes=(Segment,))
