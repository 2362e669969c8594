"""Clips from files: what fits a graph is loaded as it is, what does not is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.clips.files import from_files, shipped, with_views
from deploy.clips.read import batches, example_clips, known_range, load, require_readable
from deploy.clips.source import ClipSource, InputFormat
from deploy.ir.grid import grid_levels
from deploy.passes.calibrate import INPUT_LEVELS
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.errors import InputError
from svformer.data.clips import MEAN, STD

WANTED = InputFormat(frames=2, shape=(3,))


def saved(folder: Path, values: Any) -> ClipSource:
    np.save(folder / "clip.npy", values, allow_pickle=True)
    return ClipSource(path=folder / "clip.npy", label=None)


def refused(source: ClipSource, wanted: InputFormat = WANTED) -> str:
    with pytest.raises(InputError) as caught:
        load(source, wanted)
    message = str(caught.value)
    assert message.startswith(f"{source.path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_an_array_of_real_numbers_is_taken_as_it_is(kind: str, tmp_path: Path) -> None:
    values = np.array([[0, 1, 1], [1, 0, 0]]).astype(kind)
    frames = load(saved(tmp_path, values), WANTED)
    assert frames.dtype == np.float32
    assert frames.tolist() == values.tolist()


def test_a_batch_of_one_is_a_clip(tmp_path: Path) -> None:
    values = np.array([[[0, 1, 1], [1, 0, 0]]])
    assert load(saved(tmp_path, values), WANTED).tolist() == values[0].tolist()


@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (3, 3), (1, 3, 3), (3,), ()])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    message = refused(saved(tmp_path, np.zeros(shape)))
    assert f"shape {list(shape)}, this graph takes [2, 3] (T, input shape)" in message


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, 1e300, 1j, "1", np.datetime64("2020-01-01")], ids=lambda value: str(value)
)
def test_values_that_are_not_finite_real_numbers_are_refused(value: Any, tmp_path: Path) -> None:
    """A float64 that float32 cannot hold would become infinite; a complex number would lose its imaginary part."""
    assert "not finite real numbers" in refused(saved(tmp_path, np.full((2, 3), value)))


def test_one_bad_value_is_enough(tmp_path: Path) -> None:
    values = np.zeros((2, 3))
    values[1, 2] = np.nan
    assert "not finite real numbers" in refused(saved(tmp_path, values))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    assert "allow_pickle=False" in refused(saved(tmp_path, np.full((2, 3), None)))


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_files_that_hold_no_array_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.npy"
    path.write_bytes(content)
    assert "not a readable .npy file" in refused(ClipSource(path=path, label=None))


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path, np.zeros((2, 3)))
    source.path.write_bytes(source.path.read_bytes()[:-1])
    assert "not a readable .npy file" in refused(source)


def test_an_archive_of_arrays_is_refused_whatever_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", a=np.zeros((2, 3)))
    path = (tmp_path / "clip.npz").rename(tmp_path / "clip.npy")
    assert "an archive of arrays" in refused(ClipSource(path=path, label=None))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no_such.npy" in refused(ClipSource(path=tmp_path / "no_such.npy", label=None))


def test_a_real_video_becomes_normalised_frames() -> None:
    source, *_ = shipped(CALIBRATION_CLIPS)
    frames = load(source, InputFormat(frames=3, shape=(3, 32, 32)))
    assert frames.shape == (3, 3, 32, 32)
    assert frames.dtype == np.float32
    pixels = (frames * STD + MEAN) * 255
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-3)  # the 256 levels of a video
    assert pixels.min() >= -1e-3
    assert pixels.max() <= 255 + 1e-3
    assert pixels.std() > 1


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 64, 64), (3, 64, 32), (784,), (3, 64), (3, 2, 64, 64)])
def test_a_real_video_is_refused_where_a_graph_takes_something_else(shape: tuple[int, ...]) -> None:
    source, *_ = shipped(CALIBRATION_CLIPS)
    message = refused(source, InputFormat(frames=4, shape=shape))
    assert f"this graph takes {list(shape)}, a video gives [3, size, size]" in message
    assert f"give a .npy of shape {[4, *shape]}" in message


def recorded(folder: Path) -> ClipSource:
    """Four events of 32 x 32 blocks of pixels, two of them at one place."""
    fields = [("x", np.int16), ("y", np.int16), ("p", np.bool_), ("t", np.int64)]
    np.save(folder / "events.npy", np.array([(0, 0, 1, 0), (3, 3, 1, 1), (127, 0, 0, 2), (0, 127, 1, 3)], fields))
    (source,) = from_files([folder / "events.npy"])
    return source


def test_a_recording_of_events_becomes_counts_that_nothing_scales(tmp_path: Path) -> None:
    frames = load(recorded(tmp_path), InputFormat(frames=2, shape=(2, 32, 32)))
    assert frames.shape == (2, 2, 32, 32)
    assert frames.dtype == np.float32
    assert np.argwhere(frames).tolist() == [[0, 1, 0, 0], [1, 0, 0, 31], [1, 1, 31, 0]]  # frame, polarity, y, x
    assert frames[0, 1, 0, 0] == 2
    assert grid_levels(frames, INPUT_LEVELS) == 1.0  # the integers that enter a chip are the counts


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 32), (2048,)])
def test_a_recording_is_refused_where_a_graph_takes_something_else(shape: tuple[int, ...], tmp_path: Path) -> None:
    message = refused(recorded(tmp_path), InputFormat(frames=2, shape=shape))
    assert f"this graph takes {list(shape)}, a recording of events gives [2, height, width]" in message


def test_a_recording_has_one_view(tmp_path: Path) -> None:
    source = recorded(tmp_path)
    assert with_views([source], 1, 1) == [source]
    with pytest.raises(InputError, match=r"--views 1x3: events\.npy is a recording of events, which is one view"):
        with_views([source], 1, 3)


def test_only_of_pixels_is_the_range_known(tmp_path: Path) -> None:
    videos, events, arrays = shipped(CALIBRATION_CLIPS), recorded(tmp_path), saved(tmp_path, np.zeros((2, 3)))
    assert known_range(videos) == pytest.approx((-MEAN / STD, (1 - MEAN) / STD))
    for other in (events, arrays):
        assert known_range([other]) is None
        assert known_range([*videos, other]) is None


@pytest.mark.parametrize("pixels", [False, True])
def test_bytes_are_pixels_only_where_the_network_says_so(pixels: bool, tmp_path: Path) -> None:
    """A spike of 1 in a byte is no dark pixel of (1 / 255 - 0.45) / 0.225 = -1.98."""
    values = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    values[1, 0, 2, 3] = 1
    frames = load(saved(tmp_path, values), InputFormat(frames=2, shape=(3, 4, 4), pixels=pixels))
    assert frames[1, 0, 2, 3] == pytest.approx((1 / 255 - MEAN) / STD if pixels else 1)
    assert frames[0, 0, 0, 0] == pytest.approx(-MEAN / STD if pixels else 0)


def test_one_of_several_clips_of_a_file_is_asked_for_by_its_place(tmp_path: Path) -> None:
    clips = np.arange(12.0).reshape(2, 2, 3)
    np.savez(tmp_path / "clips.npz", x=clips)
    for place in (0, 1):
        found = load(ClipSource(path=tmp_path / f"clips.npz#{place}", label=None), WANTED)
        assert found.tolist() == clips[place].tolist()
    assert "the file holds 2 clips; allowed: #0 to #1" in refused(ClipSource(path=tmp_path / "clips.npz#2", label=None))
    assert "holds 2 clips; one is FILE#0" in refused(ClipSource(path=tmp_path / "clips.npz", label=None))


def test_a_table_has_a_column_for_every_value_of_a_frame(tmp_path: Path) -> None:
    (tmp_path / "clip.csv").write_text("0,1,2,3\n4,5,6,7\n")
    source = ClipSource(path=tmp_path / "clip.csv", label=None)
    assert load(source, InputFormat(frames=2, shape=(2, 2))).tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert "shape [2, 4], this graph takes" in refused(source, InputFormat(frames=2, shape=(2, 3)))


def test_example_clips_fit_any_network() -> None:
    video = example_clips(InputFormat(frames=2, shape=(3, 32, 32), pixels=True), 2)
    assert video.shape == (2, 2, 3, 32, 32)
    assert video.min() < 0
    counts = example_clips(InputFormat(frames=2, shape=(2, 32, 32)), 3)
    assert counts.shape == (3, 2, 2, 32, 32)
    assert (counts == np.rint(counts)).all()
    assert counts.min() == 0 < counts.max()


def test_labels_come_from_names_that_tell_them(tmp_path: Path) -> None:
    labels = {
        "v_ApplyEyeMakeup_g08_c01.avi": "ApplyEyeMakeup",
        "v_TaiChi_g1_c12.mp4": "TaiChi",
        "v_TaiChi.avi": None,
        "holiday_g01_c01.avi": None,
        "x.npy": None,
        "S001C002P003R002A013_rgb.avi": "A013 tear up paper",
        "S001C002P003R002A061_rgb.avi": None,
        "user01_led/10.npy": "Other gestures",
        "user01_led/11.npy": None,
    }
    paths = [tmp_path / name for name in labels]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [source.label for source in from_files(paths)] == list(labels.values())
    assert [source.path for source in from_files(paths)] == paths


def test_a_file_of_no_known_kind_is_told_what_there_is(tmp_path: Path) -> None:
    """A damaged video stays a damaged video."""
    for name, expected in (("clip.mat", "neither video nor array; allowed: "), ("clip.avi", "not a readable video")):
        (tmp_path / name).write_bytes(b"numbers")
        with pytest.raises(InputError, match=expected):
            require_readable(from_files([tmp_path / name]))


def test_all_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "here.npy").touch()
    with pytest.raises(InputError) as caught:
        from_files([tmp_path / name for name in ("a.avi", "here.npy", "b.npy")])
    assert str(caught.value).startswith(f"{tmp_path / 'a.avi'}, {tmp_path / 'b.npy'}: no such clip")


def test_shipped_clips_are_in_order_and_labelled() -> None:
    sources = shipped(CALIBRATION_CLIPS)
    assert sources == sorted(sources, key=lambda source: source.path)
    assert all(source.label for source in sources)


def test_views_are_spread_from_end_to_end_and_stay_together(tmp_path: Path) -> None:
    """The paper's 5 x 3 views: starts 0, 1/4 .. 1, each with crops 0, 1/2, 1; one view is the middle."""
    clips = [ClipSource(path=tmp_path / name, label=name) for name in "ab"]
    seen = [(view.label, view.start, view.crop) for view in with_views(clips, 5, 3)]
    assert seen == [(name, start, crop) for name in "ab" for start in (0, 0.25, 0.5, 0.75, 1) for crop in (0, 0.5, 1)]
    assert with_views(clips, 1, 1) == clips


def test_batches_hold_every_clip_once_and_in_order(tmp_path: Path) -> None:
    sources = []
    for i in range(5):
        np.save(tmp_path / f"{i}.npy", np.full((2, 3), i))
        sources.append(ClipSource(path=tmp_path / f"{i}.npy", label=None))
    parts = list(batches(sources, WANTED, 2))
    assert [frames.shape for _, frames in parts] == [(2, 2, 3), (2, 2, 3), (1, 2, 3)]
    assert [source for part, _ in parts for source in part] == sources
    assert np.concatenate([frames for _, frames in parts])[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
