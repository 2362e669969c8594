"""The command that converts a trained 2-D CNN, and what `svformer.train --model` takes."""

import json
from pathlib import Path

import pytest

from small_baselines import small_baseline
from svformer import InputError, ann2snn, save_checkpoint
from svformer.common.cli import run_cli
from svformer.data.choice import DatasetChoice
from svformer.data.procedural import CLASSES, generate
from svformer.evaluation.figures import evaluate_checkpoint
from svformer.networks import build
from svformer.networks.checkpoint import load_network
from svformer.training.request import TrainingRequest
from svformer.training.start import starting_point

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return generate(tmp_path / "clips", groups=3, clips_per_group=1, workers=1)


def saved(path: Path, model: str = "tsm") -> Path:
    network = small_baseline(model)
    twelve = build(type(network.config)(**{**vars(network.config), "num_classes": len(CLASSES)}))
    save_checkpoint(twelve, path, {"classes": json.dumps(CLASSES)})
    return path


def test_a_network_is_converted_and_evaluated(root: Path, tmp_path: Path, capsys: Capture) -> None:
    trained, out = saved(tmp_path / "tsm.safetensors"), tmp_path / "spiking.safetensors"
    words = [trained, "--out", out, "--steps", 3, "--root", root, "--calibration-clips", 6, "--json"]
    command = [str(word) for word in words]
    assert run_cli(ann2snn.main, command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["steps_per_frame"], report["calibration_clips"]) == (3, 6)
    assert report == json.loads(out.with_suffix(".json").read_text())
    config = load_network(out).config
    assert (config.model, config.activation, config.steps_per_frame, config.frames) == ("ann2snn", "spiking", 3, 4)
    figures = evaluate_checkpoint(out, DatasetChoice(root=root))
    assert len(figures.evaluation.firing_rates) == 9
    assert max(figures.evaluation.firing_rates.values()) > 0
    assert run_cli(ann2snn.main, command) == 2
    assert "exists; choose another --out, or --force" in capsys.readouterr().err


def test_another_network_is_not_converted(root: Path, tmp_path: Path, capsys: Capture) -> None:
    other = saved(tmp_path / "r.safetensors", "r2plus1d")
    assert run_cli(ann2snn.main, [str(other), "--out", str(tmp_path / "a.safetensors"), "--root", str(root)]) == 2
    assert "holds model='r2plus1d'; allowed: 'tsm'" in capsys.readouterr().err
    assert run_cli(ann2snn.main, [str(other), "--out", str(tmp_path / "a.pt")]) == 2
    assert "allowed: a name that ends in .safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "ann2snn"}, "--model ann2snn: no such network; allowed: svformer, tsm"),
        ({"model": "tsm", "norm": "per_step"}, "--norm: of SVFormer alone; leave it out with --model tsm"),
        ({"model": "rsnn", "qat": True, "attention": "sdsa"}, "--attention, --qat: of SVFormer alone"),
    ],
)
def test_a_request_that_does_not_go_together_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingRequest(**options)


def test_a_model_has_its_own_folder_and_activation() -> None:
    request = TrainingRequest(model="timesformer", preset="tiny")
    start = starting_point(request)
    config = start.config
    assert request.folder == Path("runs/tiny_timesformer")
    assert (config.model, config.activation, config.attention_order, start.state) == (
        "timesformer",
        "relu",
        "qk_first",
        None,
    )
