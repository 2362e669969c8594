"""Exact integer kernels for one frame of messages.

Legend: C channels, P pixels of the output, K = kernel taps times channels of a group, G groups, O output channels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import IntAttention, IntConvolution, IntIdentity, IntOperation, shifted
from hardware.geometry import ConvGeometry

Messages = NDArray[Any]  # [C, H, W], int8 spikes or int32 graded
Currents = NDArray[np.int64]  # [O, H', W']
Kernel = Callable[[Messages], Currents]

EXACT_IN_FLOAT32 = 1 << 24


def compile_kernel(operation: IntOperation, *, largest_message: int) -> Kernel:
    """The fast form of an operation; `largest_message` bounds the absolute value of every message."""
    if isinstance(operation, IntConvolution):
        return _Convolution(operation, largest_message)
    if isinstance(operation, IntAttention):
        return _Attention(operation)
    return _PassOn(operation)


def exact_type(worst: int) -> type[np.float32] | type[np.float64]:
    """The narrowest float type in which sums of integers up to `worst` are exact."""
    return np.float32 if worst < EXACT_IN_FLOAT32 else np.float64


class _PassOn:
    def __init__(self, operation: IntIdentity) -> None:
        self.shape, self.multiplier, self.exponent = operation.out_shape, operation.multiplier, operation.exponent

    def __call__(self, messages: Messages) -> Currents:
        values = messages.reshape(self.shape).astype(np.int64)
        return shifted(values * self.multiplier, self.exponent)


class _Convolution:
    """Gathered patches times a weight matrix, in the narrowest float type that holds every partial sum exactly."""

    def __init__(self, operation: IntConvolution, largest_message: int) -> None:
        geometry, weight = operation.geometry, operation.mantissa.astype(np.int64)
        self.exponent, self.groups, self.out_shape = operation.exponent, geometry.groups, geometry.out_shape
        worst = int(np.abs(weight).sum(axis=(1, 2, 3)).max()) * largest_message
        self.dtype = exact_type(worst)
        self.weight_GOK: NDArray[Any] = weight.reshape(geometry.groups, len(weight) // geometry.groups, -1).astype(
            self.dtype
        )
        self.taps = _taps(geometry)
        channels, height, width = geometry.in_shape
        self.padded: NDArray[Any] = np.zeros(
            channels * height * width + 1, dtype=self.dtype
        )  # the last value is the padding

    def __call__(self, messages: Messages) -> Currents:
        if not messages.any():
            return np.zeros(self.out_shape, dtype=np.int64)
        self.padded[:-1] = messages.ravel()
        patches_GKP = self.padded[self.taps].reshape(self.groups, self.weight_GOK.shape[2], -1)
        total = (self.weight_GOK @ patches_GKP).reshape(self.out_shape)
        return shifted(total.astype(np.int64), self.exponent)


def _taps(geometry: ConvGeometry) -> NDArray[np.intp]:
    """Index of the input value under every kernel tap of every output pixel, [C * kh * kw, P]; padding is the last."""
    channels, height, width = geometry.in_shape
    outside = channels * height * width
    (py, px), (dy, dx), (sy, sx) = geometry.padding, geometry.dilation, geometry.stride
    kh, kw = geometry.kernel
    _, out_height, out_width = geometry.out_shape
    rows = np.arange(kh)[:, None] * dy + np.arange(out_height) * sy - py  # [kh, H']
    columns = np.arange(kw)[:, None] * dx + np.arange(out_width) * sx - px  # [kw, W']
    row, column = rows[:, None, :, None], columns[None, :, None, :]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)  # [kh, kw, H', W']
    first_channel = np.where(inside, row * width + column, outside)
    offset = np.arange(channels)[:, None, None, None, None] * (height * width)
    taps = np.where(inside, first_channel + offset, outside)
    return taps.reshape(channels * kh * kw, out_height * out_width)


class _Attention:
    """`q (k^T v)` of every head; K^T V counts coincidences, so float32 is exact far beyond any image size."""

    def __init__(self, operation: IntAttention) -> None:
        geometry = operation.geometry
        self.multiplier, self.exponent = operation.multiplier, operation.exponent
        self.split = (3, geometry.heads, geometry.head_dim, geometry.tokens)
        channels, height, width = operation.in_shape
        self.out_shape = (channels // 3, height, width)
        worst = geometry.tokens * geometry.head_dim
        self.dtype = exact_type(worst)

    def __call__(self, messages: Messages) -> Currents:
        qkv: NDArray[Any] = messages.reshape(self.split).astype(self.dtype)
        q, k, v = qkv
        attended = (v @ k.transpose(0, 2, 1)) @ q
        return shifted(attended.reshape(self.out_shape).astype(np.int64) * self.multiplier, self.exponent)
