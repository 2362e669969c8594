"""Clips from files, as the frames that a graph takes."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deploy.clips.arrays import READERS, read_arrays
from deploy.clips.files import shipped
from deploy.clips.kept import KEPT
from deploy.clips.layout import Shape, layout
from deploy.clips.nir_data import is_recording, load_sample
from deploy.clips.source import ClipSource, Frames, InputFormat, check_fits, split_place
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.errors import InputError
from svformer.common.remarks import collecting
from svformer.common.room import COPIES, require_room
from svformer.data.clip_dataset import LabelledClip
from svformer.data.clips import Sampling, normalise
from svformer.data.event_files import EventEntry
from svformer.data.folder import SUFFIXES

PROBE_SIZE = 32  # pixels; decoding takes the time, whatever the size
READ_BEFORE = 8  # clips that are read completely before the run


def load(source: ClipSource, wanted: InputFormat) -> Frames:
    """Frames of a clip [T, *shape]: a video (decoded, cropped square, normalised as in training), a recording of events
    (binned to counts), or an array, as it is.

    Bytes for a network that says it takes video are pixels, and are normalised too. T is that of the clip, where it
    has one of its own.

    Raises `InputError` when the file cannot be read or does not fit the graph.
    """
    check_fits(source, wanted)
    frames = source.frames or wanted.frames
    if isinstance(source.entry, EventEntry):
        height, width = wanted.shape[1:]
        counts = source.entry.counts(frames=frames // wanted.steps_per_frame, picture=(width, height))
        return _held(normalise(counts).numpy(), wanted)
    if source.entry is not None:
        sampling = Sampling(frames=frames // wanted.steps_per_frame, stride=wanted.stride)
        clip = _pictures(source, source.entry, wanted.shape[1], sampling)
        return _held(normalise(clip).numpy(), wanted)
    if is_recording(source.path):
        return load_sample(source.path, frames, wanted.shape).astype(np.float32)
    values = _load_array(source.path, frames, wanted.shape)
    pixels = wanted.pixels and values.dtype == np.uint8
    return normalise(torch.as_tensor(values)).numpy() if pixels else values.astype(np.float32)


def _pictures(source: ClipSource, entry: LabelledClip, size: int, sampling: Sampling) -> Tensor:
    """Pixels of a video, uint8 [T, 3, size, size]; nobody may write into them."""
    return KEPT.find(
        entry.path,
        (source, size, sampling),
        lambda: entry.load(size=size, sampling=sampling, start=source.start, crop=source.crop),
    )


def _held(frames_T: NDArray[Any], wanted: InputFormat) -> Frames:
    """Every frame for as many time steps as the graph takes it."""
    return np.repeat(frames_T.astype(np.float32), wanted.steps_per_frame, axis=0)


def _load_array(path: Path, frames: int, taken: Shape) -> NDArray[Any]:
    values = stored_clip(path, taken)
    found = layout(path, values.shape, taken, steps=frames, fixed=True)
    if found.clips not in (None, 1):
        raise InputError(f"{path}: holds {found.clips} clips; one is FILE#0, the next FILE#1")
    if values.dtype.kind not in "biuf" or not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise InputError(f"{path}: holds values that are not finite real numbers (of float32)")
    return values.reshape(frames, *taken)


def stored_clip(path: Path, taken: Shape) -> NDArray[Any]:
    """The array of a clip: of a file, or of one of several in it; the columns of a table become the shape `taken`."""
    file, place = split_place(path)
    values = read_arrays(file).values
    taken_from = values if place is None else values[place : place + 1]
    size = taken_from.nbytes if isinstance(taken_from, np.ndarray) else sum(clip.nbytes for clip in taken_from)
    require_room(file, COPIES * size)
    if place is not None:
        if place >= len(values):
            raise InputError(f"{path}: the file holds {len(values)} clips; allowed: #0 to #{len(values) - 1}")
        return np.asarray(values[place])
    if not isinstance(values, np.ndarray):
        if len(values) != 1:
            raise InputError(f"{path}: holds {len(values)} clips; one is FILE#0, the next FILE#1")
        return np.asarray(values[0])
    columns = int(np.prod(taken))
    is_table = file.suffix.lower() == ".csv" and values.ndim == 2 and values.shape[1] == columns
    return np.array(values).reshape(-1, *taken) if is_table else np.array(values)


def require_readable(sources: Sequence[ClipSource]) -> None:
    """Raise `InputError` for files that cannot be read, whatever the graph takes: a few videos are decoded over the
    time that a clip usually takes, of many files one frame each.
    """
    for source in sources:
        if isinstance(source.entry, EventEntry):
            source.entry.events()
        elif source.entry is not None:
            whole = len(sources) <= READ_BEFORE and source.entry.channels == 3
            with collecting(), _of_any_kind(source.path):  # remarks follow when the clip is read for the graph
                source.entry.load(size=PROBE_SIZE, sampling=Sampling() if whole else Sampling(frames=1))
        elif not is_recording(source.path):
            read_arrays(split_place(source.path)[0])


@contextlib.contextmanager
def _of_any_kind(path: Path) -> Iterator[None]:
    """Say of a file that FFmpeg does not read, and whose name is not that of a video, what else there is."""
    try:
        yield
    except InputError as error:
        if path.suffix.lower() in SUFFIXES:
            raise
        raise InputError(
            f"{path}: neither video nor array; allowed: video files that FFmpeg decodes, recordings of events "
            f"(.aedat, .npy), or arrays ({', '.join(READERS)})"
        ) from error


def require_fit(sources: Sequence[ClipSource], wanted: InputFormat) -> None:
    """Raise `InputError` for clips that do not fit a graph, all of the first read for a try."""
    for source in sources:
        check_fits(source, wanted)
    for source in sources[:READ_BEFORE]:
        load(source, wanted)


def known_range(sources: Sequence[ClipSource]) -> tuple[float, float] | None:
    """Lowest and highest value of a video after normalisation; None where a clip is no video and has no fixed range."""
    if any(source.entry is None or source.entry.channels != 3 for source in sources):
        return None
    black, white = normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    return black, white


def example_clips(wanted: InputFormat, count: int) -> Frames:
    """Clips [N, T, *shape] to compare executions on: shipped videos; for a network that takes none, random counts."""
    if wanted.pixels:
        return load_clips(shipped(CALIBRATION_CLIPS)[:count], wanted)
    shape = (count, wanted.frames, *wanted.shape)
    return np.random.default_rng(0).poisson(1.0, shape).astype(np.float32)


def random_spikes(wanted: InputFormat, count: int) -> Frames:
    """Clips [N, T, *shape] of zeros and ones, one in four of them a spike."""
    return (np.random.default_rng(0).random((count, wanted.frames, *wanted.shape)) < 0.25).astype(np.float32)


# Several clips


class LeftOut:
    """The files of a data set that cannot be read, and that a run over `sources` goes without."""

    def __init__(self, sources: Sequence[ClipSource]) -> None:
        self.sources, self.paths = sources, set[Path]()

    def add(self, source: ClipSource, error: InputError) -> None:
        """Leave a clip out, with a line that its data set prints; raises `InputError` where that is not allowed."""
        if source.leave_out is None:
            raise error
        source.leave_out(error)
        self.paths.add(source.path)

    def say(self) -> None:
        """Print how many files were left out; raises `InputError` when these are all."""
        if self.paths:
            count = f"{len(self.paths)} of {len({source.path for source in self.sources})} clips cannot be read"
            if all(source.path in self.paths for source in self.sources):
                raise InputError(f"{count}; nothing is left to run")
            print(f"{count} and are left out", file=sys.stderr)


def read_clips(sources: Sequence[ClipSource], wanted: InputFormat) -> tuple[dict[int, Frames], dict[int, InputError]]:
    """Frames of the clips that can be read, and why the others cannot, both by place in the list.

    Raises `InputError` for a clip that must not be left out: one that the user named.
    """
    read: dict[int, Frames] = {}
    unreadable: dict[int, InputError] = {}
    for place, source in enumerate(sources):
        try:
            read[place] = load(source, wanted)
        except InputError as error:
            if source.leave_out is None:
                raise
            unreadable[place] = error
    return read, unreadable


def batches(
    sources: Sequence[ClipSource], wanted: InputFormat, size: int
) -> Iterator[tuple[Sequence[ClipSource], Frames]]:
    """Clips in batches of at most `size`: their sources and frames [N, T, *shape].

    Of a data set, files that cannot be read are left out, each with one line on standard error. Raises `InputError`
    when they are more than is allowed, or all.
    """
    for source in sources:
        check_fits(source, wanted)
    left_out = LeftOut(sources)
    for first in range(0, len(sources), size):
        batch = sources[first : first + size]
        read, unreadable = read_clips(batch, wanted)
        for place, error in unreadable.items():
            left_out.add(batch[place], error)
        if read:
            yield [batch[place] for place in read], np.stack(list(read.values()))
    left_out.say()


def load_clips(sources: Sequence[ClipSource], wanted: InputFormat) -> Frames:
    """All clips as one array [N, T, *shape], in order; files are left out and refused as by `batches`.

    A clip that is shorter than the longest begins anew at its end, so that all show the network what they hold.
    """
    longest = max((source.frames or wanted.frames for source in sources), default=wanted.frames)
    clips = [
        np.resize(clip, (longest, *clip.shape[1:])) for _, frames in batches(sources, wanted, 1) for clip in frames
    ]
    return np.stack(clips)
