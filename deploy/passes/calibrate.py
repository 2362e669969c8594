"""What representative clips show of a float network, for the choice of scales and rounding."""

from dataclasses import dataclass

import numpy as np

from deploy.ir.grid import grid_levels
from deploy.ir.network import Network, run_float
from deploy.ir.readout import read_out
from deploy.ir.types import Array, Values
from deploy.passes.probes import PotentialProbe
from deploy.passes.statistics import MessageSums, chunks
from svformer.common.errors import InputError

SILENT = 1e-4  # of the liveliest channel, or of a spike in every step: what a channel counts that no clip woke
INPUT_LEVELS = 2**15  # an input that lies on no grid has so many levels up to its largest magnitude: 16 bits
ENOUGH = 16  # different values that tell the grid of an input whose range is known to be wider than what clips show


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What representative clips show: the range of the input, and what every population sends.

    Attributes:
        input_range: Smallest and largest value that an input can have.
        input_levels: Levels per 1.0 of a grid that holds all input values (counts: 1); None where there is none of
            at most `INPUT_LEVELS` levels.
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

    Clips of zeros are clips as others are: biases can drive a network. Raises `InputError` when there are none.
    """
    if len(frames_NTCHW) == 0:
        raise InputError("calibration needs at least one clip, found none")
    probe, sums, results = PotentialProbe(network.begin), dict[str, MessageSums](), []

    def add(name: str, messages_NTCHW: Values) -> None:
        for clip in map(MessageSums.of, messages_NTCHW):
            sums[name] = sums[name] + clip if name in sums else clip

    for chunk in chunks(frames_NTCHW, at_once):
        signals = run_float(network, chunk, probe.begin, record=[network.output], on_population=add)
        results.append(read_out(signals[network.output], network.readout))
    return Calibration(
        input_range=input_range or (float(frames_NTCHW.min()), float(frames_NTCHW.max())),
        input_levels=_input_levels(np.unique(frames_NTCHW), input_range),
        mean_square={
            name: _with_silent(found.mean_square, spiking=network.spiking(name)) for name, found in sums.items()
        },
        means={name: found.mean for name, found in sums.items()},
        potentials={name: (float(low.min()), float(probe.highest[name].max())) for name, low in probe.lowest.items()},
        frames_NTCHW=frames_NTCHW,
        at_once=at_once,
        results=np.concatenate(results),
    )


def _with_silent(mean_square: Array, *, spiking: bool) -> Array:
    """Mean squares by channel; those that no clip woke count a little, so that their weights are rounded with care."""
    return np.maximum(mean_square, SILENT * (1.0 if spiking else float(mean_square.max()) or 1.0))


def _input_levels(values: Values, known: tuple[float, float] | None) -> float | None:
    """The grid that different values of the input show; a few tell nothing of those that clips do not show."""
    if known is not None and len(values) < ENOUGH and (known[0] < values[0] or values[-1] < known[1]):
        return None
    return grid_levels(values, INPUT_LEVELS)
