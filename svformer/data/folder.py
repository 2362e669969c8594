"""Any videos in one folder for each class; for networks of other frameworks other files, too.

    ROOT/train/CLASS/clip.mp4, ROOT/test/CLASS/clip.mp4 (or val/)    training and test part as given
    ROOT/CLASS/clip.mp4                                              about one clip in five is for the test

Without train/ and test/ a clip belongs to the test part when the SHA-256 hash of "CLASS/clip.mp4" is a multiple of 5:
the same clips on every machine, whichever clips are added later. Clips cut from one recording should be in one part:
make train/ and test/ for them.
"""

import hashlib
import sys
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from svformer.common.errors import InputError
from svformer.data.videos import VideoDataset, VideoEntry, VideoOptions

SUFFIXES = frozenset(
    (".avi", ".mp4", ".m4v", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp", ".gif")
)
TEST_SHARE = 5  # one clip in five is for the test
LAYOUT = "expected train/CLASS/clip.mp4 and test/CLASS/clip.mp4 (or val/), or CLASS/clip.mp4"


@dataclass(frozen=True, kw_only=True)
class FolderParts:
    """The files of a folder of classes; `given` is whether it has train/ and test/."""

    training: list[Path]
    test: list[Path]
    given: bool

    def part(self, *, train: bool) -> list[Path]:
        return self.training if train else self.test

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({path.parent.name for path in self.training}))


def folder_parts(root: str | Path, *, suffixes: Set[str] = SUFFIXES, trained: bool = True) -> FolderParts:
    """The files of a folder with these suffixes; where the network was not `trained` on it and the folder has no
    train/ and test/, all of them are both parts.

    Raises `InputError` where a part holds none, or where a class of the test part has none to train on.
    """
    root = Path(root)
    test_folder = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    given = (root / "train").is_dir() and test_folder is not None
    if given and test_folder is not None:
        found = FolderParts(training=_clips(root / "train", suffixes), test=_clips(test_folder, suffixes), given=True)
    else:
        clips = _clips(root, suffixes)
        training, test = [c for c in clips if not is_test_clip(c)], [c for c in clips if is_test_clip(c)]
        found = FolderParts(training=training if trained else clips, test=test if trained else clips, given=False)
    _check(root, found, trained=trained)
    return found


def say_split(root: str | Path, found: FolderParts) -> None:
    """Say on standard error how the clips of a test part were chosen, where the folder does not say it, and which
    classes it has none of.
    """
    if missing := sorted({*found.classes} - {path.parent.name for path in found.test}):
        print(f"{root}: no clips of {', '.join(missing)} to test with: accuracy is of the others", file=sys.stderr)
    if not found.given and found.training != found.test:
        chosen = f"{len(found.test)} clips, about one in {TEST_SHARE}, test; the hash of their names chose them"
        print(f"{root}: no train/ and test/ in it; {chosen}", file=sys.stderr)


class VideoFolder(VideoDataset):
    """The training or test part of a folder; the options are those of `VideoDataset`.

    Raises `InputError` where a part holds no videos, or where a class of the test part has none to train on.
    """

    def __init__(self, root: str | Path, *, train: bool, **options: Unpack[VideoOptions]) -> None:
        self.parts = folder_parts(root)
        classes = self.parts.classes
        entries = [_entry(path, classes) for path in self.parts.part(train=train)]
        super().__init__(classes, entries, train=train, **options)


def is_test_clip(path: Path) -> bool:
    """Whether a clip CLASS/clip.mp4 of a folder without train/ and test/ belongs to the test part."""
    name = f"{path.parent.name}/{path.name}"
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % TEST_SHARE == 0


def _clips(folder: Path, suffixes: Set[str]) -> list[Path]:
    """The clips in the class folders, in order of class and name, without hidden files."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {LAYOUT}")
    paths = (path for path in folder.glob("*/*") if path.suffix.lower() in suffixes)
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def _check(root: Path, found: FolderParts, *, trained: bool) -> None:
    what = "videos" if trained else "clips"
    for part, clips in (("train on", found.training), ("test with", found.test)):
        if not clips:
            raise InputError(f"{root}: no {what} to {part}; {LAYOUT}")
    untrained = sorted({path.parent.name for path in found.test} - set(found.classes))
    if untrained and trained:
        raise InputError(f"{root}: test clips of {', '.join(untrained)}, but none to train on; {LAYOUT}")


def _entry(path: Path, classes: tuple[str, ...]) -> VideoEntry:
    name = path.parent.name
    return VideoEntry(path=path, label=classes.index(name), name=f"{name}/{path.name}")
