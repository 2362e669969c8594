"""One clip on disk, and what a graph takes."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.clips.nir_data import is_recording
from deploy.ir.shapes import infer_shapes
from svformer.common.errors import InputError
from svformer.config import SVFormerConfig
from svformer.data.clip_dataset import LabelledClip

Frames = NDArray[np.float32]  # [T, *input shape]


UNLABELLED = -1  # of entries for single files, whose label is a name


KINDS = {3: "a video", 2: "a recording of events"}  # by the number of channels


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One clip on disk; `label` is its class where the file's place or name tells it."""

    path: Path  # of a segment of a recording: RECORDING#CLASS@START, which no other clip has
    label: str | None
    start: float = 0.5  # where in the video, as a share of the possible starts
    crop: float = 0.5  # where along the long side
    entry: LabelledClip | None = None  # how it is read; None: an array
    # Told why the file cannot be read; the run goes on without it, unless this raises. None: it does not.
    leave_out: Callable[[InputError], None] | None = field(default=None, compare=False, repr=False)


def file_of(source: ClipSource) -> Path:
    """The file that holds a clip."""
    if source.entry is not None:
        return source.entry.path
    return source.path.with_name(source.path.name.partition("#")[0]) if is_recording(source.path) else source.path


def absolute(source: ClipSource) -> ClipSource:
    """The same clip with absolute paths."""
    entry: Any = source.entry  # of any data set: a dataclass with a path
    if entry is not None:
        entry = dataclasses.replace(entry, path=entry.path.absolute())
    return dataclasses.replace(source, path=source.path.absolute(), entry=entry)


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """The clips that a graph takes: arrays [frames, *shape]."""

    frames: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, config: SVFormerConfig) -> "InputFormat":
        """What an SVFormer takes."""
        return cls(frames=config.frames, shape=(config.in_channels, config.image_size, config.image_size))


def check_fits(source: ClipSource, wanted: InputFormat) -> None:
    """Raise `InputError` for a video or events where the graph takes something else."""
    if source.entry is not None and not takes(wanted, channels=source.entry.channels):
        raise InputError(
            f"{source.path}: this graph takes {list(wanted.shape)}, {KINDS[source.entry.channels]} gives "
            f"[{source.entry.channels}, size, size]; give a .npy of shape "
            f"[{wanted.frames}, {', '.join(map(str, wanted.shape))}]"
        )


def takes(wanted: InputFormat, *, channels: int) -> bool:
    """Whether the input is a square picture of this number of channels: 3 for video, 2 for events."""
    return len(wanted.shape) == 3 and wanted.shape[0] == channels and wanted.shape[1] == wanted.shape[2]


def takes_video(wanted: InputFormat) -> bool:
    return takes(wanted, channels=3)


def input_format(graph: nir.NIRGraph, frames: int) -> InputFormat:
    """What clips the graph takes."""
    name = next(iter(graph.inputs))
    return InputFormat(frames=frames, shape=infer_shapes(graph)[name])
