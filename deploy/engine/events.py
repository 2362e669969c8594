"""Event-driven convolution: a layer's spikes are listed, and every spike adds a row of weights where it arrives.

Work grows with the number of spikes. There are no products, and 8-bit weights are added in 16-bit lanes, 32 at a time.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import constant, zeros
from deploy.engine.ranges import SPIKES, IntType, are_bytes, sum_type, worst_sum
from deploy.engine.simd import (
    NARROW,
    VECTOR,
    WIDE,
    WORD,
    add_narrow_rows,
    add_wide_rows,
    first_bit,
    inlined,
    jit,
    pack,
    paired,
    store_transposed,
    transpose_bits,
)
from deploy.ir.operations.convolution import IntConvolution
from hardware.geometry import ConvGeometry

Array = NDArray[Any]

LARGEST_IN_16_BITS = (1 << 15) - 1


class Window(NamedTuple):
    """A ConvGeometry of one group, as compiled functions take it."""

    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    padding_y: int
    padding_x: int
    dilation_y: int
    dilation_x: int

    @classmethod
    def of_group(cls, geometry: ConvGeometry) -> "Window":
        g = geometry
        (channels, height, width), (outputs, out_height, out_width) = g.in_shape, g.out_shape
        taps = (*g.kernel, *g.stride, *g.padding, *g.dilation)
        return cls(channels // g.groups, height, width, outputs // g.groups, out_height, out_width, *taps)


class Rows(NamedTuple):
    """Weights as rows of `width` outputs, one for every tap and input channel; zeros fill up the last tile of outputs.

    Flat [tile, kernel_y, kernel_x, input channel, width]. So many rows as `safe` can be added in 16 bits.
    """

    flat: Array
    width: int
    safe: int

    @classmethod
    def of(cls, weight_OIHW: Array) -> "Rows":
        outputs, *rest = weight_OIHW.shape
        width = NARROW if outputs <= NARROW else WIDE
        tiles = -(-outputs // width)
        dtype = np.int8 if are_bytes(weight_OIHW.min(), weight_OIHW.max()) else np.int16
        padded = np.zeros((tiles * width, *rest), dtype)
        padded[:outputs] = weight_OIHW
        rows = padded.reshape(tiles, width, *rest).transpose(0, 3, 4, 2, 1)
        flat = constant((paired(rows) if dtype == np.int8 else rows).ravel())
        largest = max(1, int(np.abs(weight_OIHW.astype(np.int64)).max()))
        return cls(flat, width, max(1, LARGEST_IN_16_BITS // largest))  # a single -2^15 fits, too


class EventList(NamedTuple):
    """Spikes in the order of their pixels: those of pixel p are events[starts[p] : starts[p + 1]].

    An event is `x * channels + channel`, so that the spikes of neighbours in an image row follow each other and count
    the rows of the weights under neighbouring taps of a kernel. `words` is where packed spikes are turned.
    """

    starts: Array
    events: Array
    words: Array

    @classmethod
    def for_up_to(cls, channels: int, pixels: int) -> "EventList":
        words = -(-channels // WORD) * WORD
        return cls(np.zeros(pixels + 1, np.int32), zeros((channels * pixels,), np.int32), np.zeros(words, np.uint64))


class GatheredEvents:
    """Convolution in which every output pixel adds up the rows of the spikes under its kernel; all groups.

    The result lies in a buffer that the next call overwrites.
    """

    by_spike = True

    def __init__(self, operation: IntConvolution) -> None:
        geometry = operation.geometry
        self.window, self.groups = Window.of_group(geometry), geometry.groups
        weight_GOIHW = operation.mantissa.reshape(geometry.groups, self.window.out_channels, -1, *geometry.kernel)
        self.rows = [Rows.of(weight_OIHW) for weight_OIHW in weight_GOIHW]
        self.list = EventList.for_up_to(self.window.channels, self.window.height * self.window.width)
        kind = sum_type(worst_sum(operation, SPIKES), operation.exponent)
        self.sums, self.out = for_sums(geometry.out_shape, self.rows[0].width, kind)
        self.left, self.right = max(0, operation.exponent), max(0, -operation.exponent)

    def __call__(self, messages: Array) -> Array:
        spikes, out = flat_spikes(messages), self.out.reshape(self.groups, -1)
        window, inputs = self.window, messages.size // self.groups
        for group, rows in enumerate(self.rows):
            list_events(spikes, group * inputs, window.channels, window.height, window.width, self.list)
            gather(self.list, rows, window, self.sums, out[group], self.left, self.right)
        return self.out


def for_sums(shape: tuple[int, ...], width: int, kind: IntType) -> tuple[Array, Array]:
    """What `gather` works on and writes to: sums of a block of pixels, and an array that may be overrun by a vector."""
    lanes = VECTOR // (8 * np.dtype(kind).itemsize)
    size = math.prod(shape)
    return np.zeros(lanes * width, kind), zeros((size + lanes,), kind)[:size].reshape(shape)


def flat_spikes(messages: Array) -> Array:
    """int8 and at least one word long, as `pack` reads them."""
    flat = messages.astype(np.int8, copy=False).ravel()
    return flat if flat.size >= WORD else np.pad(flat, (0, WORD - flat.size))


@jit
def list_events(spikes: Array, first: int, channels: int, height: int, width: int, found: EventList) -> None:
    """List the spikes of an image [channels, height, width] that begins at spikes[first]."""
    starts, events, words = found
    pixels = height * width
    n = x = 0
    for pixel in range(0, pixels, WORD):
        for channel in range(channels):
            words[channel] = pack(spikes, first + channel * pixels + pixel)
        words[channels:] = 0
        for block in range(0, channels, WORD):
            transpose_bits(words, block)
        for i in range(min(WORD, pixels - pixel)):
            starts[pixel + i] = n
            for block in range(0, channels, WORD):
                bits = words[block + i]
                while bits:
                    events[n] = x * channels + block + first_bit(bits)
                    bits &= bits - np.uint64(1)
                    n += 1
            x = x + 1 if x + 1 < width else 0
    starts[pixels] = n


@jit
def gather(spikes: EventList, rows: Rows, window: Window, sums: Array, out: Array, left: int, right: int) -> None:
    """out[o, p] = the sum over the spikes under the kernel at p, shifted; `sums` and `out` are those of `for_sums`.

    Blocks of pixels are stored whole. What the last of them writes too much lies at the beginning of the next outputs,
    which are stored afterwards: blocks come from last to first, outputs from first to last.
    """
    pixels, lanes = window.out_height * window.out_width, sums.size // rows.width
    for first in range(0, window.out_channels, rows.width):
        outputs = min(rows.width, window.out_channels - first)
        whole = outputs // lanes * lanes
        for pixel in range((pixels - 1) // lanes * lanes, -1, -lanes):
            sums[:] = 0
            for i in range(min(lanes, pixels - pixel)):
                out_y, out_x = divmod(pixel + i, window.out_width)
                add_patch(spikes, rows, window, first // rows.width, out_y, out_x, sums, i * rows.width)
            for o in range(0, whole, lanes):
                store_transposed(sums, o, rows.width, out, (first + o) * pixels + pixel, pixels, left, right)
            for o in range(whole, outputs):
                for i in range(min(lanes, pixels - pixel)):
                    out[(first + o) * pixels + pixel + i] = sums[i * rows.width + o] << left >> right


@inlined
def add_patch(
    spikes: EventList, rows: Rows, window: Window, tile: int, out_y: int, out_x: int, sums: Array, at: int
) -> None:
    """Add up the rows of the spikes under the kernel at an output pixel; taps side by side are one run of events."""
    top, left = out_y * window.stride_y - window.padding_y, out_x * window.stride_x - window.padding_x
    taps = window.kernel_x if window.dilation_x == 1 else 1
    for kernel_y in range(window.kernel_y):
        y = top + kernel_y * window.dilation_y
        if y < 0 or y >= window.height:
            continue
        for kernel_x in range(0, window.kernel_x, taps):
            x = left + kernel_x * window.dilation_x
            start, stop = max(0, x), min(x + taps, window.width)
            if start >= stop:
                continue
            tap = (tile * window.kernel_y + kernel_y) * window.kernel_x + kernel_x
            base = (tap - x) * window.channels * rows.width
            begin, end = spikes.starts[y * window.width + start], spikes.starts[y * window.width + stop]
            while begin < end:
                next_ = min(begin + rows.safe, end)
                if rows.width == WIDE:
                    add_wide_rows(sums, at, rows.flat, base, spikes.events, begin, next_)
                else:
                    add_narrow_rows(sums, at, rows.flat, base, spikes.events, begin, next_)
                begin = next_
