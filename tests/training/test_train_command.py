"""python -m svformer.train: what a run leaves, and what it refuses."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from small_training import CONFIG, assert_equal_state, run_main
from svformer import PRESETS, SVFormer, load_checkpoint
from svformer.data.clips import Sampling
from svformer.data.procedural import CLASSES
from svformer.data.ucf101 import Ucf101
from svformer.evaluation.accuracy import evaluate
from svformer.evaluation.curve import Point
from svformer.training import session
from svformer.training.trainer import Trainer


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_checkpoint_curve_logs_and_record(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2") == 0
    files = {"checkpoint.safetensors", "curve.csv", "curve.png", "run.html", "run.json", "state.pt", "tensorboard"}
    assert {file.name for file in tmp_path.iterdir()} == files
    assert [row["step"] for row in table(tmp_path / "curve.csv")] == ["3", "6"]
    assert [row["test_top1"] for row in table(tmp_path / "curve.csv")] == ["", ""]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")

    model, record = (
        load_checkpoint(tmp_path / "checkpoint.safetensors"),
        json.loads((tmp_path / "run.json").read_text()),
    )
    assert model.config == CONFIG  # with the 12 classes of the data
    assert record["command"].startswith("python -m svformer.train --dataset ucf101 --root ")
    assert (record["recipe"]["epochs"], record["recipe"]["batch_size"]) == (2, 8)
    assert record["config"] == json.loads(CONFIG.to_json())
    assert (record["classes"], record["clips"]) == (list(CLASSES), 24)
    assert record["versions"]["torch"] == torch.__version__
    assert len(record["versions"]["svformer"]) == 16
    assert [session["first_step"] for session in record["sessions"]] == [0]
    held_out = Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))
    accuracy = evaluate(model, held_out).accuracy
    assert record["accuracy"] == dataclasses.asdict(accuracy)
    assert accuracy.clips == 12
    assert f"top-1 {100 * accuracy.top1:.2f} % on 12 held-out clips" in capsys.readouterr().out
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["command"] == record["command"]
    assert json.loads(metadata["accuracy"]) == record["accuracy"]

    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2", "--resume") == 0  # no epoch is left
    assert_equal_state(load_checkpoint(tmp_path / "checkpoint.safetensors"), model)
    sessions = json.loads((tmp_path / "run.json").read_text())["sessions"]
    assert [session["first_step"] for session in sessions] == [0, 6]
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--resume") == 2
    assert "epochs 2 then, 3 now (the rate of every step" in capsys.readouterr().err
    assert_equal_state(load_checkpoint(tmp_path / "checkpoint.safetensors"), model)


def test_held_out_accuracy_joins_the_curve_where_asked_for(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Epochs 2 and 3 of 3: every second, and the last, whose accuracy is that of the whole run."""
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--evaluate-every", "2") == 0
    first, second, last = (row["test_top1"] for row in table(tmp_path / "curve.csv"))
    assert first == ""
    assert float(second) in {i / 12 for i in range(13)}
    record = json.loads((tmp_path / "run.json").read_text())
    assert float(last) == record["accuracy"]["top1"]
    best = 2 if float(second) >= float(last) else 3
    assert record["best"] == {"epoch": best, "test_top1": max(float(second), float(last))}
    held_out = Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))
    accuracy = evaluate(load_checkpoint(tmp_path / "best.safetensors"), held_out).accuracy
    assert accuracy.top1 == record["best"]["test_top1"]
    assert f"best: epoch {best} of 3" in capsys.readouterr().out
    page = (tmp_path / "run.html").read_text("utf-8")
    assert f"{100 * record['accuracy']['top1']:.2f} % of 12 clips" in page
    assert f"Best: epoch {best} with" in page
    assert page.count("<polyline") == 3, "loss, training, held out"

    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2", "--force") == 0
    assert not (tmp_path / "best.safetensors").exists(), "that of the run before"


def test_a_dry_run_prints_estimates_and_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, root, tmp_path / "out", "--epochs", "2", "--ema", "0.9", "--dry-run") == 0
    assert list(tmp_path.iterdir()) == []
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    found = {line[1].strip(): line[2].strip() for line in lines}
    assert found["clip [T, C, H, W]"] == "4 x 3 x 32 x 32"
    assert found["stem"] == "4 x 8 x 8 x 8"  # (32 + 2 - 6) / 4 + 1 = 8 pixels
    assert found["head"] == "12"
    assert found["parameters"] == f"{sum(p.numel() for p in SVFormer(CONFIG).parameters()):,}"
    assert found["steps"] == "6: 2 epochs of 3"
    assert found["samples at once"] == "8, measured with 8"
    assert {"memory, about", "disk", "a step, about", "the run, about"} <= found.keys()


def test_the_twin_is_trained_with_one_option(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2", "--activation", "relu") == 0
    config = load_checkpoint(tmp_path / "checkpoint.safetensors").config
    assert config == dataclasses.replace(CONFIG, activation="relu", attention_order="qk_first")


def test_norms_of_every_time_step_are_trained_with_one_option(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2", "--norm", "per_step") == 0
    config = load_checkpoint(tmp_path / "checkpoint.safetensors").config
    assert config == dataclasses.replace(CONFIG, norm="per_step")


def test_the_whole_recipe_of_the_paper_runs_from_the_shell(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "ucf101", CONFIG)
    options = ["--preset", "ucf101", "--epochs", "8", "--loaders", "2", "--ema", "0.5", "--accumulate", "2"]
    assert run_main(monkeypatch, root, tmp_path, *options, "--checkpoint-activations") == 0
    recipe = json.loads((tmp_path / "run.json").read_text())["recipe"]
    assert (recipe["mixup"], recipe["cutmix"], recipe["label_smoothing"], recipe["repeats"]) == (0.8, 1.0, 0.1, 2)
    assert recipe["augmentation"]["crop_area"] == [0.08, 1.0]
    losses = [float(row["loss"]) for row in table(tmp_path / "curve.csv")]
    assert all(0 < loss < 5 for loss in losses)


def test_a_run_is_not_replaced_unasked(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.pt"
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2") == 0
    first = state.read_bytes()
    capsys.readouterr()
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3") == 2
    assert (
        "holds a run; go on with --resume, choose another --out, or replace it with --force" in capsys.readouterr().err
    )
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--resume") == 2
    error = capsys.readouterr().err
    assert "epochs 2 then, 3 now (the rate of every step follows from their number: no run grows longer)" in error
    assert error.count("\n") == 1
    assert state.read_bytes() == first
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--dry-run") == 0
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--force") == 0
    assert len(json.loads((tmp_path / "run.json").read_text())["sessions"]) == 1


def test_ctrl_c_says_how_to_go_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a state was saved; in the first epoch there is none."""
    original, allowed = Trainer.run_epoch, 0

    def interrupted(self: Trainer, *arguments: Any) -> Point:
        if len(self.curve) == allowed:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2") == 130
    assert capsys.readouterr().err == "interrupted: nothing half-written was left\n"
    allowed = 1
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2") == 130
    expected = "interrupted: 1 of 2 epochs are done; go on with the same command and --resume\n"
    assert capsys.readouterr().err == expected
    allowed = 2
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2", "--resume") == 0
    assert [row["step"] for row in table(tmp_path / "curve.csv")] == ["3", "6"]


def test_without_a_run_to_resume_no_clips_are_generated(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "open_dataset", lambda *_, **__: pytest.fail("work was begun"))
    assert run_main(monkeypatch, root, tmp_path / "out", "--resume") == 2
    assert "out/state.pt: nothing to resume; start without --resume" in capsys.readouterr().err


def test_too_little_memory_in_a_dry_run_is_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_trainer: Trainer) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(session, "estimate", fail)
    assert run_main(monkeypatch, root, tmp_path, "--dry-run") == 2
    assert "out of memory with 8 clips x 1 at once on cpu; raise --accumulate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "nothing to resume"),
        (["--batch-size", "25"], "fewer than one batch of 25"),
        (["--root", "nowhere"], "no UCF101 data set"),
        (["--epochs", "many"], "invalid int value"),
        (["--preset", "huge"], "invalid choice"),
        (
            ["--accumulate", "3"],
            "a batch of 8 clips is divided by 1 processes x 3 accumulated parts; allowed:",
        ),
        (["--accumulate", "8"], "parts of one clip have no norm statistics"),
        (["--lr", "0"], "peak_lr 0.0; allowed: above 0"),
        (["--save-every", "-1"], "--save-every -1; allowed: 0 or more"),
        (["--evaluate-every", "-1"], "--evaluate-every -1; allowed: 0 or more"),
        (["--device", "abacus"], "torch knows no such device"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(
    arguments: list[str],
    message: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main(monkeypatch, root, tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
