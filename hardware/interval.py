"""A total as an interval: each constant drawn between what its sources say, each count by the spread of the clips.

A constant is drawn from a log-uniform distribution between the lowest and the highest figure of its sources; of a lone
source between half and double. Constants with one value and source are one draw (an addition is an addition, whatever
it adds). Where the figure of a synaptic operation stands in, it is multiplied by a draw between half and double. Counts
are drawn around their mean with the covariance of the mean of the clips (their standard error). Draws are the same in
every run, and those of a constant are the same for all networks, so that networks are compared under equal constants.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.chip import Chip
from hardware.counts import Counts
from hardware.energy import PJ_PER_MJ, WEIGHTED, PricedCause, price
from hardware.keys import key

DRAWS = 4096
LIKELY = (5, 95)  # percentiles between which an interval lies
FACTOR = 2.0  # by which a figure of a lone source may be wrong, either way


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What a total may be."""

    low_mj: float = field(metadata=key("5 % of the draws lie below", "mJ"))
    high_mj: float = field(metadata=key("5 % of the draws lie above", "mJ"))

    @classmethod
    def of(cls, draws_mj: NDArray[np.float64]) -> "Interval":
        """The interval of some draws."""
        low, high = np.percentile(draws_mj, LIKELY)
        return cls(low_mj=float(low), high_mj=float(high))


def drawn_mj(
    by_clip: Sequence[Counts[Any]], chip: Chip, *, weighted: bool = False, stream: str = "clips"
) -> NDArray[np.float64]:
    """Totals of the mean clip on a chip, mJ, one for each draw; of weighted layers alone where `weighted`.

    `stream` names the draws of the clips: networks that are compared have different ones. Raises ChipError for a chip
    without published energy.
    """
    priced = [price(counts, chip) for counts in by_clip]
    causes = [cause for cause in priced[0].causes if not weighted or cause.cause in WEIGHTED]
    kept = {cause.cause for cause in causes}
    counts_NC = np.array([[c.count for c in found.causes if c.cause in kept] for found in priced], dtype=np.float64)
    pj_CD = np.stack([_constant(cause) for cause in causes])
    return np.asarray((_means(counts_NC, stream) * pj_CD.T).sum(axis=1) / PJ_PER_MJ)


def _means(counts_NC: NDArray[np.float64], stream: str) -> NDArray[np.float64]:
    """Draws of the mean counts, [DRAWS, C]; of one clip its counts alone, since it shows no spread."""
    clips, mean_C = len(counts_NC), counts_NC.mean(axis=0)
    if clips == 1:
        return np.tile(mean_C, (DRAWS, 1))
    _, sizes, axes = np.linalg.svd((counts_NC - mean_C) / np.sqrt(clips * (clips - 1)), full_matrices=False)
    return np.asarray(mean_C + _stream(stream).standard_normal((DRAWS, len(sizes))) @ (sizes[:, None] * axes))


def _constant(cause: PricedCause) -> NDArray[np.float64]:
    """Draws of what one operation costs, [DRAWS], pJ."""
    figure = cause.figure
    low, high = figure.range_pj if figure.others else (figure.pj / FACTOR, figure.pj * FACTOR)
    drawn = _log_uniform(f"{figure.value} {figure.unit} {figure.source}", low, high)
    if cause.stand_in:
        drawn = drawn * _log_uniform(f"stand-in for {cause.cause}", 1 / FACTOR, FACTOR)
    return drawn


def _log_uniform(name: str, low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(_stream(name).uniform(np.log(low), np.log(high), DRAWS)))


def _stream(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def compared(ours_mj: NDArray[np.float64], theirs_mj: NDArray[np.float64]) -> str:
    """What 95 % of the draws say of ours: cheaper or dearer; else undecided."""
    share = float(np.mean(ours_mj < theirs_mj))
    if share >= LIKELY[1] / 100:
        return "cheaper"
    return "dearer" if share <= LIKELY[0] / 100 else "undecided"
