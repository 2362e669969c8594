"""Recordings of events: frames of counts by hand, and the files that they come from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tonic import io as tonic_io

from deploy.clips.files import from_files
from svformer.common.errors import InputError
from svformer.common.npy import load_npy
from svformer.data.aedat import HEADER, read_aedat, write_aedat
from svformer.data.dvs128 import CLASSES
from svformer.data.event_files import holds_events, read_events, sensor_of
from svformer.data.events import (
    DVS128,
    EVENT,
    MOST_COUNTS,
    Events,
    Pixels,
    block_of,
    count_events,
    frames_of,
)


def some_events(*rows: tuple[int, int, int, int]) -> Events:
    """Rows x, y, p, t in microseconds."""
    return np.array(list(rows), EVENT)


def many_events(count: int, *, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    events = np.empty(count, EVENT)
    events["x"], events["y"] = rng.integers(0, 128, (2, count))
    events["p"], events["t"] = rng.integers(0, 2, count), np.sort(rng.integers(0, 1_000_000, count))
    return events


# Frames


def test_frames_of_as_many_events_each_by_hand() -> None:
    """Ten events for three frames: three each, and the last one is left over."""
    events = some_events(*((10 * i, 100, i % 2, i * i) for i in range(10)))
    counts = count_events(events, frames=3, size=128)
    assert counts.shape == (3, 2, 128, 128)
    assert counts.dtype == torch.int16
    assert counts.sum(dim=(2, 3)).tolist() == [[2, 1], [1, 2], [2, 1]]  # events 0 to 2, 3 to 5, 6 to 8
    assert counts[1, 1, 100, 30] == counts[1, 0, 100, 40] == counts[1, 1, 100, 50] == 1


def test_frames_that_are_as_long_each_by_hand() -> None:
    """From 0 to 40 us in two frames of 20: what happens at 40 is left over."""
    events = some_events(*((0, 0, 1, t) for t in (0, 1, 2, 3, 10, 20, 30, 40)))
    assert count_events(events, frames=2, size=128, by="time").sum(dim=(1, 2, 3)).tolist() == [5, 2]


@pytest.mark.parametrize("size", [64, 32])
def test_smaller_frames_are_sums_over_blocks(size: int) -> None:
    events, block = many_events(4000), 128 // size
    full, small = (count_events(events, frames=4, size=s) for s in (128, size))
    blocks = full.unflatten(3, (size, block)).unflatten(2, (size, block)).sum(dim=(3, 5))
    assert torch.equal(small, blocks.to(torch.int16))


def test_a_flickering_pixel_ends_at_a_byte() -> None:
    events = some_events(*((5, 6, 1, t) for t in range(600)), (1, 1, 0, 600), (1, 1, 0, 601))
    counts = count_events(events, frames=1, size=128)
    assert counts[0, 1, 6, 5] == MOST_COUNTS == 255
    assert counts[0, 0, 1, 1] == 2


@pytest.mark.parametrize("size", [0, 96, 100, 256])
def test_sizes_that_do_not_divide_the_sensor_are_refused(size: int) -> None:
    with pytest.raises(
        InputError, match=f"frames of {size} x {size} pixels; allowed for events: sizes that divide 128"
    ):
        count_events(many_events(100), frames=2, size=size)


def test_fewer_events_than_frames_are_refused() -> None:
    for by in ("count", "time"):
        with pytest.raises(InputError, match="3 events for 4 frames"):
            count_events(many_events(3), frames=4, size=128, by=by)
    with pytest.raises(InputError, match="0 events for 1 frames"):
        count_events(some_events(), frames=1, size=128)
    with pytest.raises(InputError, match="binned by 'colour'; allowed: count, time"):
        count_events(many_events(3), frames=1, size=128, by="colour")  # type: ignore[arg-type]


# Other sensors


def test_frames_of_a_duration_take_as_many_as_there_are() -> None:
    """Bins of 10 us from the first event, at 5: to 14, to 24, none to 34, and the event at 35."""
    events = some_events(*((0, 0, 1, t) for t in (5, 6, 14, 15, 35)))
    assert frames_of(events, 10) == 4
    counts = count_events(events, frames=4, size=128, bin_us=10)
    assert counts[:, 1, 0, 0].tolist() == [3, 1, 0, 1]
    assert count_events(events, frames=2, size=128, bin_us=10).sum() == 4, "what lies behind the last frame is left out"
    assert frames_of(some_events(), 10) == 0


def test_blocks_of_any_sensor_by_hand() -> None:
    """240 x 180 pixels to 60 x 45: the pixel (239, 5) lies in the block (59, 1)."""
    counts = count_events(some_events((239, 5, 1, 0), (236, 4, 1, 1)), frames=1, size=(60, 45), sensor=(240, 180))
    assert counts.shape == (1, 2, 45, 60)
    assert counts[0, 1, 1, 59] == counts.sum() == 2


@pytest.mark.parametrize(
    ("picture", "sensor", "block"), [((34, 34), (34, 34), 1), ((60, 45), (240, 180), 4), ((173, 130), (346, 260), 2)]
)
def test_the_blocks_of_a_picture(picture: Pixels, sensor: Pixels, block: int) -> None:
    assert block_of(picture, sensor) == block


@pytest.mark.parametrize(("picture", "sensor"), [((32, 32), (34, 34)), ((60, 60), (240, 180)), ((64, 64), (32, 32))])
def test_blocks_that_are_no_squares_are_refused(picture: Pixels, sensor: Pixels) -> None:
    expected = f"frames of {picture[0]} x {picture[1]} pixels; allowed for events: those of the sensor, "
    with pytest.raises(InputError, match=expected):
        block_of(picture, sensor)


@pytest.mark.parametrize(
    ("farthest", "picture", "sensor"),
    [
        ((33, 33), (34, 34), (34, 34)),
        ((127, 90), (32, 32), DVS128),
        ((3, 3), (128, 128), DVS128),
        ((239, 179), (240, 180), (240, 180)),
    ],
)
def test_the_sensor_is_known_from_what_it_sent(farthest: Pixels, picture: Pixels, sensor: Pixels) -> None:
    assert sensor_of(some_events((*farthest, 1, 0)), picture) == sensor


@pytest.mark.parametrize(
    ("farthest", "picture"), [((33, 33), (32, 32)), ((31, 31), (32, 32)), ((127, 90), (34, 34)), ((239, 179), (60, 45))]
)
def test_a_sensor_that_is_open_is_asked_for(farthest: Pixels, picture: Pixels) -> None:
    """34 x 34 pixels are not 128 x 128 of which a corner fires; nor need events within 32 x 32 be all of them."""
    found = f"events up to x = {farthest[0]}, y = {farthest[1]} for frames of {picture[0]} x {picture[1]} pixels"
    with pytest.raises(InputError, match=f"{found}; say the sensor's size: --sensor WxH"):
        sensor_of(some_events((*farthest, 1, 0)), picture)


def test_events_beyond_the_sensor_that_is_said_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", some_events((34, 0, 1, 0), (0, 33, 1, 0)))
    assert len(read_events(tmp_path / "a.npy", sensor=(35, 34))) == 2
    with pytest.raises(InputError, match=r"a\.npy: events beyond the 34 x 34 pixels of the sensor"):
        read_events(tmp_path / "a.npy", sensor=(34, 34))


# Files


def test_aedat_is_read_as_tonics_functions_read_it(tmp_path: Path) -> None:
    """More than two packets; tonic's read_dvs_ibm itself cannot be called (its issue 302)."""
    events, path = many_events(10_000), tmp_path / "a.aedat"
    write_aedat(path, events)
    assert (read_aedat(path) == events).all()
    version, start, _ = tonic_io.read_aedat_header_from_file(str(path))
    assert version == 3.1
    theirs = tonic_io.get_aer_events_from_file(str(path), version, start)
    assert (theirs["address"] >> 17 == events["x"]).all()
    assert (theirs["address"] >> 2 & 0x7FFF == events["y"]).all()
    assert (theirs["address"] >> 1 & 1 == events["p"]).all()
    assert (theirs["timeStamp"] == events["t"]).all()


def test_a_segment_begins_with_its_start_and_ends_before_its_end(tmp_path: Path) -> None:
    events, path = many_events(10_000), tmp_path / "a.aedat"
    write_aedat(path, events)
    start_us, end_us = int(events["t"][5000]), int(events["t"][9000])
    inside = (events["t"] >= start_us) & (events["t"] < end_us)
    assert (read_aedat(path, start_us, end_us) == events[inside]).all()
    assert len(read_aedat(path, 2_000_000, 3_000_000)) == 0


def test_other_packets_are_passed_over_and_time_runs_over(tmp_path: Path) -> None:
    """A packet of special events (type 0) and one of frames of 100 bytes; in the second an overflow of 2**31 us."""
    path = tmp_path / "a.aedat"
    write_aedat(path, some_events((1, 2, 1, 7)))
    with path.open("ab") as file:
        file.write(HEADER.pack(0, 1, 8, 4, 0, 2, 2, 2) + bytes(16))
        file.write(HEADER.pack(2, 1, 100, 4, 0, 1, 1, 1) + bytes(100))
        address = (3 << 17) | (4 << 2) | (0 << 1) | 1
        file.write(HEADER.pack(1, 1, 8, 4, 1, 2, 1, 1) + address.to_bytes(4, "little") + (9).to_bytes(4, "little"))
        file.write(bytes(8))  # capacity for two events, one of them used
    assert read_aedat(path).tolist() == [(1, 2, True, 7), (3, 4, False, 2**31 + 9)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "not a readable AEDAT file"),
        (lambda content: b"no events\r\n" * 10, "not an AEDAT 3.1 file"),
        (lambda content: content.replace(b"3.1", b"2.0", 1), "not an AEDAT 3.1 file"),
        (lambda content: content.replace(b"#!END", b"#!MID", 1), "no line #!END-HEADER"),
        (lambda content: content[:-3], "ends within a packet"),
        (lambda content: content + bytes(5), "ends within the header of a packet"),
        (lambda content: content + b"\xff" * 60, "holds something else at byte"),
    ],
)
def test_damaged_aedat_is_refused(damage: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    write_aedat(path, many_events(100))
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as refusal:
        read_events(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_arrays_with_fields_and_with_columns(tmp_path: Path) -> None:
    """Fields in any order and of any type, microseconds; four columns, milliseconds; sorted by time in the end."""
    kinds = np.dtype([("t", np.float64), ("x", np.uint16), ("y", np.uint16), ("p", np.int8)])
    np.save(tmp_path / "fields.npy", np.array([(2000, 1, 2, -1), (1000, 3, 4, 1)], kinds))
    np.save(tmp_path / "columns.npy", np.array([[1, 2, 0, 2], [3, 4, 1, 1]]))
    for name in ("fields.npy", "columns.npy"):
        assert read_events(tmp_path / name).tolist() == [(3, 4, True, 1000), (1, 2, False, 2000)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 5)), "no events; expected fields x, y, p, t"),
        (np.zeros(3), "no events"),
        (np.zeros(3, [("x", "i4"), ("y", "i4"), ("t", "i4")]), "no events"),
        (np.array([[128, 0, 0, 0]]), "events beyond the 128 x 128 pixels"),
        (np.array([[0, -1, 0, 0]]), "events beyond the 128 x 128 pixels"),
        (np.array([[65536, 0, 0, 0]]), "events beyond the 128 x 128 pixels"),
        (np.array([[np.nan, 0, 0, 0]]), "not finite numbers"),
    ],
)
def test_arrays_that_no_dvs128_sent_are_refused(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=message):
        read_events(tmp_path / "a.npy")


def test_four_columns_are_events_only_under_tonics_names(tmp_path: Path) -> None:
    """A [T, 4] array may as well be a clip of a network with four inputs."""
    (tmp_path / "user24_led").mkdir()
    for path in (tmp_path / "spikes.npy", tmp_path / "user24_led" / "3.npy"):
        np.save(path, np.zeros((20, 4)))
    np.save(tmp_path / "events.npy", many_events(5))
    np.save(tmp_path / "clip.npy", np.zeros((4, 2, 32, 32)))
    (tmp_path / "empty.npy").touch()
    names = ("spikes.npy", "user24_led/3.npy", "events.npy", "clip.npy", "empty.npy", "a.aedat", "a.avi")
    assert [name for name in names if holds_events(tmp_path / name)] == ["user24_led/3.npy", "events.npy", "a.aedat"]
    (source,) = from_files([tmp_path / "user24_led" / "3.npy"])
    assert source.label == CLASSES[3] == "Right arm cw"


def test_frames_beyond_the_memory_are_refused() -> None:
    events = some_events((0, 0, 1, 0), (1, 1, 0, 5))
    with pytest.raises(InputError, match=r"100,000,000,000 frames of 10 us: would take [\d,.]+ GB of memory"):
        count_events(events, frames=10**11, size=128, bin_us=10.0)


def test_a_file_of_python_2_is_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(3, 2), }", b"(3L, 2L)}"))
    assert load_npy(tmp_path / "a.npy").shape == (3, 2)
    assert not recwarn.list
