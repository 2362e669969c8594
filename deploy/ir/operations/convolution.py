"""A convolution, and every other linear map: a kernel as large as the image is a dense layer.

Legend: O output channels, C / groups input channels of a group, kh and kw rows and columns of the kernel.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.chip import ChipPart, synapses_of
from deploy.ir.extension import Operator
from deploy.ir.grid import grid_levels
from deploy.ir.intervals import Interval
from deploy.ir.kernels import flatten
from deploy.ir.linear import convolve
from deploy.ir.machine import largest_mantissa
from deploy.ir.operations.base import Counted, IntOperation, OfGeometry, shifted, stored_weight_bits
from deploy.ir.rounding import (
    RoundedWeights,
    Rounding,
    RoundingError,
    mean_square_currents,
    round_weights,
    share_of,
)
from deploy.ir.types import Array, IntArray, NodeShape, Values
from hardware.geometry import ConvGeometry

HALF_A_STEP = 0.5 + 1e-6


@dataclass(frozen=True, kw_only=True)
class Convolution(OfGeometry):
    """`y = weight * x`: 2-D cross-correlation with zero padding, stride, dilation and groups."""

    weight: Array  # [O, C / groups, kh, kw]
    geometry: ConvGeometry
    trained_bits: int | None = None  # width of the grid that the weights were trained on; passes must keep it

    passes_on, keeps_unit = False, False
    factor = None

    @property
    def linear(self) -> "Convolution":
        return replace(self, trained_bits=None)

    @property
    def weights(self) -> int:
        return self.geometry.weights

    @property
    def largest_weight(self) -> float:
        return float(np.abs(self.weight).max())

    @property
    def largest_of_rows(self) -> Array:
        return np.abs(self.weight).max(axis=(1, 2, 3))

    def levels(self, most: int) -> float | None:
        return grid_levels(self.weight, most)

    def __call__(self, x_NCHW: Array, /) -> Array:
        return convolve(x_NCHW, self.weight, self.geometry)

    def interval(self, x: Interval) -> Interval:
        return kernel_interval(self.weight, self.geometry, x)

    def largest_sum(self, x: Interval, weight_bits: int) -> float:
        if not self.largest_weight:
            return 0.0
        return self.interval(x).magnitude * (largest_mantissa(weight_bits) / self.largest_weight)

    def rounded(self, rounding: Rounding) -> "IntConvolution":
        found = self._round(rounding)
        return IntConvolution(mantissa=found.mantissa, exponent=found.exponent, geometry=self.geometry)

    def rounding_cost(self, rounding: Rounding) -> float:
        return self._round(rounding).error / rounding.factor**2

    def _round(self, rounding: Rounding) -> RoundedWeights:
        return round_weights(self.weight, self.geometry, rounding)

    def drift(self, rounded: IntOperation, factor: float, mean_CHW: Array) -> Array:
        """Mean over positions of what the error of the weights makes of the mean messages."""
        assert isinstance(rounded, IntConvolution)
        error = replace(self, weight=rounded.mantissa * 2.0**rounded.exponent / factor - self.weight)
        return error(mean_CHW[np.newaxis])[0].mean(axis=(1, 2), keepdims=True)

    def rounding_error(self, rounded: IntOperation, step: float, mean_square: Array) -> RoundingError:
        assert isinstance(rounded, IntConvolution)
        error = rounded.mantissa * step - self.weight
        size = float(np.sqrt(np.mean(self.weight**2)))
        off, all_of_it, lost = (
            np.sqrt(mean_square_currents(self.geometry, weight, mean_square))
            for weight in (error, self.weight, np.where(rounded.mantissa == 0, self.weight, 0.0))
        )
        return RoundingError(
            relative=float(np.sqrt(np.mean(error**2))) / size if size else 0.0,
            clipped=float((np.abs(error) > step * HALF_A_STEP).mean()),
            rows=share_of(off, all_of_it),
            lost=lost,
        )

    def with_output_factors(self, factors_O: Array) -> "Convolution":
        return replace(self, weight=self.weight * factors_O.reshape(-1, 1, 1, 1))

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
        g, weight = self.geometry, self.weight
        if g.kernel == g.in_shape[1:] and g.out_shape[1:] == (1, 1) and g.groups == 1 and g.padding == (0, 0):
            dense = weight.reshape(len(weight), -1)
            node = nir.Linear(dense) if bias is None else nir.Affine(dense, bias)
            return [node] if len(before) == 1 else [flatten(before), node]
        bias, flat = np.zeros(len(weight)) if bias is None else bias, [flatten(g.out_shape)] if len(after) == 1 else []
        if len(before) == 3 and len(after) in (1, 3):
            return [nir.Conv2d(g.in_shape[1:], weight, g.stride, g.padding, g.dilation, g.groups, bias), *flat]
        if len(before) == len(after) == 2 and g.kernel[0] == 1 and g.padding[0] == 0:
            along = (g.stride[1], g.padding[1], g.dilation[1])
            return [nir.Conv1d(g.in_shape[2], weight[:, :, 0], *along, g.groups, bias)]
        return None


FLOAT32_LIMIT = 1 << 24  # up to which float32 holds every whole number; float64 up to 2^53, where 24 bits are proven


@dataclass(frozen=True, kw_only=True)
class IntConvolution(OfGeometry, Counted):
    """Weights are `mantissa * 2^exponent`, one exponent for the connection."""

    mantissa: NDArray[np.int16]  # [O, C / groups, kh, kw]
    exponent: int
    geometry: ConvGeometry

    passes_on = False
    unit_factor = None
    fills_register = True

    @property
    def linear(self) -> Convolution:
        return self.exact(1.0)[0]

    @property
    def weights(self) -> int:
        return self.geometry.weights

    @property
    def weight_bits(self) -> int:
        return stored_weight_bits(self.mantissa)

    @property
    def lone_weight(self) -> int | None:
        weight = int(self.mantissa.flat[0])
        alone = self.mantissa[0].size == 1 and weight > 0 and (self.mantissa == weight).all()
        return weight if alone else None

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        # Products of real numbers are fast, and exact where the type holds all sums, those on the way included.
        largest = max(int(x_NCHW.max(initial=0)), -int(x_NCHW.min(initial=0)))
        sums = largest * int(np.abs(self.mantissa.astype(np.int64)).sum(axis=(1, 2, 3)).max())
        kind = np.float32 if sums <= FLOAT32_LIMIT else np.float64
        total = convolve(x_NCHW.astype(kind), self.mantissa.astype(kind), self.geometry)
        return shifted(total.astype(np.int64), self.exponent)

    def with_exponent(self, exponent: int) -> "IntConvolution":
        return replace(self, exponent=exponent)

    def exact(self, unit: float) -> tuple[Convolution, float]:
        weight = self.mantissa.astype(np.float64) * (2.0**self.exponent / unit)
        return Convolution(weight=weight, geometry=self.geometry), 1.0

    def split(self, low_bits: int) -> tuple["IntConvolution", "IntConvolution"]:
        """Two convolutions whose sum this is: the weights without their lowest bits, and these bits."""
        magnitude, sign = np.abs(self.mantissa), np.sign(self.mantissa)
        high, low = sign * (magnitude >> low_bits), sign * (magnitude & ((1 << low_bits) - 1))
        return replace(self, mantissa=high, exponent=self.exponent + low_bits), replace(self, mantissa=low)

    def joined(self, low: "IntConvolution") -> "IntConvolution":
        """The convolution that `split` took apart."""
        return replace(low, mantissa=(self.mantissa << (self.exponent - low.exponent)) + low.mantissa)

    def sum_interval(self, x: Interval) -> Interval:
        return kernel_interval(self.mantissa, self.geometry, x)

    def chip_parts(self) -> Iterator[ChipPart]:
        g = self.geometry
        dense = g.kernel == g.in_shape[1:] and g.out_shape[1:] == (1, 1) and g.groups == 1
        what = "dense" if dense else f"convolution {g.kernel[0]}x{g.kernel[1]}, stride {g.stride[0]}"
        yield ChipPart(what=what, process=synapses_of(g))


OPERATOR = Operator(integer=IntConvolution)


def kernel_interval(weight_OIHW: Values, geometry: ConvGeometry, x: Interval) -> Interval:
    """Range of every output channel of a kernel; padding gives zeros, so 0 is always in the range of an input.

    From an image of one pixel, each output sees one place of the kernel at most.
    """
    groups, inputs = geometry.groups, x.with_zero()
    if geometry.in_shape[1:] == (1, 1):
        return _interval_of_pixel(weight_OIHW, groups, inputs)
    low, high = inputs.low.reshape(groups, 1, -1), inputs.high.reshape(groups, 1, -1)
    weight = weight_OIHW.astype(np.float64).reshape(groups, len(weight_OIHW) // groups, weight_OIHW.shape[1], -1)
    positive, negative = np.maximum(weight, 0).sum(-1), np.minimum(weight, 0).sum(-1)  # [G, O / G, C / G]
    return Interval(
        low=(positive * low + negative * high).sum(-1).ravel(),
        high=(positive * high + negative * low).sum(-1).ravel(),
    )


def _interval_of_pixel(weight_OIHW: Values, groups: int, inputs: Interval) -> Interval:
    """The widest range of all places of the kernel, and 0 beside the kernel."""
    low, high = (limit.reshape(groups, 1, -1, 1) for limit in (inputs.low, inputs.high))
    weight = weight_OIHW.astype(np.float64).reshape(groups, len(weight_OIHW) // groups, weight_OIHW.shape[1], -1)
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    lowest = (positive * low + negative * high).sum(axis=2).min(axis=-1)
    highest = (positive * high + negative * low).sum(axis=2).max(axis=-1)
    return Interval(low=lowest.ravel(), high=highest.ravel()).with_zero()
