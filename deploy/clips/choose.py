"""The clips that a run takes, and those that its scales are chosen by."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from deploy.clips.arrays import READERS
from deploy.clips.files import from_files, shipped
from deploy.clips.source import ClipSource, InputFormat, takes
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS
from svformer.common.errors import InputError
from svformer.data.catalogue import open_dataset
from svformer.data.choice import BINNINGS, DatasetChoice
from svformer.data.folder import SUFFIXES, folder_parts, say_split
from svformer.data.unreadable import Unreadable

CALIBRATION_VIDEOS = 16  # of the training part of a data set
MOST_CALIBRATION = 64  # of clips to run, where scales are chosen by those


def held_out_clips(dataset: DatasetChoice, limit: int | None = None, *, trained: bool = True) -> list[ClipSource]:
    """The held-out clips of a data set, at most `limit` of them, spread over its classes.

    A folder that the network was not `trained` on is held out as a whole, unless it has train/ and test/.
    """
    clips = dataset_clips(dataset, train=False, trained=trained)
    return clips if limit is None else spread(clips, limit)


def training_clips(dataset: DatasetChoice, *, trained: bool = True) -> list[ClipSource]:
    """The training clips of a data set that scales are chosen by."""
    return spread(dataset_clips(dataset, train=True, trained=trained), CALIBRATION_VIDEOS)


def demo_clips(wanted: InputFormat) -> list[ClipSource]:
    """The videos that ship with the project; raises `InputError` for a graph that does not say that it takes video."""
    if wanted.pixels:
        return shipped(DEMO_CLIPS)
    raise InputError(f"no clips are given, and those that ship are for SVFormer; {what_to_give(wanted)}")


def what_to_give(wanted: InputFormat) -> str:
    """The clips that a graph takes, as advice."""
    shape = ", ".join(map(str, wanted.shape))
    events = ", or a recording of events (.aedat, .npy)" if takes(wanted, channels=2) else ""
    return f"give --clip FILE.npy of shape [T, {shape}]{events}"


def calibration_clips(wanted: InputFormat, clips: Sequence[ClipSource]) -> list[ClipSource]:
    """Clips to choose scales by where there is no data set: shipped videos for a graph that says it takes video, and
    the clips to run (some of many) for any other.
    """
    return shipped(CALIBRATION_CLIPS) if wanted.pixels else spread(clips, MOST_CALIBRATION)


def spread(clips: Sequence[ClipSource], count: int) -> list[ClipSource]:
    """At most `count` clips, evenly spread over the classes and over the clips of each; in the order of the list.

    Every (N / count)-th clip of the list sorted by class: each class has its share, up to one clip.
    """
    classes = {label: number for number, label in enumerate(dict.fromkeys(clip.label for clip in clips))}
    by_class = sorted(range(len(clips)), key=lambda place: classes[clips[place].label])
    count = min(count, len(clips))
    chosen = sorted(by_class[number * len(clips) // count] for number in range(count))
    return [clips[place] for place in chosen]


def dataset_clips(dataset: DatasetChoice, *, train: bool, trained: bool = True) -> list[ClipSource]:
    """The clips of the training or held-out part of a data set, with their classes."""
    if dataset.name == "folder":
        return _folder_clips(dataset, train=train, trained=trained)
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


def _folder_clips(dataset: DatasetChoice, *, train: bool, trained: bool) -> list[ClipSource]:
    """Videos, recordings of events and arrays, whose folder is their class."""
    root = Path(dataset.root or "")
    found = folder_parts(root, suffixes=SUFFIXES | READERS.keys() | {".aedat"}, trained=trained)
    if not train:
        say_split(root, found)
    files = found.part(train=train)
    unreadable = Unreadable(len(files), dataset.max_unreadable)
    return [
        replace(source, label=file.parent.name, leave_out=functools.partial(unreadable.add, index))
        for index, file in enumerate(files)
        for source in from_files([file], events_by=dataset.events_by or BINNINGS[0])
    ]
