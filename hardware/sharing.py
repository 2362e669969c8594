"""What a part of a layer needs of a connection that ends in it: which weights, and how many of the sending neurons.

A part is some channels in a row, at some positions in a row (H x W, row after row). The figures hold wherever the part
lies: at a border it needs fewer inputs than is said here.
"""

from dataclasses import dataclass

from hardware.geometry import AttentionGeometry, ConvGeometry, Geometry


@dataclass(frozen=True, kw_only=True)
class Part:
    """Channels and positions of a layer that lie together."""

    first_channel: int
    channels: int
    first_position: int
    positions: int

    @property
    def neurons(self) -> int:
        return self.channels * self.positions


@dataclass(frozen=True, kw_only=True)
class Window:
    """A block of sending neurons: channels, rows and columns, each from the first to before the last."""

    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]


def weights_for(geometry: Geometry, channels: int) -> int:
    """Weights that `channels` of the output need; a kernel is shared by all positions."""
    if isinstance(geometry, ConvGeometry):
        return geometry.weights // geometry.out_channels * channels
    return geometry.weights


def inputs_for(geometry: Geometry, channels: int, positions: int) -> int:
    """Sending neurons that a part of so many channels and positions needs at most, wherever it lies."""
    if isinstance(geometry, ConvGeometry):
        _, _, width = geometry.out_shape
        rows = min(-(-(positions - 1) // width) + 1, geometry.out_shape[1])
        columns = positions if rows == 1 else width
        return _inputs(_touched(channels, geometry.out_channels // geometry.groups), geometry, rows, columns)
    if isinstance(geometry, AttentionGeometry):
        heads = min(_touched(channels, geometry.head_dim), geometry.heads)
        return 3 * heads * geometry.head_dim * geometry.tokens
    if geometry.multiplies_signals:
        return geometry.inputs
    return min(channels * positions, geometry.inputs)


def window(geometry: Geometry, part: Part) -> Window:
    """The sending neurons that one part needs, in rows and columns of the connection's input."""
    if isinstance(geometry, ConvGeometry):
        return _convolved(geometry, part)
    channels, height, width = geometry.in_shape
    if geometry.multiplies_signals:
        return Window(channels=(0, channels), rows=(0, height), columns=(0, width))
    rows, columns = _block(part, width)
    return Window(channels=(part.first_channel, part.first_channel + part.channels), rows=rows, columns=columns)


def _inputs(groups: int, geometry: ConvGeometry, rows: int, columns: int) -> int:
    channels = min(groups, geometry.groups) * (geometry.in_shape[0] // geometry.groups)
    height, width = (
        min((size - 1) * geometry.stride[axis] + _span(geometry, axis), geometry.in_shape[1 + axis])
        for axis, size in enumerate((rows, columns))
    )
    return channels * height * width


def _touched(members: int, size: int) -> int:
    """Groups of `size` that `members` in a row can lie in."""
    return -(-(members - 1) // size) + 1


def _span(geometry: ConvGeometry, axis: int) -> int:
    return geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1


def _block(part: Part, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the smallest block that holds the positions of a part."""
    last = part.first_position + part.positions - 1
    top, bottom = part.first_position // width, last // width
    columns = (part.first_position % width, last % width + 1) if top == bottom else (0, width)
    return (top, bottom + 1), columns


def _convolved(geometry: ConvGeometry, part: Part) -> Window:
    outputs, inputs = geometry.out_channels // geometry.groups, geometry.in_shape[0] // geometry.groups
    first, last = part.first_channel // outputs, (part.first_channel + part.channels - 1) // outputs
    rows, columns = (_seen(geometry, axis, block) for axis, block in enumerate(_block(part, geometry.out_shape[2])))
    return Window(channels=(first * inputs, (last + 1) * inputs), rows=rows, columns=columns)


def _seen(geometry: ConvGeometry, axis: int, block: tuple[int, int]) -> tuple[int, int]:
    """Input positions along one axis that a block of outputs sees, those inside the image."""
    first = block[0] * geometry.stride[axis] - geometry.padding[axis]
    last = (block[1] - 1) * geometry.stride[axis] - geometry.padding[axis] + _span(geometry, axis)
    size = geometry.in_shape[1 + axis]
    return min(max(first, 0), size), max(min(last, size), 0)
