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
from hardware.geometry import ConvGeometry, SpreadConvGeometry

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


def flatten(shape: Shape) -> nir.Flatten:
    """The node that makes a vector of a signal of this shape."""
    return nir.Flatten({"input": np.array(shape)}, 0, -1)


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
    padding = _padding(node.padding, _spans(weight, dilation), stride, flat)
    whole: dict[str, Any] = {"in_shape": in_shape, "out_channels": len(weight), "groups": groups, "padding": padding}
    if _pads_unevenly(node.padding, _spans(weight, dilation)):
        spread, reached = _spread(weight, dilation), _spread(np.ones_like(weight), dilation) != 0
        return spread, SpreadConvGeometry(kernel=_pair(spread.shape[2:]), reached=reached, **whole)
    return weight, ConvGeometry(kernel=_pair(weight.shape[2:]), stride=stride, dilation=dilation, **whole)


def _spans(weight: Array, dilation: Pair) -> Pair:
    """How far the last tap is from the first, along both axes."""
    rows, columns = (d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True))
    return rows, columns


def _word(padding: Any) -> str | None:
    """NIR's word for a padding; None where it is a number."""
    word = padding.decode() if isinstance(padding, bytes) else padding
    return word if isinstance(word, str) else None


def _padding(padding: Any, spans: Pair, stride: Pair, flat: bool) -> Pair:
    """Padding along both axes, with NIR's words as numbers."""
    match _word(padding):
        case None:
            return _along(padding, flat, 0)
        case "valid":
            return 0, 0
    if stride != (1, 1):
        raise ValueError(f"padding 'same' with stride {stride}: nir and torch allow it for stride 1 only")
    return -(-spans[0] // 2), -(-spans[1] // 2)


def _pads_unevenly(padding: Any, spans: Pair) -> bool:
    """Whether a pixel more is padded behind the image than in front of it."""
    return _word(padding) == "same" and any(span % 2 for span in spans)


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
