"""The clips that a run takes, and those that its scales are chosen by."""

import functools
from collections.abc import Sequence
from pathlib import PurePath

from deploy.clips.files import shipped
from deploy.clips.source import ClipSource, InputFormat, takes, takes_video
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS
from svformer.common.errors import InputError
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice

CALIBRATION_VIDEOS = 16  # of the training part of a data set


def held_out_clips(dataset: DatasetChoice, limit: int | None = None) -> list[ClipSource]:
    """The held-out clips of a data set, at most `limit` of them, spread over its classes."""
    clips = dataset_clips(dataset, train=False)
    return clips if limit is None else spread(clips, limit)


def training_clips(dataset: DatasetChoice) -> list[ClipSource]:
    """The training clips of a data set that scales are chosen by."""
    return spread(dataset_clips(dataset, train=True), CALIBRATION_VIDEOS)


def demo_clips(wanted: InputFormat) -> list[ClipSource]:
    """The videos that ship with the project; raises `InputError` for a graph that takes no video."""
    if takes_video(wanted):
        return shipped(DEMO_CLIPS)
    shape = ", ".join(map(str, wanted.shape))
    events = ", or a recording of events (.aedat, .npy)" if takes(wanted, channels=2) else ""
    raise InputError(f"this graph takes no video; give --clip FILE.npy of shape [T, {shape}]{events}")


def calibration_clips(wanted: InputFormat, clips: Sequence[ClipSource]) -> list[ClipSource]:
    """Clips to choose scales by where there is no data set: shipped videos for a graph that takes video, and the clips
    to run for any other.
    """
    return shipped(CALIBRATION_CLIPS) if takes_video(wanted) else list(clips)


def spread(clips: Sequence[ClipSource], count: int) -> list[ClipSource]:
    """At most `count` clips, evenly spread over the classes and over the clips of each; in the order of the list.

    Every (N / count)-th clip of the list sorted by class: each class has its share, up to one clip.
    """
    classes = {label: number for number, label in enumerate(dict.fromkeys(clip.label for clip in clips))}
    by_class = sorted(range(len(clips)), key=lambda place: classes[clips[place].label])
    count = min(count, len(clips))
    chosen = sorted(by_class[number * len(clips) // count] for number in range(count))
    return [clips[place] for place in chosen]


def dataset_clips(dataset: DatasetChoice, *, train: bool) -> list[ClipSource]:
    """The clips of the training or held-out part of a data set, with their classes."""
    data = open_dataset(dataset, size=1, frames=1, train=train, cache=False)  # only its list is used
    return [
        ClipSource(
            path=entry.path.with_name(PurePath(entry.name).name),
            label=data.classes[entry.label],
            entry=entry,
            leave_out=functools.partial(data.unreadable.add, index),
        )
        for index, entry in enumerate(data.entries)
    ]
