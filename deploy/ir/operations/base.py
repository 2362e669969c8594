"""What every operation answers, in real numbers and in integers.

Legend: N frames (any batch of them), C channels, H rows, W columns of the input; O, H', W' of the output.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.chip import ChipPart
from deploy.ir.intervals import Interval
from deploy.ir.machine import STATE_BITS
from deploy.ir.rounding import Rounding, RoundingError
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
from hardware import OpCounts, count_operation, expected_ops
from hardware.geometry import Geometry


class Operation(Protocol):
    """A map of one frame of messages, in real numbers."""

    @property
    def in_shape(self) -> Shape:
        """(C, H, W) of what it takes."""

    @property
    def out_shape(self) -> Shape:
        """(O, H', W') of what it gives."""

    @property
    def geometry(self) -> Geometry:
        """Which neurons a message reaches."""

    @property
    def passes_on(self) -> bool:
        """Whether every value goes to one place unchanged."""

    @property
    def keeps_unit(self) -> bool:
        """Whether the result counts in the unit of its input, so that source and target can share one scale."""

    @property
    def factor(self) -> float | None:
        """The one number that multiplies the result; None for an operation with weights."""

    @property
    def linear(self) -> "Operation | None":
        """The same as a kernel or an identity that may be multiplied with others; None where it is not linear."""

    @property
    def weights(self) -> int:
        """How many weights are stored."""

    @property
    def largest_weight(self) -> float | None:
        """Magnitude of the largest weight; None for an operation without weights."""

    @property
    def largest_of_rows(self) -> Array | None:
        """Magnitude of the largest weight of every output channel, [O]; None for an operation without weights."""

    def levels(self, most: int) -> float | None:
        """Levels per 1.0 of a grid of at most `most` levels that holds all weights (`deploy.ir.grid`)."""

    def __call__(self, x_NCHW: Array, /) -> Array:
        """Result [N, O, H', W'] for frames [N, C, H, W]."""

    def interval(self, x: Interval) -> Interval:
        """Range of the result of every output channel for inputs in this range."""

    def largest_sum(self, x: Interval, weight_bits: int) -> float:
        """Worst synaptic sum when the largest weight fills its `weight_bits`; 0 where nothing is weighted."""

    def rounded(self, rounding: Rounding) -> "IntOperation":
        """The operation in integers."""

    def rounding_cost(self, rounding: Rounding) -> float:
        """Mean square error that rounding adds to a current, in the unit of the real-valued target."""

    def drift(self, rounded: "IntOperation", factor: float, mean_CHW: Array) -> Array:
        """What rounding adds to the mean current of every output channel, [O, 1, 1], real-valued.

        `mean_CHW` is the mean message of every input neuron, `factor` that of `Rounding`.
        """

    def rounding_error(self, rounded: "IntOperation", step: float, mean_square: Array) -> RoundingError:
        """How far the rounded weights are off, where one unit of their mantissa stands for `step`.

        `mean_square` is that of what every input channel sends, [C].
        """

    def with_output_factors(self, factors_O: Array) -> "Operation | None":
        """The operation with every output channel times a factor, where its weights can take it; else None."""

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
        """Nodes of NIR in a row that are the operation between signals of these shapes; None where there are none.

        A convolution's have a `bias` for every channel.
        """


class IntOperation(Protocol):
    """A map of one frame of messages in the integers of the machine."""

    @property
    def in_shape(self) -> Shape:
        """(C, H, W) of what it takes."""

    @property
    def out_shape(self) -> Shape:
        """(O, H', W') of what it gives."""

    @property
    def geometry(self) -> Geometry:
        """Which neurons a message reaches."""

    @property
    def exponent(self) -> int:
        """The sum is multiplied by 2^exponent; right shifts round down."""

    @property
    def passes_on(self) -> bool:
        """Whether every value goes to one place; it may be multiplied on the way."""

    @property
    def linear(self) -> Operation | None:
        """The same in real numbers, exponent and all, but for what a right shift cuts off; None where not linear."""

    @property
    def unit_factor(self) -> float | None:
        """What a value of 1 becomes where it arrives; None where values are weighted."""

    @property
    def weights(self) -> int:
        """How many weights are stored."""

    @property
    def weight_bits(self) -> int:
        """Bits that a stored weight needs, sign included; 0 without weights."""

    @property
    def lone_weight(self) -> int | None:
        """The one positive weight of a kernel that passes each value on alone; None for all others."""

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        """Result [N, O, H', W'] for messages [N, C, H, W], exact."""

    def with_exponent(self, exponent: int) -> "IntOperation":
        """The same sum with another exponent."""

    def exact(self, unit: float) -> tuple[Operation, float]:
        """The same in real numbers, where nothing is rounded, and a factor behind it that it cannot hold itself.

        A result is divided by `unit`.
        """

    def sum_interval(self, x: Interval) -> Interval:
        """Range of the synaptic sum of every output channel, before the exponent."""

    @property
    def fills_register(self) -> bool:
        """Whether there is a sum or product that a register has to hold."""

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        """Operations and memory accesses that these messages cause.

        `binary` messages are spikes; `state_memory_bits` is the size of the target's potentials.
        """

    def expected_ops(self, rate: float, time_steps: int) -> float | None:
        """Operations by rate x synapses; None where they depend on more than one rate."""

    @property
    def reaches_unevenly(self) -> bool:
        """Whether messages from some positions reach more neurons than from others, as at the border of an image."""

    def chip_parts(self) -> Iterator[ChipPart]:
        """What Loihi 2 makes of it."""


class OfGeometry:
    """Shapes of an operation whose geometry has them."""

    geometry: Any

    @property
    def in_shape(self) -> Shape:
        found: Shape = self.geometry.in_shape
        return found

    @property
    def out_shape(self) -> Shape:
        found: Shape = self.geometry.out_shape
        return found


class WithoutWeights:
    """Answers of a real-valued operation that has one factor and no weights."""

    weights, largest_weight, largest_of_rows = 0, None, None

    @property
    def factor(self) -> float:
        return 1.0

    def levels(self, most: int) -> None:
        """No weight has to lie on a grid."""

    def largest_sum(self, x: Interval, weight_bits: int) -> float:
        """No weight can be large."""
        return 0.0

    def rounding_cost(self, rounding: Rounding) -> float:
        """One factor is rounded exactly where it is a power of two, and hardly costs anything elsewhere."""
        return 0.0

    def drift(self, rounded: IntOperation, factor: float, mean_CHW: Array) -> Array:
        """None that is taken back."""
        return np.zeros((1, 1, 1))

    def rounding_error(self, rounded: IntOperation, step: float, mean_square: Array) -> RoundingError:
        """That of the one factor."""
        assert isinstance(rounded, IntWithoutWeights)
        error = abs(abs(rounded.multiplier) * step / self.factor - 1)
        return RoundingError(relative=error, clipped=0.0, rows=np.array([error]), lost=np.zeros(1))

    def with_output_factors(self, factors_O: Array) -> None:
        """There are no weights to take them."""


class Counted:
    """What an integer operation's geometry says of its operations."""

    geometry: Any
    weight_bits: Any

    def count(self, messages_NCHW: Values, *, binary: bool, state_memory_bits: int) -> OpCounts:
        return count_operation(
            messages_NCHW,
            self.geometry,
            binary=binary,
            weight_bits=self.weight_bits,
            state_bits=STATE_BITS,
            state_memory_bits=state_memory_bits,
        )

    def expected_ops(self, rate: float, time_steps: int) -> float | None:
        """None for a product of two rates."""
        return None if self.geometry.multiplies_signals else expected_ops(self.geometry, rate, time_steps=time_steps)

    @property
    def reaches_unevenly(self) -> bool:
        return not self.geometry.multiplies_signals and bool(np.ptp(self.geometry.fan_out_map()))


@dataclass(frozen=True, kw_only=True)
class IntWithoutWeights(Counted):
    """Answers of an integer operation that stores no weights: its sum is multiplied by `multiplier * 2^exponent`."""

    multiplier: int = 1
    exponent: int = 0

    weights, weight_bits, lone_weight = 0, 0, None

    def with_exponent(self, exponent: int) -> Self:
        return replace(self, exponent=exponent)


class IntPassedOn(IntWithoutWeights):
    """Of one that hands values on unweighted: times 1 within a stream, times the scale of the target for spikes."""

    @property
    def unit_factor(self) -> float:
        return self.multiplier * 2.0**self.exponent

    @property
    def fills_register(self) -> bool:
        return self.multiplier != 1


def shifted(total: IntArray, exponent: int) -> IntArray:
    """A synaptic sum times 2^exponent; right shifts round down, as on the chip."""
    if exponent == 0:
        return total
    return total << exponent if exponent > 0 else total >> -exponent


def stored_weight_bits(mantissa: NDArray[np.int16]) -> int:
    """Bits that weights need, sign included (-128 to 127 are 8); factors of two that all share are in the exponent."""
    weights = mantissa.astype(np.int64)
    shared = int(np.gcd.reduce(np.abs(weights), axis=None))
    reduced = weights // max(shared & -shared, 1)
    return max(int(reduced.max()), int(~reduced.min()), int(reduced.any())).bit_length() + 1
