"""Clips from real video files: decode with FFmpeg (PyAV), sample in seconds, resize, crop, normalise.

A clip is a number of pictures at evenly spaced *times*, not frame numbers, so a file of any frame rate, even
a variable one, shows motion at the speed the network was trained on. The paper takes 16 frames, stride 4, at
30 frames per second.
"""

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from svformer.common.errors import InputError

MEAN, STD = 0.45, 0.225
TIME_TOLERANCE_S = 1e-3  # Matroska and others round time stamps to milliseconds
SEEK_AHEAD_S = (0.0, 2.0, 8.0)
COUNTS = torch.int16  # type of frames that count events; pixels are uint8


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which times a clip takes: `frames` pictures, `stride` frames apart at an equivalent rate of `fps`."""

    frames: int = 16
    stride: int = 4
    fps: float = 30.0

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

    Raises InputError where the file is missing, damaged or holds no video.
    """
    shrink = _Shrinker(size)
    with _opened(path) as (container, stream):
        decoded = [(time_s, shrink(frame)) for time_s, frame in _timed_frames(path, container, stream)]
    if not decoded:
        raise _unreadable(path, "no pictures in it")
    times_s, frames = zip(*decoded, strict=True)
    return Video(frames_NCHW=torch.stack(frames), times_s=torch.tensor(times_s, dtype=torch.float64))


def max_start_s(video: Video, sampling: Sampling) -> float:
    """The latest start for which the clip still ends within the video; 0 where the video is shorter."""
    return max(0.0, float(video.times_s[-1]) - sampling.span_s)


def sample_clip(video: Video, sampling: Sampling, start_s: float) -> Tensor:
    """Take a clip, uint8 [T, 3, h, w]: for each time the last picture at or before it."""
    wanted_s = sampling.times_s(start_s) + TIME_TOLERANCE_S
    index = torch.searchsorted(video.times_s, wanted_s, right=True) - 1
    return video.frames_NCHW[index.clamp(min=0)]


def crop_square(clip_TCHW: Tensor, size: int, position: float) -> Tensor:
    """Cut a square [T, 3, size, size]; position 0 is left or top, 0.5 the centre, 1 right or bottom."""
    _check_fraction("crop", position)
    height, width = clip_TCHW.shape[-2:]
    if min(height, width) < size:
        raise InputError(f"a crop of {size} x {size} does not fit into {width} x {height}; enlarge it first")
    top, left = round(position * (height - size)), round(position * (width - size))
    return clip_TCHW[..., top : top + size, left : left + size]


def cut(clip_TCHW: Tensor, size: int, position: float | None) -> Tensor:
    """The square at a position, or all of the clip, whose short side has `size` pixels, where that is None."""
    return clip_TCHW if position is None else crop_square(clip_TCHW, size, position)


def load_clip(
    path: str | Path, *, size: int, sampling: Sampling | None = None, start: float = 0.5, crop: float | None = 0.5
) -> Tensor:
    """Read one clip, uint8 [T, 3, size, size], decoding only from the key frame before it to its end.

    `start` is a fraction of the allowed range of starts, `crop` a position as in `crop_square`, or None for the whole
    picture, [T, 3, h, w] with a short side of `size`; the paper's
    test views are start = 0, 1/4, .. 1 with crop = 0, 1/2, 1. The range of starts ends with the file's last
    picture, whose time is read at the file's end; only a file that cannot be searched (a raw stream) is decoded
    as a whole. Raises InputError as `decode_video` does.
    """
    _check_fraction("start", start)
    sampling = sampling or Sampling()
    last_s = _last_time_s(path)
    if last_s is None:
        video = decode_video(path, size=size)
        return cut(sample_clip(video, sampling, start * max_start_s(video, sampling)), size, crop)
    wanted_s = sampling.times_s(start * max(0.0, last_s - sampling.span_s)).tolist()
    frames = map(_Shrinker(size), _pick(path, _timed_frames_from(path, wanted_s[0]), wanted_s))
    return cut(torch.stack(list(frames)), size, crop)


def normalise(clip: Tensor) -> Tensor:
    """What a network takes, float32 of the same shape; the one place that says so, for training and deployment.

    Pixels (uint8) become (x / 255 - 0.45) / 0.225. Counts of events (int16) stay as they are: whole numbers, which a
    chip takes in without rounding; the first norm finds their scale. Raises TypeError for clips of any other type.
    """
    if clip.dtype == torch.uint8:
        return (clip.float() / 255 - MEAN) / STD
    if clip.dtype == COUNTS:
        return clip.float()
    raise TypeError(f"clips are pixels (uint8) or counts of events (int16), found {clip.dtype}")


class _Shrinker:
    """Turns frames into upright uint8 [3, h, w] with the short side `size`; keeps one scaler for all."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InputError(f"size {size}: not a picture size; allowed: 1 pixel or more")
        self._size, self._reformatter = size, VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Tensor:
        scale = self._size / min(frame.width, frame.height)
        rgb = self._reformatter.reformat(
            frame,
            width=round(frame.width * scale),
            height=round(frame.height * scale),
            format="rgb24",
            interpolation=Interpolation.AREA,  # antialiased when it shrinks, bilinear when it enlarges
        )
        upright_HWC = np.rot90(rgb.to_ndarray(), round(frame.rotation / 90))  # both count anticlockwise
        return torch.from_numpy(np.ascontiguousarray(upright_HWC.transpose(2, 0, 1)))


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file's first video stream; every FFmpeg error inside the block becomes an InputError."""
    try:
        with av.open(str(Path(path))) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise _unreadable(path, "no video stream that FFmpeg can decode")
            yield container, stream
    except av.FFmpegError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _unreadable(path: str | Path, reason: str) -> InputError:
    return InputError(
        f"{path}: not a readable video ({reason}); allowed: any file that FFmpeg decodes; re-download or re-encode it"
    )


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} {value}: out of range; allowed: a fraction from 0 to 1")


def _last_time_s(path: str | Path) -> float | None:
    """Time of the last picture since the stream's start, None where the file cannot be searched.

    Read from the packets behind the last key frame, without decoding. Headers do not tell: Matroska declares the
    duration of the longest stream, sound included, and a variable frame rate hides when the last picture begins.
    """
    with _opened(path) as (container, stream):
        if container.duration is None:
            return None
        end_s = (container.start_time or 0) / av.time_base + container.duration / av.time_base - _origin_s(stream)
        for ahead_s in SEEK_AHEAD_S:
            if not _seek(container, stream, max(0.0, end_s - ahead_s)):
                return None
            stamps = [stamp for stamp in map(_stamp, container.demux(stream)) if stamp is not None]
            if stamps and stream.time_base:
                return max(0.0, float(max(stamps) * stream.time_base) - _origin_s(stream))
    return None


def _stamp(packet: "Packet[VideoStream]") -> int | None:
    """When a packet is shown, or where the file does not say, when it is decoded; None of the packet that flushes."""
    return packet.dts if packet.pts is None else packet.pts


def _origin_s(stream: VideoStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _timed_frames(
    path: str | Path, container: InputContainer, stream: VideoStream
) -> Iterator[tuple[float, VideoFrame]]:
    """Decode from where the container stands, with times since the stream's start that never go back.

    Raw streams and some AVI files have pictures without a time stamp; those follow at the stream's rate.
    """
    rate, time_s = stream.average_rate, -math.inf
    for frame in container.decode(stream):
        if frame.pts is not None:
            time_s = max(frame.time - _origin_s(stream), time_s)
        elif rate:
            time_s = max(time_s + 1 / float(rate), 0.0)
        else:
            raise _unreadable(path, "neither time stamps nor a frame rate")
        yield time_s, frame


def _timed_frames_from(path: str | Path, start_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Decode from a key frame at or before `start_s`, or from the file's start where no seek leads there.

    Formats without an index (MPEG-TS) land late or between key frames, hence a second and third try from further ahead.
    """
    with _opened(path) as (container, stream):
        for target_s in (start_s - ahead_s for ahead_s in SEEK_AHEAD_S):
            if target_s <= 0 or not _seek(container, stream, target_s):
                break
            frames = _timed_frames(path, container, stream)
            first = next(frames, None)
            if first is not None and _starts_in_time(*first, start_s):
                yield first
                yield from frames
                return
    with _opened(path) as (container, stream):
        yield from _timed_frames(path, container, stream)


def _starts_in_time(time_s: float, frame: VideoFrame, start_s: float) -> bool:
    """Whether decoding may begin with this frame; one that is no key frame shows remains of what was not decoded."""
    return frame.key_frame and frame.pts is not None and time_s <= start_s + TIME_TOLERANCE_S


def _seek(container: InputContainer, stream: VideoStream, target_s: float) -> bool:
    """Move to the key frame before a time; False where the format cannot seek at all (raw streams)."""
    if not stream.time_base:
        return False
    try:
        container.seek(round((target_s + _origin_s(stream)) / stream.time_base), stream=stream)
    except av.FFmpegError:
        return False
    return True


def _pick(
    path: str | Path, timed_frames: Iterable[tuple[float, VideoFrame]], wanted_s: list[float]
) -> Iterator[VideoFrame]:
    """For each wanted time, in order, the last frame at or before it; reads no further than needed."""
    remaining, held = list(reversed(wanted_s)), None
    for time_s, frame in timed_frames:
        while held is not None and remaining and time_s > remaining[-1] + TIME_TOLERANCE_S:
            remaining.pop()
            yield held
        if not remaining:
            return
        held = frame
    if held is None:
        raise _unreadable(path, "no pictures in it")
    yield from itertools.repeat(held, len(remaining))


def as_batch(clips_BTCHW: Tensor) -> Tensor:
    """uint8 or int16 clips [B, T, C, H, W] -> what a network takes, float32 [B, C, T, H, W]."""
    return normalise(clips_BTCHW).transpose(1, 2)
