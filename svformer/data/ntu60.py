"""NTU RGB+D 60: videos named SsssCcccPpppRrrrAaaa_rgb.avi, in folders of any depth.

    ROOT/nturgb+d_rgb/S001C001P001R001A001_rgb.avi    setup 1, camera 1, performer 1, replication 1, action 1

Shahroudy et al., "NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis", CVPR 2016: 56,880 videos of setups
1-17, cameras 1-3, performers 1-40, replications 1-2, actions 1-60. Files of NTU RGB+D 120 in the same folder (setups
from 18 or actions from 61) belong to another data set and are ignored. The official list of samples with missing
skeletons is for work on skeletons; here all videos are used.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple, Unpack

from svformer.common.errors import InputError
from svformer.data.choice import NTU60_SPLITS
from svformer.data.videos import VideoDataset, VideoEntry, VideoOptions

TRAINING_PERFORMERS = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))  # in xsub
TRAINING_CAMERAS = frozenset((2, 3))  # in xview

ACTIONS = (  # names from the data set's page
    *("drink water", "eat meal/snack", "brushing teeth", "brushing hair", "drop", "pickup", "throw", "sitting down"),
    *("standing up (from sitting position)", "clapping", "reading", "writing", "tear up paper", "wear jacket"),
    *("take off jacket", "wear a shoe", "take off a shoe", "wear on glasses", "take off glasses", "put on a hat/cap"),
    *("take off a hat/cap", "cheer up", "hand waving", "kicking something"),
    *("put something inside pocket / take out something from pocket", "hopping (one foot jumping)", "jump up"),
    *("make a phone call/answer phone", "playing with phone/tablet", "typing on a keyboard"),
    *("pointing to something with finger", "taking a selfie", "check time (from watch)", "rub two hands together"),
    *("nod head/bow", "shake head", "wipe face", "salute", "put the palms together", "cross hands in front (say stop)"),
    *("sneeze/cough", "staggering", "falling", "touch head (headache)", "touch chest (stomachache/heart pain)"),
    *("touch back (backache)", "touch neck (neckache)", "nausea or vomiting condition"),
    *("use a fan (with hand or paper)/feeling warm", "punching/slapping other person", "kicking other person"),
    *("pushing other person", "pat on back of other person", "point finger at the other person"),
    *("hugging other person", "giving something to other person", "touch other person's pocket", "handshaking"),
    *("walking towards each other", "walking apart from each other"),
)
CLASSES = tuple(f"A{number:03d} {name}" for number, name in enumerate(ACTIONS, start=1))


class VideoName(NamedTuple):
    """The numbers in the name of a video file; all of them count from 1."""

    setup: int
    camera: int
    performer: int
    replication: int
    action: int

    @property
    def file_name(self) -> str:
        """The name with these numbers, SsssCcccPpppRrrrAaaa_rgb.avi."""
        return "S{:03d}C{:03d}P{:03d}R{:03d}A{:03d}_rgb.avi".format(*self)

    @property
    def label(self) -> int:
        """Number of the class, from 0."""
        return self.action - 1

    def trains(self, split: str) -> bool:
        """Whether the video is for training in an official split, "xsub" or "xview"."""
        return self.performer in TRAINING_PERFORMERS if split == "xsub" else self.camera in TRAINING_CAMERAS


LAST = VideoName(setup=17, camera=3, performer=40, replication=2, action=60)


def parse_name(name: str) -> VideoName | None:
    """The numbers in the name of a video of NTU RGB+D 60; None for any other name."""
    match = re.fullmatch(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})_rgb\.avi", name)
    if match is None:
        return None
    sample = VideoName(*map(int, match.groups()))
    return sample if all(1 <= number <= last for number, last in zip(sample, LAST, strict=True)) else None


class Ntu60(VideoDataset):
    """One part of an official split, "xsub" (by performers) or "xview" (by cameras).

    The options are those of `VideoDataset`. Raises `InputError` for any other split, where the folder has no video of
    the part, and where it has one video twice.
    """

    def __init__(self, root: str | Path, *, split: str = "xsub", train: bool, **options: Unpack[VideoOptions]) -> None:
        if split not in NTU60_SPLITS:
            raise InputError(f"split {split}: NTU RGB+D 60 has no such split; allowed: {', '.join(NTU60_SPLITS)}")
        super().__init__(CLASSES, _entries(Path(root), split, train), train=train, **options)


def _entries(root: Path, split: str, train: bool) -> list[VideoEntry]:
    samples = _find(root)
    chosen = [(path, sample) for path, sample in samples if sample.trains(split) == train]
    if not chosen:
        part = "training" if train else "test"
        raise InputError(
            f"{root}: {len(samples)} videos of NTU RGB+D 60, none of them in the {part} part of split {split}; "
            "expected SsssCcccPpppRrrrAaaa_rgb.avi at any depth"
        )
    return [VideoEntry(path=path, label=sample.label, name=path.name) for path, sample in chosen]


def _find(root: Path) -> list[tuple[Path, VideoName]]:
    """All videos of NTU RGB+D 60 below a folder, in order of their names; raises `InputError` for two of one name."""
    found: dict[str, tuple[Path, VideoName]] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if sample := parse_name(name):
                path = Path(folder, name)
                if name in found:
                    raise InputError(f"{path} and {found[name][0]}: one video twice; remove one of them")
                found[name] = path, sample
    return [found[name] for name in sorted(found)]
