"""Max pooling in plain NumPy, the same code for float64 and exact integers.

Shapes: N frames (any batch of them), C channels, H and W pixels; H', W' windows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.geometry import PoolGeometry

Array = NDArray[Any]


def largest(x_NCHW: Array, geometry: PoolGeometry) -> Array:
    """The largest value of every window, [N, C, H', W'] in the type of x; padding is never the largest."""
    return largest_into(np.empty((len(x_NCHW), *geometry.out_shape), x_NCHW.dtype), x_NCHW, geometry)


def largest_into(out_NCHW: Array, x_NCHW: Array, geometry: PoolGeometry) -> Array:
    """The same, written to `out_NCHW`, which is returned and holds all that x does: one pass for every place of the
    window.
    """
    out_NCHW[:] = np.iinfo(out_NCHW.dtype).min if out_NCHW.dtype.kind in "iu" else -np.inf
    for tap in np.ndindex(*geometry.kernel):
        rows, columns = (_reached(geometry, axis, place) for axis, place in enumerate(tap))
        target = out_NCHW[:, :, rows[0], columns[0]]
        np.maximum(target, x_NCHW[:, :, rows[1], columns[1]], out=target)
    return out_NCHW


def _reached(geometry: PoolGeometry, axis: int, place: int) -> tuple[slice, slice]:
    """Windows along one axis whose `place` lies in the image, and the pixels that lie there."""
    stride, offset = geometry.stride[axis], place - geometry.padding[axis]
    size, windows = geometry.in_shape[1 + axis], geometry.out_shape[1 + axis]
    first, last = max(0, -(offset // stride)), min(windows - 1, (size - 1 - offset) // stride)
    count = max(0, last - first + 1)
    begin = first * stride + offset
    return slice(first, first + count), slice(begin, begin + count * stride, stride)
