"""Nodes that only bring values to places: to channels and pixels that repeat them, to their channels of many, to pixels
that were channels.
"""

from collections.abc import Sequence

import numpy as np

from deploy.frontend.traced.axes import Refused, size_of
from deploy.frontend.traced.draft import Conv, Draft, Window
from deploy.frontend.traced.signals import Image
from deploy.ir.operations.permutation import Permutation
from deploy.ir.types import IntArray


def spread(draft: Draft, name: str, source: str, have: Image, want: Image) -> str:
    """A node with the axes of `want`: repeated along those that it lacks, its channels in their order there."""
    node = _pixels(draft, name, _channels(draft, name, source, have, want), have, want)
    if source in draft.spiking:
        draft.spiking.add(node)
    return node


def permuted(draft: Draft, name: str, source: str, have: Image, want: Image) -> str:
    """A node with the axes of `have` in the places of `want`."""
    order = [have.axes.index(axis) for axis in want.axes]
    rows = (draft.shapes[source], [axis.size for axis in have.axes], order, want.shape)
    node = Permutation(*(np.array(row) for row in rows))
    return draft.node(f"{name}.permutation", node, source, spiking=source in draft.spiking)


def _channels(draft: Draft, name: str, source: str, have: Image, want: Image) -> str:
    if have.channels == want.channels:
        return source
    if not set(have.channels) <= set(want.channels):
        raise Refused("channels of one signal are pixels of another; allowed: the same axes in both")
    kept = size_of(have.channels)
    if want.channels[: len(have.channels)] == have.channels:  # every channel several times in a row
        ones = np.ones((size_of(want.channels), 1, 1, 1))
        return draft.conv(f"{name}.spread", Conv(weight=ones, bias=np.zeros(len(ones)), groups=kept), source)
    return draft.mixed(f"{name}.spread", source, np.eye(kept)[_sources(have, want)])


def _sources(have: Image, want: Image) -> IntArray:
    """For every channel of `want` the channel of `have` that it repeats."""
    kept = [axis for axis in want.channels if axis in have.channels]
    index = np.arange(size_of(have.channels)).reshape([axis.size for axis in have.channels])
    index = index.transpose([have.channels.index(axis) for axis in kept])
    index = index.reshape([axis.size if axis in have.channels else 1 for axis in want.channels])
    return np.broadcast_to(index, [axis.size for axis in want.channels]).ravel()


def _pixels(draft: Draft, name: str, source: str, have: Image, want: Image) -> str:
    """One pixel becomes an image: a kernel of ones as large as it, padded so that every pixel sees the one."""
    grown = [(one, full) for one, full in zip(have.parts[1:], want.parts[1:], strict=True) if one != full]
    if not grown:
        return source
    if any(one for one, _ in grown):
        raise Refused("rows and columns in another order; allowed: the order of the image")
    rows = size_of(want.rows) if have.rows != want.rows else 1
    columns = size_of(want.columns) if have.columns != want.columns else 1
    channels = draft.shapes[source][0]
    window = Window(padding=(rows - 1, columns - 1))
    ones = np.ones((channels, 1, rows, columns))
    return draft.conv(
        f"{name}.spread", Conv(weight=ones, bias=np.zeros(channels), groups=channels, window=window), source
    )


def place(draft: Draft, parts: Sequence[str]) -> tuple[str, ...]:
    """Nodes that each hold one part in its channels of all, and zeros in the others; their sum has all parts."""
    widths = [draft.shapes[part][0] for part in parts]
    total, first, placed = sum(widths), 0, []
    for part, width in zip(parts, widths, strict=True):
        matrix = np.eye(total)[:, first : first + width]
        placed.append(draft.mixed(f"{part}.place{first}", part, matrix))
        first += width
    return tuple(placed)
