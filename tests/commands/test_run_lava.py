"""The two scripts as a user runs them: what they write, what they say of bad input, and with which exit code."""

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from deploy import export_nir, run_lava
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS
from svformer.common.cli import run_cli

SHARED_CLIPS = Path(__file__).parents[3] / "shared" / "clips"
needs_shared = pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="../shared/clips is not here")


def run(script: object, *arguments: object) -> int:
    return run_cli(script.main, [*map(str, arguments)])  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def model_nir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.nir"
    assert run(export_nir, "--out", path) == 0
    return path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error, which must be one line."""
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    return error


def test_shipped_clips_are_held_out_and_calibration_is_not() -> None:
    """Groups 1 to 14 of 50 test in split 1; one clip of every class is shipped of each kind."""
    groups = {
        folder: [int(path.stem.split("_g")[1][:2]) for path in folder.rglob("*.avi")]
        for folder in (DEMO_CLIPS, CALIBRATION_CLIPS)
    }
    assert len(groups[DEMO_CLIPS]) == len(groups[CALIBRATION_CLIPS]) == 12
    assert max(groups[DEMO_CLIPS]) <= 14 < min(groups[CALIBRATION_CLIPS])


def test_an_export_is_not_overwritten_unasked(model_nir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = model_nir.read_bytes()
    assert run(export_nir, "--out", model_nir) == 2
    assert "model.nir: exists; choose another --out, or --force to overwrite it" in one_line(capsys)
    assert model_nir.read_bytes() == before


def test_export_gives_the_models_spikes(model_nir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(export_nir, "--out", model_nir, "--json", "--force") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ties"] == 0
    assert result["logit_error"] < 1e-9
    assert result["spikes_compared"] > 1_000_000


def test_two_clips_from_video_file_to_report(
    model_nir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = sorted(DEMO_CLIPS.rglob("*.avi"))[:2]
    code = run(run_lava, "--nir", model_nir, "--clip", *clips, "--out", tmp_path, "--timeout", 120)
    assert code == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == "svformer-run/1"
    assert [clip["source"] for clip in report["clips"]] == [path.relative_to(DEMO_CLIPS).as_posix() for path in clips]
    assert report["parity"]["integer_vs_lava"]["bit_exact"] is True
    assert report["accuracy"]["videos"] == 2
    assert report["energy"]["paper_mj_per_video"] == 21.0
    spikes = nir.read_data(str(tmp_path / "spikes.h5"))
    for layer in report["layers"]:
        if layer["kind"] == "lif":
            recorded = spikes.nodes[layer["name"]].observables["spikes"].data
            assert recorded.shape == (2, 16, layer["neurons"])
            assert recorded.sum() / 2 == layer["spikes"]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    for layer in report["layers"]:
        steps = report["by_step"][layer["name"]]
        for name in ("spikes", "synaptic_ops", "attention_coincidences", "relay_adds", "state_writes", "held_steps"):
            assert sum(steps.get(name, [0] * 16)) == pytest.approx(layer[name])
    assert "| synaptic operations |" in (tmp_path / "report.md").read_text()


def test_integer_backend_and_views(model_nir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = sorted(DEMO_CLIPS.rglob("*.avi"))[0]
    options = ("--nir", model_nir, "--clip", clip, "--views", "2x3", "--backend", "integer", "--json")
    assert run(run_lava, *options, "--out", tmp_path) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(view["start"], view["crop"]) for view in report["clips"]] == [
        (start, crop) for start in (0.0, 1.0) for crop in (0.0, 0.5, 1.0)
    ]
    assert report["accuracy"]["videos"] == 1
    energy = report["energy"]["models"]["loihi1"]
    assert energy["mj_per_video"] == pytest.approx(6 * energy["mj_per_view"]), "a video has 2 x 3 views"
    assert all(view["seconds"] > 0 for view in report["clips"])
    assert report["parity"]["integer_vs_lava"]["bit_exact"] is None


def test_estimate_stops_before_the_simulation(
    model_nir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(run_lava, "--nir", model_nir, "--estimate", "--out", tmp_path) == 0
    assert "Fixed point, %: errors of rounding" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"plan", "fit", "headroom"} <= report.keys()
    assert "clips" not in report
    assert not (tmp_path / "spikes.h5").exists()


@needs_shared
@pytest.mark.parametrize("name", ["S001C001P001R001A001_rgb.avi", "arm_wrestling.mp4"])
def test_real_videos_run_and_the_prediction_is_not_oversold(
    name: str, model_nir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = SHARED_CLIPS / name
    options = ("--nir", model_nir, "--clip", clip, "--backend", "integer", "--json", "--out", tmp_path)
    assert run(run_lava, *options) == 0
    assert "means nothing" in json.loads(capsys.readouterr().out)["accuracy"]["note"]


@needs_shared
def test_a_corrupted_video_is_one_line_and_exit_code_2(
    model_nir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = SHARED_CLIPS / "corrupted.mp4"
    assert run(run_lava, "--nir", model_nir, "--clip", clip, "--out", tmp_path / "out") == 2
    assert "corrupted.mp4" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_broken_clip_is_told_before_the_long_work(
    model_nir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also behind many good ones, of which one frame each is read; and before the shipped network is exported."""
    good = sorted(DEMO_CLIPS.rglob("*.avi"))
    broken = tmp_path / "broken.avi"
    broken.write_bytes(good[0].read_bytes()[:3000])
    monkeypatch.setattr("deploy.preparation.shipped_network", lambda entries: pytest.fail("work was begun"))
    for clips in ([broken], [*good, broken]):
        assert run(run_lava, "--clip", *clips, "--out", tmp_path / "out") == 2
        assert "broken.avi: not a readable video" in one_line(capsys)


def test_clips_and_references_that_do_not_fit_are_told_before_the_long_work(
    model_nir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.pipeline.deploy", lambda *_, **__: pytest.fail("work was begun"))
    options = ("--nir", model_nir, "--out", tmp_path / "out", "--clip")
    small, good = tmp_path / "small.npy", sorted(DEMO_CLIPS.rglob("*.avi"))[0]
    np.save(small, np.zeros((16, 3, 8, 8)))
    assert run(run_lava, *options, good, small) == 2
    assert "small.npy: shape [16, 3, 8, 8], this graph takes [16, 3, 64, 64]" in one_line(capsys)
    spikes = nir.TimeGriddedData(np.zeros((1, 16, 4), dtype=bool), dt=1e-3)
    recording = nir.NIRGraphData({"other": nir.NIRNodeData({"spikes": spikes})})
    nir.write_data(str(tmp_path / "other.h5"), recording)
    assert run(run_lava, *options, good, "--reference", tmp_path / "other.h5") == 2
    assert "other" in one_line(capsys)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--nir", "missing.nir"], "missing.nir: no such file"),
        (["--nir", "damaged.nir"], "damaged.nir: not a readable NIR file"),
        (["--clip", "missing.avi"], "missing.avi: no such clip"),
        (["--clip", "small.npy"], "this graph takes [16, 3, 64, 64]"),
        (["--clip", "small.npy", "--dataset", "procedural"], "choose one"),
        (["--views", "0x3"], "--views 0x3; allowed"),
        (["--backend", "loihi2"], "allowed on this machine: lava, integer"),
        (["--dataset", "ucf101"], "needs --root"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["--limit", "3"], "--limit 3; allowed: 1 or more, together with --dataset"),
        (["--dataset", "procedural", "--limit", "0"], "--limit 0; allowed"),
        (["--root", "somewhere"], "--root is given without --dataset"),
        (["--timeout", "-1"], "--timeout -1; allowed: a positive number of seconds"),
        (["--dataset", "procedural", "--root", "nowhere"], "no UCF101 data set"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    options: list[str],
    expected: str,
    model_nir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("damaged.nir").write_bytes(model_nir.read_bytes()[:5000])
    np.save("small.npy", np.zeros((16, 3, 8, 8)))
    network = [] if "--nir" in options else ["--nir", str(model_nir)]
    assert run(run_lava, *network, *options, "--out", "out") == 2
    assert expected in one_line(capsys)
    assert not Path("out").exists()


def test_exported_checkpoint_must_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model.nir"
    assert run(export_nir, "--checkpoint", tmp_path / "none.safetensors", "--out", out) == 2
    assert "no such checkpoint" in one_line(capsys)
    assert not out.exists()


@pytest.fixture
def foreign_nir(tmp_path: Path) -> Path:
    """Affine -> LIF -> Linear -> IF without metadata, as another framework would write it."""
    rng = np.random.default_rng(0)
    lif = nir.LIF(
        tau=np.full(5, 5e-3), r=np.ones(5), v_leak=np.zeros(5), v_threshold=np.full(5, 0.3), v_reset=np.zeros(5)
    )
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([4])),
            "fc1": nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.1),
            "hidden": lif,
            "fc2": nir.Linear(rng.normal(size=(3, 5)) * 1000),
            "out": nir.IF(r=np.ones(3), v_threshold=np.ones(3), v_reset=np.zeros(3)),
            "output": nir.Output(np.array([3])),
        },
        [("input", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "out"), ("out", "output")],
    )
    nir.write(str(tmp_path / "foreign.nir"), graph)
    return tmp_path / "foreign.nir"


def test_a_foreign_network_runs_bit_for_bit(
    foreign_nir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """T comes from the clip, dt from the command line."""
    clip = tmp_path / "spikes.npy"
    np.save(clip, np.random.default_rng(1).random((20, 4)) < 0.5)
    options = ("--nir", foreign_nir, "--clip", clip, "--dt", 1e-3, "--timeout", 60, "--json", "--out", tmp_path / "out")
    assert run(run_lava, *options) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["parity"]["integer_vs_lava"]["bit_exact"] is True
    assert report["parity"]["float_vs_integer"]["spike_match"] > 0.95
    assert {layer["name"]: layer["spikes"] > 0 for layer in report["layers"] if layer["kind"] == "lif"} == {
        "hidden": True,
        "out": True,
    }
    assert "not SVFormer" in report["energy"]["geometry_difference"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--clip", "spikes.npy"], "say it with --dt"),
        (["--clip", "spikes.npy", "--dt", "-1"], "--dt -1; allowed: a positive number of seconds"),
        (["--clip", "spikes.npy", "--dt", "1"], "hidden: tau is shorter than one time step"),
        (["--dt", "0.001"], "give --clip FILE.npy of shape [T, 4]"),
    ],
)
def test_a_foreign_network_needs_time_step_and_clip(
    options: list[str],
    expected: str,
    foreign_nir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("spikes.npy", np.zeros((20, 4)))
    assert run(run_lava, "--nir", foreign_nir, *options, "--out", "out") == 2
    assert expected in one_line(capsys)
