"""Parts of a signal: channels that a slice takes, time steps that a loop takes, fills and joins."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from deploy.frontend.traced.axes import Refused, new_dim, size_of
from deploy.frontend.traced.pairing import paired
from deploy.frontend.traced.signals import Signal, Steps, Value, fresh
from deploy.frontend.traced.spreading import place
from deploy.frontend.traced.walk import At, Walk

PIXELS = "a part of the image is taken, or several channels with pixels between; allowed: parts of the channels"


def picked(walk: Walk, s: Signal, dim: int, wanted: Sequence[int], name: str) -> Signal:
    """Entries of a dimension of channels, in this order."""
    axes = s.dims[dim]
    if set(axes) & set(s.repeated):
        s = walk.whole(s, name)
        axes = s.dims[dim]
    channels = s.image.channels
    if not set(axes) <= set(channels):
        raise Refused(PIXELS)
    others = [axis for axis in channels if axis not in axes]
    first = min(channels.index(axis) for axis in axes)
    place = sum(channels.index(axis) < first for axis in others)
    order = [*others[:place], *axes, *others[place:]]
    held = range(walk.draft.shapes[s.node][0]) if s.picked is None else s.picked
    grid = np.array(held).reshape([axis.size for axis in channels]).transpose([channels.index(a) for a in order])
    rows = grid.reshape(*(axis.size for axis in others[:place]), -1, *(axis.size for axis in others[place:]))
    taken = np.take(rows, list(wanted), axis=place)
    new = new_dim(len(wanted))
    image = replace(s.image, channels=(*others[:place], *new, *others[place:]))
    dims = (*s.dims[:dim], new, *s.dims[dim + 1 :])
    return replace(s, image=image, dims=dims, picked=tuple(taken.ravel().tolist()))


def part_of_time(walk: Walk, s: Signal, dim: int, wanted: range) -> Signal:
    """One time step of a signal; its dimension of time stays, with a single entry."""
    if s.dims[dim] != (walk.time,):
        raise Refused("a part of time and clips together is taken; allowed: a time step of a dimension of its own")
    if len(wanted) != 1:
        raise Refused(f"{len(wanted)} of {walk.steps} time steps are taken; allowed: one by one, or all")
    return replace(s, step=wanted[0], dims=(*s.dims[:dim], (), *s.dims[dim + 1 :]))


def filled(walk: Walk, value: Value | Tensor, source: Value | Tensor, dim: int, index: int, at: At) -> Signal | Steps:
    """A tensor with one more time step written, at `index` of its dimension `dim`: the signal, where it is the last."""
    if isinstance(value, Tensor) and value.any():
        raise Refused("a tensor of constants that a loop writes over; allowed: one of zeros")
    steps = Steps(dim=dim, size=at.shape[dim]) if isinstance(value, Tensor) else value
    if not isinstance(steps, Steps) or steps.dim != dim or not isinstance(source, Signal):
        raise Refused("a part of a signal is written; allowed: a loop that fills a tensor time step by time step")
    others = [(step, s) for step, s in steps.filled if step != index]
    steps = replace(steps, filled=tuple(sorted([*others, (index, source)], key=lambda pair: pair[0])))
    return steps if len(steps.filled) < steps.size else joined(walk, [s for _, s in steps.filled], dim, new=True)


def joined(walk: Walk, parts: Sequence[Signal], dim: int, *, new: bool = False) -> Signal:
    """The signal whose time steps are these, in order, along a dimension; a `new` one, or one that they all have."""
    first = parts[0]
    rest = () if new else first.dims[dim]
    behind = first.dims[dim:] if new else first.dims[dim + 1 :]
    if any(s.form != first.form for s in parts):
        raise Refused("signals of different layers are joined; allowed: the time steps of one, or channels")
    if all(s.step is None for s in parts):
        return replace(first, dims=(*first.dims[:dim], walk.grown(first, len(parts)) + rest, *behind))
    if walk.time is None or [s.step for s in parts] != list(range(walk.time.size)):
        raise Refused(f"the time steps {[s.step for s in parts]} are joined; allowed: all {walk.steps}, in order")
    return replace(first, step=None, dims=(*first.dims[:dim], (walk.time, *rest), *behind))


def beside(walk: Walk, parts: Sequence[Signal], dim: int, name: str) -> Signal:
    """Signals joined along the dimension of their channels: each is put into its channels, and they are summed."""
    first, *others = (_channels_at(walk, s, dim, name) for s in parts)
    widths = [size_of(s.image.channels) for s in (first, *others)]
    placed, step, averaged = [first], first.step, first.averaged
    for s in others:
        step, averaged = walk.together(placed[0], s)
        a, b = paired(_without(first, dim), _without(fresh(s, but=walk.shared), dim))
        if a.image != b.image:
            raise Refused("signals of different images are joined; allowed: the same rows and columns")
        placed.append(s)
    channels = new_dim(sum(widths))
    nodes = place(walk.draft, [s.node for s in placed])
    node = walk.draft.sum(name, *nodes)
    if all(s.node in walk.draft.spiking for s in placed):
        walk.draft.spiking.add(node)
    dims = (*first.dims[:dim], channels, *first.dims[dim + 1 :])
    image = replace(first.image, channels=channels)
    return replace(first, node=node, dims=dims, image=image, step=step, averaged=averaged)


def _channels_at(walk: Walk, s: Signal, dim: int, name: str) -> Signal:
    s = walk.whole(s, name)
    if set(s.dims[dim]) != set(s.image.channels):
        raise Refused("signals are joined along pixels or tokens; allowed: along channels, or the time steps of one")
    return walk.ordered(s, s.dims[dim], name)


def _without(s: Signal, dim: int) -> Signal:
    """The signal without its channels."""
    image = replace(s.image, channels=())
    return replace(s, dims=(*s.dims[:dim], (), *s.dims[dim + 1 :]), image=image)
