"""The data sets by name, for every command line tool that takes `--dataset NAME --root DIR`."""

import argparse
import sys
from pathlib import Path

from svformer.data import ntu60, ucf101
from svformer.data.clips import Sampling
from svformer.data.dataset import MAX_UNREADABLE, ClipDataset, Options
from svformer.data.dvs128 import Dvs128
from svformer.data.events import BINNINGS
from svformer.data.folder import TEST_SHARE, VideoFolder
from svformer.data.procedural import generate
from svformer.errors import InputError

PROCEDURAL = {"procedural": "easy", "procedural_hard": "hard"}  # data set -> world; generated in data/NAME
PROCEDURAL_GROUPS, PROCEDURAL_CLIPS_PER_GROUP = 50, 2  # 12 classes: 864 clips train, 336 test; 20: 1440 and 560

DATASETS = (*PROCEDURAL, "ucf101", "ntu60", "dvs128", "folder")
SPLITS = {**dict.fromkeys((*PROCEDURAL, "ucf101"), ucf101.SPLITS), "ntu60": ntu60.SPLITS}  # the first is the default


def add_dataset_arguments(parser: argparse.ArgumentParser, default: str | None = "procedural") -> None:
    """Add `--dataset`, `--root` and how the data set is read."""
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default=default)
    add("--root", type=Path, help="folder of the data (default: data/NAME for what is generated)")
    add("--split", help="ucf101 and the generated ones: 1 (default), 2, 3; ntu60: xsub (default), xview")
    add("--events-by", choices=BINNINGS, help="events: frames of as many events each (default), or as long each")
    add("--download", action="store_true", help="let tonic fetch dvs128 where it is not there")
    add("--max-unreadable", type=float, default=MAX_UNREADABLE, help="share of files to go without (default: 0.01)")


def check_dataset_arguments(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for options that do not go together."""
    dataset = arguments.dataset
    if arguments.root and not dataset:
        raise InputError("--root is given without --dataset; say which data set lies there")
    if dataset and dataset not in PROCEDURAL and not arguments.root:
        raise InputError(f"--dataset {dataset} needs --root, the folder that holds its files")
    if arguments.split is not None and str(arguments.split) not in SPLITS.get(dataset, ()):
        allowed = f"allowed: {', '.join(SPLITS[dataset])}" if dataset in SPLITS else "leave it out"
        raise InputError(f"--split {arguments.split}: {dataset or 'a clip'} has no such split; {allowed}")
    options = vars(arguments)
    if options.get("download") and dataset != "dvs128":
        raise InputError("--download is for --dataset dvs128 only; leave it out")
    if options.get("events_by") and dataset not in (None, "dvs128"):
        raise InputError(f"--events-by is for events, and {dataset} holds videos; leave it out")
    if not 0 <= options.get("max_unreadable", MAX_UNREADABLE) <= 1:
        raise InputError(f"--max-unreadable {arguments.max_unreadable:g}; allowed: a share from 0 to 1")


def open_dataset(
    arguments: argparse.Namespace, *, size: int, frames: int, train: bool, cache: bool = True
) -> ClipDataset:
    """The training or held-out part of the data set that the arguments name.

    Without `--root` a procedural set is generated where it is not there (or not complete); all others come from the
    user's disk, and a folder that the user names is only read. `cache` lets procedural videos stay
    decoded in memory.
    """
    check_dataset_arguments(arguments)
    name, root = arguments.dataset, arguments.root
    split = str(arguments.split or SPLITS.get(name, ("",))[0])
    allowed = vars(arguments).get("max_unreadable", MAX_UNREADABLE)
    options: Options = {"size": size, "sampling": Sampling(frames=frames), "max_unreadable": allowed}
    if name == "ucf101":
        return ucf101.Ucf101(root, split=split, train=train, flip=True, **options)
    if name == "ntu60":
        return ntu60.Ntu60(root, split=split, train=train, flip=True, **options)
    if name == "dvs128":
        by = vars(arguments).get("events_by") or BINNINGS[0]
        return Dvs128(root, train=train, events_by=by, download=vars(arguments).get("download", False), **options)
    if name == "folder":
        return _open_folder(root, train, options)
    if root is None:
        root = Path("data") / name
        generate(root, world=PROCEDURAL[name], groups=PROCEDURAL_GROUPS, clips_per_group=PROCEDURAL_CLIPS_PER_GROUP)
    return ucf101.Ucf101(root, split=split, train=train, cache=cache, **options)  # no flip: directions are classes


def _open_folder(root: Path, train: bool, options: Options) -> VideoFolder:
    """Left and right may be different classes in a folder of which nothing is known, so no clip is mirrored."""
    data = VideoFolder(root, train=train, **options)
    if not data.parts and not train:
        chosen = f"{len(data)} clips, about one in {TEST_SHARE}, test; the hash of their names chose them"
        print(f"{root}: no train/ and test/ in it; {chosen}", file=sys.stderr)
    return data
