"""One clip on disk, and what a graph takes."""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.model import says_ours, stated_steps_per_frame, stated_stride
from deploy.ir.shapes import infer_shapes
from svformer.common.errors import InputError
from svformer.config import SVFormerConfig
from svformer.data.choice import STRIDE
from svformer.data.clip_dataset import LabelledClip

Frames = NDArray[np.float32]  # [T, *input shape]


UNLABELLED = -1  # of entries for single files, whose label is a name


KINDS = {3: "a video", 2: "a recording of events"}  # by the number of channels
GIVEN = {3: "[3, size, size]", 2: "[2, height, width]"}  # by the same: the frames that they become
PLACE = re.compile(r"(.+\.\w+)#(\d+)")  # FILE.npz#3: the clip at place 3 of a file that holds several


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One clip on disk; `label` is its class where the file, its place or its name tells it."""

    path: Path  # of one of several clips in a file: FILE#PLACE or RECORDING#CLASS@START, which no other clip has
    label: str | None
    start: float = 0.5  # where in the video, as a share of the possible starts
    crop: float = 0.5  # where along the long side
    entry: LabelledClip | None = None  # how it is read; None: an array
    frames: int | None = None  # time steps of this clip; None: as many as the graph takes
    # Told why the file cannot be read; the run goes on without it, unless this raises. None: it does not.
    leave_out: Callable[[InputError], None] | None = field(default=None, compare=False, repr=False)


def placed(path: Path, place: int) -> Path:
    """The path of one of several clips in a file."""
    return path.with_name(f"{path.name}#{place}")


def split_place(path: Path) -> tuple[Path, int | None]:
    """The file that holds a clip, and the place of the clip in it; None where the file is the clip."""
    found = PLACE.fullmatch(path.name)
    return (path, None) if found is None else (path.with_name(found[1]), int(found[2]))


def file_of(source: ClipSource) -> Path:
    """The file that holds a clip."""
    return split_place(source.path)[0] if source.entry is None else source.entry.path


def names_of(sources: Sequence[ClipSource]) -> list[str]:
    """The path of every clip below the folder that all of them share, with / between its parts."""
    paths = [source.path.absolute() for source in sources]
    shared = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(shared).as_posix() for path in paths]


def absolute(source: ClipSource) -> ClipSource:
    """The same clip with absolute paths."""
    entry: Any = source.entry  # of any data set: a dataclass with a path
    if entry is not None:
        entry = dataclasses.replace(entry, path=entry.path.absolute())
    return dataclasses.replace(source, path=source.path.absolute(), entry=entry)


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """The clips that a graph takes: arrays [frames, *shape], a frame for each time step.

    `pixels` is whether the network takes normalised pixels of video, which the graph has to say: a shape of 3 x H x H
    says nothing of the values.
    """

    frames: int
    shape: tuple[int, ...]
    pixels: bool = False
    stride: int = STRIDE  # of videos: from one frame to the next, in pictures at 30 a second
    steps_per_frame: int = 1  # time steps that a frame of a video or of events is shown

    @classmethod
    def of(cls, config: SVFormerConfig) -> "InputFormat":
        """What a network of this project takes."""
        shape, steps = (config.in_channels, config.image_size, config.image_size), config.steps_per_frame
        pixels = config.in_channels == 3
        return cls(frames=steps * config.frames, shape=shape, pixels=pixels, steps_per_frame=steps)


def check_fits(source: ClipSource, wanted: InputFormat) -> None:
    """Raise `InputError` for a video or events where the graph takes something else."""
    if source.entry is None:
        return
    channels = source.entry.channels
    if not takes(wanted, channels=channels):
        raise InputError(
            f"{source.path}: this graph takes {list(wanted.shape)}, {KINDS[channels]} gives {GIVEN[channels]}; "
            f"give a .npy of shape [{source.frames or wanted.frames or 'T'}, {', '.join(map(str, wanted.shape))}]"
        )


def takes(wanted: InputFormat, *, channels: int) -> bool:
    """Whether the input is a picture of this number of channels: 3 for video, which is square, 2 for events."""
    return len(wanted.shape) == 3 and wanted.shape[0] == channels and (channels == 2 or len({*wanted.shape[1:]}) == 1)


def input_format(graph: nir.NIRGraph, frames: int) -> InputFormat:
    """What clips the graph takes."""
    name = next(iter(graph.inputs))
    shape = infer_shapes(graph)[name]
    return InputFormat(
        frames=frames,
        shape=shape,
        pixels=says_ours(graph) and shape[:1] == (3,),
        stride=stated_stride(graph),
        steps_per_frame=stated_steps_per_frame(graph),
    )
