"""How a data set is asked for on the command line; reading it is in `datasets`, which takes a second to import."""

import argparse
from pathlib import Path
from typing import Literal, get_args

from svformer.common.errors import InputError

PROCEDURAL = {"procedural": "easy", "procedural_hard": "hard"}  # data set -> world; generated in data/NAME
DATASETS = (*PROCEDURAL, "ucf101", "ntu60", "dvs128", "folder")
LOOKALIKES = ("ucf101", "ntu60", "dvs128")  # official sets, of which small ones in the same form can be made
UCF101_SPLITS = ("1", "2", "3")
NTU60_SPLITS = ("xsub", "xview")
SPLITS = {**dict.fromkeys((*PROCEDURAL, "ucf101"), UCF101_SPLITS), "ntu60": NTU60_SPLITS}  # the first is the default
Binning = Literal["count", "time"]
BINNINGS = get_args(Binning)
MAX_UNREADABLE = 0.01  # share of a data set's files


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
