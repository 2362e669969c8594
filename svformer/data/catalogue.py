"""The data sets by name, for every command line tool that takes `--dataset NAME --root DIR`."""

import argparse
import sys
from pathlib import Path

from svformer.data import ntu60, ucf101
from svformer.data.arguments import BINNINGS, MAX_UNREADABLE, PROCEDURAL, SPLITS, check_dataset_arguments
from svformer.data.clip_dataset import ClipDataset, Options
from svformer.data.clips import Sampling
from svformer.data.dvs128 import Dvs128
from svformer.data.folder import TEST_SHARE, VideoFolder
from svformer.data.procedural import generate

PROCEDURAL_GROUPS, PROCEDURAL_CLIPS_PER_GROUP = 50, 2  # 12 classes: 864 clips train, 336 test; 20: 1440 and 560


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
