"""Real weights, factors, gains, decays and biases as what a chip stores: a few bits and a power of two."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.ir.machine import (
    BIAS_MANTISSA_LIMIT,
    DECAY_ONE,
    FACTOR_BITS,
    GAIN_LIMIT,
    STATE_SHIFT,
    largest_mantissa,
)
from deploy.ir.types import Array, IntArray, Values
from hardware.geometry import ConvGeometry


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How the operation of one connection is to be rounded.

    Attributes:
        factor: Units of the target that a message of 1.0 of the real-valued source stands for, per unit of the source.
        weight_bits: Width of a weight, sign included.
        right_shift: Whether the exponent may be negative. Spikes get no right shift, since stock Lava's Conv has none.
        mean_square: Mean square of what each input channel sends on the calibration clips, [C].
    """

    factor: float
    weight_bits: int
    right_shift: bool
    mean_square: Array


@dataclass(frozen=True, kw_only=True)
class RoundingError:
    """What rounding did to the weights, or the one factor, of a connection."""

    relative: float  # root mean square error over root mean square weight
    clipped: float  # share of the weights that are further off than half a step: the exponent cuts them off
    rows: Array  # of every output channel's own currents on the calibration clips, [O]; [1] for the one factor
    lost: Array  # root mean square of the currents there whose weights became 0, in real numbers, [O]; [1] for a factor


def share_of(error: Array, size: Array) -> Array:
    """Errors as shares of sizes; 0 where there is nothing to be off."""
    return np.divide(error, size, out=np.zeros_like(size), where=size > 0)


@dataclass(frozen=True, kw_only=True)
class RoundedWeights:
    """`mantissa * 2^exponent`, and the mean square error that this leaves in a current."""

    mantissa: NDArray[np.int16]  # [O, C / groups, kh, kw]
    exponent: int
    error: float


def round_weights(weight_OIHW: Array, geometry: ConvGeometry, rounding: Rounding) -> RoundedWeights:
    """Weights times `rounding.factor`, with one exponent for the connection.

    One exponent above and below the one that just holds the largest weight are tried too: clipping a few large weights
    can cost less than rounding all.
    """
    exact, limit = weight_OIHW * rounding.factor, largest_mantissa(rounding.weight_bits)
    peak = float(np.abs(exact).max())
    start = int(np.ceil(np.log2(peak / limit))) if peak > 0 else 0
    lowest = start - 1 if rounding.right_shift else 0
    candidates = []
    for exponent in sorted({max(e, lowest) for e in (start - 1, start, start + 1)}):
        mantissa = np.clip(np.rint(exact / 2.0**exponent), -limit, limit)
        error = _current_error(geometry, mantissa * 2.0**exponent - exact, rounding.mean_square)
        candidates.append(RoundedWeights(mantissa=mantissa.astype(np.int16), exponent=exponent, error=error))
    return min(candidates, key=lambda rounded: rounded.error)


def _current_error(geometry: ConvGeometry, error_OIHW: Array, mean_square: Array) -> float:
    """Mean square error of an output whose input channels have these mean squares, taken as independent."""
    return float(mean_square_currents(geometry, error_OIHW, mean_square).mean())


def mean_square_currents(geometry: ConvGeometry, weight_OIHW: Array, mean_square: Array) -> Array:
    """Mean square of every output, [O], whose input channels have these mean squares, taken as independent."""
    groups = geometry.groups
    by_group = (weight_OIHW**2).sum(axis=(2, 3)).reshape(groups, -1, weight_OIHW.shape[1])
    return np.einsum("goi,gi->go", by_group, mean_square.reshape(groups, -1)).ravel()


def round_factor(factor: float) -> tuple[int, int]:
    """A positive factor as an odd multiplier of at most 7 bits and an exponent; powers of two are exact."""
    exponent = int(np.floor(np.log2(factor))) - (FACTOR_BITS - 1)
    multiplier = round(factor / 2.0**exponent)
    while multiplier % 2 == 0:
        multiplier, exponent = multiplier // 2, exponent + 1
    return multiplier, exponent


def round_gain(gain: Values) -> tuple[IntArray, int]:
    """Gains as integers with one exponent, the largest filling its 12 bits."""
    peak = float(np.abs(gain).max())
    exponent = int(np.ceil(np.log2(peak / (GAIN_LIMIT - 1)))) if peak > 0 else 0
    return np.rint(gain / 2.0**exponent).astype(np.int64), exponent


def round_decay(decay: Array) -> IntArray:
    """A decay in units of 1 / 4096."""
    return np.clip(np.rint(decay * DECAY_ONE), 0, DECAY_ONE).astype(np.int64)


def round_state(state: Array | None, scale: float) -> IntArray | None:
    """A potential or current in 1/64 of the unit of the weights, where 1.0 is `scale` units."""
    return None if state is None else np.rint(state * scale * 2.0**STATE_SHIFT).astype(np.int64)


def round_bias(bias: Values, threshold: Values) -> tuple[IntArray, int]:
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


def relative_error(rounded: Values, exact: Values) -> float | None:
    """Largest relative error over the values that are positive; None where there is none."""
    rounded, exact = np.broadcast_arrays(rounded, exact)
    positive = exact > 0
    return float(np.abs(rounded[positive] / exact[positive] - 1).max()) if positive.any() else None
