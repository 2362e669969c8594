"""N-MNIST: the digits of MNIST before a moving event camera, recordings of 0.3 s.

    ROOT/NMNIST/Train/DIGIT/NNNNN.bin    60,000 recordings, or any number of them; Test/ has the same form

ROOT may be the inner folder itself. The sensor's picture is 34 x 34 pixels; a border of one pixel is left out, so that
32 x 32 are left. Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
Front. Neurosci. 9, 2015.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from torch import Tensor

from svformer.common.errors import InputError
from svformer.data.choice import Binning
from svformer.data.clip_dataset import ClipDataset, Options
from svformer.data.dvs128 import SHIFT, shifted
from svformer.data.event_files import EventEntry
from svformer.data.events import EVENT, Events, Pixels, block_of

CLASSES = tuple(map(str, range(10)))
PARTS = {True: "Train", False: "Test"}  # by whether it is the training part
SENSOR_PX, BORDER_PX = 34, 1
INSIDE: Pixels = (SENSOR_PX - 2 * BORDER_PX, SENSOR_PX - 2 * BORDER_PX)
EVENT_BYTES = 5
READ = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.bool_)])  # tonic fills by position


@dataclass(frozen=True)
class NmnistEntry(EventEntry):
    """A labelled recording in N-MNIST's binary form."""

    def events(self) -> Events:
        """The events inside the border; raises `InputError` where the file cannot be read or is damaged."""
        found = read_bin(self.path)
        for axis in ("x", "y"):
            found[axis] -= BORDER_PX
            found = found[(found[axis] >= 0) & (found[axis] < INSIDE[0])]
        return found


class Nmnist(ClipDataset):
    """The training or test part: items are (counts of events, int16 [T, 2, size, size], label 0 to 9).

    The events of a whole recording are counted in T frames (`svformer.data.events`), so all its views are the same.
    Training items are moved by up to 1/16 of the picture. Raises `InputError` where no recording is there, and for a
    `size` that does not divide 32.
    """

    def __init__(
        self, root: str | Path, *, train: bool, events_by: Binning = "count", **options: Unpack[Options]
    ) -> None:
        size = options.setdefault("size", INSIDE[0])
        block_of((size, size), INSIDE)
        entries = _entries(Path(root), PARTS[train], events_by)
        super().__init__(CLASSES, entries, train=train, **options)

    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        """The recording, moved by a random number of pixels."""
        reach = int(self.size * SHIFT)
        right, down = rng.integers(-reach, reach + 1, 2).tolist()
        return shifted(clip_TCHW, right, down)


def _entries(root: Path, part: str, events_by: Binning) -> list[NmnistEntry]:
    """The recordings of a part, by digit and name."""
    folder = next((inner / part for inner in (root / "NMNIST", root) if (inner / part).is_dir()), None)
    paths = [] if folder is None else sorted(folder.glob("[0-9]/*.bin"))
    if not paths:
        raise InputError(f"{root}: no N-MNIST; expected NMNIST/{part}/DIGIT/NNNNN.bin with DIGIT from 0 to 9")
    return [
        NmnistEntry(
            path=path,
            label=int(path.parent.name),
            name=f"{path.parent.name}/{path.name}",
            events_by=events_by,
            sensor=INSIDE,
        )
        for path in paths
    ]


def read_bin(path: Path) -> Events:
    """All events of a file in N-MNIST's form, 34 x 34 pixels, in order of time.

    Raises `InputError` where the file cannot be read, is not whole, or holds events beyond the sensor.
    """
    from tonic.io import read_mnist_file  # imported here, since it takes half a second

    try:
        size = path.stat().st_size
        if size == 0 or size % EVENT_BYTES:
            raise InputError(f"{path}: {size} bytes; expected events of {EVENT_BYTES} bytes each; fetch the file again")
        found = read_mnist_file(str(path), dtype=READ)
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from error
    events = np.empty(len(found), EVENT)
    for name in READ.names or ():
        events[name] = found[name]
    if len(events) and max(events["x"].max(), events["y"].max()) >= SENSOR_PX:
        raise InputError(f"{path}: events beyond the {SENSOR_PX} x {SENSOR_PX} pixels of N-MNIST")
    return events
