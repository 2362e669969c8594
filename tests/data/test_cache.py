"""Decoded videos in memory: the same clips, within the room that is given."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from svformer.common.errors import InputError
from svformer.data import videos
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.clips import Video, decode_video
from svformer.data.procedural import generate
from svformer.data.videos import MEGABYTE, VideoDataset


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


def test_the_cache_is_filled_before_loader_workers_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but what had no room is there in the workers of every epoch, which decode nothing of it; one file is bad."""
    generate(tmp_path, groups=2, clips_per_group=1, workers=1)
    choice = DatasetChoice(name="ucf101", root=tmp_path, max_unreadable=0.5)
    plain, data = (open_dataset(replace(choice, cache_mb=mb), size=32, frames=4, train=True) for mb in (0, 1))
    assert isinstance(data, VideoDataset)
    Path(data.entries[0].path).write_bytes(b"no video")
    data.fill_cache()
    held = set(data._kept)
    assert 0 < len(held) < len(data)
    assert 0 not in held
    assert data.unreadable.count == 1
    assert sum(video.frames_NCHW.nbytes for video in list(data._kept.values())[:-1]) <= MEGABYTE
    decoded = list[Path]()

    def seen(path: Path, *, size: int) -> Video:
        decoded.append(path)
        return decode_video(path, size=size)

    monkeypatch.setattr(videos, "decode_video", seen)
    for index in sorted(held):
        assert torch.equal(plain[index][0], data[index][0])
    assert not decoded


def test_what_is_not_decoded_is_not_kept() -> None:
    with pytest.raises(InputError, match="--cache-mb is for videos of your own, not for nmnist"):
        DatasetChoice(name="nmnist", root="x", cache_mb=5)
    with pytest.raises(InputError, match="--cache-mb -1; allowed: 0 or more"):
        DatasetChoice(cache_mb=-1)
