"""Any videos in one folder for each class.

    ROOT/train/CLASS/clip.mp4, ROOT/test/CLASS/clip.mp4 (or val/)    training and test part as given
    ROOT/CLASS/clip.mp4                                              about one clip in five is for the test

Without train/ and test/ a clip belongs to the test part when the SHA-256 hash of "CLASS/clip.mp4" is a multiple of 5:
the same clips on every machine, whichever clips are added later. Clips cut from one recording should be in one part:
make train/ and test/ for them.
"""

import hashlib
from pathlib import Path
from typing import Unpack

from svformer.common.errors import InputError
from svformer.data.videos import VideoDataset, VideoEntry, VideoOptions

SUFFIXES = frozenset(
    (".avi", ".mp4", ".m4v", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp", ".gif")
)
TEST_SHARE = 5  # one clip in five is for the test
LAYOUT = "expected train/CLASS/clip.mp4 and test/CLASS/clip.mp4 (or val/), or CLASS/clip.mp4"


class VideoFolder(VideoDataset):
    """The training or test part of a folder; the options are those of `VideoDataset`.

    `parts` is whether the folder has train/ and test/. Raises `InputError` where a part holds no videos, or where a
    class of the test part has none to train on.
    """

    def __init__(self, root: str | Path, *, train: bool, **options: Unpack[VideoOptions]) -> None:
        root = Path(root)
        test_folder = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
        self.parts = (root / "train").is_dir() and test_folder is not None
        if self.parts and test_folder is not None:
            training, test = _clips(root / "train"), _clips(test_folder)
        else:
            clips = _clips(root)
            training, test = [c for c in clips if not is_test_clip(c)], [c for c in clips if is_test_clip(c)]
        classes = tuple(sorted({path.parent.name for path in training}))
        _check(root, training, test, classes)
        entries = [_entry(path, classes) for path in (training if train else test)]
        super().__init__(classes, entries, train=train, **options)


def is_test_clip(path: Path) -> bool:
    """Whether a clip CLASS/clip.mp4 of a folder without train/ and test/ belongs to the test part."""
    name = f"{path.parent.name}/{path.name}"
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % TEST_SHARE == 0


def _clips(folder: Path) -> list[Path]:
    """The videos in the class folders, in order of class and name, without hidden files."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {LAYOUT}")
    paths = (path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def _check(root: Path, training: list[Path], test: list[Path], classes: tuple[str, ...]) -> None:
    for part, clips in (("train on", training), ("test with", test)):
        if not clips:
            raise InputError(f"{root}: no videos to {part}; {LAYOUT}")
    untrained = sorted({path.parent.name for path in test} - set(classes))
    if untrained:
        raise InputError(f"{root}: test clips of {', '.join(untrained)}, but none to train on; {LAYOUT}")


def _entry(path: Path, classes: tuple[str, ...]) -> VideoEntry:
    name = path.parent.name
    return VideoEntry(path=path, label=classes.index(name), name=f"{name}/{path.name}")
