"""The data sets by name, for every command line tool that takes `--dataset NAME --root DIR`."""

import argparse
from pathlib import Path

from svformer.data.clips import Sampling
from svformer.data.procedural import generate
from svformer.data.ucf101 import Ucf101
from svformer.errors import InputError

PROCEDURAL_ROOT = Path("data") / "procedural"
PROCEDURAL_GROUPS, PROCEDURAL_CLIPS_PER_GROUP = 50, 2  # 12 classes: 864 clips train, 336 test

DATASETS = ("procedural", "ucf101")


def add_dataset_arguments(parser: argparse.ArgumentParser, default: str | None = "procedural") -> None:
    """Add `--dataset`, `--root` and `--split`."""
    parser.add_argument("--dataset", choices=DATASETS, default=default)
    parser.add_argument("--root", type=Path, help=f"folder of the data (procedural: default {PROCEDURAL_ROOT})")
    parser.add_argument("--split", type=int, choices=(1, 2, 3), default=1)


def check_dataset_arguments(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for options that do not go together."""
    if arguments.root and not arguments.dataset:
        raise InputError("--root is given without --dataset; say which data set lies there")
    if arguments.dataset and arguments.dataset != "procedural" and not arguments.root:
        raise InputError(f"--dataset {arguments.dataset} needs --root, the folder that holds the official files")


def open_dataset(arguments: argparse.Namespace, *, size: int, frames: int, train: bool, cache: bool = True) -> Ucf101:
    """The training or held-out part of the data set that the arguments name.

    Without `--root` the procedural set is generated where it is not there (or not complete); all others come from the
    user's disk, and a folder that the user names is only read. `cache` lets procedural videos stay
    decoded in memory.
    """
    check_dataset_arguments(arguments)
    procedural, root = arguments.dataset == "procedural", arguments.root
    if root is None:
        root = generate(PROCEDURAL_ROOT, groups=PROCEDURAL_GROUPS, clips_per_group=PROCEDURAL_CLIPS_PER_GROUP)
    return Ucf101(
        root,
        split=arguments.split,
        train=train,
        size=size,
        sampling=Sampling(frames=frames),
        flip=not procedural,  # the direction of a motion is a class of the procedural set
        cache=cache and procedural,
    )
