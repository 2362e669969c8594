"""Pools: a maximum of spikes is a sum and a threshold."""

from collections.abc import Sequence
from dataclasses import replace

import nir
import numpy as np

from deploy.frontend.traced.axes import BEHIND_MEAN, Refused, flat, new_dim, size_of, split
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
    given = walk.signal(value, at.name)
    s = walk.as_planes(_unscaled(given), at.name, "a max pool")
    _require_whole(s, window, at, ceil)
    return (replace(_windows(walk, at, s, window[:3]), gain=given.gain, shift=given.shift), None)


def _most(walk: Walk, at: At, value: Value, dims: Sequence[int] | int = (), keep: bool = False) -> Signal:
    """The largest along whole dimensions, in one window."""
    given = walk.signal(value, at.name)
    s = walk.whole(_unscaled(given), at.name)
    gone = {dim % len(s.dims) for dim in ((dims,) if isinstance(dims, int) else dims or range(len(s.dims)))}
    window = flat(s.dims[i] for i in sorted(gone))
    if any(axis.kind != "place" for axis in window):
        raise Refused("a maximum over time or clips; allowed: over channels and pixels of each frame")
    left = tuple(() if i in gone else dim for i, dim in enumerate(s.dims))
    planes = s.image.parts[1:] if set(window) == set(s.image.pixels) else ((), window)
    s = walk.as_planes(replace(s, dims=(*left, *planes)), at.name, "a maximum")
    size = size_of(planes[0]), size_of(planes[1])
    found = _windows(walk, at, s, [size, size, (0, 0)])
    dims_left = left if keep else tuple(dim for i, dim in enumerate(left) if i not in gone)
    return replace(found, dims=dims_left, gain=given.gain, shift=given.shift)


def _most_with_index(walk: Walk, at: At, value: Value, dim: int, keep: bool = False) -> Result:
    return (_most(walk, at, value, dim, keep), None)


def _adaptive_most(walk: Walk, at: At, value: Value, sizes: Sequence[int]) -> Result:
    """A maximum for each of some windows side by side."""
    s = walk.signal(value, at.name)
    totals = [size_of(dim) for dim in s.dims[-2:]]
    if any(total % size for total, size in zip(totals, sizes, strict=True)):
        raise Refused(f"an adaptive max pool from {totals} to {list(sizes)}; allowed: sizes that divide the input's")
    return _largest(walk, at, s, [total // size for total, size in zip(totals, sizes, strict=True)])


def _unscaled(s: Signal) -> Signal:
    """The signal without its factor and shift, behind which the largest is the same one."""
    if s.averaged:
        raise Refused(f"a maximum of a mean or a sum over time; {BEHIND_MEAN}")
    if s.gain <= 0:
        raise Refused("a maximum of a signal times a negative number, which is a minimum; allowed: positive factors")
    return replace(s, gain=1.0, shift=0.0)


def _windows(walk: Walk, at: At, s: Signal, window: list[Pair]) -> Signal:
    """The largest of each window of kernel, stride and padding."""
    sizes = [np.array(pair) for pair in window]
    if s.node in walk.draft.spiking:
        sums = walk.draft.node(f"{at.name}.sum", nir.SumPool2d(*sizes), s.node)
        return _pooled(walk, s, walk.draft.gate(f"{at.name}.or", EITHER, sums))
    return _pooled(walk, s, walk.draft.node(at.name, MaxPool2d(np.array(s.image.shape), *sizes), s.node))


def _pooled(walk: Walk, s: Signal, node: str) -> Signal:
    """What a pool of each channel gives: the same with other rows and columns."""
    rows, columns = map(new_dim, walk.draft.shapes[node][1:])
    image = replace(s.image, rows=rows, columns=columns)
    return replace(s, node=node, dims=(*s.dims[:-2], rows, columns), image=image)


def _pixels(sizes: Sizes, what: str) -> Pair:
    """Sizes along rows and columns; a third, in front, is along time, where nothing may happen."""
    found = [sizes] * 2 if isinstance(sizes, int) else list(sizes) * 2 if len(sizes) == 1 else list(sizes)
    if len(found) == 3 and found[0] not in (0, 1):
        raise Refused(f"{what} over a part of time; allowed: over rows and columns, or the mean of all time steps")
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
    "aten.amax.default": _most,
    "aten.max.dim": _most_with_index,
    "aten.adaptive_max_pool2d.default": _adaptive_most,
    **dict.fromkeys(("aten._adaptive_avg_pool2d.default", "aten._adaptive_avg_pool3d.default"), _adaptive),
}
