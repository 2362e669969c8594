"""The axes of an array: time, clips and input; what could be read in two ways, or does not fit, gets a remedy."""

from pathlib import Path
from typing import Any

import pytest

from deploy.clips.layout import Layout, layout
from svformer.common.errors import InputError

FILE = Path("clip.npy")


def refusal(shape: tuple[int, ...], taken: tuple[int, ...], **facts: Any) -> str:
    with pytest.raises(InputError) as refused:
        layout(FILE, shape, taken, **facts)
    return str(refused.value)


@pytest.mark.parametrize(
    ("shape", "taken", "facts", "expected"),
    [
        ((60, 6), (6,), {}, Layout(frames=60)),
        ((6, 6), (6,), {}, Layout(frames=6)),
        ((1, 60, 6), (6,), {}, Layout(clips=1, frames=60)),
        ((4, 60, 6), (6,), {}, Layout(clips=4, frames=60)),
        ((5, 2, 4, 4), (2, 4, 4), {}, Layout(frames=5)),
        ((3, 5, 2, 4, 4), (2, 4, 4), {}, Layout(clips=3, frames=5)),
        ((60, 1, 6), (6,), {"labels": 60}, Layout(clips=60, frames=1)),
        ((60, 1, 6), (6,), {"steps": 1}, Layout(clips=60, frames=1)),
        ((60, 60, 6), (6,), {"steps": 60}, Layout(clips=60, frames=60)),
        ((60, 4, 6), (6,), {"steps": 4}, Layout(clips=60, frames=4)),
        ((60, 6), (6,), {"steps": 100}, Layout(frames=60)),
        ((100, 6), (6,), {"steps": 100, "fixed": True}, Layout(frames=100)),
        ((60, 6), (6,), {"labels": 1}, Layout(frames=60)),
    ],
)
def test_axes_are_found(
    shape: tuple[int, ...], taken: tuple[int, ...], facts: dict[str, Any], expected: Layout
) -> None:
    assert layout(FILE, shape, taken, **facts) == expected


@pytest.mark.parametrize(
    ("shape", "taken", "remedy"),
    [
        ((6, 60), (6,), "time is its last axis: numpy.moveaxis(clip, -1, 0)"),
        ((4, 6, 60), (6,), "time is its last axis: numpy.moveaxis(clips, -1, 1)"),
        ((2, 4, 5, 60), (2, 4, 5), "time is its last axis: numpy.moveaxis(clip, -1, 0)"),
        ((60, 4, 5, 2), (2, 4, 5), "channels are its last axis: numpy.moveaxis(clip, -1, -3)"),
        ((7, 60, 4, 5, 2), (2, 4, 5), "channels are its last axis: numpy.moveaxis(clip, -1, -3)"),
        ((60, 40), (2, 4, 5), "as many values: clip.reshape(-1, 2, 4, 5)"),
        ((60,), (1,), "as many values: clip.reshape(-1, 1)"),
        ((0, 6), (6,), "it is empty"),
        ((2, 0, 6), (6,), "it is empty"),
        ((6,), (6,), "it has no axis of time: numpy.stack the time steps"),
    ],
)
def test_a_remedy_is_told_where_it_is_plain(shape: tuple[int, ...], taken: tuple[int, ...], remedy: str) -> None:
    wanted = ", ".join(map(str, taken))
    assert refusal(shape, taken) == (
        f"clip.npy: shape {list(shape)}, this graph takes [T, {wanted}] (T, input shape); {remedy}"
    )


@pytest.mark.parametrize("shape", [(60, 7), (2, 3, 60, 6), ()])
def test_what_no_remedy_helps_is_refused_plainly(shape: tuple[int, ...]) -> None:
    assert refusal(shape, (6,)) == f"clip.npy: shape {list(shape)}, this graph takes [T, 6] (T, input shape)"


def test_a_network_with_a_T_of_its_own_says_it() -> None:
    facts = {"steps": 100, "fixed": True}
    expected = "this graph takes [100, 6] (T, input shape); T is part of this network"
    assert refusal((60, 6), (6,), **facts) == f"clip.npy: shape [60, 6], {expected}"
    assert refusal((3, 60, 6), (6,), **facts) == f"clip.npy: shape [3, 60, 6], {expected}"


def test_time_in_front_of_clips_is_never_taken_for_clips() -> None:
    """SnnTorch's order; labels and T tell, and one column of clips may be either."""
    remedy = "time comes first in it: numpy.moveaxis(clips, 1, 0)"
    assert refusal((60, 5, 6), (6,), labels=5) == (
        f"clip.npy: 5 labels for an array of 60 clips, shape [60, 5, 6]; {remedy}"
    )
    assert remedy in refusal((60, 5, 6), (6,), steps=60)
    assert "could be 60 clips of one time step or one clip of 60" in refusal((60, 1, 6), (6,))


def test_labels_have_to_be_as_many_as_clips() -> None:
    assert refusal((4, 60, 6), (6,), labels=3) == "clip.npy: 3 labels for an array of 4 clips, shape [4, 60, 6]"
    assert "60 labels for one clip of 60 time steps; allowed: one for each clip" in refusal((60, 6), (6,), labels=60)
