"""Two tensors that meet, as broadcasting lets them: with the same axes; what only one has is repeated in the other."""

from dataclasses import replace

from deploy.frontend.traced.axes import Dim, matched
from deploy.frontend.traced.signals import Image, Signal


def paired(x: Signal, y: Signal) -> tuple[Signal, Signal]:
    """Two signals that share no places, with the same dimensions; raises `Refused` where axes do not fit."""
    rank = max(len(x.dims), len(y.dims))
    x, y = (replace(s, dims=((),) * (rank - len(s.dims)) + s.dims) for s in (x, y))
    for i in range(rank):
        if x.dims[i] and y.dims[i]:
            of_x, of_y = matched(x.dims[i], y.dims[i])
            x, y = x.swapped(of_x), y.swapped(of_y)
            y = y.swapped({b: (a,) for a, b in zip(x.dims[i], y.dims[i], strict=True) if a is not b})
    dims: tuple[Dim, ...] = tuple(a or b for a, b in zip(x.dims, y.dims, strict=True))
    return replace(x, dims=dims), replace(y, dims=dims)


def common_image(a: Image, b: Image) -> Image | None:
    """An image with the axes of both in their places; None where axes of one would have to go to other places."""
    parts: list[Dim] = []
    for one, other in zip(a.parts, b.parts, strict=True):
        if not (set(one) >= set(other) or set(other) >= set(one)):
            return None
        parts.append(one if set(one) >= set(other) else other)
    image = Image(channels=parts[0], rows=parts[1], columns=parts[2])
    whole = all(own in ((), full) for s in (a, b) for own, full in zip(s.parts[1:], parts[1:], strict=True))
    return image if whole and len(set(image.axes)) == len(image.axes) else None


def with_repeated(s: Signal) -> Image:
    """The image with the axes along which the tensor repeats itself, as channels in the order of the tensor."""
    first = next((i for i, axis in enumerate(s.axes) if axis in s.image.channels), len(s.axes))
    before = tuple(axis for axis in s.axes[:first] if axis in s.repeated)
    behind = tuple(axis for axis in s.axes[first:] if axis in s.repeated)
    return replace(s.image, channels=before + s.image.channels + behind)
