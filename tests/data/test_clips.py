"""Reading real video files: which pictures a clip takes, how they are scaled and cut, and what is refused."""

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svformer.common import remarks
from svformer.common.errors import InputError
from svformer.data import decoding
from svformer.data.clips import (
    Sampling,
    Video,
    crop_square,
    decode_video,
    load_clip,
    max_start_s,
    normalise,
    sample_clip,
)
from svformer.data.decoding import TIME_TOLERANCE_S

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "clips"
needs_real_clips = pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the shared real clips are not here")


def write_video(
    path: Path,
    pictures: list[np.ndarray],
    *,
    rate: int = 25,
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB pictures; `times` gives each one's time stamp in 1/rate s (default 0, 1, 2, ..)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, options=options or {"g": "25", "qmin": "2", "qmax": "2"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (times[index] if times else index), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def add_sound(path: Path, seconds: int) -> Path:
    """The same pictures beside silence, in a file of the same kind."""
    out = path.with_stem(f"{path.stem}_with_sound")
    with av.open(str(path)) as silent, av.open(str(out), "w") as container:
        video = container.add_stream_from_template(silent.streams.video[0])
        sound = container.add_stream("mp2" if path.suffix == ".ts" else "pcm_s16le", rate=48_000)
        for packet in silent.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        for second in range(seconds):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 96_000), np.int16), format="s16", layout="stereo")
            samples.sample_rate, samples.pts = 48_000, second * 48_000
            container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return out


def counting_pictures(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Uniform pictures whose grey level, 2 * index, tells which one it is."""
    return [np.full((height, width, 3), 2 * index, np.uint8) for index in range(count)]


def numbers(clip_TCHW: torch.Tensor) -> list[int]:
    return (clip_TCHW.float().mean(dim=(1, 2, 3)) / 2).round().int().tolist()


def test_a_clip_of_the_paper_spans_two_seconds() -> None:
    sampling = Sampling()
    assert sampling.span_s == pytest.approx(15 * 4 / 30)
    assert sampling.times_s(1.0).tolist() == pytest.approx([1 + index * 4 / 30 for index in range(16)])


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"stride": 0}, {"fps": 0.0}, {"fps": float("nan")}])
def test_an_impossible_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="allowed: frames >= 1"):
        Sampling(**wrong)


def video_at(times_s: list[float]) -> Video:
    frames = torch.arange(len(times_s), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2) * 2
    return Video(frames_NCHW=frames, times_s=torch.tensor(times_s, dtype=torch.float64))


def test_variable_frame_rate_takes_the_last_picture_at_or_before_each_time() -> None:
    video = video_at([0.0, 0.1, 0.5, 0.6])
    every_200_ms = Sampling(frames=4, stride=1, fps=5)
    assert numbers(sample_clip(video, every_200_ms, 0.0)) == [0, 1, 1, 3]  # at 0, 0.2, 0.4, 0.6 s
    assert numbers(sample_clip(video, every_200_ms, 0.3)) == [
        1,
        2,
        3,
        3,
    ]  # at 0.3, 0.5, 0.7, 0.9 s: the last repeats
    assert max_start_s(video, every_200_ms) == 0.0  # 0.6 s of video, 0.6 s of clip
    assert max_start_s(video_at([0.0, 1.0]), every_200_ms) == pytest.approx(0.4)


@given(
    gaps_s=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30),
    start_s=st.floats(0, 5),
    fps=st.floats(1, 60),
)
def test_the_picture_shown_at_a_time_is_the_one_a_player_would_show(
    gaps_s: list[float], start_s: float, fps: float
) -> None:
    times_s, sampling = np.cumsum([0.0, *gaps_s]), Sampling(frames=8, stride=1, fps=fps)
    shown = numbers(sample_clip(video_at(times_s.tolist()), sampling, start_s))
    for wanted_s, index in zip(sampling.times_s(start_s).tolist(), shown, strict=True):
        assert times_s[index] <= wanted_s + TIME_TOLERANCE_S
        assert index == len(times_s) - 1 or times_s[index + 1] > wanted_s + TIME_TOLERANCE_S


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv", "a.ts", "a.m4v"])
@pytest.mark.parametrize("start", [0.0, 0.3, 1.0])
def test_seeking_finds_the_same_clip_as_decoding_everything(tmp_path: Path, name: str, start: float) -> None:
    path = write_video(tmp_path / name, counting_pictures(110))
    video = decode_video(path, size=16)
    assert video.times_s.tolist() == pytest.approx([index / 25 for index in range(110)], abs=1e-3)
    start_s = start * (109 / 25 - 2)
    expected = crop_square(sample_clip(video, Sampling(), start_s), 16, 0.5)
    clip = load_clip(path, size=16, start=start)
    assert clip.shape == (16, 3, 16, 16)
    assert clip.dtype == torch.uint8
    torch.testing.assert_close(clip, expected, rtol=0, atol=0)
    by_hand = [int((start_s + index * 4 / 30 + TIME_TOLERANCE_S) * 25) for index in range(16)]
    assert numbers(clip) == pytest.approx(by_hand, abs=1)


def assert_seeking_and_decoding_agree(path: Path, sampling: Sampling | None = None) -> None:
    sampling = sampling or Sampling()
    video = decode_video(path, size=16)
    for start in (0.0, 0.5, 1.0):
        expected = sample_clip(video, sampling, start * max_start_s(video, sampling))
        clip = load_clip(path, size=16, sampling=sampling, start=start)
        torch.testing.assert_close(clip, crop_square(expected, 16, 0.5), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov", "a.ts"])
@pytest.mark.parametrize("seconds", [1, 12])
def test_sound_does_not_matter_however_long_it_is(tmp_path: Path, name: str, seconds: int) -> None:
    """Matroska declares the duration of its longest stream: the last clip would be the last picture, 16 times."""
    path = add_sound(write_video(tmp_path / name, counting_pictures(110)), seconds)
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
    assert_seeking_and_decoding_agree(path)
    assert numbers(load_clip(path, size=16, start=1.0))[::15] == pytest.approx([59, 109], abs=1)  # 2.36 s to 4.36 s


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_video_that_starts_late_is_counted_from_its_first_picture(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, counting_pictures(110), times=list(range(250, 360)))
    assert_seeking_and_decoding_agree(path)
    assert numbers(load_clip(path, size=16, start=0.0))[0] == 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
def test_a_variable_frame_rate_ends_where_its_last_picture_begins(tmp_path: Path, name: str) -> None:
    times = np.random.default_rng(0).integers(1, 12, 110).cumsum().tolist()  # in 1/100 s
    path = write_video(tmp_path / name, counting_pictures(110), rate=100, times=times)
    assert_seeking_and_decoding_agree(path)
    assert numbers(load_clip(path, size=16, start=1.0))[-1] == 109


def test_pictures_that_refer_to_later_ones_are_shown_in_order(tmp_path: Path) -> None:
    for name in ("a.avi", "a.mp4", "a.mkv"):
        path = write_video(tmp_path / name, counting_pictures(110), options={"g": "25", "bf": "2"})
        assert_seeking_and_decoding_agree(path)


@pytest.mark.parametrize("height_width", [(47, 71), (71, 47), (33, 33)])
@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_odd_sizes(tmp_path: Path, name: str, height_width: tuple[int, int]) -> None:
    height, width = height_width
    path = write_video(tmp_path / name, counting_pictures(30, height=height, width=width))
    short, long = sorted(height_width)
    pixels = decode_video(path, size=16).frames_NCHW.shape[-2:]
    assert sorted(pixels) == [16, round(long * 16 / short)]
    assert (pixels[0] == 16) == (height <= width)
    for crop in (0.0, 0.5, 1.0):
        assert load_clip(path, size=16, crop=crop).shape == (16, 3, 16, 16)


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("pictures", [1, 2, 3])
def test_very_short_files(tmp_path: Path, name: str, pictures: int) -> None:
    path = write_video(tmp_path / name, counting_pictures(pictures))
    last = pictures - 1
    for start in (0.0, 0.5, 1.0):
        assert numbers(load_clip(path, size=16, start=start)) == [0, *[last] * 15]  # at 0 s, 0.133 s, ..


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.ts"])
def test_of_a_truncated_file_what_is_there_is_used(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [p + rng.integers(0, 3, p.shape, np.uint8) for p in counting_pictures(110)]  # 4.4 s, of similar sizes
    path = write_video(tmp_path / name, pictures)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert_seeking_and_decoding_agree(path)
    assert 70 < numbers(load_clip(path, size=16, start=1.0))[-1] < 95


def test_time_stamps_count_not_picture_numbers(tmp_path: Path) -> None:
    times = [*range(25), *range(35, 60)]  # one second, a gap of 0.4 s, one second
    path = write_video(tmp_path / "gap.mkv", counting_pictures(50), times=times)
    sampling = Sampling(frames=3, stride=1, fps=2)
    assert numbers(load_clip(path, size=16, sampling=sampling, start=0.0)) == [0, 12, 24]  # 0, 0.5, 1.0 s
    late = sample_clip(decode_video(path, size=16), sampling, 1.2)
    assert numbers(late) == [
        24,
        32,
        45,
    ]  # 1.2 s is in the gap; 1.7 s is stamp 42, picture 32; 2.2 s is stamp 55


def test_only_the_needed_part_of_a_long_file_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "long.mp4", counting_pictures(25) * 60)  # one minute
    decoded = 0
    original = decoding.timed_frames

    def counted(*arguments: object) -> Iterator[tuple[float, av.VideoFrame]]:
        nonlocal decoded
        for item in original(*arguments):
            decoded += 1
            yield item

    monkeypatch.setattr(decoding, "timed_frames", counted)
    load_clip(path, size=16, start=0.5)
    assert 50 <= decoded <= 50 + 1 + 25  # two seconds, one picture to see the end, at most one key frame interval


def test_a_file_shorter_than_the_clip_repeats_its_last_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "short.avi", counting_pictures(5))
    assert numbers(load_clip(path, size=16, start=1.0)) == [0, 3, *[4] * 14]  # at 0, 0.133, 0.267 s, ..
    one = write_video(tmp_path / "one.avi", counting_pictures(1))
    assert numbers(load_clip(one, size=16)) == [0] * 16


# Remarks


@pytest.fixture
def nothing_printed_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remarks, "_printed", set())


@pytest.mark.usefixtures("nothing_printed_yet")
@pytest.mark.parametrize(("pictures", "shown"), [(1, "1 different picture in"), (3, "2 different pictures in")])
def test_a_clip_that_mostly_repeats_itself_is_remarked_on_once(
    tmp_path: Path, pictures: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three pictures of 1/25 s: those at 0 s and 0.08 s are shown, the second of them 15 times."""
    path = write_video(tmp_path / "short.avi", counting_pictures(pictures))
    for start in (0.0, 1.0):
        load_clip(path, size=16, start=start)
    assert capsys.readouterr().err == (
        f"{path}: only {shown} the 16 frames of its clip of 2.00 s; the other frames repeat them\n"
    )


@pytest.mark.usefixtures("nothing_printed_yet")
def test_a_clip_of_half_as_many_pictures_as_frames_is_not_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 pictures end at 0.92 s: those at 0, 0.133, .. 0.8 s and the last are 8. 20 end at 0.76 s: one picture less."""
    for pictures, remarked in ((24, False), (20, True)):
        load_clip(write_video(tmp_path / f"{pictures}.avi", counting_pictures(pictures)), size=16)
        assert bool(capsys.readouterr().err) == remarked


def with_index_first(path: Path) -> Path:
    """The same packets in an .mp4 that begins with its index, as files for the web do."""
    out = path.with_suffix(".mp4")
    with av.open(str(path)) as source, av.open(str(out), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return out


@pytest.mark.usefixtures("nothing_printed_yet")
@pytest.mark.parametrize("kind", [".mkv", ".mp4"])
def test_a_file_that_ends_before_its_header_says_is_remarked_on(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """4.4 s by the header, and half of its bytes. Whole files get no remark, though the sound of one is much longer."""
    rng = np.random.default_rng(0)
    path = write_video(tmp_path / "a.mkv", [p + rng.integers(0, 3, p.shape, np.uint8) for p in counting_pictures(110)])
    load_clip(add_sound(path, 12), size=16)
    if kind == ".mp4":
        path = with_index_first(path)
    load_clip(path, size=16)
    assert capsys.readouterr().err == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    load_clip(path, size=16)
    said = capsys.readouterr().err
    assert re.fullmatch(
        rf"{re.escape(str(path))}: its header says 4\.4 s, but its content ends after [12]\.\d s; .*cut off\n", said
    )


def test_the_short_side_becomes_the_size_and_enlarging_works(tmp_path: Path) -> None:
    wide = write_video(tmp_path / "wide.avi", counting_pictures(2, height=48, width=96))
    high = write_video(tmp_path / "high.avi", counting_pictures(2, height=96, width=48))
    assert decode_video(wide, size=16).frames_NCHW.shape == (2, 3, 16, 32)
    assert decode_video(high, size=16).frames_NCHW.shape == (2, 3, 32, 16)
    assert decode_video(wide, size=60).frames_NCHW.shape == (2, 3, 60, 120)


def test_shrinking_averages_instead_of_picking_pixels(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    frames = decode_video(write_video(tmp_path / "stripes.avi", [stripes]), size=8).frames_NCHW
    assert frames.float().sub(100).abs().max() < 16  # picking every 8th column would give 0 or 200


ONE = 0x10000
TURNS = {  # how many quarters clockwise a picture is shown, and the upper left of its display matrix
    1: (0, ONE, -ONE, 0),
    2: (-ONE, 0, 0, -ONE),
    3: (0, -ONE, ONE, 0),
}


@pytest.mark.parametrize("quarters", TURNS)
def test_rotation_metadata_is_honoured(tmp_path: Path, quarters: int) -> None:
    """A phone's video: the upper left quarter of what is stored is bright, and it is shown turned clockwise."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 200
    path = write_video(tmp_path / "phone.mp4", [stored] * 3)
    a, b, c, d = TURNS[quarters]
    upright = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 0x40000000)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    content = path.read_bytes()
    track = content.index(b"tkhd")
    path.write_bytes(content[:track] + content[track:].replace(upright, turned, 1))
    expected = torch.from_numpy(np.rot90(stored, -quarters).copy()).permute(2, 0, 1).float()
    frame = decode_video(path, size=48).frames_NCHW[0].float()
    assert frame.shape == expected.shape
    assert (frame - expected).abs().mean() < 5
    clip = load_clip(path, size=48, crop=0.0)[0].float()
    assert (clip - expected[:, :48, :48]).abs().mean() < 5


def test_crops_lie_at_left_centre_and_right_or_top_centre_and_bottom() -> None:
    wide = torch.arange(10).expand(2, 3, 4, 10)
    assert [crop_square(wide, 4, p)[0, 0, 0].tolist() for p in (0, 0.5, 1)] == [
        [0, 1, 2, 3],
        [3, 4, 5, 6],
        [6, 7, 8, 9],
    ]
    high = wide.transpose(2, 3)
    assert crop_square(high, 4, 1)[0, 0, :, 0].tolist() == [6, 7, 8, 9]
    with pytest.raises(InputError, match="5 x 5 does not fit into 10 x 4"):
        crop_square(wide, 5, 0.5)


@pytest.mark.parametrize("name", ["start", "crop"])
def test_fractions_out_of_range_are_refused(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "a.avi", counting_pictures(5))
    with pytest.raises(InputError, match=rf"{name} 1\.5: out of range; allowed: a fraction from 0 to 1"):
        load_clip(path, size=16, **{name: 1.5})
    with pytest.raises(InputError, match="size 0"):
        load_clip(path, size=0)


def test_normalisation_by_hand() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)  # 0, 0.2 and 1
    expected = torch.tensor([-0.45 / 0.225, -0.25 / 0.225, 0.55 / 0.225])  # -2, -1.11, 2.44
    torch.testing.assert_close(normalise(pixels), expected)
    assert normalise(pixels).dtype == torch.float32


def test_counts_of_events_stay_what_they_are() -> None:
    counts = torch.tensor([0, 1, 255], dtype=torch.int16)
    assert normalise(counts).tolist() == [0.0, 1.0, 255.0]
    assert normalise(counts).dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.float32, torch.int64, torch.bool])
def test_what_is_neither_pixels_nor_counts_is_not_normalised(kind: torch.dtype) -> None:
    """Pixels that someone made real numbers would pass as counts."""
    with pytest.raises(TypeError, match="clips are pixels"):
        normalise(torch.zeros(3, dtype=kind))


def broken_files(folder: Path) -> dict[str, Path]:
    whole = write_video(folder / "whole.mp4", counting_pictures(50)).read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])  # its index, at the end, is gone
    (folder / "empty.mp4").touch()
    (folder / "text.avi").write_text("not a video\n")
    with av.open(str(folder / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
    names = ["truncated.mp4", "empty.mp4", "text.avi", "sound.wav", "missing.mp4", "."]
    return {name: folder / name for name in names}


@pytest.mark.parametrize("name", ["truncated.mp4", "empty.mp4", "text.avi", "sound.wav", "missing.mp4", "."])
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = broken_files(tmp_path)[name]
    for read in (load_clip, decode_video):
        with pytest.raises(InputError, match=r"not a readable video \(.+\); allowed: .+; re-download") as refusal:
            read(path, size=16)
        assert str(refusal.value).startswith(str(path))
        assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")  # FFmpeg's own log does not reach the user


@needs_real_clips
@pytest.mark.parametrize(
    ("name", "pictures", "shape"),
    [("S001C001P001R001A001_rgb.avi", 103, (3, 32, 57)), ("arm_wrestling.mp4", 280, (3, 32, 42))],
)
def test_real_clips_are_read_whole_and_in_parts(name: str, pictures: int, shape: tuple[int, ...]) -> None:
    video = decode_video(REAL_CLIPS / name, size=32)
    assert video.frames_NCHW.shape == (pictures, *shape)
    assert (video.times_s.diff() >= 0).all()
    clip = load_clip(REAL_CLIPS / name, size=32, start=0.0, crop=1.0)
    torch.testing.assert_close(clip, crop_square(sample_clip(video, Sampling(), 0.0), 32, 1.0), rtol=0, atol=0)
    assert clip.float().std() > 20  # a picture, not a blank


@needs_real_clips
def test_the_real_corrupted_file_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"corrupted\.mp4: not a readable video"):
        load_clip(REAL_CLIPS / "corrupted.mp4", size=32)
    assert capfd.readouterr() == ("", "")
