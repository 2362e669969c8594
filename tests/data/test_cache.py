"""Decoded videos in memory: the same clips, within the room that is given."""

from pathlib import Path

import pytest
import torch

from svformer.common.errors import InputError
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.procedural import generate
from svformer.data.videos import VideoDataset


def test_kept_videos_give_the_same_clips(tmp_path: Path) -> None:
    """A megabyte holds some of the 12 videos of 32 pixels; all clips of two epochs are those that are decoded anew."""
    generate(tmp_path, groups=2, clips_per_group=1, workers=1)
    plain, kept = (
        open_dataset(DatasetChoice(name="ucf101", root=tmp_path, cache_mb=mb), size=32, frames=4, train=True)
        for mb in (0, 1)
    )
    assert isinstance(kept, VideoDataset)
    for epoch in range(2):
        for data in (plain, kept):
            data.set_epoch(epoch)
        assert all(torch.equal(plain[index][0], kept[index][0]) for index in range(len(plain)))
    assert 0 < len(kept._kept) < len(kept)


def test_what_is_not_decoded_is_not_kept() -> None:
    with pytest.raises(InputError, match="--cache-mb is for videos of your own, not for nmnist"):
        DatasetChoice(name="nmnist", root="x", cache_mb=5)
    with pytest.raises(InputError, match="--cache-mb -1; allowed: 0 or more"):
        DatasetChoice(cache_mb=-1)
