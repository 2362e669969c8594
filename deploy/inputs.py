"""Clips from files: what `run_lava.py` is given becomes frames that a graph takes."""

import dataclasses
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deploy.reference import is_recording, load_sample, samples
from svformer.assets import CALIBRATION_CLIPS
from svformer.data import dvs128, ntu60, recordings
from svformer.data.arguments import Binning
from svformer.data.clips import Sampling, normalise
from svformer.data.dataset import Entry
from svformer.data.recordings import EventEntry, holds_events
from svformer.data.videos import ClipEntry
from svformer.errors import InputError
from svformer.views import spread

Frames = NDArray[np.float32]  # [T, *input shape]

PROBE_SIZE = 32  # pixels; what a frame costs is its decoding
READ_BEFORE = 8  # clips that are read as a whole before the run, of which they are a small part

UNLABELLED = -1  # of entries for single files, whose label is a name
KINDS = {3: "a video", 2: "a recording of events"}  # what an entry of so many channels is


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One clip on disk; `label` is its class where the file's place or name tells it."""

    path: Path  # of a segment of a recording: RECORDING#CLASS@START, which no other clip has
    label: str | None
    start: float = 0.5  # where in the video, as a share of the possible starts
    crop: float = 0.5  # where along the long side
    entry: Entry | None = None  # how it is read; None: an array
    # Told why the file cannot be read; the run goes on without it, unless this raises. None: it does not.
    leave_out: Callable[[InputError], None] | None = field(default=None, compare=False, repr=False)


def file_of(source: ClipSource) -> Path:
    """The file that holds a clip."""
    if source.entry is not None:
        return source.entry.path
    return source.path.with_name(source.path.name.partition("#")[0]) if is_recording(source.path) else source.path


def absolute(source: ClipSource) -> ClipSource:
    """The same clip, wherever it is asked for from."""
    entry: Any = source.entry  # of any data set: a dataclass with a path
    if entry is not None:
        entry = dataclasses.replace(entry, path=entry.path.absolute())
    return dataclasses.replace(source, path=source.path.absolute(), entry=entry)


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What a graph takes: T frames of this shape."""

    frames: int
    shape: tuple[int, ...]


def load(source: ClipSource, wanted: InputFormat) -> Frames:
    """Frames of a clip [T, *shape]: a video (decoded, cropped square, normalised as in training), a recording of events
    (binned to counts), or a .npy.

    A .npy of bytes for a network that takes video holds pixels, and is normalised too; any other is taken as it is.

    Raises `InputError` when the file cannot be read or does not fit the graph.
    """
    check_fits(source, wanted)
    if source.entry is None:
        if is_recording(source.path):
            return load_sample(source.path, wanted.frames, wanted.shape).astype(np.float32)
        values = _load_array(source.path, wanted)
        pixels = values.dtype == np.uint8 and takes(wanted, channels=3)
        return normalise(torch.as_tensor(values)).numpy() if pixels else values.astype(np.float32)
    sampling = Sampling(frames=wanted.frames)
    clip = source.entry.load(size=wanted.shape[1], sampling=sampling, start=source.start, crop=source.crop)
    return np.asarray(normalise(clip).numpy(), dtype=np.float32)


def check_fits(source: ClipSource, wanted: InputFormat) -> None:
    """Raise `InputError` for a video or events where the graph takes something else."""
    if source.entry is not None and not takes(wanted, channels=source.entry.channels):
        raise InputError(
            f"{source.path}: this graph takes {list(wanted.shape)}, {KINDS[source.entry.channels]} gives "
            f"[{source.entry.channels}, size, size]; give a .npy of shape "
            f"[{wanted.frames}, {', '.join(map(str, wanted.shape))}]"
        )


def takes(wanted: InputFormat, *, channels: int) -> bool:
    """Whether the input is a square picture: of 3 channels a frame of video, of 2 one of events."""
    return len(wanted.shape) == 3 and wanted.shape[0] == channels and wanted.shape[1] == wanted.shape[2]


def takes_video(wanted: InputFormat) -> bool:
    return takes(wanted, channels=3)


def _load_array(path: Path, wanted: InputFormat) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(values, np.ndarray):
        raise InputError(f"{path}: an archive of arrays; save one array with numpy.save")
    expected = (wanted.frames, *wanted.shape)
    if values.shape != expected:
        raise InputError(f"{path}: shape {list(values.shape)}, this graph takes {list(expected)} (T, input shape)")
    if values.dtype.kind not in "biuf" or not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise InputError(f"{path}: holds values that are not finite real numbers (of float32)")
    return values


def array_frames(path: Path) -> int:
    """Number of time steps of a .npy clip; raises `InputError` when it cannot be read."""
    try:
        return int(np.load(path, mmap_mode="r", allow_pickle=False).shape[0])
    except (OSError, ValueError, EOFError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error


def require_readable(sources: Sequence[ClipSource]) -> None:
    """Raise `InputError` for files that cannot be read, whatever the graph takes: a few videos are decoded over the
    time that a clip usually takes, of many files one frame each.
    """
    for source in sources:
        if source.entry is not None:
            whole = len(sources) <= READ_BEFORE and source.entry.channels == 3
            source.entry.load(size=PROBE_SIZE, sampling=Sampling() if whole else Sampling(frames=1))
        elif not is_recording(source.path):
            array_frames(source.path)


def require_fit(sources: Sequence[ClipSource], wanted: InputFormat) -> None:
    """Raise `InputError` for clips that do not fit a graph, all of the first read for a try."""
    for source in sources:
        check_fits(source, wanted)
    for source in sources[:READ_BEFORE]:
        load(source, wanted)


def known_range(sources: Sequence[ClipSource]) -> tuple[float, float] | None:
    """What a pixel of a video can be after normalisation; None for all else, of which only the clips tell."""
    if any(source.entry is None or source.entry.channels != 3 for source in sources):
        return None
    black, white = normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    return black, white


def from_files(paths: Sequence[Path], *, events_by: Binning = "count") -> list[ClipSource]:
    """Clips of single files, labelled where they bear the names of UCF101, NTU RGB+D or tonic's DVS128 Gesture."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"{', '.join(missing)}: no such clip; allowed: video files that FFmpeg decodes, recordings of events "
            "(.aedat, .npy), or .npy"
        )
    expanded = [clip for path in paths for clip in (samples(path) if is_recording(path) else [path])]
    return [ClipSource(path=path, label=_label(path), entry=_entry(path, events_by)) for path in expanded]


def _entry(path: Path, events_by: Binning) -> Entry | None:
    if holds_events(path):
        return EventEntry(path=path, label=UNLABELLED, name=path.name, events_by=events_by)
    if path.suffix == ".npy" or is_recording(path):
        return None
    return ClipEntry(path=path, label=UNLABELLED, name=path.name)


def _label(path: Path) -> str | None:
    """The class that a file's official name tells."""
    if match := re.fullmatch(r"v_(\w+)_g\d+_c\d+", path.stem):
        return match[1]
    if sample := ntu60.parse_name(path.name):
        return ntu60.CLASSES[sample.label]
    gesture = recordings.parse_name(path)
    return None if gesture is None or gesture >= len(dvs128.CLASSES) else dvs128.CLASSES[gesture]


def shipped(folder: Path) -> list[ClipSource]:
    """The video files of a folder that ships with the project, in order of their names."""
    return from_files(sorted(folder.rglob("*.avi")))


def example_clips(wanted: InputFormat, count: int) -> Frames:
    """Clips [N, T, *shape] to compare executions on: shipped videos; for a network that takes none, random counts."""
    if takes_video(wanted):
        return np.stack([load(source, wanted) for source in shipped(CALIBRATION_CLIPS)[:count]])
    shape = (count, wanted.frames, *wanted.shape)
    return np.random.default_rng(0).poisson(1.0, shape).astype(np.float32)


def with_views(sources: Sequence[ClipSource], temporal: int, spatial: int) -> list[ClipSource]:
    """Every clip seen `temporal` x `spatial` times, evenly spread; the views of a clip follow each other."""
    recording = next((s for s in sources if isinstance(s.entry, EventEntry)), None)
    if recording and temporal * spatial > 1:
        raise InputError(
            f"--views {temporal}x{spatial}: {recording.path.name} is a recording of events, which is one view as a "
            "whole; leave --views out"
        )
    return [
        dataclasses.replace(source, start=start, crop=crop)
        for source in sources
        for start in spread(temporal)
        for crop in spread(spatial)
    ]


def batches(
    sources: Sequence[ClipSource], wanted: InputFormat, size: int
) -> Iterator[tuple[Sequence[ClipSource], Frames]]:
    """Clips in batches of at most `size`: their sources and frames [N, T, *shape].

    Of a data set, files that cannot be read are left out, each with one line on standard error. Raises `InputError`
    when they are more than is allowed, or all.
    """
    for source in sources:
        check_fits(source, wanted)
    left_out = set[Path]()
    for first in range(0, len(sources), size):
        readable = list(_readable(sources[first : first + size], wanted, left_out))
        if readable:
            yield [source for source, _ in readable], np.stack([frames for _, frames in readable])
    say_left_out(left_out, sources)


def say_left_out(left_out: Collection[Path], sources: Sequence[ClipSource]) -> None:
    """One line that says how many files were left out; raises `InputError` when these are all."""
    if left_out:
        count = f"{len(left_out)} of {len({source.path for source in sources})} clips cannot be read"
        if all(source.path in left_out for source in sources):
            raise InputError(f"{count}; nothing is left to run")
        print(f"{count} and are left out", file=sys.stderr)


def _readable(
    sources: Sequence[ClipSource], wanted: InputFormat, left_out: set[Path]
) -> Iterator[tuple[ClipSource, Frames]]:
    """Clips that can be read, with their frames; adds the other files to `left_out`."""
    for source in sources:
        try:
            yield source, load(source, wanted)
        except InputError as error:
            if source.leave_out is None:
                raise
            source.leave_out(error)
            left_out.add(source.path)
