"""UCF101 in its official layout, and any other data set in the same layout.

    ROOT/[UCF-101/]ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
    ROOT/ucfTrainTestlist/classInd.txt       "1 ApplyEyeMakeup"
    ROOT/ucfTrainTestlist/trainlist01.txt    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
    ROOT/ucfTrainTestlist/testlist01.txt     "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

Clips of one group (g08) come from one source video; the official lists never split a group.
"""

from pathlib import Path
from typing import Unpack

from svformer.common.errors import InputError
from svformer.data.choice import UCF101_SPLITS
from svformer.data.videos import VideoDataset, VideoEntry, VideoOptions


class Ucf101(VideoDataset):
    """Clips of one official split; the options are those of `VideoDataset`.

    Raises `InputError` where a folder, list or file is missing or a line is malformed.
    """

    def __init__(self, root: str | Path, *, split: int | str = 1, train: bool, **options: Unpack[VideoOptions]) -> None:
        classes, entries = _read_split(Path(root), split=str(split), train=train)
        super().__init__(classes, entries, train=train, **options)


def _read_split(root: Path, *, split: str, train: bool) -> tuple[tuple[str, ...], tuple[VideoEntry, ...]]:
    lists = root / "ucfTrainTestlist"
    if split not in UCF101_SPLITS:
        raise InputError(f"split {split}: UCF101 has no such split; allowed: {', '.join(UCF101_SPLITS)}")
    if not lists.is_dir():
        raise InputError(f"{root}: no UCF101 data set; expected ucfTrainTestlist/ beside the class folders")
    videos = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    classes = _read_classes(lists / "classInd.txt")
    list_path = lists / f"{'train' if train else 'test'}list{split.zfill(2)}.txt"
    entries = tuple(_parse_entry(line, where, classes, videos) for where, line in _numbered_lines(list_path))
    missing = [entry.name for entry in entries if not entry.path.is_file()]
    if missing:
        raise InputError(
            f"{videos}: {len(missing)} of the {len(entries)} videos in {list_path.name} are missing, first "
            f"{missing[0]}; expected ClassName/v_ClassName_gXX_cYY.avi; unpack the whole archive there"
        )
    return classes, entries


def _numbered_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a list that are not blank, each as (its position, for an error message; its text)."""
    if not path.is_file():
        raise InputError(f"{path}: missing; expected classInd.txt and trainlist/testlist01..03.txt there")
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
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


def _parse_entry(line: str, where: str, classes: tuple[str, ...], videos: Path) -> VideoEntry:
    """The video of one line of a list; its label is the class of its folder, and a number in the line must agree."""
    name, _, number = line.partition(" ")
    class_name, _, file_name = name.partition("/")
    if class_name not in classes or not file_name or number not in ("", str(classes.index(class_name) + 1)):
        raise InputError(
            f'{where}: "{line}"; expected "ClassName/v_ClassName_gXX_cYY.avi" with a class of classInd.txt '
            "and, in training lists, its number"
        )
    return VideoEntry(path=videos / name, label=classes.index(class_name), name=name)
