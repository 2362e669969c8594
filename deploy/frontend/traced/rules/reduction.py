"""Sums and means over dimensions: over time, over pixels, over channels."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deploy.frontend.traced.axes import Axis, Dim, Refused, size_of
from deploy.frontend.traced.draft import Conv, Window
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Image, Signal, Value
from deploy.frontend.traced.walk import At, Walk


def _mean(walk: Walk, at: At, value: Value, dims: Sequence[int] | None, keep: bool = False, **_: Any) -> Result:
    return reduced(walk, at, walk.signal(value, at.name), dims, keep=keep, mean=True)


def _sum(walk: Walk, at: At, value: Value, dims: Sequence[int] | None, keep: bool = False, **_: Any) -> Result:
    return reduced(walk, at, walk.signal(value, at.name), dims, keep=keep, mean=False)


def reduced(walk: Walk, at: At, s: Signal, dims: Sequence[int] | None, *, keep: bool, mean: bool) -> Signal:
    """The sum or mean over dimensions; over time it waits until the end of the clip."""
    if walk.same_at_every_step(s) or s.repeated:
        s = walk.whole(s, at.name)
    gone = {dim % len(s.dims) for dim in (dims or range(len(s.dims)))}
    axes = [axis for dim in gone for axis in s.dims[dim]]
    if any(axis.kind == "clips" for axis in axes):
        raise Refused("a sum over the batch; allowed: each clip by itself")
    places = [axis for axis in axes if axis.kind == "place"]
    if len(places) < len(axes):
        factor = 1.0 if mean or walk.time is None else float(walk.time.size)
        s = replace(s, gain=s.gain * factor, shift=s.shift * factor, averaged=True)
    left = tuple(() if i in gone else dim for i, dim in enumerate(s.dims))
    shape = left if keep else tuple(dim for i, dim in enumerate(left) if i not in gone)
    if not places:
        return replace(s, dims=shape)
    s = _summable(walk, at, walk.scaled(s, at.name), places)
    conv, image = _kernel(s.image, places, 1.0 / size_of(places) if mean else 1.0)
    return replace(s, node=walk.draft.conv(at.name, conv, s.node), image=image, dims=shape)


def _summable(walk: Walk, at: At, s: Signal, gone: list[Axis]) -> Signal:
    """The signal with what is summed in windows of neighbours; else in channels, where it takes any order."""
    kept = [tuple(axis for axis in part if axis not in gone) for part in s.image.parts]
    if all(part[: len(left)] == left for part, left in zip(s.image.parts[1:], kept[1:], strict=True)):
        return s
    channels, rows, columns = kept
    return walk.arranged(s, Image(channels=(*channels, *gone), rows=rows, columns=columns), at.name)


def _kernel(image: Image, gone: list[Axis], factor: float) -> tuple[Conv, Image]:
    """The convolution that sums over axes, and what it leaves."""
    (rows, height), (columns, width) = (_window_of(part, gone) for part in image.parts[1:])
    kept: Dim = tuple(axis for axis in image.channels if axis not in gone)
    channels, inputs = size_of(kept), size_of(image.channels)
    left = Image(channels=kept, rows=rows, columns=columns)
    window = Window(stride=(height, width))
    if image.channels[: len(kept)] == kept:
        weight = np.full((channels, inputs // channels, height, width), factor)
        return Conv(weight=weight, bias=np.zeros(channels), groups=channels, window=window), left
    index = np.arange(channels).reshape([axis.size if axis in kept else 1 for axis in image.channels])
    target = np.broadcast_to(index, [axis.size for axis in image.channels]).ravel()
    matrix = np.eye(channels)[:, target] * factor
    weight = np.broadcast_to(matrix[:, :, None, None], (channels, inputs, height, width)).copy()
    return Conv(weight=weight, bias=np.zeros(channels), window=window), left


def _window_of(part: Dim, gone: list[Axis]) -> tuple[Dim, int]:
    """What is left of rows or columns, and how many neighbours are summed: the inner axes have to go first."""
    kept = tuple(axis for axis in part if axis not in gone)
    return kept, size_of(part[len(kept) :])


RULES: dict[str, Rule] = {
    "aten.mean.dim": _mean,
    "aten.sum.dim_IntList": _sum,
}
