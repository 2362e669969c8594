"""Recordings of event cameras, in the file formats of IBM and of tonic, as clips of counts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.npy import DAMAGED, load_npy
from svformer.data.aedat import read_aedat
from svformer.data.choice import Binning
from svformer.data.clips import Sampling
from svformer.data.events import DVS128, EVENT, SENSOR_PX, Events, Pixels, count_events, frames_of

US_PER_MS = 1000
LATEST_US = 2**53  # times of events, 285 years: whole numbers that float64 holds


@dataclass(frozen=True)
class EventEntry:
    """A labelled recording, or the part of one from `start_us` to before `end_us` (microseconds).

    `sensor` is None where nobody says it: a DVS128 where its 128 x 128 pixels make the frames, else the frames' own.
    With `bin_us` a frame lasts so many microseconds, and `events_by` has no effect.
    """

    path: Path
    label: int
    name: str
    events_by: Binning = "count"
    start_us: int | None = None
    end_us: int | None = None
    sensor: Pixels | None = None  # width, height
    bin_us: float | None = None

    channels: ClassVar[int] = 2

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """Counts of the whole recording, int16 [T, 2, size, size]; `start` and `crop` have no effect.

        Raises `InputError` where the file cannot be read or holds fewer events than frames.
        """
        return self.counts(frames=sampling.frames, picture=(size, size))

    def counts(self, *, frames: int, picture: Pixels) -> Tensor:
        """Counts of the whole recording, int16 [frames, 2, height, width], for a `picture` of (width, height)."""
        events = self.events()
        try:
            sensor = self.sensor or sensor_of(events, picture)
            _require_within(events, sensor)
            return count_events(
                events, frames=frames, size=picture, by=self.events_by, sensor=sensor, bin_us=self.bin_us
            )
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    def events(self) -> Events:
        """What the recording holds; raises `InputError` where it cannot be read or is beyond a sensor that is known."""
        return read_events(self.path, self.start_us, self.end_us, sensor=self.sensor)

    def frames(self) -> int | None:
        """How many frames the recording takes; None where any number does."""
        return None if self.bin_us is None else frames_of(self.events(), self.bin_us)


def sensor_of(events: Events, picture: Pixels) -> Pixels:
    """The sensor of events for a picture of (width, height), where nobody says it; `InputError` where that is open."""
    width, height = picture
    farthest = (int(events["x"].max()), int(events["y"].max())) if len(events) else (0, 0)
    within = farthest[0] < width and farthest[1] < height
    if picture == DVS128 or ((width != height or SENSOR_PX % width) and within):
        return picture
    if width == height and SENSOR_PX % width == 0 and SENSOR_PX // 2 <= max(farthest) < SENSOR_PX and not within:
        return DVS128
    raise InputError(
        f"events up to x = {farthest[0]}, y = {farthest[1]} for frames of {width} x {height} pixels; say the sensor's "
        "size: --sensor WxH"
    )


def _require_within(events: Events, sensor: Pixels) -> None:
    if len(events) and not all(events[axis].max() < pixels for axis, pixels in zip(("x", "y"), sensor, strict=True)):
        whose = "a DVS128; say another sensor with --sensor WxH" if sensor == DVS128 else "the sensor"
        raise InputError(f"events beyond the {sensor[0]} x {sensor[1]} pixels of {whose}")


def read_events(
    path: str | Path, start_us: int | None = None, end_us: int | None = None, *, sensor: Pixels | None = DVS128
) -> Events:
    """Events of a file, in order of time; of an AEDAT 3.1 file those from `start_us` to before `end_us` (microseconds).

    A .npy holds events in the form that tonic returns (fields x, y, p, t in microseconds) or that it stores on disk
    ([N, 4]: x, y, p, t in milliseconds). Raises `InputError` where the file cannot be read, or holds events that the
    sensor (None: any) cannot send.
    """
    path = Path(path)
    events = read_aedat(path, start_us, end_us) if path.suffix == ".aedat" else _read_array(path)
    try:
        if len(events) and min(events["x"].min(), events["y"].min()) < 0:
            raise InputError(f"events beyond the {SENSOR_PX} x {SENSOR_PX} pixels of a DVS128, at negative places")
        if sensor is not None:
            _require_within(events, sensor)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    in_order = bool((np.diff(events["t"]) >= 0).all())
    return events if in_order else events[np.argsort(events["t"], kind="stable")]


def holds_events(path: str | Path) -> bool:
    """Whether a file is a recording: AEDAT, a .npy with the fields of events, or one of 4 columns with tonic's name.

    An array of 4 columns with another name may be a clip [T, 4] for some network.
    """
    path = Path(path)
    if path.suffix != ".npy":
        return path.suffix == ".aedat"
    try:
        values = load_npy(path, mapped=True)
    except DAMAGED:
        return False  # the error is raised when the file is loaded
    return _has_fields(values) or (_has_columns(values) and tonic_class_number(path) is not None)


def tonic_class_number(path: Path) -> int | None:
    """The class number, from 0, of a file with tonic's name userNN_LIGHT/K.npy; None for any other name."""
    tonics = re.fullmatch(r"user\d+_\w+", path.parent.name) and re.fullmatch(r"\d+", path.stem)
    return int(path.stem) if tonics and path.suffix == ".npy" else None


def _read_array(path: Path) -> Events:
    try:
        values = load_npy(path)
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    if _has_fields(values):
        columns, us = [values[name] for name in ("x", "y", "p", "t")], 1
    elif _has_columns(values):
        columns, us = list(values.T), US_PER_MS
    else:
        raise InputError(
            f"{path}: no events; expected fields x, y, p, t (microseconds), or four columns x, y, p, t (milliseconds)"
        )
    if not all(column.dtype.kind in "biuf" and np.isfinite(column).all() for column in columns):
        raise InputError(f"{path}: events that are not finite numbers")
    x, y, p, t = columns
    if len(t) and max(abs(float(t.min())), abs(float(t.max()))) * us > LATEST_US:
        raise InputError(
            f"{path}: events up to {float(np.abs(t).max()) * us:g} us; allowed: times below {LATEST_US:g} us"
        )
    events = np.empty(len(values), EVENT)
    limits = np.iinfo(np.int16)  # a coordinate that int16 cannot hold must not wrap to a valid one
    events["x"], events["y"] = (np.clip(coordinate, limits.min, limits.max) for coordinate in (x, y))
    events["p"], events["t"] = p > 0, t.astype(np.int64) * us
    return events


def _has_fields(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and {"x", "y", "p", "t"} <= set(values.dtype.names or ())


def _has_columns(values: NDArray[Any]) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 4 and values.dtype.kind in "biuf"
