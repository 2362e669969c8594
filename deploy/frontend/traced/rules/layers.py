"""Layers with weights, norms with fixed statistics, matrix products, and neurons."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from deploy.frontend.traced.axes import Dim, Refused, flat, new_dim
from deploy.frontend.traced.constants import affine
from deploy.frontend.traced.draft import Conv, Pair, Window
from deploy.frontend.traced.known import numbers
from deploy.frontend.traced.products import multiplied
from deploy.frontend.traced.rules.neurons import neuron, potential
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Image, Signal, Value
from deploy.frontend.traced.trace import NEURON, POTENTIAL
from deploy.frontend.traced.walk import At, Walk
from deploy.ir.types import Array


def _convolution(
    walk: Walk,
    at: At,
    x: Value,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    _output_padding: Any,
    groups: int,
) -> Result:
    if transposed:
        raise Refused("a transposed convolution; allowed: convolutions")
    kernel, window = numbers(weight), [stride, padding, dilation]
    added = np.zeros(len(kernel)) if bias is None else numbers(bias)
    if kernel.ndim == 3:
        return _over_line(walk, at, x, kernel, added, window, groups)
    if kernel.ndim == 5:
        return _over_clip(walk, at, x, kernel, added, window, groups)
    conv = Conv(weight=kernel, bias=added, groups=groups, window=_window(window))
    s, lead = walk.as_image(x, at.name, "a convolution")
    return walk.image(s, walk.draft.conv(at.name, conv, s.node), lead)


def _window(sizes: list[list[int]]) -> Window:
    stride, padding, dilation = (_pair(size) for size in sizes)
    return Window(stride=stride, padding=padding, dilation=dilation)


def _pair(sizes: list[int]) -> Pair:
    rows, columns = sizes * 2 if len(sizes) == 1 else sizes
    return rows, columns


def _over_line(
    walk: Walk, at: At, x: Value, kernel: Array, bias: Array, window: list[list[int]], groups: int
) -> Signal:
    """A convolution over [.., C, N]: of a line, or of each token of an image by itself."""
    s = walk.whole(x, at.name)
    lead = len(s.dims) - 2
    walk.require_lead(s.dims[:lead], "a convolution")
    s = walk.ordered(s, s.dims[lead], at.name, "a convolution")
    if s.dims[lead + 1] != s.image.pixels:
        raise Refused("a convolution over tokens that are not the image's rows, then its columns")
    if kernel.shape[2] == 1 and window[0] == [1] and window[1] == [0]:
        node = walk.draft.conv(at.name, Conv(weight=kernel[:, :, :, None], bias=bias, groups=groups), s.node)
        channels = new_dim(len(kernel))
        image = replace(s.image, channels=channels)
        return replace(s, node=node, image=image, dims=(*s.dims[:lead], channels, s.dims[lead + 1]))
    if s.image.rows:
        raise Refused("a 1-D convolution over the tokens of an image; allowed: kernels of 1, or Conv2d over [C, H, W]")
    one = [[1, *window[0]], [0, *window[1]], [1, *window[2]]]
    conv = Conv(weight=kernel[:, :, None], bias=bias, groups=groups, window=_window(one))
    node = walk.draft.conv(at.name, conv, s.node)
    image = Image.new(walk.draft.shapes[node])
    return replace(s, node=node, image=image, dims=(*s.dims[:lead], image.channels, image.columns))


def _over_clip(
    walk: Walk, at: At, x: Value, kernel: Array, bias: Array, window: list[list[int]], groups: int
) -> Signal:
    """A convolution over [B, C, T, H, W] whose kernel sees one time step."""
    if kernel.shape[2] != 1 or window[0][0] != 1 or window[1][0] != 0:
        raise Refused("a convolution over time; allowed: a kernel of one time step")
    s = walk.whole(x, at.name)
    time, channels = s.dims[-3], s.dims[-4]
    if time not in ((), (walk.time,)):
        raise Refused("a 3-D convolution over other dimensions than time, rows and columns; allowed: [B, C, T, H, W]")
    turned = replace(s, dims=(*s.dims[:-4], time, channels, *s.dims[-2:]))
    conv = Conv(weight=kernel[:, :, 0], bias=bias, groups=groups, window=_window([size[1:] for size in window]))
    s, lead = walk.as_image(turned, at.name, "a convolution")
    made = walk.image(s, walk.draft.conv(at.name, conv, s.node), lead)
    return replace(made, dims=(*made.dims[:-4], made.dims[-3], time, *made.dims[-2:]))


def _dense(walk: Walk, at: At, bias: Tensor, x: Value, weight: Tensor, **_: Any) -> Result:
    """`bias + x @ weight`, weights [I, O]."""
    return _linear(walk, at, x, numbers(weight).T, numbers(bias))


def _matrix(walk: Walk, at: At, x: Any, y: Any) -> Result:
    if isinstance(y, Tensor):
        return _linear(walk, at, x, numbers(y).T, np.zeros(y.shape[-1]))
    if isinstance(x, Tensor):
        turned = walk.signal(y, at.name)
        made = _linear(walk, at, replace(turned, dims=turned.dims[::-1]), numbers(x), np.zeros(len(x)))
        return replace(made, dims=made.dims[::-1])
    raise Refused("a product of two signals over all clips; allowed: attention, each clip by itself")


def _batched(walk: Walk, at: At, x: Any, y: Any) -> Result:
    if isinstance(y, Tensor) or isinstance(x, Tensor):
        constant = numbers(y if isinstance(y, Tensor) else x)
        if (constant != constant[:1]).any():
            raise Refused("a product with other weights for every part of a batch; allowed: the same weights")
        if isinstance(y, Tensor):
            return _linear(walk, at, x, constant[0].T, np.zeros(constant.shape[2]))
        raise Refused("a product of constants and a signal from the left; allowed: layers over channels")
    return multiplied(walk, x, y, at.name)


def _linear(walk: Walk, at: At, x: Value, weight: Array, bias: Array) -> Signal:
    """Weights [O, I] of the last dimension: all channels at every pixel, or channels and pixels together."""
    s = walk.whole(x, at.name)
    last, lead = s.dims[-1], [axis for axis in flat(s.dims[:-1]) if axis.kind == "place"]
    outputs = new_dim(len(weight))
    if set(last) == set(s.image.channels):
        kernel = _arranged(weight, last, s.image.channels)[:, :, None, None]
        image = replace(s.image, channels=outputs)
    elif set(last) == set(s.image.axes) and not lead:
        kernel = _arranged(weight, last, s.image.axes).reshape(len(weight), *s.image.shape)
        image = Image(channels=outputs)
    else:
        raise Refused("a dense layer over a part of the channels, or over tokens; allowed: over all channels")
    node = walk.draft.conv(at.name, Conv(weight=kernel, bias=bias), s.node)
    return replace(s, node=node, image=image, dims=(*s.dims[:-1], outputs))


def _arranged(weight: Array, have: Dim, want: Dim) -> Array:
    """Weights [O, I] whose inputs run over axes in one order, with the inputs in another order."""
    apart = weight.reshape(len(weight), *(axis.size for axis in have))
    turned = apart.transpose(0, *(1 + have.index(axis) for axis in want))
    return np.ascontiguousarray(turned.reshape(len(weight), -1))


def _norm(
    walk: Walk,
    at: At,
    x: Value,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    _momentum: float,
    eps: float,
) -> Result:
    """A batch norm with running statistics is a gain and a bias."""
    gain = (1.0 if weight is None else numbers(weight)) / np.sqrt(numbers(variance) + eps)
    shift = (0.0 if bias is None else numbers(bias)) - numbers(mean) * gain
    s = walk.signal(x, at.name)
    shape = (-1, *(1,) * (len(s.dims) - 2))
    made = affine(walk, at, s, gain.reshape(shape), np.asarray(shift).reshape(shape))
    return (made, None, None)


RULES: dict[str, Rule] = {
    NEURON: neuron,
    POTENTIAL: potential,
    "aten.convolution.default": _convolution,
    "aten.addmm.default": _dense,
    "aten.mm.default": _matrix,
    "aten.bmm.default": _batched,
    "aten._native_batch_norm_legit_no_training.default": _norm,
}
