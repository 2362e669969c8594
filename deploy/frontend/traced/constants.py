"""A constant tensor that is added to a signal or multiplies it, laid out as the signal's node is."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from deploy.frontend.traced.axes import Refused, flat, size_of
from deploy.frontend.traced.signals import Signal
from deploy.frontend.traced.walk import At, Walk
from deploy.ir.operations.identity import GainBias
from deploy.ir.types import Array


def with_constant(walk: Walk, at: At, s: Signal, value: Tensor, *, adds: bool) -> Signal:
    """The sum or product of a signal and a constant that broadcast to each other."""
    numbers = value.detach().double().cpu().numpy()
    if not adds and numbers.ndim == 0:
        return replace(s, gain=s.gain * float(numbers), shift=s.shift * float(numbers))
    s = walk.whole(_broadcast(walk, s, numbers.shape), at.name)
    image = laid(numbers, s, walk)
    if (image == (0 if adds else 1)).all():
        return s
    return replace(s, node=_node(walk, at, s, image, adds=adds))


def affine(walk: Walk, at: At, s: Signal, gain: Array, bias: Array) -> Signal:
    """`gain * s + bias`, of constants that broadcast to the tensor."""
    s = walk.whole(s, at.name)
    by_channel = [laid(values, s, walk) for values in (gain, bias)]
    if all(_channelwise(values) for values in by_channel):
        channels = walk.draft.shapes[s.node][0]
        each = [np.broadcast_to(values[0, :, 0, 0], (channels,)) for values in by_channel]
        return replace(s, node=walk.draft.channelwise(at.name, s.node, *each))
    return replace(s, node=_gain_bias(walk, at, s, *by_channel))


def _node(walk: Walk, at: At, s: Signal, image: Array, *, adds: bool) -> str:
    if _channelwise(image):
        each = image[0, :, 0, 0]
        return walk.draft.channelwise(at.name, s.node, 1.0 if adds else each, each if adds else 0.0)
    same = np.ones((1, 1, 1, 1))
    return _gain_bias(walk, at, s, *((same, image) if adds else (image, 0 * same)))


def _gain_bias(walk: Walk, at: At, s: Signal, gain: Array, bias: Array) -> str:
    node = GainBias(np.array(walk.draft.shapes[s.node]), gain=gain, bias=bias)
    return walk.draft.node(at.name, node, s.node)


def _channelwise(image: Array) -> bool:
    """Whether values [T, C, H, W] are the same at all time steps and pixels of a channel."""
    return bool((image == image[:1, :, :1, :1]).all())


def _broadcast(walk: Walk, s: Signal, shape: tuple[int, ...]) -> Signal:
    """The signal repeated along the dimensions that only the constant has."""
    rank = max(len(shape), len(s.dims))
    dims = ((),) * (rank - len(s.dims)) + s.dims
    sizes = (1,) * (rank - len(shape)) + shape
    return replace(s, dims=tuple(dim or walk.grown(s, size) for dim, size in zip(dims, sizes, strict=True)))


def laid(values: Array, s: Signal, walk: Walk) -> Array:
    """Values that broadcast to a whole signal's tensor, as they lie in its node: [T or 1, C, H, W].

    Raises `Refused` for values that differ between clips.
    """
    values = values.reshape((1,) * (len(s.dims) - values.ndim) + values.shape)
    axes = flat(s.dims)
    spread = [dim if size > 1 else () for dim, size in zip(s.dims, values.shape, strict=True)]
    if any(size > 1 and size != size_of(dim) for dim, size in zip(s.dims, values.shape, strict=True)):
        raise Refused(f"a constant of shape {list(values.shape)}, which does not fit the signal")
    varies = flat(spread)
    if walk.clips in varies:
        raise Refused("a constant that differs between the clips of a batch; allowed: the same for all")
    full = values.reshape([axis.size if axis in varies else 1 for axis in axes])
    order = list(s.image.axes)
    lead = [axis for axis in axes if axis.kind != "place"]
    full = full.transpose([axes.index(axis) for axis in (*lead, *order)])
    steps = walk.time.size if walk.time is not None and walk.time in varies else 1
    place = np.broadcast_to(full, (*full.shape[: len(lead)], *(axis.size for axis in order)))
    return place.reshape(steps, *s.image.shape)
