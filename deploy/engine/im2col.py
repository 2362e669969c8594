"""Messages laid out for dense products: what every tap of a kernel sees, side by side."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deploy.engine.arena import zeros
from hardware.geometry import ConvGeometry

Array = NDArray[Any]


class Planes:
    """Messages laid out so that what a tap of the kernel sees of a channel is one piece of memory.

    The padded image [C, H, W] is split into a plane for every phase of the stride: value (y, x) lies at
    (y // stride, x // stride) of plane (y % stride, x % stride), in rows of `pitch` values. A tap then sees the piece
    `planes[c, phase, start : start + length]` of H' rows; their first W' columns are meant, the rest is cut off.
    """

    def __init__(self, geometry: ConvGeometry, dtype: DTypeLike) -> None:
        g = self.geometry = geometry
        rows, self.pitch = (
            -(-(size + 2 * padding) // stride)
            for size, padding, stride in zip(g.in_shape[1:], g.padding, g.stride, strict=True)
        )
        # one row more than the image has, as the last piece runs over its end in the columns that are cut off
        self.images = zeros((g.in_shape[0], *g.stride, rows + 1, self.pitch), dtype)
        self.length = g.out_shape[1] * self.pitch
        taps = np.indices(g.kernel).reshape(2, -1).T * g.dilation  # places in the padded image
        (row, column), (phase_y, phase_x) = (taps // g.stride).T, (taps % g.stride).T
        self.phases, self.starts = phase_y * g.stride[1] + phase_x, row * self.pitch + column

    def __call__(self, messages: Array) -> Array:
        """[C, phases, values]; the next call overwrites it."""
        (stride_y, stride_x), (padding_y, padding_x) = self.geometry.stride, self.geometry.padding
        for phase_y, phase_x in np.ndindex(stride_y, stride_x):
            row, column = -((phase_y - padding_y) // stride_y), -((phase_x - padding_x) // stride_x)
            row, column = max(0, row), max(0, column)
            y, x = row * stride_y + phase_y - padding_y, column * stride_x + phase_x - padding_x
            values = messages[:, y::stride_y, x::stride_x]
            height, width = values.shape[1:]
            self.images[:, phase_y, phase_x, row : row + height, column : column + width] = values
        return self.images.reshape(len(messages), stride_y * stride_x, -1)

    def cropped(self, values: Array) -> Array:
        """[..., length] of all outputs -> a view [O, H', W']."""
        _, height, width = self.geometry.out_shape
        return values.reshape(-1, height, self.pitch)[..., :width]


class Patches:
    """The input values under the kernel, [G, K, length], for a product with [O / G, K].

    A 1x1 kernel sees the messages as they are.
    """

    def __init__(self, geometry: ConvGeometry, dtype: DTypeLike) -> None:
        g = geometry
        self.groups, self.dtype, self.planes = g.groups, np.dtype(dtype), Planes(g, dtype)
        self.is_image = (*g.kernel, *g.stride, *g.padding) == (1, 1, 1, 1, 0, 0)
        self.patches = zeros((g.in_shape[0], math.prod(g.kernel), self.planes.length), dtype)

    def __call__(self, messages: Array) -> Array:
        if self.is_image:
            return messages.astype(self.dtype, copy=False).reshape(self.groups, len(messages) // self.groups, -1)
        planes = self.planes(messages)
        for tap, (phase, start) in enumerate(zip(self.planes.phases, self.planes.starts, strict=True)):
            self.patches[:, tap] = planes[:, phase, start : start + self.planes.length]
        return self.patches.reshape(self.groups, -1, self.planes.length)
