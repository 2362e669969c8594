"""Clips of networks of other frameworks as users give them: files of any kind, classes, folders, events, estimates."""

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy import run_lava
from deploy.report.keys.report import Report
from svformer.assets import DEMO_CLIPS
from svformer.common.cli import run_cli
from svformer.data.events import EVENT

CLASSES = 3


def copying_network(*shape: int, **metadata: Any) -> nir.NIRGraph:
    """Neurons without memory behind the mean over all but the first axis: class c fires where channel c does."""
    size = int(np.prod(shape[1:]))
    weight = np.kron(np.eye(CLASSES, shape[0]), np.full(size, 1 / size))
    nodes = {"in": graphs.entry(*shape), "flat": nir.Flatten({"input": np.array(shape)}, 0, -1)}
    neurons = graphs.lif(CLASSES, tau=graphs.DT_S, v_threshold=0.3)
    return graphs.chain({**nodes, "fc": nir.Linear(weight), "lif": neurons, "out": graphs.result(CLASSES)}, **metadata)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    nir.write("line.nir", copying_network(3))
    nir.write("named.nir", copying_network(3, classes=json.dumps(["run", "sit", "jump"])))
    nir.write("rgb.nir", copying_network(3, 4, 4))
    nir.write("events.nir", copying_network(2, 34, 34))
    return tmp_path


def spikes(*channels: int, frames: int = 4) -> np.ndarray:
    """Clips [N, T, 3] in which one channel fires in every time step."""
    return np.eye(3)[list(channels)][:, None].repeat(frames, axis=1)


def ran(*arguments: object) -> Report:
    assert run_cli(run_lava.main, [*map(str, arguments), "--backend", "integer", "--out", "out", "--force"]) == 0
    return Report.read(Path("out/report.json"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run_cli(run_lava.main, [*map(str, arguments), "--backend", "integer", "--out", "none"]) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: ")
    assert "\n" not in line
    assert not Path("none").exists()
    return line


def right(report: Report) -> tuple[int, float | None, float | None]:
    return report.accuracy.videos, report.accuracy.float_top1, report.accuracy.deployed_top1


# Classes


def test_a_file_of_clips_with_classes_is_one_command() -> None:
    """Channels 0, 1 and 2 fire; the second clip bears another class: 2 of 3 are right."""
    np.savez("clips.npz", x=spikes(0, 1, 2), y=[0, 2, 2])
    report = ran("--nir", "line.nir", "--clip", "clips.npz")
    assert right(report) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert [(clip.source, clip.label, clip.prediction) for clip in report.clips] == [
        ("clips.npz#0", "0", "0"),
        ("clips.npz#1", "2", "1"),
        ("clips.npz#2", "2", "2"),
    ]


def test_a_table_gives_classes_by_name_or_number() -> None:
    for place, clip in enumerate(spikes(0, 1, 2)):
        np.save(f"{place}.npy", clip)
    Path("labels.csv").write_text("file,class\n1.npy,sit\n0.npy,0\n2.npy,run\n")
    report = ran("--nir", "named.nir", "--clip", "0.npy", "1.npy", "2.npy", "--labels", "labels.csv")
    assert right(report) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_a_folder_of_classes_is_run_as_a_whole() -> None:
    for channel in range(CLASSES):
        Path(f"data/{channel}").mkdir(parents=True)
        for frames in (2, 5):
            np.save(f"data/{channel}/{frames}.npy", spikes(channel, frames=frames)[0])
    report = ran("--nir", "line.nir", "--dataset", "folder", "--root", "data")
    assert right(report) == (6, 1.0, 1.0)
    assert [clip.steps for clip in report.clips] == [2, 5] * 3
    assert report.network.calibration_clips == 6


def test_classes_that_the_network_has_not_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("clips.npz", x=spikes(0, 1), y=[1, 3])
    expected = "clips.npz: class 3 of clips.npz#1; this network has the numbers 0 to 2"
    assert expected in refused(capsys, "--nir", "line.nir", "--clip", "clips.npz")
    np.save("a.npy", spikes(0)[0])
    Path("labels.csv").write_text("a.npy,walk\n")
    options = ("--clip", "a.npy", "--labels", "labels.csv")
    assert "labels.csv: class walk of a.npy; this network has the numbers 0 to 2, or run, sit, jump" in refused(
        capsys, "--nir", "named.nir", *options
    )
    assert "--labels is for --clip" in refused(
        capsys, "--nir", "line.nir", "--labels", "labels.csv", "--dataset", "procedural"
    )


# As they are


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_spikes_of_three_channels_are_no_pictures(kind: str) -> None:
    """All 4 x 4 pixels of channel 1 fire in two of five steps: so does class 1, whatever the type of the array."""
    clip = np.zeros((5, 3, 4, 4), dtype=kind)
    clip[[1, 3], 1] = 1
    np.save("clip.npy", clip)
    report = ran("--nir", "rgb.nir", "--clip", "clip.npy")
    fired = nir.read_data("out/spikes.h5").nodes["lif"].observables["spikes"].data[0]
    assert fired.astype(int).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert report.parity.float_vs_integer.inputs_clipped == 0


def test_a_video_for_a_network_that_does_not_say_it_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    video = sorted(DEMO_CLIPS.rglob("*.avi"))[0]
    assert "a video, and this graph says no T; give --frames N" in refused(capsys, "--nir", "rgb.nir", "--clip", video)
    assert ran("--nir", "rgb.nir", "--clip", video, "--frames", 3).clips[0].steps == 3
    assert "read as video, pixels as (x / 255 - 0.45) / 0.225" in capsys.readouterr().err


def test_scales_are_chosen_by_the_files_that_are_said() -> None:
    """The clip to run shows nothing above 1; with the others 8 lies within the range, and without it is cut off."""
    np.save("clip.npy", spikes(0)[0])
    np.save("large.npy", 8 * spikes(0, 1)[:, :2])
    one = ran("--nir", "line.nir", "--clip", "large.npy", "--calibrate", "clip.npy")
    assert one.parity.float_vs_integer.inputs_clipped == 2 * 2 / (2 * 2 * 3)  # the values that are 8
    assert one.network.calibration_clips == 1
    other = ran("--nir", "line.nir", "--clip", "clip.npy", "--calibrate", "large.npy", "clip.npy")
    assert other.network.calibration_clips == 3
    assert other.parity.float_vs_integer.inputs_clipped == 0


# Events


def events(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(list(rows), EVENT)


def test_recordings_of_any_sensor_have_frames_of_a_duration(capsys: pytest.CaptureFixture[str]) -> None:
    """Events at 0, 1 and 4.5 ms: five frames of a millisecond; the other recording ends in its first."""
    np.save("long.npy", events((0, 0, 1, 0), (33, 33, 0, 1000), (3, 4, 1, 4500)))
    np.save("short.npy", events((33, 0, 1, 0), (0, 33, 1, 999)))
    options = ("--nir", "events.nir", "--clip", "long.npy", "short.npy")
    assert "long.npy: a recording of events, and this graph says no T; give --frames N, or --bin-ms MS" in refused(
        capsys, *options
    )
    assert [clip.steps for clip in ran(*options, "--bin-ms", 1).clips] == [5, 1]
    assert [clip.steps for clip in ran(*options, "--frames", 2).clips] == [2, 2]
    assert "--frames and --bin-ms are both given; choose one" in refused(capsys, *options, "--frames", 2, "--bin-ms", 1)
    np.save("large.npy", events((239, 179, 1, 0)))
    large = ("--nir", "events.nir", "--clip", "large.npy", "--frames", 1)
    assert "events up to x = 239, y = 179 for frames of 34 x 34 pixels; say the sensor's size" in refused(
        capsys, *large
    )
    assert "those of the sensor, 240 x 180, divided by a whole number" in refused(capsys, *large, "--sensor", "240x180")


# Without clips


def test_an_estimate_needs_no_clip(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(run_lava.main, ["--nir", "line.nir", "--estimate", "--out", "out"]) == 0
    said = capsys.readouterr().err
    assert "no clips: scales are chosen by random spikes of 100 time steps" in said
    found = json.loads(Path("out/report.json").read_text())
    assert (found["network"]["neurons"], found["network"]["frames"]) == (CLASSES, 100)
    np.savez("clips.npz", x=spikes(0, 1, 2), y=[0, 1, 2])
    options = ["--nir", "line.nir", "--estimate", "--calibrate", "clips.npz", "--out", "out", "--force"]
    assert run_cli(run_lava.main, options) == 0
    assert capsys.readouterr().err == ""
    assert json.loads(Path("out/report.json").read_text())["network"]["frames"] == 4


def test_a_draft_needs_no_clip(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(run_lava.main, ["--nir", "line.nir", "--stop-after", "lower"]) == 0
    assert "lowered: 5 nodes" in capsys.readouterr().out


def test_a_run_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    for network, shape in (("line.nir", "[T, 3]"), ("rgb.nir", "[T, 3, 4, 4]")):
        said = refused(capsys, "--nir", network)
        assert f"those that ship are for SVFormer; give --clip FILE.npy of shape {shape}" in said


def test_another_time_step_than_that_of_the_file_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It is run as asked, since a file may say a wrong one; the same step is not worth a word."""
    np.save("clip.npy", spikes(1)[0])
    ran("--nir", "line.nir", "--clip", "clip.npy", "--dt", graphs.DT_S)
    assert "time steps of" not in capsys.readouterr().err
    assert run_cli(run_lava.main, ["--nir", "line.nir", "--clip", "clip.npy", "--dt", "1e-4", "--estimate"]) == 0
    assert "line.nir: it was written for time steps of 0.001 s, and --dt 0.0001 makes it another network" in (
        capsys.readouterr().err
    )


# Tuning


def test_tuning_takes_other_clips_and_says_what_it_came_to() -> None:
    rng = np.random.default_rng(0)
    weights = nir.Linear(rng.normal(size=(8, 3))), nir.Linear(rng.normal(size=(3, 8)))
    nodes = {"in": graphs.entry(3), "a": weights[0], "lif": graphs.lif(8), "b": weights[1], "li": graphs.lif(3)}
    nir.write("net.nir", graphs.chain({**nodes, "out": graphs.result(3)}))
    np.save("run.npy", spikes(0, 1, 2))
    np.save("learn.npy", (rng.random((24, 4, 3)) < 0.5).astype(float))
    options = ("--nir", "net.nir", "--clip", "run.npy", "--calibrate", "learn.npy", "--weight-bits", 2)
    rounded, tuned = ran(*options), ran(*options, "--tune", 3)
    found = tuned.network.tuning
    assert rounded.network.tuning is None
    assert found is not None
    assert (found.clips, found.checked_clips, found.epochs) == (22, 2, 3)
    assert 0 <= found.best_epoch <= 3
    assert tuned.network.weight_bits <= 2
    assert ran(*options, "--tune", 3).network.tuning == found, "the cache knows what tuning came to"


def test_tuning_needs_clips_that_are_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("run.npy", spikes(0))
    line = refused(capsys, "--nir", "line.nir", "--clip", "run.npy", "--tune", 2)
    assert "give --dataset with a training part, or --calibrate FILES" in line
