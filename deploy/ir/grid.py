"""Grids through zero: the largest step of which values are whole multiples, whatever their unit."""

import numpy as np

from deploy.ir.types import BoolArray, Values

GRID_TOLERANCE = 1e-6  # of the largest value; what float32 and a few operations leave


def grid_levels(values: Values, most: int) -> float | None:
    """Levels per 1.0 of the coarsest grid through zero that holds all these values; None where there is none.

    The largest magnitude is at most `most` levels from zero. Counts have 1. Normalised pixels lie on a grid with an
    offset, (p / 255 - 0.45) / 0.225, which goes through zero where it is a few times finer: 229.5 levels.
    """
    magnitudes = np.abs(np.asarray(values, dtype=np.float64)).ravel()
    peak = float(magnitudes.max(initial=0.0))
    if not peak:
        return None
    relative, steps = magnitudes / peak, np.arange(1, most + 1, dtype=np.float64)
    while steps.size:
        wrong = relative[~_fits(relative, steps[:1])]
        if not wrong.size:
            return float(steps[0]) / peak
        steps = steps[_fits(wrong[len(wrong) // 2], steps)]
    return None


def _fits(value: Values, steps: Values) -> BoolArray:
    levels = value * steps
    return np.asarray(np.abs(levels - np.rint(levels)) <= GRID_TOLERANCE * steps)
