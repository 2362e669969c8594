"""Where time, clips and the input are among the axes of an array; what a graph does not take is said with a remedy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svformer.common.errors import InputError

Shape = tuple[int, ...]
TIME_FIRST = "time comes first in it: numpy.moveaxis(clips, 1, 0)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the axes of an array are: [frames, *input], or [clips, frames, *input]."""

    frames: int
    clips: int | None = None  # None: the array is one clip, without an axis of clips


def layout(
    path: Path,
    shape: Shape,
    taken: Shape,
    *,
    steps: int | None = None,
    fixed: bool = False,
    labels: int | None = None,
) -> Layout:
    """What the axes of an array in a file are, for a graph whose input has the shape `taken`.

    `steps` are the time steps that the graph says, `labels` the classes beside the array; both tell which of two axes
    counts clips. With `fixed` every clip has `steps`. Raises `InputError`, with what to do, for an array that does not
    fit or could be read in two ways.
    """
    if len(shape) == len(taken) + 1 and shape[1:] == taken and shape[0]:
        if fixed and shape[0] != steps:
            raise InputError(f"{misfit(path, shape, taken, steps)}; T is part of this network")
        if labels is None or labels == 1:
            return Layout(frames=shape[0])
        raise InputError(f"{path}: {labels} labels for one clip of {shape[0]} time steps; allowed: one for each clip")
    if len(shape) == len(taken) + 2 and shape[2:] == taken and 0 not in shape:
        _require_clips_first(path, shape, steps, labels)
        if fixed and shape[1] != steps:
            raise InputError(f"{misfit(path, shape, taken, steps)}; T is part of this network")
        return Layout(clips=shape[0], frames=shape[1])
    raise InputError(f"{misfit(path, shape, taken, steps if fixed else None)}{_remedy(shape, taken)}")


def misfit(path: Path, shape: Sequence[int], taken: Shape, steps: int | None) -> str:
    """The line of an array that a graph does not take."""
    wanted = ", ".join(map(str, ("T" if steps is None else steps, *taken)))
    return f"{path}: shape {list(shape)}, this graph takes [{wanted}] (T, input shape)"


def _require_clips_first(path: Path, shape: Shape, steps: int | None, labels: int | None) -> None:
    """Raise `InputError` for [clips, T, ..] that may be, or has to be, [T, clips, ..]."""
    first, second = shape[:2]
    if labels is not None:
        if labels == first:
            return
        remedy = f"; {TIME_FIRST}" if labels == second else ""
        raise InputError(f"{path}: {labels} labels for an array of {first} clips, shape {list(shape)}{remedy}")
    if steps is not None and steps == first != second:
        raise InputError(f"{path}: shape {list(shape)}, {steps} time steps are those of this graph; {TIME_FIRST}")
    if second == 1 != first and steps != 1:
        raise InputError(
            f"{path}: shape {list(shape)} could be {first} clips of one time step or one clip of {first}; "
            "give [T, input shape], or labels with the clips"
        )


def _remedy(shape: Shape, taken: Shape) -> str:
    """What would make the array fit, where that is plain."""
    rank = len(taken)
    if 0 in shape:
        return "; it is empty"
    if shape == taken:
        return "; it has no axis of time: numpy.stack the time steps"
    if len(shape) == rank + 1 and shape[:-1] == taken:
        return "; time is its last axis: numpy.moveaxis(clip, -1, 0)"
    if len(shape) == rank + 2 and shape[1:-1] == taken:
        return "; time is its last axis: numpy.moveaxis(clips, -1, 1)"
    if rank > 1 and len(shape) > rank and shape[-rank:] == (*taken[1:], taken[0]):
        return f"; channels are its last axis: numpy.moveaxis(clip, -1, {-rank})"
    if math.prod(shape[1:]) == math.prod(taken):
        return f"; as many values: clip.reshape({', '.join(map(str, (-1, *taken)))})"
    return ""
