"""Images with a border: padding, and what a model writes there (RepConv's border is what its norm makes of a zero)."""

from dataclasses import replace

import torch
from torch import Tensor

from deploy.frontend.traced.axes import Refused, size_of
from deploy.frontend.traced.signals import Padded, Side, Value
from deploy.frontend.traced.walk import At, Walk


def padded(walk: Walk, at: At, value: Value, sizes: list[int], fill: float) -> Padded:
    """An image with the same padding on all four sides."""
    if len(sizes) != 4 or len(set(sizes)) != 1 or sizes[0] < 0:
        raise Refused(f"padding {sizes} of the last dimensions; allowed: the same on all four sides of an image")
    s, _ = walk.as_image(value, at.name, "padding")
    return Padded(signal=s, width=sizes[0], value=fill)


def side(image: Padded, dim: int, wanted: range) -> Padded | Side:
    """A part of a padded image: all of it, or one of its borders."""
    total = size_of(image.dims[dim])
    if len(wanted) == total:
        return image
    rows_or_columns = dim % len(image.dims) >= len(image.dims) - 2
    if not rows_or_columns or wanted not in (range(image.width), range(total - image.width, total)):
        raise Refused("a part of a padded image that is not one of its borders; allowed: borders, to write them")
    return Side(padded=image, dim=dim % len(image.dims), end=wanted.start != 0)


def bordered(image: Padded, source: Value | Tensor, dim: int, wanted: range) -> Padded:
    """A padded image with constants, one for each channel, written into one of its borders."""
    if isinstance(source, Padded):  # written through a view of all of it
        return source
    place = side(image, dim, wanted)
    if not isinstance(source, Tensor) or not isinstance(place, Side):
        raise Refused("a signal is written into the border of an image; allowed: constants")
    lead = len(image.dims) - 3
    values = source.double().movedim(lead, 0).flatten(1)  # [C, everything else]
    if not torch.equal(values, values[:, :1].expand_as(values)):
        raise Refused("different values are written into the border of an image; allowed: one for each channel")
    row = tuple(values[:, 0].expand(size_of(image.dims[lead])).tolist())
    return replace(image, written=(*image.written, (place.dim, place.end, row)))
