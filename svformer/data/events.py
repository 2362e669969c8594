"""Events of a DVS128 camera, and frames that count them.

tonic's `to_frame` bins a whole recording to T frames of two polarities (0 darker, 1 brighter). The frames have equal
numbers of events ("count") or equal durations ("time"). Pixels of the 128 x 128 sensor are summed in blocks where the
network's frames are smaller. Counts are whole numbers and limited to 255, which only a broken or flickering pixel
reaches. `svformer.data.clips.normalise` does not change them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from svformer.common.errors import InputError
from svformer.data.choice import BINNINGS, Binning
from svformer.data.clips import COUNTS

SENSOR_PX = 128
MOST_COUNTS = 255  # events of one polarity that a pixel of a frame can count
EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("p", np.bool_), ("t", np.int64)])  # as in tonic; t in microseconds

Events = NDArray[np.void]  # [N] of type EVENT, in order of time


def check_size(size: int) -> None:
    """Raise `InputError` for frames of `size` x `size` pixels where `size` does not divide the sensor's 128."""
    if not 1 <= size <= SENSOR_PX or SENSOR_PX % size:
        raise InputError(f"frames of {size} x {size} pixels; allowed for events: sizes that divide {SENSOR_PX}")


def count_events(events: Events, *, frames: int, size: int, by: Binning = "count") -> Tensor:
    """Counts of events, int16 [frames, 2, size, size].

    Frames of equal numbers of events leave out the last events, fewer than `frames`. Raises `InputError` for fewer
    events than frames, and for sizes that do not divide the sensor's.
    """
    from tonic.functional import to_frame_numpy  # imported here, since it takes half a second

    if by not in BINNINGS:
        raise InputError(f"events binned by {by!r}; allowed: {', '.join(BINNINGS)}")
    check_size(size)
    if len(events) < frames:
        raise InputError(f"{len(events)} events for {frames} frames; give a longer recording")
    placed = events.copy()
    for axis in ("x", "y"):
        placed[axis] //= SENSOR_PX // size
    bins = {"n_event_bins" if by == "count" else "n_time_bins": frames}
    counts = to_frame_numpy(placed, (size, size, 2), **bins)
    return torch.from_numpy(np.minimum(counts, MOST_COUNTS)).to(COUNTS)
