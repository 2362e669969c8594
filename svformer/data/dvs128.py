"""DVS128 Gesture: 11 gestures, recorded by an event camera; users 1-23 are for training, 24-29 for the test.

tonic's files:
    ROOT/DVSGesture/ibmGestureTrain/user01_led/0.npy    K.npy is class K, from 0; ibmGestureTest/ has the same form

IBM's original files:
    ROOT/DvsGesture/user01_led.aedat                    AEDAT 3.1, several gestures
    ROOT/DvsGesture/user01_led_labels.csv               class (from 1), startTime_usec, endTime_usec
    ROOT/DvsGesture/trials_to_train.txt                 "user01_led.aedat"; trials_to_test.txt has the same form

ROOT may be the inner folder itself; where it holds both forms, tonic's is read. Amir et al., "A Low Power, Fully
Event-Based Gesture Recognition System", CVPR 2017.
"""

import csv
from pathlib import Path
from typing import Unpack

import numpy as np
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.files import read_text
from svformer.data.choice import Binning
from svformer.data.clip_dataset import ClipDataset, Options
from svformer.data.event_files import EventEntry, tonic_class_number
from svformer.data.events import DVS128, SENSOR_PX, check_size

CLASSES = (
    *("Hand clapping", "Right hand wave", "Left hand wave", "Right arm cw", "Right arm ccw", "Left arm cw"),
    *("Left arm ccw", "Arm roll", "Air drums", "Air guitar", "Other gestures"),
)
TONIC_FOLDERS = {True: "ibmGestureTrain", False: "ibmGestureTest"}  # by whether it is the training part
IBM_LISTS = {True: "trials_to_train.txt", False: "trials_to_test.txt"}
LABEL_COLUMNS = ("class", "startTime_usec", "endTime_usec")
SHIFT = 1 / 16  # training recordings are moved by up to this share of the side, in either direction


class Dvs128(ClipDataset):
    """The training or test part: items are (counts of events, int16 [T, 2, size, size], label).

    The events of a whole recording are counted in T frames (`svformer.data.events`), so all its views are the same.
    Training items are moved sideways and up or down by up to 1/16 of the picture; they are never mirrored, since right
    and left hands are different classes.

    `download=True` lets tonic fetch its files where there are none. Raises `InputError` where a folder, list or file is
    missing or a line is malformed.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        train: bool,
        events_by: Binning = "count",
        download: bool = False,
        **options: Unpack[Options],
    ) -> None:
        check_size(options.setdefault("size", SENSOR_PX))
        root = Path(root)
        entries = _find(root, train, events_by)
        if entries is None and download:
            _download(root, train)
            entries = _find(root, train, events_by)
        if not entries:
            raise InputError(
                f"{root}: no DVS128 Gesture; expected DVSGesture/{TONIC_FOLDERS[train]}/userNN_LIGHT/K.npy (tonic) or "
                f"DvsGesture/{IBM_LISTS[train]} with its recordings (IBM); or let tonic fetch it with --download"
            )
        super().__init__(CLASSES, entries, train=train, **options)

    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        """The recording, moved by a random number of pixels."""
        reach = int(self.size * SHIFT)
        right, down = rng.integers(-reach, reach + 1, 2).tolist()
        return shifted(clip_TCHW, right, down)


def shifted(clip_TCHW: Tensor, right: int, down: int) -> Tensor:
    """The clip moved by `right` and `down` pixels (negative: left and up); the uncovered border is 0."""
    height, width = clip_TCHW.shape[-2:]
    moved = clip_TCHW.new_zeros(clip_TCHW.shape)
    moved[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = clip_TCHW[
        ..., max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved


def _find(root: Path, train: bool, events_by: Binning) -> list[EventEntry] | None:
    """The recordings of a part; None where the folder holds neither form of the data set."""
    for folder in (root / "DVSGesture", root):
        if (folder / TONIC_FOLDERS[train]).is_dir():
            return _tonic_entries(folder / TONIC_FOLDERS[train], events_by)
    for folder in (root / "DvsGesture", root):
        if (folder / IBM_LISTS[train]).is_file():
            return _ibm_entries(folder, IBM_LISTS[train], events_by)
    return None


def _tonic_entries(folder: Path, events_by: Binning) -> list[EventEntry]:
    entries = []
    for path in sorted(folder.glob("*/*.npy"), key=lambda path: (path.parent.name, len(path.stem), path.stem)):
        label = tonic_class_number(path)
        if label is None or label >= len(CLASSES):
            raise InputError(f"{path}: expected userNN_LIGHT/K.npy with K from 0 to {len(CLASSES) - 1}")
        name = f"{path.parent.name}/{path.name}"
        entries.append(EventEntry(path=path, label=label, name=name, events_by=events_by, sensor=DVS128))
    return entries


def _ibm_entries(folder: Path, list_name: str, events_by: Binning) -> list[EventEntry]:
    names = [name for line in read_text(folder / list_name).splitlines() if (name := line.strip())]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of the {len(names)} recordings in {list_name} are missing, first {missing[0]}; "
            "unpack the whole archive there"
        )
    return [entry for name in names for entry in _gestures(folder / name, events_by)]


def _gestures(path: Path, events_by: Binning) -> list[EventEntry]:
    """The gestures of one recording, one for each line of its labels."""
    labels = path.with_name(f"{path.stem}_labels.csv")
    if not labels.is_file():
        raise InputError(f"{labels}: missing; expected the labels of {path.name} beside it")
    try:
        header, *rows = [row for row in csv.reader(read_text(labels).splitlines()) if row] or [[]]
    except csv.Error as error:
        raise InputError(f"{labels}: not a readable table ({error})") from error
    if tuple(header) != LABEL_COLUMNS:
        raise InputError(f'{labels}: begins with "{",".join(header)}"; expected "{",".join(LABEL_COLUMNS)}"')
    return [_gesture(path, row, f"{labels}, line {number}", events_by) for number, row in enumerate(rows, start=2)]


def _gesture(path: Path, row: list[str], where: str, events_by: Binning) -> EventEntry:
    numbers = [int(text) for text in row if text.strip().isdecimal()]
    if len(row) != len(numbers) or len(numbers) != 3 or not 1 <= numbers[0] <= len(CLASSES) or numbers[1] >= numbers[2]:
        raise InputError(
            f'{where}: "{",".join(row)}"; expected a class from 1 to {len(CLASSES)}, a start and a later end'
        )
    label, start_us, end_us = numbers
    name = f"{path.name}#{label}@{start_us}us"
    return EventEntry(
        path=path,
        label=label - 1,
        name=name,
        events_by=events_by,
        start_us=start_us,
        end_us=end_us,
        sensor=DVS128,
    )


def _download(root: Path, train: bool) -> None:
    from tonic.datasets import DVSGesture  # imported here, since it takes half a second

    try:
        DVSGesture(save_to=str(root), train=train)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{root}: tonic could not fetch DVS128 Gesture ({error}); check the network") from error
