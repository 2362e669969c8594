"""A permutation of axes: the values of an image in another order, as another image.

An image is cut into axes, row by row, these are put into another order, and their row is the result. Channels become
pixels, tokens become channels, without a weight. Between channels alone a 1x1 convolution does the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import nir
import numpy as np

from deploy.ir.chip import SPARSE, ChipPart
from deploy.ir.extension import FROM_ONE, ExtensionNode, LoweredNode, Operator
from deploy.ir.intervals import Interval
from deploy.ir.operations.base import IntPassedOn, WithoutWeights, shifted
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
from hardware.geometry import IdentityGeometry


@dataclass(frozen=True, kw_only=True)
class _Order:
    """Which value goes where."""

    in_shape: Shape
    out_shape: Shape
    sizes: tuple[int, ...]  # of the axes that the input is cut into, outermost first
    order: tuple[int, ...]  # numbers of the axes, as they stand in the output

    @cached_property
    def geometry(self) -> IdentityGeometry:
        values = np.arange(int(np.prod(self.sizes)))
        return IdentityGeometry(shape=self.in_shape, places=np.argsort(self.moved(values[np.newaxis]).ravel()))

    def moved(self, x_NCHW: Values) -> Values:
        return _moved(x_NCHW, self.sizes, self.order).reshape(len(x_NCHW), *self.out_shape)

    def spread(self, x: Interval) -> Interval:
        """Every value has the range of its channel; a delay lets zeros in before the first frame."""
        values, size = x.with_zero(), self.geometry.inputs // len(x.low)
        low, high = (self.moved(np.repeat(end, size)[np.newaxis])[0] for end in (values.low, values.high))
        return Interval(low=low.min(axis=(1, 2)), high=high.max(axis=(1, 2)))


@dataclass(frozen=True, kw_only=True)
class Permuted(_Order, WithoutWeights):
    """Passes every value on to its place in the order of the output."""

    passes_on, keeps_unit = True, True
    linear = None  # no kernel: chains are merged in front of it and behind it

    def __call__(self, x_NCHW: Array, /) -> Array:
        return self.moved(x_NCHW)

    def interval(self, x: Interval) -> Interval:
        return self.spread(x)

    def rounded(self, rounding: Rounding) -> "IntPermutation":
        multiplier, exponent = round_factor(rounding.factor)
        return IntPermutation(
            in_shape=self.in_shape,
            out_shape=self.out_shape,
            sizes=self.sizes,
            order=self.order,
            multiplier=multiplier,
            exponent=exponent,
        )

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode]:
        return [Permutation(*(np.array(row) for row in (before, self.sizes, self.order, after)))]


@dataclass(frozen=True, kw_only=True)
class IntPermutation(_Order, IntPassedOn):
    """The same, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    passes_on = True
    linear = None

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        return shifted(self.moved(x_NCHW.astype(np.int64)) * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Permuted, float]:
        own = Permuted(in_shape=self.in_shape, out_shape=self.out_shape, sizes=self.sizes, order=self.order)
        return own, self.unit_factor / unit

    def sum_interval(self, x: Interval) -> Interval:
        return self.spread(x).scaled(self.multiplier)

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(what="permutation of axes", process=SPARSE)


def _moved(x_N: Values, sizes: tuple[int, ...], order: tuple[int, ...]) -> Values:
    return x_N.reshape(len(x_N), *sizes).transpose(0, *(1 + axis for axis in order))


@dataclass(eq=False)
class Permutation(ExtensionNode):
    """The input cut into axes of these sizes, the axes in this order, and the row of them as an output of its shape."""

    input_shape: IntArray
    sizes: IntArray = field(metadata=FROM_ONE)
    order: IntArray
    output_shape: IntArray
    version: int = 1

    def __post_init__(self) -> None:
        for name in ("input_shape", "sizes", "order", "output_shape"):
            setattr(self, name, np.atleast_1d(np.asarray(getattr(self, name), dtype=np.int64)))
        if sorted(self.order.tolist()) != list(range(len(self.sizes))):
            found, axes = self.order.tolist(), len(self.sizes)
            raise ValueError(f"Permutation: order {found}; allowed: each of the {axes} axes once, counted from 0")
        for name, shape in (("input_shape", self.input_shape), ("output_shape", self.output_shape)):
            if np.prod(shape) != np.prod(self.sizes):
                said, sizes = shape.tolist(), self.sizes.tolist()
                raise ValueError(f"Permutation: {name} {said}; allowed: as many values as the axes {sizes} have")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": self.output_shape}

    @property
    def _rows(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self.sizes.tolist()), tuple(self.order.tolist())

    def run(self, x_NT: Array) -> Array:
        moved = _moved(x_NT.reshape(-1, int(np.prod(self.sizes))), *self._rows)
        return moved.reshape(*x_NT.shape[:2], *self.output_shape.tolist())

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        sizes, order = self._rows
        return LoweredNode(operation=Permuted(in_shape=in_shape, out_shape=out_shape, sizes=sizes, order=order))


OPERATOR = Operator(integer=IntPermutation, nodes=(Permutation,))
