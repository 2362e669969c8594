"""J-HMDB (Jhuang et al., ICCV 2013) in its official layout: 21 classes, 928 clips of 15 to 40 pictures.

    ROOT/[ReCompress_Videos/]brush_hair/NAME.avi
    ROOT/splits/brush_hair_test_split1.txt      "NAME.avi 1" (training) or "NAME.avi 2" (test)

The set may lie in UCF101's layout, too (`svformer.data.ucf101`). Its clips are shorter than 16 pictures with a stride
of 4 at 30 frames per second, so the last picture repeats; a stride of 1 or 2 shows more of them.
"""

from pathlib import Path
from typing import Unpack

from svformer.common.errors import InputError
from svformer.common.files import read_text
from svformer.data.choice import JHMDB_SPLITS, MAX_UNREADABLE
from svformer.data.listed import require_files
from svformer.data.ucf101 import LISTS, Ucf101
from svformer.data.videos import VideoDataset, VideoEntry, VideoOptions

LAYOUT = "class_name/NAME.avi, with ReCompress_Videos/ above the classes or not"
PARTS = {"1": True, "2": False}  # number in a list -> whether the clip is for training; 0 is in neither part


class Jhmdb(VideoDataset):
    """Clips of one official split; the options are those of `VideoDataset`.

    Raises `InputError` where a folder or list is missing, a line is malformed, or more files than `max_unreadable` are
    not there.
    """

    def __init__(self, root: str | Path, *, split: int | str = 1, train: bool, **options: Unpack[VideoOptions]) -> None:
        classes, entries = _read_split(Path(root), split=str(split), train=train)
        part = f"split {split} of {Path(root)}"
        found = require_files(entries, part, allowed=options.get("max_unreadable", MAX_UNREADABLE), layout=LAYOUT)
        super().__init__(classes, found, train=train, **options)


def open_jhmdb(root: Path, *, split: str, train: bool, **options: Unpack[VideoOptions]) -> VideoDataset:
    """The set in whichever of the two layouts it lies."""
    kind = Ucf101 if (root / LISTS).is_dir() else Jhmdb
    return kind(root, split=split, train=train, **options)


def _read_split(root: Path, *, split: str, train: bool) -> tuple[tuple[str, ...], list[VideoEntry]]:
    if split not in JHMDB_SPLITS:
        raise InputError(f"split {split}: J-HMDB has no such split; allowed: {', '.join(JHMDB_SPLITS)}")
    ending = f"_test_split{split}.txt"
    lists = sorted((root / "splits").glob(f"*{ending}"))
    if not lists:
        raise InputError(f"{root}: no J-HMDB data set; expected splits/CLASS{ending} beside the class folders")
    videos = root / "ReCompress_Videos" if (root / "ReCompress_Videos").is_dir() else root
    classes = tuple(path.name.removesuffix(ending) for path in lists)
    entries = [
        VideoEntry(path=videos / classes[label] / name, label=label, name=f"{classes[label]}/{name}")
        for label, path in enumerate(lists)
        for name in _names(path, train=train)
    ]
    return classes, entries


def _names(path: Path, *, train: bool) -> list[str]:
    """Files of one class in the training or test part."""
    names = list[str]()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, _, part = line.strip().rpartition(" ")
        if not line.strip() or part == "0":
            continue
        if part not in PARTS or not name or "/" in name:
            raise InputError(
                f'{path}, line {number}: "{line}"; expected "NAME.avi 1" (training) or "NAME.avi 2" (test)'
            )
        names += [name] if PARTS[part] == train else []
    return names
