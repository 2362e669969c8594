"""Pictures of video files with FFmpeg (PyAV): decode, seek, and resize.

All times are in seconds from the start of the file's first video stream. Every FFmpeg error is an `InputError`.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.remarks import remark

TIME_TOLERANCE_S = 1e-3  # Matroska and others round time stamps to milliseconds
SEEK_AHEAD_S = (0.0, 2.0, 8.0)  # how far before the wanted time each attempt to seek begins
DECLARING = ("matroska", "mov")  # formats whose header holds the duration; for others FFmpeg may estimate it
CUT_OFF = (0.5, 0.1)  # seconds and share of the declared duration; a file that lacks more of both may be cut off

MOST_PIXELS = 2**26  # of a picture, twice those of 8K
MOST_LONG = 32  # times as long as wide, or as wide as long

TimedFrames = Iterator[tuple[float, VideoFrame]]


class Shrinker:
    """Turns frames of a file into upright uint8 pictures [3, h, w] with the short side `size`, by one scaler.

    Raises `InputError` for a size below 1 pixel, and for a picture that would be a long strip.
    """

    def __init__(self, size: int, path: str | Path) -> None:
        if size < 1:
            raise InputError(f"size {size}: not a picture size; allowed: 1 pixel or more")
        self._size, self._path, self._reformatter = size, path, VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Tensor:
        short, long = sorted((frame.width, frame.height))
        if long > MOST_LONG * short:
            shape = f"pictures of {frame.width} x {frame.height} pixels, whose sides are more than {MOST_LONG} to 1"
            raise unreadable(self._path, shape)
        scale = self._size / short
        rgb = self._reformatter.reformat(
            frame,
            width=round(frame.width * scale),
            height=round(frame.height * scale),
            format="rgb24",
            interpolation=Interpolation.AREA,  # antialiased when it shrinks, bilinear when it enlarges
        )
        upright_HWC = np.rot90(rgb.to_ndarray(), round(frame.rotation / 90))  # both count anticlockwise
        return torch.from_numpy(np.ascontiguousarray(upright_HWC.transpose(2, 0, 1)))


def unreadable(path: str | Path, reason: str) -> InputError:
    """The error for a file that is no video, in one line."""
    return InputError(
        f"{path}: not a readable video ({reason}); allowed: any file that FFmpeg decodes; re-download or re-encode it"
    )


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file's first video stream; every FFmpeg error inside the block becomes an `InputError`."""
    try:
        with av.open(str(Path(path)), metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise unreadable(path, "no video stream that FFmpeg can decode")
            if stream.width * stream.height > MOST_PIXELS:
                raise unreadable(
                    path, f"pictures of {stream.width} x {stream.height} pixels, more than {MOST_PIXELS:,}"
                )
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # of a picture that a file says or sends
            yield container, stream
    except av.FFmpegError as error:
        raise unreadable(path, error.strerror or str(error)) from error


# Where a file ends


def last_time_s(path: str | Path) -> float | None:
    """Time of the last picture; None where the file cannot be searched. A file that may be cut off gets a remark.

    It is read from the packets behind the last key frame, without decoding, since headers do not say it: Matroska
    declares the duration of the longest stream, sound included, and a variable frame rate hides when the last picture
    begins.
    """
    with _opened(path) as (container, stream):
        if container.duration is None:
            return None
        declared_s = (container.start_time or 0) / av.time_base + container.duration / av.time_base - _origin_s(stream)
        for ahead_s in SEEK_AHEAD_S:
            if not _seek(container, stream, max(0.0, declared_s - ahead_s)):
                return None
            picture_s, end_s = _last_stamp_s(container, stream)
            if picture_s is not None:
                if container.format.name.startswith(DECLARING):
                    _remark_if_cut_off(path, declared_s=declared_s, end_s=end_s)
                return max(0.0, picture_s)
    return None


def _last_stamp_s(container: InputContainer, stream: VideoStream) -> tuple[float | None, float]:
    """From where the container stands: time of the last picture, None without one, and the end of all streams."""
    picture_s, end_s = None, 0.0
    for packet in container.demux():
        stamp = packet.dts if packet.pts is None else packet.pts  # None for the packet that flushes the decoder
        if stamp is None or not packet.time_base:
            continue
        time_s = float(stamp * packet.time_base) - _origin_s(stream)
        end_s = max(end_s, time_s + float((packet.duration or 0) * packet.time_base))
        if packet.stream.index == stream.index:
            picture_s = time_s if picture_s is None else max(picture_s, time_s)
    return picture_s, end_s


def _remark_if_cut_off(path: str | Path, *, declared_s: float, end_s: float) -> None:
    missing_s, (seconds, share) = declared_s - end_s, CUT_OFF
    if missing_s > max(seconds, share * declared_s):
        text = f"its header says {declared_s:.1f} s, but its content ends after {end_s:.1f} s; it may have been cut off"
        remark(path, "cut off", text)


# Decoding


def all_frames(path: str | Path) -> TimedFrames:
    """Every frame of a file with its time; times never go back."""
    with _opened(path) as (container, stream):
        yield from timed_frames(path, container, stream)


def timed_frames(path: str | Path, container: InputContainer, stream: VideoStream) -> TimedFrames:
    """The frames from where the container stands, with their times, which never go back.

    Raw streams and some AVI files have pictures without a time stamp; those follow at the stream's rate.
    """
    rate, time_s = stream.average_rate, -math.inf
    for frame in container.decode(stream):
        if frame.pts is not None:
            time_s = max(frame.time - _origin_s(stream), time_s)
        elif rate:
            time_s = max(time_s + 1 / float(rate), 0.0)
        else:
            raise unreadable(path, "neither time stamps nor a frame rate")
        yield time_s, frame


def frames_from(path: str | Path, start_s: float) -> TimedFrames:
    """The frames from a key frame at or before `start_s` on, or from the file's start where no seek leads there.

    A seek in formats without an index (MPEG-TS) ends late or between key frames, so further attempts begin earlier.
    """
    with _opened(path) as (container, stream):
        for target_s in (start_s - ahead_s for ahead_s in SEEK_AHEAD_S):
            if target_s <= 0 or not _seek(container, stream, target_s):
                break
            frames = timed_frames(path, container, stream)
            first = next(frames, None)
            if first is not None and _starts_in_time(*first, start_s):
                yield first
                yield from frames
                return
    yield from all_frames(path)


def frames_at(path: str | Path, frames: Iterable[tuple[float, VideoFrame]], wanted_s: list[float]) -> TimedFrames:
    """For each wanted time, in order, the last frame at or before it and its own time; reads no further than needed.

    Wanted times behind the last frame get the last frame. Raises `InputError` where there is no frame.
    """
    remaining, held = list(reversed(wanted_s)), None
    for time_s, frame in frames:
        while held is not None and remaining and time_s > remaining[-1] + TIME_TOLERANCE_S:
            remaining.pop()
            yield held
        if not remaining:
            return
        held = time_s, frame
    if held is None:
        raise unreadable(path, "no pictures in it")
    yield from repeat(held, len(remaining))


def _starts_in_time(time_s: float, frame: VideoFrame, start_s: float) -> bool:
    """Whether decoding may begin with this frame; one that is no key frame depends on others that were not decoded."""
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


def _origin_s(stream: VideoStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))
