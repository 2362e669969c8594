"""How a data set is asked for on a command line."""

import argparse
from pathlib import Path

from svformer.common.errors import InputError
from svformer.common.options import at_least, positive_int, share
from svformer.data.choice import BINNINGS, DATASETS, MAX_UNREADABLE, DatasetChoice

DATASET_OPTIONS = ("dataset", "root", "split", "events_by", "stride", "cache_mb", "download", "max_unreadable")


def add_dataset_arguments(parser: argparse.ArgumentParser, default: str | None = "procedural") -> None:
    """Add `--dataset`, `--root` and how the data set is read."""
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default=default)
    add("--root", type=Path, help="folder of the data (default: data/NAME for what is generated)")
    add("--split", help="ucf101, jhmdb and the generated ones: 1 (default), 2, 3; ntu60: xsub (default), xview")
    add("--events-by", choices=BINNINGS, help="events: frames of as many events each (default), or as long each")
    stride_help = "videos: every N-th picture of 30 a second (default: 4; of a trained network, as it was trained)"
    add("--stride", type=positive_int, metavar="N", help=stride_help)
    cache_help = "videos: megabytes of decoded pictures that a process keeps in memory (default: 0)"
    add("--cache-mb", type=at_least(0), default=0, metavar="MB", help=cache_help)
    add("--download", action="store_true", help="let tonic fetch dvs128 where it is not there")
    add("--max-unreadable", type=share, default=MAX_UNREADABLE, help="share of files to go without (default: 0.01)")


def chosen_dataset(arguments: argparse.Namespace) -> DatasetChoice:
    """The data set that the options of `add_dataset_arguments` name; raises `InputError` where they contradict."""
    return DatasetChoice(
        name=arguments.dataset,
        root=arguments.root,
        split=arguments.split,
        events_by=arguments.events_by,
        stride=arguments.stride,
        cache_mb=arguments.cache_mb,
        download=arguments.download,
        max_unreadable=arguments.max_unreadable,
    )


def optional_dataset(arguments: argparse.Namespace) -> DatasetChoice | None:
    """As `chosen_dataset`; None where `--dataset` is not given, and then none of its options may be."""
    if arguments.dataset:
        return chosen_dataset(arguments)
    if arguments.root:
        raise InputError("--root is given without --dataset; say which data set lies there")
    if arguments.split is not None:
        raise InputError(f"--split {arguments.split}: a clip has no such split; leave it out")
    if arguments.stride is not None:
        raise InputError(f"--stride {arguments.stride} is given without --dataset; a network says it of its own clips")
    if arguments.cache_mb:
        raise InputError(f"--cache-mb {arguments.cache_mb} is given without --dataset; leave it out")
    if arguments.download:
        raise InputError("--download is for --dataset dvs128 only; leave it out")
    return None
