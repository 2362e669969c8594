"""UCF101 in its official layout, and any data set of one's own laid out the same way.

    ROOT/[UCF-101/]ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
    ROOT/ucfTrainTestlist/classInd.txt       "1 ApplyEyeMakeup"
    ROOT/ucfTrainTestlist/trainlist01.txt    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
    ROOT/ucfTrainTestlist/testlist01.txt     "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

Clips of one group (g08) come from one source video; the official lists never split a group.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from svformer.data.clips import (
    Sampling,
    Video,
    crop_square,
    decode_video,
    load_clip,
    max_start_s,
    sample_clip,
)
from svformer.errors import InputError


@dataclass(frozen=True)
class ClipEntry:
    """One labelled video file; `name` is its line in the list, "ClassName/v_ClassName_g01_c01.avi"."""

    path: Path
    label: int
    name: str


class Ucf101(Dataset[tuple[Tensor, int]]):
    """Clips of one official split: items are (uint8 [T, 3, size, size], label).

    Training items take one random start and one random crop along the long side, drawn from (seed, epoch,
    index), so a run repeats exactly with any number of loader workers; call `set_epoch` before each epoch.
    Test items are the centre in time and space. `flip` mirrors half of the training clips; leave it off where
    left and right are different classes.

    `cache=True` decodes every video once, at construction, and keeps all pictures in memory, shared by forked
    loader workers: frames * 3 * size * (4/3 size) bytes a video, at size 32 about 0.4 GB for 1,200 procedural
    clips and 10 GB for all of UCF101.

    Raises InputError where a folder, list or file is missing or a line is malformed.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: int = 1,
        train: bool,
        size: int = 224,
        sampling: Sampling | None = None,
        flip: bool = False,
        seed: int = 0,
        cache: bool = False,
    ) -> None:
        self.classes, self.entries = _read_split(Path(root), split=split, train=train)
        self.train, self.size, self.sampling = train, size, sampling or Sampling()
        self.flip, self.seed = flip, seed
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # loader workers see set_epoch
        self._videos = _decode_all(self.entries, size) if cache else None

    def __len__(self) -> int:
        return len(self.entries)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random starts, crops and flips the training items take."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        start, crop, mirror = 0.5, 0.5, False
        if self.train:
            start, crop, coin = np.random.default_rng((self.seed, int(self._epoch), index)).random(3).tolist()
            mirror = self.flip and coin < 0.5
        clip_TCHW = self._view(index, start, crop)
        return clip_TCHW.flip(-1) if mirror else clip_TCHW, self.entries[index].label

    def _view(self, index: int, start: float, crop: float) -> Tensor:
        if self._videos is None:
            path = self.entries[index].path
            return load_clip(path, size=self.size, sampling=self.sampling, start=start, crop=crop)
        video = self._videos[index]
        clip_TCHW = sample_clip(video, self.sampling, start * max_start_s(video, self.sampling))
        return crop_square(clip_TCHW, self.size, crop)


def _decode_all(entries: Sequence[ClipEntry], size: int) -> list[Video]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # FFmpeg releases Python's lock while it decodes
        videos = pool.map(lambda entry: decode_video(entry.path, size=size), entries)
        return list(track(videos, description="decoding videos", total=len(entries), transient=True))


def _read_split(root: Path, *, split: int, train: bool) -> tuple[tuple[str, ...], tuple[ClipEntry, ...]]:
    lists = root / "ucfTrainTestlist"
    if split not in (1, 2, 3):
        raise InputError(f"split {split}: UCF101 has no such split; allowed: 1, 2, 3")
    if not lists.is_dir():
        raise InputError(f"{root}: no UCF101 data set; expected ucfTrainTestlist/ beside the class folders")
    videos = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    classes = _read_classes(lists / "classInd.txt")
    list_path = lists / f"{'train' if train else 'test'}list{split:02d}.txt"
    entries = tuple(_parse_entry(line, where, classes, videos) for where, line in _numbered_lines(list_path))
    missing = [entry.name for entry in entries if not entry.path.is_file()]
    if missing:
        raise InputError(
            f"{videos}: {len(missing)} of the {len(entries)} videos in {list_path.name} are missing, first "
            f"{missing[0]}; expected ClassName/v_ClassName_gXX_cYY.avi; unpack the whole archive there"
        )
    return classes, entries


def _numbered_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a list that are not blank, each with the place to name in an error."""
    if not path.is_file():
        raise InputError(f"{path}: missing; expected classInd.txt and trainlist/testlist01..03.txt there")
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    numbered = [(f"{path}, line {number}", line.strip()) for number, line in lines if line.strip()]
    if not numbered:
        raise InputError(f"{path}: empty; expected one line for each class or video")
    return numbered


def _read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of their numbers, which must run from 1 without a gap; label = number - 1."""
    classes: list[str] = []
    for where, line in _numbered_lines(path):
        number, _, name = line.partition(" ")
        if number != str(len(classes) + 1) or not name or name in classes:
            raise InputError(f'{where}: "{line}"; expected "{len(classes) + 1} ClassName", each name once')
        classes.append(name)
    return tuple(classes)


def _parse_entry(line: str, where: str, classes: tuple[str, ...], videos: Path) -> ClipEntry:
    """One line of a list; the label is the folder's class, and a number behind the name must agree."""
    name, _, number = line.partition(" ")
    class_name, _, file_name = name.partition("/")
    if class_name not in classes or not file_name or number not in ("", str(classes.index(class_name) + 1)):
        raise InputError(
            f'{where}: "{line}"; expected "ClassName/v_ClassName_gXX_cYY.avi" with a class of classInd.txt '
            "and, in training lists, its number"
        )
    return ClipEntry(path=videos / name, label=classes.index(class_name), name=name)
