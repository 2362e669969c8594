"""Clips from files: what `run_lava.py` is given becomes frames that a graph takes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from svformer.data.clips import Sampling, load_clip, normalise
from svformer.errors import InputError

Frames = NDArray[np.float32]  # [T, *input shape]


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One clip on disk; `label` is its class where the file's place or name tells it."""

    path: Path
    label: str | None
    start: float = 0.5  # where in the video, as a share of the possible starts
    crop: float = 0.5  # where along the long side


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What a graph takes: T frames of this shape."""

    frames: int
    shape: tuple[int, ...]


def load(source: ClipSource, wanted: InputFormat) -> Frames:
    """Frames of a clip [T, *shape]: a video file (decoded, cropped square, normalised as in training) or a .npy.

    A .npy of bytes for a network that takes video holds pixels, and is normalised too; anything else is taken as it is.

    Raises `InputError` when the file cannot be read or does not fit the graph.
    """
    if source.path.suffix == ".npy":
        values = _load_array(source.path, wanted)
        pixels = values.dtype == np.uint8 and takes_video(wanted)
        return normalise(torch.as_tensor(values)).numpy() if pixels else values.astype(np.float32)
    if not takes_video(wanted):
        raise InputError(
            f"{source.path}: this graph takes {list(wanted.shape)}, a video gives [3, size, size]; "
            f"give a .npy of shape [{wanted.frames}, {', '.join(map(str, wanted.shape))}]"
        )
    sampling = Sampling(frames=wanted.frames)
    clip = load_clip(source.path, size=wanted.shape[1], sampling=sampling, start=source.start, crop=source.crop)
    return np.asarray(normalise(clip).numpy(), dtype=np.float32)


def takes_video(wanted: InputFormat) -> bool:
    """Whether the input is a square picture of three channels."""
    return len(wanted.shape) == 3 and wanted.shape[0] == 3 and wanted.shape[1] == wanted.shape[2]


def _load_array(path: Path, wanted: InputFormat) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(values, np.ndarray):
        raise InputError(f"{path}: an archive of arrays; save one array with numpy.save")
    expected = (wanted.frames, *wanted.shape)
    if values.shape != expected:
        raise InputError(f"{path}: shape {list(values.shape)}, this graph takes {list(expected)} (T, input shape)")
    if values.dtype.kind not in "biuf" or not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise InputError(f"{path}: holds values that are not finite real numbers (of float32)")
    return values


def array_frames(path: Path) -> int:
    """Number of time steps of a .npy clip; raises `InputError` when it cannot be read."""
    try:
        return int(np.load(path, mmap_mode="r", allow_pickle=False).shape[0])
    except (OSError, ValueError, EOFError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error


def known_range(sources: Sequence[ClipSource]) -> tuple[float, float] | None:
    """What a pixel of a video can be after normalisation; None for arrays, of which nothing is known."""
    if any(source.path.suffix == ".npy" for source in sources):
        return None
    black, white = normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    return black, white


def from_files(paths: Sequence[Path]) -> list[ClipSource]:
    """Clips of single files, labelled where they bear UCF101's names (`v_Class_g01_c01.avi`)."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{', '.join(missing)}: no such clip; allowed: video files that FFmpeg decodes, or .npy")
    return [ClipSource(path=path, label=_label(path)) for path in paths]


def _label(path: Path) -> str | None:
    match = re.fullmatch(r"v_(\w+)_g\d+_c\d+", path.stem)
    return match[1] if match else None


def shipped(folder: Path) -> list[ClipSource]:
    """The video files of a folder that ships with the project, in order of their names."""
    return from_files(sorted(folder.rglob("*.avi")))


def with_views(sources: Sequence[ClipSource], temporal: int, spatial: int) -> list[ClipSource]:
    """Every clip seen `temporal` x `spatial` times, evenly spread; the views of a clip follow each other."""

    def spread(count: int) -> list[float]:
        return [0.5] if count == 1 else [i / (count - 1) for i in range(count)]

    return [
        ClipSource(path=s.path, label=s.label, start=start, crop=crop)
        for s in sources
        for start in spread(temporal)
        for crop in spread(spatial)
    ]


def batches(
    sources: Sequence[ClipSource], wanted: InputFormat, size: int
) -> Iterator[tuple[Sequence[ClipSource], Frames]]:
    """Clips in batches of at most `size`: their sources and frames [N, T, *shape]."""
    for first in range(0, len(sources), size):
        part = sources[first : first + size]
        yield part, np.stack([load(source, wanted) for source in part])
