"""The data sets by name: what a `DatasetChoice` asks for, opened."""

from pathlib import Path

from svformer.common.errors import InputError
from svformer.common.remarks import remark
from svformer.data import jhmdb, ntu60, ucf101
from svformer.data.choice import BINNINGS, PROCEDURAL, SPLITS, STRIDE, DatasetChoice
from svformer.data.clip_dataset import ClipDataset, Options
from svformer.data.clips import Sampling
from svformer.data.dvs128 import Dvs128
from svformer.data.folder import VideoFolder, say_split
from svformer.data.nmnist import Nmnist
from svformer.data.procedural import generate

PUBLISHED_CLASSES = {"ucf101": 101, "jhmdb": 21}


def open_dataset(choice: DatasetChoice, *, size: int, frames: int, train: bool, cache: bool = True) -> ClipDataset:
    """The training or held-out part of a data set, as clips [frames, C, size, size].

    Without a root a procedural set is generated where it is not there (or not complete); all others come from the
    user's disk, and a folder that the user names is only read. `cache` lets procedural videos stay decoded in memory.
    Raises `InputError` where the folder does not hold the data set.
    """
    name, split = choice.name, str(choice.split or SPLITS.get(choice.name, ("",))[0])
    options: Options = {
        "size": size,
        "sampling": Sampling(frames=frames, stride=choice.stride or STRIDE),
        "max_unreadable": choice.max_unreadable,
    }
    kept = choice.cache_mb if cache else 0
    root = _generated(name) if choice.root is None else Path(choice.root)
    if name == "ucf101":
        return _counted(name, root, ucf101.Ucf101(root, split=split, train=train, flip=True, cache_mb=kept, **options))
    if name == "jhmdb":
        return _counted(
            name, root, jhmdb.open_jhmdb(root, split=split, train=train, flip=True, cache_mb=kept, **options)
        )
    if name == "ntu60":
        return ntu60.Ntu60(root, split=split, train=train, flip=True, cache_mb=kept, **options)
    if name == "dvs128":
        events_by = choice.events_by or BINNINGS[0]
        return Dvs128(root, train=train, events_by=events_by, download=choice.download, **options)
    if name == "nmnist":
        return Nmnist(root, train=train, events_by=choice.events_by or BINNINGS[0], **options)
    if name == "folder":
        if choice.events_by:
            raise InputError("--events-by is for events, and folder holds videos; leave it out")
        return _open_folder(root, train, kept, options)
    return ucf101.Ucf101(root, split=split, train=train, cache=cache, **options)  # no flip: directions are classes


def _counted(name: str, root: Path, data: ClipDataset) -> ClipDataset:
    """The data set; says once how many of its published classes are there, where some are not."""
    if len(data.classes) < PUBLISHED_CLASSES[name]:
        remark(root, "classes", f"{len(data.classes)} of the {PUBLISHED_CLASSES[name]} classes of {name} are there")
    return data


def _generated(name: str) -> Path:
    """The folder of a procedural set, whose missing clips are written first."""
    return generate(Path("data") / name, world=PROCEDURAL[name])


def _open_folder(root: Path, train: bool, cache_mb: int, options: Options) -> VideoFolder:
    """Left and right may be different classes in a folder of which nothing is known, so no clip is mirrored."""
    data = VideoFolder(root, train=train, cache_mb=cache_mb, **options)
    if not train:
        say_split(root, data.parts)
    return data
