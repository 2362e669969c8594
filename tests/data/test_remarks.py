"""Remarks about files appear once, in one process and in the workers of a data loader."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from svformer.common import remarks
from svformer.common.remarks import collecting, remark
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import Sampling


def test_a_remark_is_printed_once_for_each_file_and_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remarks, "_printed", set())
    for path in ("a.avi", "b.avi", "a.avi"):
        remark(path, "still", "one picture")
        remark(path, "cut off", "half of it")
    assert capsys.readouterr().err.splitlines() == [
        *("a.avi: one picture", "a.avi: half of it", "b.avi: one picture", "b.avi: half of it"),
    ]


def test_remarks_that_are_collected_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with collecting() as lines:
        remark("a.avi", "still", "one picture")
    assert lines == ["a.avi: one picture"]
    assert capsys.readouterr().err == ""


@dataclass(frozen=True)
class Still:
    """A clip whose file gets a remark whenever it is read."""

    path: Path
    label: int = 0

    channels: ClassVar[int] = 3

    @property
    def name(self) -> str:
        return self.path.name

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        remark(self.path, "still", "one picture")
        return torch.zeros(sampling.frames, 3, size, size, dtype=torch.uint8)


class StillClips(ClipDataset):
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        return clip_TCHW


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_remarks_once_on_each_file_in_all_workers_together(
    workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    entries = [Still(Path(f"{number}.avi")) for number in range(4)]
    data = StillClips(["all"], entries, train=False, size=2, sampling=Sampling(frames=1))
    for _ in range(2):
        for _ in DataLoader(data, batch_size=2, num_workers=workers):
            pass
    assert sorted(capfd.readouterr().err.splitlines()) == [f"{number}.avi: one picture" for number in range(4)]
