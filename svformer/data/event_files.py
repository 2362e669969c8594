"""Recordings of a DVS128 camera, in the file formats of IBM and of tonic, as clips of counts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from svformer.common.errors import InputError
from svformer.data.aedat import read_aedat
from svformer.data.choice import Binning
from svformer.data.clips import Sampling
from svformer.data.events import EVENT, SENSOR_PX, Events, count_events

US_PER_MS = 1000


@dataclass(frozen=True)
class EventEntry:
    """A labelled recording, or the part of one from `start_us` to before `end_us` (microseconds)."""

    path: Path
    label: int
    name: str
    events_by: Binning = "count"
    start_us: int | None = None
    end_us: int | None = None

    channels: ClassVar[int] = 2

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """Counts of the whole recording, int16 [T, 2, size, size]; `start` and `crop` have no effect.

        Raises `InputError` where the file cannot be read or holds fewer events than frames.
        """
        events = read_events(self.path, self.start_us, self.end_us)
        try:
            return count_events(events, frames=sampling.frames, size=size, by=self.events_by)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error


def read_events(path: str | Path, start_us: int | None = None, end_us: int | None = None) -> Events:
    """Events of a file, in order of time; of an AEDAT 3.1 file those from `start_us` to before `end_us` (microseconds).

    A .npy holds events in the form that tonic returns (fields x, y, p, t in microseconds) or that it stores on disk
    ([N, 4]: x, y, p, t in milliseconds). Raises `InputError` where the file cannot be read, or holds events that a
    sensor of 128 x 128 pixels cannot send.
    """
    path = Path(path)
    events = read_aedat(path, start_us, end_us) if path.suffix == ".aedat" else _read_array(path)
    if len(events) and not all(events[axis].min() >= 0 and events[axis].max() < SENSOR_PX for axis in ("x", "y")):
        raise InputError(f"{path}: events beyond the {SENSOR_PX} x {SENSOR_PX} pixels of a DVS128")
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
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False  # the error is raised when the file is loaded
    return _has_fields(values) or (_has_columns(values) and tonic_class_number(path) is not None)


def tonic_class_number(path: Path) -> int | None:
    """The class number, from 0, of a file with tonic's name userNN_LIGHT/K.npy; None for any other name."""
    tonics = re.fullmatch(r"user\d+_\w+", path.parent.name) and re.fullmatch(r"\d+", path.stem)
    return int(path.stem) if tonics and path.suffix == ".npy" else None


def _read_array(path: Path) -> Events:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    if _has_fields(values):
        columns, us = [values[name] for name in ("x", "y", "p", "t")], 1
    elif _has_columns(values):
        columns, us = list(values.T), US_PER_MS
    else:
        raise InputError(
            f"{path}: no events; expected fields x, y, p, t (microseconds), or four columns x, y, p, t (milliseconds)"
        )
    if not all(np.isfinite(column).all() for column in columns):
        raise InputError(f"{path}: events that are not finite numbers")
    x, y, p, t = columns
    events = np.empty(len(values), EVENT)
    limits = np.iinfo(np.int16)  # a coordinate that int16 cannot hold must not wrap to a valid one
    events["x"], events["y"] = (np.clip(coordinate, limits.min, limits.max) for coordinate in (x, y))
    events["p"], events["t"] = p > 0, t.astype(np.int64) * us
    return events


def _has_fields(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and {"x", "y", "p", "t"} <= set(values.dtype.names or ())


def _has_columns(values: NDArray[Any]) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 4 and values.dtype.kind in "biuf"
