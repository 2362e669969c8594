"""Real weights, factors and biases as what a chip stores: a few bits and a power of two."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import IntGain
from deploy.ir.machine import BIAS_MANTISSA_LIMIT, GAIN_LIMIT, STATE_SHIFT
from deploy.ir.network import Convolution


@dataclass(frozen=True, kw_only=True)
class RoundedWeights:
    """`mantissa * 2^exponent`, and the mean square error that this leaves in a current."""

    mantissa: NDArray[np.int16]
    exponent: int
    error: float


def largest_mantissa(weight_bits: int) -> int:
    return int(2 ** (weight_bits - 1) - 1)


def round_weights(
    operation: Convolution, factor: float, activity: NDArray[Any], *, weight_bits: int, right_shift: bool
) -> RoundedWeights:
    """Weights times `factor`; `activity` [C] is the mean square of what the input channels send.

    One exponent above and below the one that just holds the largest weight are tried too: clipping a few large weights
    can cost less than rounding all. `right_shift` allows exponents below 0.
    """
    exact, limit = operation.weight * factor, largest_mantissa(weight_bits)
    peak = float(np.abs(exact).max())
    start = int(np.ceil(np.log2(peak / limit))) if peak > 0 else 0
    lowest = start - 1 if right_shift else 0
    candidates = []
    for exponent in sorted({max(e, lowest) for e in (start - 1, start, start + 1)}):
        mantissa = np.clip(np.rint(exact / 2.0**exponent), -limit, limit)
        error = _current_error(operation, mantissa * 2.0**exponent - exact, activity)
        candidates.append(RoundedWeights(mantissa=mantissa.astype(np.int16), exponent=exponent, error=error))
    return min(candidates, key=lambda rounded: rounded.error)


def _current_error(operation: Convolution, error_OIHW: NDArray[Any], activity: NDArray[Any]) -> float:
    """Mean square error of an output when input channels carry `activity` (mean squares), taken as independent."""
    groups = operation.geometry.groups
    by_group = (error_OIHW**2).sum(axis=(2, 3)).reshape(groups, -1, error_OIHW.shape[1])
    return float(np.einsum("goi,gi->", by_group, activity.reshape(groups, -1)) / len(error_OIHW))


def round_factor(factor: float) -> tuple[int, int]:
    """A positive factor as an odd multiplier of at most 7 bits and an exponent; powers of two are exact."""
    exponent = int(np.floor(np.log2(factor))) - 6
    multiplier = round(factor / 2.0**exponent)
    while multiplier % 2 == 0:
        multiplier, exponent = multiplier // 2, exponent + 1
    return multiplier, exponent


def round_gain(gain: NDArray[Any]) -> IntGain:
    """Gains as integers with one exponent, the largest filling its 12 bits."""
    peak = float(np.abs(gain).max())
    exponent = int(np.ceil(np.log2(peak / (GAIN_LIMIT - 1)))) if peak > 0 else 0
    return IntGain(multiplier=np.rint(gain / 2.0**exponent).astype(np.int64), exponent=exponent)


def round_bias(bias: NDArray[Any], threshold: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Mantissa (13 bits with sign) and exponent, in 1/64 of a least significant bit, as bias and threshold are given.

    A potential equal to the rounded threshold has to fire where rounding went up (and where the model fires at
    v >= threshold, whose threshold is a hair below a whole number): there, and where the exponent leaves room for it, a
    bias of 1/64 of a bit turns ties into spikes (8 to 25 times fewer wrong spikes at tau = 2, measured).
    """
    exact = np.atleast_3d(bias) * 2.0**STATE_SHIFT
    peak = float(np.abs(exact).max()) + 1
    exponent = max(0, int(np.ceil(np.log2(peak / (BIAS_MANTISSA_LIMIT - 1)))))
    tie_fires = (np.rint(threshold) > threshold) & (exponent == 0)
    return np.rint(exact / 2.0**exponent).astype(np.int64) + tie_fires, exponent
