"""Convolutions: of images, of lines, of tokens, and over the time of a clip."""

from dataclasses import replace
from typing import Any

import nir
import numpy as np
from torch import Tensor

from deploy.frontend.builder import DT_S
from deploy.frontend.traced.axes import Refused, new_dim
from deploy.frontend.traced.draft import Conv, Pair, Window
from deploy.frontend.traced.known import numbers
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Image, Signal, Value
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
    channels, tokens = s.dims[lead:]
    if any(axis.kind != "place" for axis in channels + tokens):
        raise Refused("a convolution over time or clips; allowed: over a line of pixels, or tokens, of each time step")
    alone = kernel.shape[2] == 1 and window[0] == [1] and window[1] == [0]
    line = Image(channels=channels, columns=tokens)
    keeps = alone and set(s.image.channels) == set(channels) and s.image.pixels == tokens
    s = walk.ordered(s, channels, at.name) if keeps else walk.arranged(s, line, at.name)
    if alone:
        node = walk.draft.conv(at.name, Conv(weight=kernel[:, :, :, None], bias=bias, groups=groups), s.node)
        channels = new_dim(len(kernel))
        image = replace(s.image, channels=channels)
        return replace(s, node=node, image=image, dims=(*s.dims[:lead], channels, tokens))
    one = [[1, *window[0]], [0, *window[1]], [1, *window[2]]]
    conv = Conv(weight=kernel[:, :, None], bias=bias, groups=groups, window=_window(one))
    node = walk.draft.conv(at.name, conv, s.node)
    image = Image.new(walk.draft.shapes[node])
    return replace(s, node=node, image=image, dims=(*s.dims[:lead], image.channels, image.columns))


def _over_clip(
    walk: Walk, at: At, x: Value, kernel: Array, bias: Array, window: list[list[int]], groups: int
) -> Signal:
    """A convolution over [B, C, T, H, W] whose kernel sees one time step, or the whole clip once."""
    s = walk.whole(x, at.name)
    time, channels = s.dims[-3], s.dims[-4]
    if time not in ((), (walk.time,)):
        raise Refused("a 3-D convolution over other dimensions than time, rows and columns; allowed: [B, C, T, H, W]")
    s, lead = walk.as_image(replace(s, dims=(*s.dims[:-4], time, channels, *s.dims[-2:])), at.name, "a convolution")
    steps, in_plane = kernel.shape[2], _window([size[1:] for size in window])
    convs = [Conv(weight=kernel[:, :, k], bias=bias, groups=groups, window=in_plane) for k in range(steps)]
    if steps == 1 and window[0][0] == 1 and window[1][0] == 0:
        made = walk.image(s, walk.draft.conv(at.name, convs[0], s.node), lead)
    elif time and steps == walk.steps and window[1][0] == 0:
        made, time = walk.image(s, _summed_over_clip(walk, at, s.node, convs), lead), ()
        made = replace(made, step=steps - 1)
    else:
        raise Refused("a convolution over a part of time; allowed: a kernel of one time step, or of the whole clip")
    return replace(made, dims=(*made.dims[: lead - 1], made.dims[lead], time, *made.dims[lead + 1 :]))


def _summed_over_clip(walk: Walk, at: At, source: str, convs: list[Conv]) -> str:
    """A convolution for every time step, delayed so that all arrive with the last; the bias arrives once."""
    draft, last, parts = walk.draft, len(convs) - 1, []
    for step, conv in enumerate(convs):
        delayed = source
        if step < last:
            node = nir.Delay(np.full(draft.shapes[source], (last - step) * DT_S))
            delayed = draft.node(f"{at.name}.delay{step}", node, source)
        own = conv if step == last else replace(conv, bias=0 * conv.bias)
        parts.append(draft.conv(f"{at.name}.step{step}", own, delayed))
    return draft.sum(f"{at.name}.sum", *parts)


RULES: dict[str, Rule] = {"aten.convolution.default": _convolution}
