"""Pools: a maximum of spikes is a sum and a threshold."""

from collections.abc import Sequence
from dataclasses import replace

import nir
import numpy as np

from deploy.frontend.traced.axes import Refused, new_dim, size_of, split
from deploy.frontend.traced.draft import Pair
from deploy.frontend.traced.rules.arithmetic import EITHER
from deploy.frontend.traced.rules.reduction import reduced
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Signal, Value
from deploy.frontend.traced.walk import At, Walk
from deploy.ir.operations.max_pool import MaxPool2d

Sizes = int | Sequence[int]


def _largest(
    walk: Walk,
    at: At,
    value: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil: bool = False,
) -> Result:
    """A maximum over windows; of spikes, a spike where at least one fired."""
    window = [_pixels(sizes, "a maximum") for sizes in (kernel, stride or kernel, padding, dilation)]
    if window[3] != (1, 1):
        raise Refused("a max pool with dilation; allowed: dilation 1")
    s = walk.signal(value, at.name)
    if s.averaged:
        raise Refused("a maximum of an average over time; allowed: at every time step")
    if s.gain <= 0:
        raise Refused("a max pool of a signal times a negative number, which is a minimum; allowed: positive factors")
    gain, shift, spiking = s.gain, s.shift, s.node in walk.draft.spiking
    s = walk.as_planes(replace(s, gain=1.0, shift=0.0), at.name, "a max pool")
    _require_whole(s, window, at, ceil)
    sizes = [np.array(pair) for pair in window[:3]]
    if spiking:
        node = walk.draft.gate(
            f"{at.name}.or", EITHER, walk.draft.node(f"{at.name}.sum", nir.SumPool2d(*sizes), s.node)
        )
    else:
        node = walk.draft.node(at.name, MaxPool2d(np.array(s.image.shape), *sizes), s.node)
    return (replace(_pooled(walk, s, node), gain=gain, shift=shift), None)


def _pooled(walk: Walk, s: Signal, node: str) -> Signal:
    """What a pool of each channel gives: the same with other rows and columns."""
    rows, columns = map(new_dim, walk.draft.shapes[node][1:])
    image = replace(s.image, rows=rows, columns=columns)
    return replace(s, node=node, dims=(*s.dims[:-2], rows, columns), image=image)


def _pixels(sizes: Sizes, what: str) -> Pair:
    """Sizes along rows and columns; a third, in front, is along time, where nothing may happen."""
    found = [sizes] * 2 if isinstance(sizes, int) else list(sizes) * 2 if len(sizes) == 1 else list(sizes)
    if len(found) == 3 and found[0] not in (0, 1):
        raise Refused(f"{what} over time; allowed: over rows and columns")
    rows, columns = found[-2:]
    return rows, columns


def _require_whole(s: Signal, window: list[Pair], at: At, ceil: bool) -> None:
    """With ceil_mode the last window may hang over the edge, which NIR's pools do not."""
    sizes = [(n + 2 * p - k) // step + 1 for n, k, step, p in zip(s.image.shape[1:], *window[:3], strict=True)]
    if ceil and sizes != list(at.shape[-2:]):
        raise Refused("ceil_mode with windows that hang over the edge; allowed: ceil_mode=False")


def _average(
    walk: Walk,
    at: At,
    value: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Result:
    window = [_pixels(sizes, "an average") for sizes in (kernel, stride or kernel, padding)]
    if divisor or (window[2] != (0, 0) and not count_padding):
        raise Refused("an average pool with a divisor of its own, or padding that is not counted; allowed: neither")
    s = walk.whole(value, at.name)
    if (votes := _votes(walk, at, s, window)) is not None:
        return votes
    s = walk.as_planes(s, at.name, "an average pool")
    _require_whole(s, window, at, ceil)
    pool = nir.AvgPool2d(*(np.array(sizes) for sizes in window))
    return _pooled(walk, s, walk.draft.node(at.name, pool, s.node))


def _votes(walk: Walk, at: At, s: Signal, window: list[Pair]) -> Signal | None:
    """An average over neighbouring channels, the votes for a class; None for an average over pixels."""
    (rows, size), stride, padding = window
    last = s.dims[-1]
    if not last or not set(last) <= set(s.image.channels) or s.dims[-2]:
        return None
    if rows != 1 or stride != (1, size) or padding != (0, 0) or size_of(last) % size:
        raise Refused("an average over channels whose windows overlap; allowed: windows side by side")
    swap, parts = split(last, (size_of(last) // size, size))
    s = s.swapped(swap)
    s = replace(s, dims=(*s.dims[:-1], *parts))
    return reduced(walk, at, s, [-1], keep=False, mean=True)


def _adaptive(walk: Walk, at: At, value: Value, sizes: Sequence[int]) -> Result:
    """An average pool that leaves an image of these sizes, which divide those of the input."""
    s, inner = walk.whole(value, at.name), list[int]()
    for dim in range(len(s.dims) - 1, len(s.dims) - 1 - len(sizes), -1):
        total, size = size_of(s.dims[dim]), at.shape[dim]
        if total % size:
            raise Refused(f"an adaptive average pool from {total} to {size}; allowed: a size that divides the input's")
        swap, parts = split(s.dims[dim], (size, total // size))
        s = s.swapped(swap)
        s = replace(s, dims=(*s.dims[:dim], *parts, *s.dims[dim + 1 :]))
        inner = [dim + 1, *(place + 1 for place in inner)]
    return reduced(walk, at, s, inner, keep=False, mean=True)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten.max_pool2d_with_indices.default", "aten.max_pool3d_with_indices.default"), _largest),
    **dict.fromkeys(("aten.avg_pool2d.default", "aten.avg_pool3d.default", "aten.avg_pool1d.default"), _average),
    **dict.fromkeys(("aten._adaptive_avg_pool2d.default", "aten._adaptive_avg_pool3d.default"), _adaptive),
}
