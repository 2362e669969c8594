"""What representative clips show of a float network, for the choice of scales and rounding."""

from dataclasses import dataclass

import numpy as np

from deploy.ir.network import Network, run_float
from deploy.ir.readout import read_out
from deploy.ir.types import Array, Values
from deploy.passes.probes import PotentialProbe
from deploy.passes.statistics import MessageSums, chunks
from svformer.common.errors import InputError

SILENT = 1e-4  # mean square of a channel that no calibration clip woke: its weights are rounded with care all the same
MOST_LEVELS = 4096  # more different values than this are no grid
FINEST = 8  # times finer than the distance of neighbouring values
GRID_TOLERANCE = 0.02  # levels; what float32 leaves


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What representative clips show: the range of the input, and what every population sends.

    Attributes:
        input_range: Smallest and largest value that an input can have.
        input_levels: Levels per 1.0 of a grid that holds all input values (counts: 1); None where there is none.
        mean_square: Mean square of the messages of every channel, [C], by population.
        means: Mean message of every neuron, [C, H, W], by population.
        potentials: Lowest and highest potential of every population that has one.
        frames_NTCHW: The clips themselves.
        at_once: How many clips run at the same time (None: all).
        results: Of the float network for these clips, [N, K].
    """

    input_range: tuple[float, float]
    input_levels: float | None
    mean_square: dict[str, Array]
    means: dict[str, Array]
    potentials: dict[str, tuple[float, float]]
    frames_NTCHW: Values
    at_once: int | None
    results: Array


def calibrate(
    network: Network,
    frames_NTCHW: Values,
    *,
    input_range: tuple[float, float] | None = None,
    at_once: int | None = None,
) -> Calibration:
    """Run the float network on clips; `input_range` is what an input can be (default: what these clips show).

    At most `at_once` clips are in memory at the same time (default: all); nothing that is found depends on it.

    Raises `InputError` when there are no clips, or when they show nothing.
    """
    if len(frames_NTCHW) == 0:
        raise InputError("calibration needs at least one clip, found none")
    if not np.any(frames_NTCHW):
        raise InputError("calibration clips that are all zero tell nothing of the input's range; give real clips")
    probe, sums, results = PotentialProbe(network.begin), dict[str, MessageSums](), []

    def add(name: str, messages_NTCHW: Values) -> None:
        for clip in map(MessageSums.of, messages_NTCHW):
            sums[name] = sums[name] + clip if name in sums else clip

    for chunk in chunks(frames_NTCHW, at_once):
        signals = run_float(network, chunk, probe.begin, record=[network.output], on_population=add)
        results.append(read_out(signals[network.output], network.readout))
    return Calibration(
        input_range=input_range or (float(frames_NTCHW.min()), float(frames_NTCHW.max())),
        input_levels=grid_levels(np.unique(frames_NTCHW)),
        mean_square={name: np.maximum(found.mean_square, SILENT) for name, found in sums.items()},
        means={name: found.mean for name, found in sums.items()},
        potentials={name: (float(low.min()), float(probe.highest[name].max())) for name, low in probe.lowest.items()},
        frames_NTCHW=frames_NTCHW,
        at_once=at_once,
        results=np.concatenate(results),
    )


def grid_levels(values: Values) -> float | None:
    """Levels per 1.0 of a regular grid through zero that holds all these values (sorted, each once), if there is one.

    Counts have 1. Normalised pixels lie on a grid with an offset, (p / 255 - 0.45) / 0.225, which a few times finer
    goes through zero: 229.5 levels.
    """
    if np.array_equal(values, np.rint(values)):
        return 1.0
    if not 1 < len(values) <= MOST_LEVELS:
        return None
    extent = float(values[-1]) - float(values[0])
    levels = round(extent / float(np.diff(values).min()))
    for finer in range(1, FINEST + 1):
        per_one = finer * levels / extent
        if np.abs(values * per_one - np.rint(values * per_one)).max() < GRID_TOLERANCE:
            return per_one
    return None
