"""A threshold in another unit that decides as the one before it does, also for a potential that stands exactly there.

A quotient is rounded, up as often as down, and `>` is lost by half a bit: a file says `v >= 0.5` by the largest float
below 0.5, and that over 2/3 can be 0.75 again, which a potential of 0.75 is not above. Sums of spikes times weights
like 1/8 stand at a threshold often, not by chance.
"""

from collections.abc import Callable

import numpy as np

from deploy.ir.types import Array

ULPS = 16.0  # by which a quotient and the product that undoes it can be off together, at most


def threshold_in_unit(threshold: Array, reset: Array, unit: Array, added: Callable[[Array], Array]) -> Array:
    """The largest float x for which the potential `reset + added(x)` is not above the threshold.

    `added(x)` is about `unit x`, as the neuron computes it, rounding included, and grows with x. A threshold that is
    infinite stays so; one that is not above the reset potential has no ties, and becomes the quotient.
    """
    between = np.isfinite(threshold) & (threshold > reset)
    limit = np.where(between, threshold, reset)
    guess = (limit - reset) / unit
    off = ULPS * np.finfo(np.float64).eps * (np.abs(limit) + np.abs(reset)) / unit
    low, high = guess - off, guess + off
    while ((low < (middle := low + (high - low) / 2)) & (middle < high)).any():
        stays = reset + added(middle) <= limit
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    return np.where(between, low, (threshold - reset) / unit)
