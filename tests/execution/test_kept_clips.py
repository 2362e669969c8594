"""Clips that were read last: the same pictures again without decoding, and never those of a file that has changed."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.clips import read
from deploy.clips.files import shipped
from deploy.clips.kept import KeptClips
from deploy.clips.source import InputFormat
from svformer.assets import DEMO_CLIPS
from svformer.data.videos import VideoEntry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    path.write_bytes(b"first")
    return path


def pictures(bytes_each: int = 4) -> torch.Tensor:
    return torch.zeros(bytes_each, dtype=torch.uint8)


def unread() -> torch.Tensor:
    return pytest.fail("this clip was to be there")


def test_a_clip_is_read_once_a_view(file: Path) -> None:
    kept, first, other = KeptClips(), pictures(), pictures()
    assert kept.find(file, "left", lambda: first) is first
    assert kept.find(file, "left", unread) is first
    assert kept.find(file, "right", lambda: other) is other


def test_a_file_that_changed_is_read_again(file: Path) -> None:
    kept, first, other = KeptClips(), pictures(), pictures()
    kept.find(file, 0, lambda: first)
    file.write_bytes(b"other")
    os.utime(file, ns=(0, 0))
    assert kept.find(file, 0, lambda: other) is other


def test_what_was_not_asked_for_longest_makes_room(file: Path) -> None:
    kept, (first, second, third) = KeptClips(limit=8), (pictures(), pictures(), pictures())
    for name, clip in (("first", first), ("second", second)):
        kept.find(file, name, lambda clip=clip: clip)
    kept.find(file, "first", unread)
    kept.find(file, "third", lambda: third)
    assert kept.find(file, "first", unread) is first
    assert kept.find(file, "third", unread) is third
    assert kept.find(file, "second", lambda: first) is first  # was gone


def test_a_clip_above_the_limit_is_not_kept(file: Path) -> None:
    kept, large = KeptClips(limit=8), pictures(9)
    assert kept.find(file, 0, lambda: large) is large
    small = pictures()
    assert kept.find(file, 0, lambda: small) is small


def test_frames_are_those_of_a_first_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has written into the pictures that are kept: what `load` gives are arrays of one's own."""
    source, wanted = shipped(DEMO_CLIPS)[0], InputFormat(frames=16, shape=(3, 64, 64), pixels=True)
    expected = read.load(source, wanted).copy()
    read.load(source, wanted)[:] = 0
    monkeypatch.setattr(VideoEntry, "load", unread)
    np.testing.assert_array_equal(read.load(source, wanted), expected)
