"""UCF101 in its official layout, any part of its classes, and any other data set in the same layout.

    ROOT/[UCF-101/]ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
    ROOT/ucfTrainTestlist/classInd.txt       "1 ApplyEyeMakeup"
    ROOT/ucfTrainTestlist/trainlist01.txt    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
    ROOT/ucfTrainTestlist/testlist01.txt     "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

Clips of one group (g08) come from one source video; the official lists never split a group. Classes without a folder
are left out, and the others count from 0 in the order of classInd.txt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from svformer.common.errors import InputError
from svformer.common.files import read_text
from svformer.common.remarks import remark
from svformer.data.choice import MAX_UNREADABLE, UCF101_SPLITS
from svformer.data.listed import require_files
from svformer.data.videos import VideoDataset, VideoEntry, VideoOptions

LISTS = "ucfTrainTestlist"
LAYOUT = "ClassName/v_ClassName_gXX_cYY.avi"


class Ucf101(VideoDataset):
    """Clips of one official split; the options are those of `VideoDataset`.

    Raises `InputError` where a folder or list is missing, a line is malformed, or more files than `max_unreadable` are
    not there.
    """

    def __init__(self, root: str | Path, *, split: int | str = 1, train: bool, **options: Unpack[VideoOptions]) -> None:
        classes, entries = _read_split(Path(root), split=str(split), train=train)
        part = f"{_list_name(str(split), train=train)} of {Path(root)}"
        found = require_files(entries, part, allowed=options.get("max_unreadable", MAX_UNREADABLE), layout=LAYOUT)
        super().__init__(classes, found, train=train, **options)


def _read_split(root: Path, *, split: str, train: bool) -> tuple[tuple[str, ...], list[VideoEntry]]:
    lists = root / LISTS
    if split not in UCF101_SPLITS:
        raise InputError(f"split {split}: UCF101 has no such split; allowed: {', '.join(UCF101_SPLITS)}")
    if not lists.is_dir():
        raise InputError(f"{root}: no UCF101 data set; expected ucfTrainTestlist/ beside the class folders")
    videos = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    classes = _read_classes(lists / "classInd.txt")
    list_path = lists / _list_name(split, train=train)
    lines = _numbered_lines(list_path)
    named = [_parse_entry(line, where, classes) for where, line in lines]
    there = tuple(name for name in classes if (videos / name).is_dir()) or classes
    _remark_unlisted(root, videos, there, split)
    return there, [
        VideoEntry(path=videos / name, label=there.index(label), name=name) for name, label in named if label in there
    ]


def _list_name(split: str, *, train: bool) -> str:
    return f"{'train' if train else 'test'}list{split.zfill(2)}.txt"


def _remark_unlisted(root: Path, videos: Path, classes: Sequence[str], split: str) -> None:
    """Say how many files of the class folders stand in no list of the split: they are neither trained nor tested on."""
    listed = set[str]()
    for path in (root / LISTS / _list_name(split, train=train) for train in (True, False)):
        listed |= {line.partition(" ")[0] for _, line in _numbered_lines(path)} if path.is_file() else set()
    files = (file for name in classes if (videos / name).is_dir() for file in (videos / name).iterdir())
    others = [file for file in files if file.is_file() and f"{file.parent.name}/{file.name}" not in listed]
    if others:
        first = min(f"{file.parent.name}/{file.name}" for file in others)
        remark(root, "unlisted", f"{len(others)} files in no list of split {split} are left out, first {first}")


def _numbered_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a list that are not blank, each as (its position, for an error message; its text)."""
    if not path.is_file():
        raise InputError(f"{path}: missing; expected classInd.txt and trainlist/testlist01..03.txt there")
    lines = enumerate(read_text(path).splitlines(), start=1)
    numbered = [(f"{path}, line {number}", line.strip()) for number, line in lines if line.strip()]
    if not numbered:
        raise InputError(f"{path}: empty; expected one line for each class or video")
    return numbered


def _read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of their numbers, which must be 1, 2, 3, ..; a label is the number - 1."""
    classes: list[str] = []
    for where, line in _numbered_lines(path):
        number, _, name = line.partition(" ")
        if number != str(len(classes) + 1) or not name or name in classes:
            raise InputError(f'{where}: "{line}"; expected "{len(classes) + 1} ClassName", each name once')
        classes.append(name)
    return tuple(classes)


def _parse_entry(line: str, where: str, classes: tuple[str, ...]) -> tuple[str, str]:
    """The file of one line of a list and the class of its folder; a number in the line must agree."""
    name, _, number = line.partition(" ")
    class_name, _, file_name = name.partition("/")
    if class_name not in classes or not file_name or number not in ("", str(classes.index(class_name) + 1)):
        raise InputError(
            f'{where}: "{line}"; expected "{LAYOUT}" with a class of classInd.txt and, in training lists, its number'
        )
    return name, class_name
