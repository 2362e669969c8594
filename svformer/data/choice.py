"""Which data set, where it lies and how it is read: a value that a command line or a notebook makes.

`svformer.data.catalogue` opens it, which takes a second to import; nothing here does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from svformer.common.errors import InputError
from svformer.common.options import at_least, positive_int, share

PROCEDURAL = {"procedural": "easy", "procedural_hard": "hard"}  # data set -> world; generated in data/NAME
DATASETS = (*PROCEDURAL, "ucf101", "jhmdb", "ntu60", "dvs128", "nmnist", "folder")
EVENT_SETS = ("dvs128", "nmnist")  # of recordings of events, whose time steps follow from the events
LOOKALIKES = ("ucf101", "ntu60", "dvs128")  # official sets, of which small ones in the same form can be made
UCF101_SPLITS = JHMDB_SPLITS = ("1", "2", "3")
NTU60_SPLITS = ("xsub", "xview")
SPLITS = {  # the first is the default
    **dict.fromkeys((*PROCEDURAL, "ucf101"), UCF101_SPLITS),
    "jhmdb": JHMDB_SPLITS,
    "ntu60": NTU60_SPLITS,
}
STRIDE = 4  # of the paper's recipe
Binning = Literal["count", "time"]
BINNINGS = get_args(Binning)  # the first is the default
MAX_UNREADABLE = 0.01  # share of a data set's files


@dataclass(frozen=True, kw_only=True)
class DatasetChoice:
    """A data set by its name; raises `InputError`, in the words of the command line, for what does not go together."""

    name: str = "procedural"  # one of DATASETS
    root: str | Path | None = None  # folder of the data; None: data/NAME, for a set that is generated
    split: str | int | None = None  # None: the first of the data set's
    events_by: Binning | None = None  # how recordings of events become frames; None: the first of BINNINGS
    stride: int | None = None  # of videos, in pictures at 30 a second; None: 4, or as a network was trained
    cache_mb: int = 0  # megabytes of decoded videos that a process keeps in memory
    download: bool = False  # whether tonic may fetch dvs128
    max_unreadable: float = MAX_UNREADABLE  # share of the files that a run may go without, 0 to 1

    def __post_init__(self) -> None:
        if self.name not in DATASETS:
            raise InputError(f"--dataset {self.name}: no such data set; allowed: {', '.join(DATASETS)}")
        if self.name not in PROCEDURAL and not self.root:
            raise InputError(f"--dataset {self.name} needs --root, the folder that holds its files")
        splits = SPLITS.get(self.name, ())
        if self.split is not None and str(self.split) not in splits:
            allowed = f"allowed: {', '.join(splits)}" if splits else "leave it out"
            raise InputError(f"--split {self.split}: {self.name} has no such split; {allowed}")
        if self.download and self.name != "dvs128":
            raise InputError("--download is for --dataset dvs128 only; leave it out")
        positive_int.check("--stride", self.stride)
        at_least(0).check("--cache-mb", self.cache_mb)
        if self.cache_mb and self.name in (*EVENT_SETS, *PROCEDURAL):
            raise InputError(f"--cache-mb is for videos of your own, not for {self.name}; leave it out")
        if self.stride and self.name in EVENT_SETS:
            raise InputError(f"--stride is for videos, and {self.name} holds events; leave it out")
        if self.events_by and self.name not in (*EVENT_SETS, "folder"):
            raise InputError(f"--events-by is for events, and {self.name} holds videos; leave it out")
        share.check("--max-unreadable", self.max_unreadable)


def with_stride(choice: DatasetChoice, notes: Mapping[str, Any]) -> DatasetChoice:
    """The choice with the stride that a network's notes say, where the user has not said one."""
    if choice.stride is not None or "stride" not in notes or choice.name in EVENT_SETS:
        return choice
    return replace(choice, stride=int(notes["stride"]))
