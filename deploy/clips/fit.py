"""Clips put in order for a graph: those of a file one by one, each with its time steps, and T and dt of the graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nir
import numpy as np

from deploy.clips.arrays import StoredClips, read_arrays
from deploy.clips.layout import Layout, layout
from deploy.clips.nir_data import clip_format, is_recording
from deploy.clips.read import stored_clip
from deploy.clips.source import ClipSource, InputFormat, check_fits, input_format, placed, split_place
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.model import fixed_frames, stated_frames
from svformer.common.errors import InputError
from svformer.data.choice import Binning
from svformer.data.event_files import EventEntry
from svformer.data.events import Pixels

US_PER_MS = 1000


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """How files become frames where a user says it."""

    frames: int | None = None  # of videos and recordings of events; None: as many as the graph says
    events_by: Binning | None = None
    bin_ms: float | None = None  # duration of a frame of events
    sensor: Pixels | None = None  # width, height


def fitted(graph: nir.NIRGraph, groups: Sequence[Sequence[ClipSource]], choice: FrameChoice) -> list[list[ClipSource]]:
    """Every clip of groups of sources, in order, each with its own time steps where the graph lets it have them.

    The graph's metadata receive T, that of the longest clip, and dt, where only recordings say it.

    Raises `InputError` for what does not fit the graph; a file of a data set is left to its owner.
    """
    fixed = fixed_frames(graph)
    steps = fixed or stated_frames(graph)
    if fixed and choice.frames not in (None, fixed):
        raise InputError(f"--frames {choice.frames}: T is part of this network, {fixed}; leave it out")
    _require_use(choice, [source for group in groups for source in group])
    default = choice.frames or steps
    wanted = input_format(graph, default or 0)
    chosen = [[_with_choice(source, choice) for source in group] for group in groups]
    found = [[c for s in group for c in _or_left(graph, s, wanted, default, fixed is not None)] for group in chosen]
    if fixed:
        graph.metadata["T"] = fixed
        _require_frames(found, fixed)
        return [[replace(clip, frames=None) for clip in group] for group in found]
    own = [clip.frames for group in found for clip in group if clip.frames is not None]
    if default is None and (unknown := [c for group in found for c in group if c.frames is None and c.entry]):
        raise InputError(f"{unknown[0].path}: {_unknown(unknown[0])}")
    if default is None and not own:
        return found
    default = default or max(own)
    timed = [[replace(clip, frames=clip.frames or default) for clip in group] for group in found]
    graph.metadata["T"] = max((clip.frames or 0 for group in timed for clip in group), default=default)
    return timed


def _require_use(choice: FrameChoice, sources: Sequence[ClipSource]) -> None:
    """Raise `InputError` for a choice that none of the files needs."""
    if choice.frames and sources and all(source.entry is None for source in sources):
        raise InputError(f"--frames {choice.frames}: arrays have time steps of their own; leave it out")
    events = any(isinstance(source.entry, EventEntry) for source in sources)
    for option, given in (("--bin-ms", choice.bin_ms), ("--sensor", choice.sensor)):
        if given and not events:
            raise InputError(f"{option} is for recordings of events (.aedat, .npy); leave it out")


def _with_choice(source: ClipSource, choice: FrameChoice) -> ClipSource:
    entry = source.entry
    if not isinstance(entry, EventEntry):
        return source
    chosen = replace(
        entry,
        events_by=choice.events_by or entry.events_by,
        sensor=choice.sensor or entry.sensor,
        bin_us=entry.bin_us if choice.bin_ms is None else choice.bin_ms * US_PER_MS,
    )
    return replace(source, entry=chosen)


def _or_left(
    graph: nir.NIRGraph, source: ClipSource, wanted: InputFormat, steps: int | None, fixed: bool
) -> list[ClipSource]:
    try:
        return _clips_of(graph, source, wanted, steps, fixed)
    except InputError:
        if source.leave_out is None:
            raise
        return [source]  # it is read again in its batch, and left out there


def _clips_of(
    graph: nir.NIRGraph, source: ClipSource, wanted: InputFormat, steps: int | None, fixed: bool
) -> list[ClipSource]:
    if isinstance(source.entry, EventEntry):
        check_fits(source, wanted)
        frames = source.entry.frames()
        if frames == 0:
            raise InputError(f"{source.path}: no events in it")
        return [replace(source, frames=frames)]
    check_fits(source, wanted)
    if source.entry is not None:
        return [source]
    if is_recording(source.path):
        frames, dt_s = clip_format(source.path, graph_dt_s(graph) if "dt" in graph.metadata else None)
        graph.metadata.setdefault("dt", dt_s)
        return [replace(source, frames=frames)]
    return _stored(source, wanted, steps, fixed)


def _stored(source: ClipSource, wanted: InputFormat, steps: int | None, fixed: bool) -> list[ClipSource]:
    """The clips that a file of arrays holds."""
    file, place = split_place(source.path)
    stored, taken = read_arrays(file), wanted.shape

    def found(path: Path, labels: int | None = None) -> Layout:
        shape = stored_clip(path, taken).shape
        return layout(path, shape, taken, steps=steps, fixed=fixed, labels=labels)

    if place is not None:
        return [replace(source, frames=found(source.path).frames)]
    if isinstance(stored.values, np.ndarray) or len(stored.values) == 1:
        whole = found(file, None if stored.labels is None else len(stored.labels))
        if whole.clips in (None, 1):
            return [replace(source, frames=whole.frames, label=_label(stored, 0, source))]
        count, frames = whole.clips or 1, [whole.frames] * (whole.clips or 1)
    else:
        count = len(stored.values)
        frames = [found(placed(file, i)).frames for i in range(count)]
    if stored.labels is not None and len(stored.labels) != count:
        raise InputError(f"{file}: {len(stored.labels)} labels for {count} clips; allowed: a label for each clip")
    return [
        replace(source, path=placed(file, i), frames=frames[i], label=_label(stored, i, source)) for i in range(count)
    ]


def _label(stored: StoredClips, place: int, source: ClipSource) -> str | None:
    return source.label if stored.labels is None else stored.labels[place]


def _require_frames(groups: Sequence[Sequence[ClipSource]], steps: int) -> None:
    for clip in (clip for group in groups for clip in group):
        if clip.frames not in (None, steps):
            raise InputError(f"{clip.path}: {clip.frames} time steps; T is part of this network, {steps}")


def _unknown(clip: ClipSource) -> str:
    if isinstance(clip.entry, EventEntry):
        return "a recording of events, and this graph says no T; give --frames N, or --bin-ms MS"
    return "a video, and this graph says no T; give --frames N"
