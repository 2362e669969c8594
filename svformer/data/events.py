"""Events of an event camera, and frames that count them.

A recording becomes T frames of two polarities (0 darker, 1 brighter): by tonic's `to_frame` frames with equal numbers
of events ("count") or of equal durations ("time"), or frames of so many microseconds, as many as it takes. Pixels of
the sensor, 128 x 128 where nobody says another size, are summed in square blocks where the network's frames are
smaller. Counts are whole numbers and limited to 255, which only a broken or flickering pixel reaches.
`svformer.data.clips.normalise` does not change them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.room import require_room
from svformer.data.choice import BINNINGS, Binning
from svformer.data.clips import COUNTS

SENSOR_PX = 128  # of a DVS128
Pixels = tuple[int, int]  # width, height
DVS128: Pixels = (SENSOR_PX, SENSOR_PX)
MOST_COUNTS = 255  # events of one polarity that a pixel of a frame can count
EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("p", np.bool_), ("t", np.int64)])  # as in tonic; t in microseconds

Events = NDArray[np.void]  # [N] of type EVENT, in order of time


def check_size(size: int) -> None:
    """Raise `InputError` for frames of `size` x `size` pixels where `size` does not divide the sensor's 128."""
    block_of((size, size), DVS128)


def block_of(frame: Pixels, sensor: Pixels) -> int:
    """Pixels along the side of a block that becomes one of a frame; `InputError` where blocks are no squares."""
    if min(frame) >= 1 and sensor[0] % frame[0] == 0 == sensor[1] % frame[1]:
        across, down = sensor[0] // frame[0], sensor[1] // frame[1]
        if across == down:
            return across
    if sensor == DVS128:
        allowed = f"sizes that divide {SENSOR_PX}"
    else:
        allowed = f"those of the sensor, {sensor[0]} x {sensor[1]}, divided by a whole number"
    raise InputError(f"frames of {frame[0]} x {frame[1]} pixels; allowed for events: {allowed}")


def frames_of(events: Events, bin_us: float) -> int:
    """How many frames of `bin_us` microseconds the events take."""
    return 1 + int((events["t"][-1] - events["t"][0]) // bin_us) if len(events) else 0


def count_events(
    events: Events,
    *,
    frames: int,
    size: int | Pixels,
    by: Binning = "count",
    sensor: Pixels = DVS128,
    bin_us: float | None = None,
) -> Tensor:
    """Counts of events, int16 [frames, 2, height, width]; a `size` is that of a square, or (width, height).

    With `bin_us` a frame lasts so many microseconds, and events behind the last frame are left out. Frames of equal
    numbers of events leave out the last events, fewer than `frames`. Raises `InputError` for fewer events than frames
    (there may be empty ones with `bin_us`), and for sizes that do not divide the sensor's.
    """
    from tonic.functional import to_frame_numpy  # imported here, since it takes half a second

    if by not in BINNINGS:
        raise InputError(f"events binned by {by!r}; allowed: {', '.join(BINNINGS)}")
    width, height = (size, size) if isinstance(size, int) else size
    block = block_of((width, height), sensor)
    if len(events) < (frames if bin_us is None else 1):
        raise InputError(f"{len(events)} events for {frames} frames; give a longer recording")
    placed = events.copy()
    for axis in ("x", "y"):
        placed[axis] //= block
    if bin_us is not None:
        counts = _by_duration(placed, frames, (height, width), bin_us)
    else:
        bins = {"n_event_bins" if by == "count" else "n_time_bins": frames}
        counts = to_frame_numpy(placed, (width, height, 2), **bins)
    return torch.from_numpy(np.minimum(counts, MOST_COUNTS)).to(COUNTS)


def _by_duration(events: Events, frames: int, picture: tuple[int, int], bin_us: float) -> NDArray[np.int64]:
    frame = ((events["t"] - events["t"][0]) // bin_us).astype(np.int64)
    inside = frame < frames
    size = frames * 2 * picture[0] * picture[1] * np.dtype(np.int64).itemsize
    require_room(f"{frames:,} frames of {bin_us:g} us", size)
    counts = np.zeros((frames, 2, *picture), dtype=np.int64)
    at = (frame[inside], events["p"][inside].astype(np.int64), events["y"][inside], events["x"][inside])
    np.add.at(counts, at, 1)
    return counts
