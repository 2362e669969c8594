"""What messages can be, what they can add up to, and the narrowest types that hold it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.machine import STATE_LIMIT
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntPopulation

EXACT_IN_FLOAT32 = 1 << 24
BYTE = np.iinfo(np.int8)

IntType = type[np.int16] | type[np.int32] | type[np.int64]


@dataclass(frozen=True, kw_only=True)
class MessageRange:
    """Smallest and largest message of a population."""

    low: int
    high: int

    @property
    def are_spikes(self) -> bool:
        return self.low >= 0 and self.high <= 1

    @property
    def are_bytes(self) -> bool:
        return are_bytes(self.low, self.high)

    @property
    def dtype(self) -> type[np.int8] | type[np.int32]:
        return np.int8 if self.are_bytes else np.int32

    @property
    def magnitude(self) -> int:
        return max(abs(self.low), abs(self.high))


SPIKES = MessageRange(low=0, high=1)


def message_range(population: IntPopulation) -> MessageRange:
    """Smallest and largest value that a population can send; graded sums are proven to have 24 bits."""
    low, high = population.message_interval() or (-STATE_LIMIT, STATE_LIMIT)
    return MessageRange(low=low, high=high)


def message_type(population: IntPopulation) -> np.dtype[Any]:
    """int8 spikes, int32 graded messages."""
    return np.dtype(np.int8 if population.spiking else np.int32)


def are_bytes(low: int, high: int) -> bool:
    """Whether values from low to high fit into int8."""
    return BYTE.min <= low and high <= BYTE.max


def worst_sum(operation: IntConvolution, messages: MessageRange) -> int:
    """Bound on the absolute value of every partial sum of a convolution, before its shift."""
    return int(np.abs(operation.mantissa.astype(np.int64)).sum(axis=(1, 2, 3)).max()) * messages.magnitude


def exact_type(worst: int) -> type[np.float32] | type[np.float64]:
    """The narrowest float type in which sums of integers up to `worst` are exact."""
    return np.float32 if worst < EXACT_IN_FLOAT32 else np.float64


def sum_type(worst: int, exponent: int) -> IntType:
    """The narrowest integer type for sums up to `worst` and for what the shift makes of them."""
    return next(kind for kind in (np.int16, np.int32, np.int64) if worst << max(0, exponent) <= np.iinfo(kind).max)


def shift(sums: NDArray[Any], exponent: int) -> NDArray[Any]:
    """A synaptic sum times 2^exponent, in place; right shifts round down, as on the chip."""
    if exponent < 0:
        return np.right_shift(sums, -exponent, out=sums)
    return np.left_shift(sums, exponent, out=sums) if exponent else sums


def scaled(values: NDArray[Any], multiplier: int, exponent: int, out: NDArray[Any]) -> NDArray[Any]:
    """Values times `multiplier * 2^exponent`, in the type of `out`."""
    return shift(np.multiply(values, out.dtype.type(multiplier), out=out), exponent)
