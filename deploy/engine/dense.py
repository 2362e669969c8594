"""Dense convolution: every product is computed, so the work does not depend on the messages.

The result of a kernel lies in a buffer that its next call overwrites.
"""

import functools
import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from deploy.engine.arena import constant, zeros
from deploy.engine.im2col import Patches, Planes
from deploy.engine.ranges import MessageRange, exact_type, shift, sum_type, worst_sum
from deploy.engine.simd import jit
from deploy.ir.operations.convolution import IntConvolution

Array = NDArray[Any]


class FloatProduct:
    """BLAS, in the narrowest float type that holds every partial sum exactly: also of large graded messages."""

    by_spike = False

    def __init__(self, operation: IntConvolution, messages: MessageRange) -> None:
        geometry, worst = operation.geometry, worst_sum(operation, messages)
        self.patches, self.exponent = Patches(geometry, exact_type(worst)), operation.exponent
        self.weight_GOK = _matrices(operation, exact_type(worst))
        self.product = zeros((*self.weight_GOK.shape[:2], self.patches.planes.length), self.weight_GOK.dtype)
        self.out = zeros(geometry.out_shape, sum_type(worst, operation.exponent))

    def __call__(self, messages: Array) -> Array:
        np.matmul(self.weight_GOK, self.patches(messages), out=self.product)
        np.copyto(self.out, self.patches.planes.cropped(self.product), casting="unsafe")
        return shift(self.out, self.exponent)


class ByteProduct:
    """torch's product of int8 matrices with sums of 32 bits, which uses the int8 units of processors that have them."""

    by_spike = False

    def __init__(self, operation: IntConvolution) -> None:
        geometry = operation.geometry
        self.patches, self.exponent = Patches(geometry, np.int8), operation.exponent
        self.weights = [torch.from_numpy(weight_OK) for weight_OK in _matrices(operation, np.int8)]
        self.product = zeros((geometry.groups, len(self.weights[0]), self.patches.planes.length), np.int32)
        self.is_whole = self.product.size == np.prod(geometry.out_shape)  # nothing to cut off
        self.out = self.product.reshape(geometry.out_shape) if self.is_whole else zeros(geometry.out_shape, np.int32)

    def multiply(self, messages: Array, product: Array) -> None:
        """product[group] = weights x patches, with the columns that are cut off."""
        for weight, patches, of_group in zip(self.weights, self.patches(messages), product, strict=True):
            torch._int_mm(weight, torch.from_numpy(patches), out=torch.from_numpy(of_group))

    def __call__(self, messages: Array) -> Array:
        self.multiply(messages, self.product)
        if not self.is_whole:
            np.copyto(self.out, self.patches.planes.cropped(self.product))
        return shift(self.out, self.exponent)


class TwoByteProducts:
    """The int8 product for messages of 16 bits: of their upper bytes, times 256, and of the lower, signed ones."""

    by_spike = False
    most = (1 << 15) - (1 << 7) - 1  # the largest message whose upper byte fits into int8

    def __init__(self, operation: IntConvolution) -> None:
        self.bytes, exponent = ByteProduct(operation), operation.exponent
        self.left, self.right = max(0, exponent), max(0, -exponent)
        self.upper, self.lower = zeros(self.bytes.product.shape, np.int32), self.bytes.product
        self.out = zeros(operation.geometry.out_shape, np.int32)

    def __call__(self, messages: Array) -> Array:
        lower = messages.astype(np.int8)  # what is left of them modulo 256, from -128 to 127
        self.bytes.multiply((messages - lower) >> 8, self.upper)
        self.bytes.multiply(lower, self.lower)
        upper_OP, lower_OP = (product.reshape(len(self.out), -1) for product in (self.upper, self.lower))
        join(upper_OP, lower_OP, self.bytes.patches.planes.pitch, self.left, self.right, self.out)
        return self.out


@jit
def join(upper_OP: Array, lower_OP: Array, pitch: int, left: int, right: int, out_OHW: Array) -> None:
    """256 upper + lower, shifted, of rows of `pitch` values whose first are meant; all in 32 bits."""
    outputs, height, width = out_OHW.shape
    for o in range(outputs):
        for y in range(height):
            upper, lower, out = upper_OP[o, y * pitch :], lower_OP[o, y * pitch :], out_OHW[o, y]
            for x in range(width):
                out[x] = np.int32(np.int32((upper[x] << 8) + lower[x]) << left) >> right


class RowProduct:
    """For a kernel as large as its image: every output is one row of weights times the messages of its group."""

    by_spike = False

    def __init__(self, operation: IntConvolution, messages: MessageRange) -> None:
        geometry, worst = operation.geometry, worst_sum(operation, messages)
        self.groups, self.exponent = geometry.groups, operation.exponent
        self.weight_OK = constant(operation.mantissa.reshape(geometry.out_channels, -1))
        self.out = zeros(geometry.out_shape, sum_type(worst, operation.exponent))

    def __call__(self, messages: Array) -> Array:
        multiply_rows(self.weight_OK, messages.reshape(self.groups, -1), self.out.reshape(-1))
        return shift(self.out, self.exponent)


@jit
def multiply_rows(weight_OK: Array, messages_GK: Array, out: Array) -> None:
    """Sums of 32 bits: the caller sees to it that they suffice."""
    outputs = weight_OK.shape[0] // messages_GK.shape[0]
    for o in range(weight_OK.shape[0]):
        row, messages, total = weight_OK[o], messages_GK[o // outputs], np.int32(0)
        for k in range(row.size):
            total += np.int32(row[k]) * np.int32(messages[k])
        out[o] = total


def _matrices(operation: IntConvolution, dtype: DTypeLike) -> Array:
    """Weights [G, O / G, K]."""
    geometry = operation.geometry
    shape = (geometry.groups, geometry.out_channels // geometry.groups, -1)
    return constant(operation.mantissa.reshape(shape).astype(dtype))


@functools.cache
def byte_product_is_exact() -> bool:
    """Whether torch has its int8 product and the sums are right: older processors saturate pairs of products."""
    if not hasattr(torch, "_int_mm"):
        return False
    extremes = list(itertools.product((-128, -127, 0, 1, 127), repeat=2))
    rows = torch.tensor(extremes, dtype=torch.int8).repeat(1, 128)  # long enough for every code path
    return torch.equal(torch._int_mm(rows, rows.T.contiguous()).long(), rows.long() @ rows.T.long())


class ShiftedPlanes:
    """Every output plane adds up shifted planes of the input: for few channels in each of many groups."""

    by_spike = False

    def __init__(self, operation: IntConvolution, messages: MessageRange) -> None:
        geometry = operation.geometry
        self.planes, self.exponent = Planes(geometry, messages.dtype), operation.exponent
        self.weight_OIK = operation.mantissa.reshape(*operation.mantissa.shape[:2], -1).astype(np.int32)
        out_type = sum_type(worst_sum(operation, messages), operation.exponent)
        self.sums = zeros((geometry.out_channels, self.planes.length), out_type)
        self.out = zeros(geometry.out_shape, out_type)

    def __call__(self, messages: Array) -> Array:
        outputs = self.planes.geometry.out_channels // self.planes.geometry.groups
        add_planes(self.planes(messages), self.planes.phases, self.planes.starts, self.weight_OIK, outputs, self.sums)
        np.copyto(self.out, self.planes.cropped(self.sums))
        return shift(self.out, self.exponent)


@jit
def add_planes(planes: Array, phases: Array, starts: Array, weight_OIK: Array, outputs: int, sums: Array) -> None:
    """sums[o] = the pieces of the planes that the taps of output o see, times their weights; groups of `outputs`."""
    sums[:] = 0
    length = sums.shape[1]
    for o in range(weight_OIK.shape[0]):
        row = sums[o]
        for i in range(weight_OIK.shape[1]):
            channel = o // outputs * weight_OIK.shape[1] + i
            for tap in range(weight_OIK.shape[2]):
                weight = weight_OIK[o, i, tap]
                seen = planes[channel, phases[tap], starts[tap] : starts[tap] + length]
                for p in range(length):
                    row[p] += weight * seen[p]
