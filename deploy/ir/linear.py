"""Linear maps in plain NumPy, the same code for float64 and exact integer arithmetic.

Shapes: N frames (any batch of them), C channels, H and W pixels, O output channels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.geometry import ConvGeometry

Array = NDArray[Any]


def convolve(x_NCHW: Array, weight_OIHW: Array, geometry: ConvGeometry) -> Array:
    """2-D cross-correlation with zero padding, stride, dilation and groups; result [N, O, H', W'].

    Works in the promoted type of its operands: float64 for float64, int64 for int64.
    """
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
