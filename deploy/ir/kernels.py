"""NIR's convolutions and poolings as one thing: a kernel [O, C / groups, kh, kw] and its geometry on (C, H, W).

A Conv1d is a convolution of height 1 on (C, 1, N). Pooling is a depthwise convolution; an average counts the zeros of
the padding, as torch's default does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.types import Array
from hardware.geometry import ConvGeometry

Shape = tuple[int, ...]
Pair = tuple[int, int]

CONVOLUTIONS = (nir.Conv1d, nir.Conv2d)
POOLINGS = (nir.SumPool2d, nir.AvgPool2d)


def kernel_of(node: nir.NIRNode, in_shape: Shape) -> tuple[Array, ConvGeometry]:
    """Kernel and geometry of a Conv1d, Conv2d, SumPool2d or AvgPool2d for an input of this shape.

    Raises `ValueError` when the node cannot take it.
    """
    if isinstance(node, POOLINGS):
        return _pooling(node, in_shape)
    weight = np.asarray(node.weight, dtype=np.float64)
    if isinstance(node, nir.Conv1d):
        weight, in_shape = weight[:, :, np.newaxis], _raised(in_shape, node.weight.shape[1] * int(node.groups))
    return _convolution(node, weight, in_shape)


def kernel_output(node: nir.NIRNode, in_shape: Shape) -> Shape:
    """Shape that the node gives: (O, N') for a Conv1d, (O, H', W') for the others."""
    channels, height, width = kernel_of(node, in_shape)[1].out_shape
    return (channels, width) if isinstance(node, nir.Conv1d) else (channels, height, width)


def bias_of(node: nir.NIRNode) -> Array:
    """Bias of every output channel, [O, 1, 1]; zero where the node has none."""
    bias = getattr(node, "bias", None)
    return np.zeros((1, 1, 1)) if bias is None else np.asarray(bias, dtype=np.float64).reshape(-1, 1, 1)


def by_clip(function: Callable[[Array], Array], x_NT: Array) -> Array:
    """A function of the frames of one clip, for each: its result depends on no other clip, not even in the order in
    which BLAS adds up.
    """
    return np.stack([function(frames) for frames in x_NT])


def _raised(in_shape: Shape, channels: int) -> Shape:
    if len(in_shape) != 2:
        raise ValueError(f"takes {channels} channels of a line, found shape {in_shape}")
    return (in_shape[0], 1, in_shape[1])


def _convolution(node: nir.Conv1d | nir.Conv2d, weight: Array, in_shape: Shape) -> tuple[Array, ConvGeometry]:
    groups = int(node.groups)
    if len(in_shape) != 3 or in_shape[0] != weight.shape[1] * groups:
        raise ValueError(f"takes {weight.shape[1] * groups} channels of an image, found shape {in_shape}")
    flat = isinstance(node, nir.Conv1d)
    stride, dilation = _along(node.stride, flat, 1), _along(node.dilation, flat, 1)
    weight, padding, dilation = _padded(node.padding, weight, stride, dilation, flat)
    geometry = ConvGeometry(
        in_shape=(in_shape[0], in_shape[1], in_shape[2]),
        out_channels=len(weight),
        kernel=_pair(weight.shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return weight, geometry


def _padded(padding: Any, weight: Array, stride: Pair, dilation: Pair, flat: bool) -> tuple[Array, Pair, Pair]:
    """Kernel, padding and dilation, with NIR's words for padding as numbers."""
    word = padding.decode() if isinstance(padding, bytes) else padding
    if not isinstance(word, str):
        return weight, _along(padding, flat, 0), dilation
    if word == "valid":
        return weight, (0, 0), dilation
    if stride != (1, 1):
        raise ValueError(f"padding 'same' with stride {stride}: nir and torch allow it for stride 1 only")
    spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if any(span % 2 for span in spans):
        weight, dilation = _spread(weight, dilation), (1, 1)
    return weight, (-(-spans[0] // 2), -(-spans[1] // 2)), dilation


def _spread(weight: Array, dilation: Pair) -> Array:
    """The kernel without dilation, zeros between its taps, and one zero in front of an axis of even length.

    Padding 'same' puts the odd pixel of such an axis behind the image (torch); the zero in front makes it even.
    """
    lengths = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    front = [length % 2 == 0 for length in lengths]
    spread = np.zeros((*weight.shape[:2], *(n + f for n, f in zip(lengths, front, strict=True))))
    spread[:, :, front[0] :: dilation[0], front[1] :: dilation[1]] = weight
    return spread


def _pooling(node: nir.SumPool2d | nir.AvgPool2d, in_shape: Shape) -> tuple[Array, ConvGeometry]:
    if len(in_shape) != 3:
        raise ValueError(f"takes an image, found shape {in_shape}")
    channels, kernel = in_shape[0], _pair(node.kernel_size)
    share = 1.0 if isinstance(node, nir.SumPool2d) else 1.0 / (kernel[0] * kernel[1])
    geometry = ConvGeometry(
        in_shape=(channels, in_shape[1], in_shape[2]),
        out_channels=channels,
        kernel=kernel,
        stride=_pair(node.stride),
        padding=_pair(node.padding),
        groups=channels,
    )
    return np.full((channels, 1, *kernel), share), geometry


def _along(value: Any, flat: bool, across: int) -> Pair:
    """A setting of both axes; a Conv1d has one only, and `across` on the axis of height 1."""
    return (across, int(np.asarray(value).item())) if flat else _pair(value)


def _pair(value: int | Sequence[int] | NDArray[Any]) -> Pair:
    first, second = np.broadcast_to(np.asarray(value, dtype=int), (2,)).tolist()
    return first, second
