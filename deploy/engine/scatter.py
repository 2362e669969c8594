"""Event-driven convolution for few outputs in each of many groups: every spike adds its weights where it arrives."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.events import Window, flat_spikes
from deploy.engine.ranges import SPIKES, shift, sum_type, worst_sum
from deploy.engine.simd import WORD, first_bit, jit, pack
from deploy.ir.operations.convolution import IntConvolution

Array = NDArray[Any]


class Reach(NamedTuple):
    """Which taps bring the spikes of a pixel to which output pixels: taps[starts[p] : starts[p + 1]], and `places`."""

    starts: Array
    taps: Array
    places: Array

    @classmethod
    def of(cls, w: Window) -> "Reach":
        """Output o reads input i through tap k where i + padding = o * stride + k * dilation."""
        kernel, out = (w.kernel_y, w.kernel_x), (w.out_height, w.out_width)
        kernel_y, kernel_x, out_y, out_x = np.indices((*kernel, *out))
        y = out_y * w.stride_y + kernel_y * w.dilation_y - w.padding_y
        x = out_x * w.stride_x + kernel_x * w.dilation_x - w.padding_x
        inside = (y >= 0) & (y < w.height) & (x >= 0) & (x < w.width)
        pixels = (y * w.width + x)[inside]
        order = np.argsort(pixels, kind="stable")
        starts = np.searchsorted(pixels[order], np.arange(w.height * w.width + 1))
        taps, places = kernel_y * w.kernel_x + kernel_x, out_y * w.out_width + out_x
        return cls(*(values.astype(np.int32) for values in (starts, taps[inside][order], places[inside][order])))


class ScatteredEvents:
    """Convolution in which every spike adds its weights to the outputs it reaches: few outputs in each of many groups.

    The result lies in a buffer that the next call overwrites.
    """

    by_spike = True

    def __init__(self, operation: IntConvolution) -> None:
        geometry, window = operation.geometry, Window.of_group(operation.geometry)
        self.inputs, self.reach, self.exponent = window.channels, Reach.of(window), operation.exponent
        weight_GOIK = operation.mantissa.reshape(geometry.groups, window.out_channels, window.channels, -1)
        self.weight_CKO = np.ascontiguousarray(weight_GOIK.transpose(0, 2, 3, 1)).reshape(
            geometry.in_shape[0], -1, window.out_channels
        )
        self.out = zeros(geometry.out_shape, sum_type(worst_sum(operation, SPIKES), operation.exponent))

    def __call__(self, messages: Array) -> Array:
        self.out[:] = 0
        out_GOP = self.out.reshape(messages.shape[0] // self.inputs, self.weight_CKO.shape[2], -1)
        scatter(flat_spikes(messages), self.weight_CKO, self.inputs, self.reach, out_GOP)
        return shift(self.out, self.exponent)


@jit
def scatter(spikes: Array, weight_CKO: Array, inputs: int, reach: Reach, out_GOP: Array) -> None:
    """out[g, o, p] += the weights of every spike, which is in one of the `inputs` channels of its group."""
    pixels, outputs = reach.starts.size - 1, weight_CKO.shape[2]
    for start in range(0, spikes.size, WORD):
        bits = pack(spikes, start)
        while bits:
            channel, pixel = divmod(start + first_bit(bits), pixels)
            bits &= bits - np.uint64(1)
            for i in range(reach.starts[pixel], reach.starts[pixel + 1]):
                for o in range(outputs):
                    out_GOP[channel // inputs, o, reach.places[i]] += weight_CKO[channel, reach.taps[i], o]
