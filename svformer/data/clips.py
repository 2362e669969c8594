"""Clips of videos: which pictures they take, how these are cut, and how they are normalised for a network.

A clip is a number of pictures at evenly spaced *times*, not frame numbers, so a file of any frame rate, even
a variable one, shows motion at the speed the network was trained on. The paper takes 16 frames, stride 4, at
30 frames per second. Legend: T frames, C channels, H rows, W columns; h, w before a crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.remarks import remark
from svformer.data.decoding import (
    TIME_TOLERANCE_S,
    Shrinker,
    all_frames,
    frames_at,
    frames_from,
    last_time_s,
    unreadable,
)

MEAN, STD = 0.45, 0.225  # mean and deviation of pixels from 0 to 1, as in the paper's code
MOSTLY_STILL = 0.5  # a clip with fewer different pictures than this share of its frames gets a remark
COUNTS = torch.int16  # type of frames that count events; pixels are uint8


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The times of a clip's pictures; raises `InputError` for values that are not positive."""

    frames: int = 16  # T
    stride: int = 4  # from one picture to the next, in frames of a video of rate `fps`
    fps: float = 30.0  # frames per second

    def __post_init__(self) -> None:
        if self.frames < 1 or self.stride < 1 or not self.fps > 0:
            raise InputError(f"{self}: not a sampling; allowed: frames >= 1, stride >= 1, fps > 0")

    @property
    def span_s(self) -> float:
        """Seconds from the first picture of a clip to its last."""
        return (self.frames - 1) * self.stride / self.fps

    def times_s(self, start_s: float) -> Tensor:
        """Times of the pictures, float64 [T]."""
        return start_s + torch.arange(self.frames, dtype=torch.float64) * (self.stride / self.fps)


@dataclass(frozen=True, kw_only=True)
class Video:
    """A decoded video: pictures, uint8 [N, 3, h, w], and their times from the stream's start, float64 [N]."""

    frames_NCHW: Tensor
    times_s: Tensor


def decode_video(path: str | Path, *, size: int) -> Video:
    """Decode every picture of a file, upright, its short side resized to `size` pixels.

    Raises `InputError` where the file is missing, damaged or holds no video.
    """
    shrink = Shrinker(size, path)
    decoded = [(time_s, shrink(frame)) for time_s, frame in all_frames(path)]
    if not decoded:
        raise unreadable(path, "no pictures in it")
    times_s, pictures = zip(*decoded, strict=True)
    return Video(frames_NCHW=_stacked(path, pictures), times_s=torch.tensor(times_s, dtype=torch.float64))


def max_start_s(video: Video, sampling: Sampling) -> float:
    """The latest start for which the clip still ends within the video; 0 where the video is shorter."""
    return max(0.0, float(video.times_s[-1]) - sampling.span_s)


def sample_clip(video: Video, sampling: Sampling, start_s: float) -> Tensor:
    """The clip that starts at `start_s`, uint8 [T, 3, h, w]: for each time the last picture at or before it."""
    return video.frames_NCHW[_pictures_at(video, sampling, start_s)]


def _pictures_at(video: Video, sampling: Sampling, start_s: float) -> Tensor:
    """Numbers of the pictures of a clip, int64 [T]."""
    wanted_s = sampling.times_s(start_s) + TIME_TOLERANCE_S
    index = torch.searchsorted(video.times_s, wanted_s, right=True) - 1
    return index.clamp(min=0)


def remark_if_still(path: str | Path, video: Video, sampling: Sampling) -> None:
    """Remark on a file whose clips show few different pictures, as `load_clip` does."""
    shown = _pictures_at(video, sampling, max_start_s(video, sampling) / 2)
    _remark_if_still(path, shown.tolist(), sampling)


def _remark_if_still(path: str | Path, shown: Sequence[float], sampling: Sampling) -> None:
    """`shown` has T numbers (or times) of pictures."""
    different = len(set(shown))
    if different < MOSTLY_STILL * sampling.frames:
        pictures = "picture" if different == 1 else "pictures"
        text = (
            f"only {different} different {pictures} in the {sampling.frames} frames of its clip of "
            f"{sampling.span_s:.2f} s; the other frames repeat them"
        )
        remark(path, "still", text)


def crop_square(clip_TCHW: Tensor, size: int, position: float) -> Tensor:
    """Cut a square [T, 3, size, size]; position 0 is left or top, 0.5 the centre, 1 right or bottom.

    Raises `InputError` for a position outside 0 to 1, and where the square does not fit.
    """
    _check_fraction("crop", position)
    height, width = clip_TCHW.shape[-2:]
    if min(height, width) < size:
        raise InputError(f"a crop of {size} x {size} does not fit into {width} x {height}; enlarge it first")
    top, left = round(position * (height - size)), round(position * (width - size))
    return clip_TCHW[..., top : top + size, left : left + size]


def cut(clip_TCHW: Tensor, size: int, position: float | None) -> Tensor:
    """The square [T, 3, size, size] at a position; the whole clip [T, 3, h, w] where the position is None."""
    return clip_TCHW if position is None else crop_square(clip_TCHW, size, position)


def load_clip(
    path: str | Path, *, size: int, sampling: Sampling | None = None, start: float = 0.5, crop: float | None = 0.5
) -> Tensor:
    """Read one clip, uint8 [T, 3, size, size]; decodes only from the key frame before it to its end.

    `start` is a fraction of the possible starts, `crop` a position as in `crop_square`, or None for whole pictures,
    [T, 3, h, w] with a short side of `size`; the paper's test views are start = 0, 1/4, .. 1 with crop = 0, 1/2, 1.
    The last possible start lets the clip end with the file's last picture. A file that cannot be searched (a raw
    stream) is decoded as a whole. A clip with few different pictures and a file that may be cut off get a remark on
    standard error. Raises `InputError` as `decode_video` does, and for fractions outside 0 to 1.
    """
    _check_fraction("start", start)
    sampling = sampling or Sampling()
    last_s = last_time_s(path)
    if last_s is None:
        video = decode_video(path, size=size)
        remark_if_still(path, video, sampling)
        return cut(sample_clip(video, sampling, start * max_start_s(video, sampling)), size, crop)
    wanted_s = sampling.times_s(start * max(0.0, last_s - sampling.span_s)).tolist()
    return cut(_read(path, wanted_s, size, sampling), size, crop)


def _read(path: str | Path, wanted_s: list[float], size: int, sampling: Sampling) -> Tensor:
    """The pictures at these times, uint8 [T, 3, h, w]; each is resized once, however often it is shown."""
    shrink, shown_s, pictures = Shrinker(size, path), list[float](), list[Tensor]()
    for time_s, frame in frames_at(path, frames_from(path, wanted_s[0]), wanted_s):
        repeated = bool(shown_s) and shown_s[-1] == time_s
        pictures.append(pictures[-1] if repeated else shrink(frame))
        shown_s.append(time_s)
    _remark_if_still(path, shown_s, sampling)
    return _stacked(path, pictures)


def _stacked(path: str | Path, pictures: Sequence[Tensor]) -> Tensor:
    """Pictures of one size, uint8 [N, 3, h, w]; raises `InputError` for a video whose pictures change theirs."""
    sizes = list(dict.fromkeys(tuple(picture.shape[1:]) for picture in pictures))
    if len(sizes) > 1:
        raise unreadable(path, f"its pictures change their form, from {sizes[0][::-1]} to {sizes[1][::-1]} pixels")
    return torch.stack(list(pictures))


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} {value}: out of range; allowed: a fraction from 0 to 1")


def normalise(clip: Tensor) -> Tensor:
    """The input of a network, float32 of the same shape; training and deployment both call this function.

    Pixels (uint8) become (x / 255 - 0.45) / 0.225. Counts of events (int16) keep their values: whole numbers, which a
    chip stores without rounding; the first norm learns their scale. Raises `TypeError` for clips of any other type.
    """
    if clip.dtype == torch.uint8:
        return (clip.float() / 255 - MEAN) / STD
    if clip.dtype == COUNTS:
        return clip.float()
    raise TypeError(f"clips are pixels (uint8) or counts of events (int16), found {clip.dtype}")


def as_batch(clips_BTCHW: Tensor) -> Tensor:
    """Normalised input of `SVFormer`, float32 [B, C, T, H, W], from uint8 or int16 clips [B, T, C, H, W]."""
    return normalise(clips_BTCHW).transpose(1, 2)
