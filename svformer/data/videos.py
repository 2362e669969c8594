"""Data sets whose clips are video files."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Unpack

import numpy as np
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.remarks import collecting
from svformer.common.terminal import track
from svformer.data.clip_dataset import ClipDataset, Options
from svformer.data.clips import (
    Sampling,
    Video,
    cut,
    decode_video,
    load_clip,
    max_start_s,
    remark_if_still,
    sample_clip,
)

MEGABYTE = 1_000_000  # bytes


@dataclass(frozen=True)
class VideoEntry:
    """One labelled video file; `name` is its path below the data set's folder, or its line in a list."""

    path: Path
    label: int
    name: str

    channels: ClassVar[int] = 3

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """Pixels, uint8 [T, 3, size, size], or [T, 3, h, w] without a crop; `InputError` where they cannot be read."""
        return load_clip(self.path, size=size, sampling=sampling, start=start, crop=crop)


class VideoOptions(Options, total=False):
    """Keyword arguments that data sets of videos hand on to `VideoDataset`."""

    flip: bool
    cache: bool
    cache_mb: int


class VideoDataset(ClipDataset):
    """Items are (uint8 [T, 3, size, size], label); see `ClipDataset`.

    Training items take one random start and one random crop along the long side, or the whole picture where `whole` is
    set (for an augmentation that crops); test items are the centre in time and space. `flip` mirrors half of the
    training clips; leave it off where left and right are different classes.

    `cache=True` decodes every video once, at construction, and stores all pictures in memory, shared by forked loader
    workers: frames * 3 * size * (4/3 size) bytes a video, at size 32 about 0.4 GB for 1,200 procedural clips and 10 GB
    for all of UCF101. `cache_mb` keeps videos when they are first read, until so many megabytes of a process are full;
    the others are decoded anew every time. `fill_cache` reads them ahead, before loader workers fork and share them.
    """

    def __init__(
        self,
        classes: Sequence[str],
        entries: Sequence[VideoEntry],
        *,
        train: bool,
        flip: bool = False,
        cache: bool = False,
        cache_mb: int = 0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(classes, entries, train=train, **options)
        self.flip = flip
        self._videos = self._decode_all(entries) if cache else None
        self._room, self._kept = cache_mb * MEGABYTE, dict[int, Video]()

    def random_clip(self, index: int, rng: np.random.Generator) -> Tensor:
        """Whole pictures, uint8 [T, 3, h, w], from a random start."""
        return self.view(index, rng.random(), None)

    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        """A random square of the pictures, or all of them where `whole` is set; mirrored or not."""
        crop, coin = rng.random(2).tolist()
        view_TCHW = cut(clip_TCHW, self.size, None if self.whole else crop)
        return view_TCHW.flip(-1) if self.flip and coin < 0.5 else view_TCHW

    def view(self, index: int, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """As in `ClipDataset`; taken from memory with `cache`."""
        video = self._kept_video(index) if self._videos is None else self._videos[index]
        if video is None:
            return super().view(index, start, crop)
        if isinstance(video, InputError):
            raise video
        clip_TCHW = sample_clip(video, self.sampling, start * max_start_s(video, self.sampling))
        return cut(clip_TCHW, self.size, crop)

    def fill_cache(self) -> None:
        """Decode videos in their order until `cache_mb` is full."""
        if self._room <= 0:
            return
        at_once = 2 * (os.cpu_count() or 1)
        with ThreadPoolExecutor(at_once // 2) as pool:  # FFmpeg releases Python's lock while it decodes
            for first in track(range(0, len(self), at_once), "decoding videos"):
                chunk = range(first, min(first + at_once, len(self))) if self._room > 0 else range(0)
                for index, found in zip(chunk, pool.map(self._read_ahead, chunk), strict=True):
                    if isinstance(found, InputError):
                        self.unreadable.add(index, found)
                    elif self._room > 0:
                        self._keep(index, found)

    def _read_ahead(self, index: int) -> Video | InputError:
        try:
            return self._decoded(index)
        except InputError as error:
            return error

    def _kept_video(self, index: int) -> Video | None:
        """A video from memory, where there is room for it; None: it is decoded for this clip alone."""
        if index not in self._kept and self._room > 0:
            self._keep(index, self._decoded(index))
        return self._kept.get(index)

    def _decoded(self, index: int) -> Video:
        path = self.entries[index].path
        video = decode_video(path, size=self.size)
        with collecting() as remarks:
            remark_if_still(path, video, self.sampling)
        self._print_once(index, remarks)
        return video

    def _keep(self, index: int, video: Video) -> None:
        self._room -= video.frames_NCHW.nbytes
        self._kept[index] = video

    def _decode_all(self, entries: Sequence[VideoEntry]) -> list[Video | InputError]:
        """All videos; for a video that cannot be decoded, its error."""

        def decode(entry: VideoEntry) -> Video | InputError:
            try:
                return decode_video(entry.path, size=self.size)
            except InputError as error:
                return error

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # FFmpeg releases Python's lock while it decodes
            decoded = pool.map(decode, entries)
            videos = list(track(decoded, "decoding videos", total=len(entries)))
        for index, (entry, video) in enumerate(zip(entries, videos, strict=True)):
            if isinstance(video, InputError):
                self.unreadable.add(index, video)
            else:
                remark_if_still(entry.path, video, self.sampling)
        return videos
