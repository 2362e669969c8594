"""Products of two signals as nodes of NIR, and what puts the two into one vector: docs/nir_extensions.md."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deploy.ir.extension import ExtensionNode, LoweredNode
from deploy.ir.operations import product, segment
from deploy.ir.types import Array, IntArray, Shape
from hardware import ProductGeometry
from svformer.common.errors import InputError


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
        return LoweredNode(operation=segment.Segment(in_shape=in_shape, out_shape=out_shape, first=self.first))


@dataclass(eq=False)
class SignalProduct(ExtensionNode):
    """`scale` times a sum of products of two signals, which lie in a vector one behind the other: values, then spikes.

    Axes are numbers, `sizes` says how large each is. `values` and `spikes` are the axes of the two, outermost first,
    `output` those of the result, which lie in the image `output_shape`; what is in neither is summed. A spike is a 1;
    all else in its place but 0 is none, and is refused. No state.
    """

    input_shape: IntArray  # a vector, or an image of one pixel
    sizes: IntArray
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
        operation = product.Product(geometry=self.geometry, scale=float(self.scale))
        return operation(frames).reshape(*x_NT.shape[:2], *self.geometry.out_shape)

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        return LoweredNode(operation=product.Product(geometry=self.geometry, scale=float(self.scale)))
