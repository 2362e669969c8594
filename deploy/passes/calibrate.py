"""What representative clips show of a float network, for the choice of scales and rounding."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.network import Network, run_float
from svformer.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What representative clips show: the range of the input, and how often every channel sends, [C]."""

    input_range: tuple[float, float]
    whole_numbers: bool  # the input is counts (of events or spikes), not measurements
    activity: dict[str, NDArray[np.float64]]  # mean square of the messages of a channel
    frames_NTCHW: NDArray[Any]  # the clips themselves
    results: NDArray[np.float64]  # of the float network for them, [N, K]


def calibrate(
    network: Network, frames_NTCHW: NDArray[Any], *, input_range: tuple[float, float] | None = None
) -> Calibration:
    """Run the float network on clips; `input_range` is what an input can be (default: what these clips show).

    Raises `InputError` when there are no clips, or when they show nothing.
    """
    if len(frames_NTCHW) == 0:
        raise InputError("calibration needs at least one clip, found none")
    if not np.any(frames_NTCHW):
        raise InputError("calibration clips that are all zero tell nothing of the input's range; give real clips")
    signals = run_float(network, frames_NTCHW)
    activity = {name: (signal**2).mean(axis=(0, 1, 3, 4)) for name, signal in signals.items()}
    return Calibration(
        input_range=input_range or (float(frames_NTCHW.min()), float(frames_NTCHW.max())),
        whole_numbers=bool((frames_NTCHW == np.rint(frames_NTCHW)).all()),
        activity=activity,
        frames_NTCHW=frames_NTCHW,
        results=signals[network.output][:, -1].reshape(len(frames_NTCHW), -1),
    )
