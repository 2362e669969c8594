"""Linear maps in plain NumPy, the same code for float64 and exact integer arithmetic.

Shapes: N frames (any batch of them), C channels, H and W pixels, O output channels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.geometry import ConvGeometry

Array = NDArray[Any]

VALUE = 8  # bytes of a number that is worked on
WORKING_BYTES = 100_000_000  # of the frames whose windows are unrolled at the same time; more of them gain nothing


def convolve(x_NCHW: Array, weight_OIHW: Array, geometry: ConvGeometry) -> Array:
    """2-D cross-correlation with zero padding, stride, dilation and groups; result [N, O, H', W'].

    Works in the promoted type of its operands: float64 for float64, int64 for int64; a few frames at a time, since
    unrolled windows take the memory of an image times the pixels of the kernel.
    """
    out = np.empty((len(x_NCHW), *geometry.out_shape), np.result_type(x_NCHW, weight_OIHW))
    at_once = frames_at_once(geometry)
    for first in range(0, len(x_NCHW), at_once):
        out[first : first + at_once] = _product(x_NCHW[first : first + at_once], weight_OIHW, geometry)
    return out


def frames_at_once(geometry: ConvGeometry) -> int:
    """Of a convolution; it depends on nothing else, so that a clip has the same result alone and among others."""
    return max(1, WORKING_BYTES // frame_bytes(geometry))


def frame_bytes(geometry: ConvGeometry) -> int:
    """Of one frame in a convolution: its input padded, the windows unrolled, the product, and that put in order."""
    outputs, positions = int(np.prod(geometry.out_shape)), int(np.prod(geometry.out_shape[1:]))
    unrolled = positions * geometry.in_shape[0] * int(np.prod(geometry.kernel))
    return VALUE * (2 * geometry.inputs + unrolled + 3 * outputs)


def _product(x_NCHW: Array, weight_OIHW: Array, geometry: ConvGeometry) -> Array:
    windows = _windows(x_NCHW, geometry)  # [N, C, H', W', kh, kw]
    groups = geometry.groups
    n, channels, height, width = windows.shape[:4]
    rows = windows.reshape(n, groups, channels // groups, height, width, *geometry.kernel)
    rows = rows.transpose(1, 0, 3, 4, 2, 5, 6).reshape(groups, n * height * width, -1)
    columns = weight_OIHW.reshape(groups, len(weight_OIHW) // groups, -1).transpose(0, 2, 1)
    product = (rows @ columns).reshape(groups, n, height, width, -1)  # [G, N, H', W', O / G]
    return product.transpose(1, 0, 4, 2, 3).reshape(n, len(weight_OIHW), height, width)


def _windows(x_NCHW: Array, geometry: ConvGeometry) -> Array:
    (py, px), (dy, dx), (sy, sx) = geometry.padding, geometry.dilation, geometry.stride
    kh, kw = geometry.kernel
    padded = np.pad(x_NCHW, ((0, 0), (0, 0), (py, py), (px, px)))
    spans = ((kh - 1) * dy + 1, (kw - 1) * dx + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))  # type: ignore[call-overload]
    return windows[:, :, ::sy, ::sx, ::dy, ::dx]


def attend(qkv_NCHW: Array, *, heads: int) -> Array:
    """`q (k^T v)` of every frame and head, unscaled: [N, 3C, H, W] -> [N, C, H, W]."""
    n, channels, height, width = qkv_NCHW.shape
    head_dim = channels // 3 // heads
    q, k, v = qkv_NCHW.reshape(n, 3, heads, head_dim, height * width).transpose(1, 0, 2, 3, 4)
    return ((v @ k.transpose(0, 1, 3, 2)) @ q).reshape(n, channels // 3, height, width)
