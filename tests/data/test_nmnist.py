"""N-MNIST in its official layout, from bytes to counts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from svformer.common.errors import InputError
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.nmnist import Nmnist


def write_bin(path: Path, events: list[tuple[int, int, int, int]]) -> Path:
    """A recording of events (x, y, polarity, microseconds): 5 bytes each, 23 bits of time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in events))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two digits; four events inside the border and one on it."""
    events = [(1, 1, 0, 0), (1, 2, 1, 70_000), (33, 5, 1, 80_000), (32, 32, 1, 90_000), (32, 32, 1, 100_000)]
    for part in ("Train", "Test"):
        write_bin(tmp_path / "NMNIST" / part / "3" / "00001.bin", events)
        write_bin(tmp_path / "NMNIST" / part / "7" / "00002.bin", events)
    return tmp_path


def test_events_are_counted_inside_the_border(root: Path) -> None:
    """Two frames of two events: (x, y) less 1, polarity first; 70,000 us need the third byte of time."""
    data = open_dataset(DatasetChoice(name="nmnist", root=root), size=32, frames=2, train=False)
    clip, label = data[1]
    expected = torch.zeros(2, 2, 32, 32, dtype=torch.int16)
    expected[0, 0, 0, 0] = expected[0, 1, 1, 0] = 1
    expected[1, 1, 31, 31] = 2
    assert torch.equal(clip, expected)
    assert (label, len(data), data.channels, data.classes) == (7, 2, 2, tuple("0123456789"))
    assert len(Nmnist(root / "NMNIST", train=True)) == 2, "the inner folder is taken, too"


def test_frames_may_be_of_equal_time(root: Path) -> None:
    """50,000 us each: one event, then two; the last one ends the recording."""
    data = open_dataset(DatasetChoice(name="nmnist", root=root, events_by="time"), size=32, frames=2, train=False)
    assert data[0][0].sum(dim=(1, 2, 3)).tolist() == [1, 2]


def test_training_recordings_are_moved(root: Path) -> None:
    data = Nmnist(root, train=True, size=32, seed=1)
    data.sampling = type(data.sampling)(frames=2)
    moved = []
    for epoch in range(4):
        data.set_epoch(epoch)
        moved.append(data[0][0])
    assert len({clip.numpy().tobytes() for clip in moved}) > 1
    assert all(np.abs(np.argwhere(clip.numpy()[1, 1])[:, 0] - 31).max(initial=0) <= 2 for clip in moved)


def test_what_is_missing_or_damaged_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no N-MNIST; expected NMNIST/Train/DIGIT/NNNNN\.bin"):
        Nmnist(tmp_path / "NMNIST" / "Train", train=True)
    with pytest.raises(InputError, match=r"frames of 64 x 64 pixels; allowed for events: those of the sensor, 32 x 32"):
        Nmnist(root, train=True, size=64)
    with pytest.raises(InputError, match="--stride is for videos, and nmnist holds events"):
        DatasetChoice(name="nmnist", root=root, stride=2)
    (first, second) = Nmnist(root, train=False, size=32).entries
    first.path.write_bytes(first.path.read_bytes()[:-1])
    with pytest.raises(InputError, match="24 bytes; expected events of 5 bytes each"):
        first.load(size=32, sampling=Nmnist(root, train=False, size=32).sampling)
    write_bin(second.path, [(34, 0, 1, 0)])
    with pytest.raises(InputError, match="events beyond the 34 x 34 pixels of N-MNIST"):
        second.load(size=32, sampling=Nmnist(root, train=False, size=32).sampling)
    second.path.unlink()
    with pytest.raises(InputError, match="not readable"):
        second.load(size=32, sampling=Nmnist(root, train=False, size=32).sampling)
