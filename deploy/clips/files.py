"""Files named on a command line as clips."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from deploy.clips.arrays import holds_arrays
from deploy.clips.nir_data import is_recording, samples
from deploy.clips.source import UNLABELLED, ClipSource, split_place
from svformer.common.errors import InputError
from svformer.data import dvs128, ntu60
from svformer.data.choice import BINNINGS, Binning
from svformer.data.clip_dataset import LabelledClip
from svformer.data.event_files import EventEntry, holds_events, tonic_class_number
from svformer.data.events import DVS128
from svformer.data.videos import VideoEntry
from svformer.evaluation.views import evenly_spaced


def from_files(files: Sequence[str | Path], *, events_by: Binning = BINNINGS[0]) -> list[ClipSource]:
    """Clips of single files, labelled where their names are those of UCF101, NTU RGB+D or tonic's DVS128 Gesture.

    `events_by` says how recordings of events become frames. Raises `InputError` with all files that are not there.
    """
    paths = [Path(file) for file in files]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"{', '.join(missing)}: no such clip; allowed: video files that FFmpeg decodes, recordings of events "
            "(.aedat, .npy), or arrays (.npy, .npz, .csv, .pt, .h5)"
        )
    expanded = [clip for path in paths for clip in (samples(path) if is_recording(path) else [path])]
    return [ClipSource(path=path, label=_label(path), entry=_entry(path, events_by)) for path in expanded]


def _entry(path: Path, events_by: Binning) -> LabelledClip | None:
    if holds_events(path):
        sensor = None if tonic_class_number(path) is None else DVS128
        return EventEntry(path=path, label=UNLABELLED, name=path.name, events_by=events_by, sensor=sensor)
    if split_place(path)[1] is not None or holds_arrays(path):
        return None
    return VideoEntry(path=path, label=UNLABELLED, name=path.name)


def _label(path: Path) -> str | None:
    """The class in a file's official name."""
    if match := re.fullmatch(r"v_(\w+)_g\d+_c\d+", path.stem):
        return match[1]
    if sample := ntu60.parse_name(path.name):
        return ntu60.CLASSES[sample.label]
    gesture = tonic_class_number(path)
    return None if gesture is None or gesture >= len(dvs128.CLASSES) else dvs128.CLASSES[gesture]


def shipped(folder: Path) -> list[ClipSource]:
    """The video files of a folder that ships with the project, in order of their names."""
    return from_files(sorted(folder.rglob("*.avi")))


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
        for start in evenly_spaced(temporal)
        for crop in evenly_spaced(spatial)
    ]
