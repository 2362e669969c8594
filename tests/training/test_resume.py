"""A run that is stopped, or killed, and goes on ends with the weights of an uninterrupted one, bit for bit."""

import csv
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from processes import ROOT, SUPPORT
from small_training import CONFIG, EVERYTHING, RECIPE, assert_equal_state, new_trainer
from svformer import PRESETS, InputError, load_checkpoint
from svformer import train as tool
from svformer.common.cli import run_cli
from svformer.data.ucf101 import Ucf101
from svformer.training.loop import train
from svformer.training.recipe import Recipe
from svformer.training.trainer import Trainer


def epochs_in(out: Path) -> list[str]:
    with (out / "curve.csv").open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def stop_in_step(trainer: Trainer, step: int) -> None:
    """Make a trainer stop as Ctrl-C does, in a step whose gradients have changed the weights already."""

    def interrupt(*_: object) -> None:
        if trainer.steps_done + 1 == step:
            raise KeyboardInterrupt

    trainer.optimizer.register_step_post_hook(interrupt)


# Stopped


@pytest.mark.parametrize(
    ("recipe", "save_every", "saved_step"),
    [(RECIPE, 0, 3), (RECIPE, 1, 4), (EVERYTHING, 1, 4)],
    ids=["at an epoch's end", "in an epoch", "in an epoch, with the whole recipe"],
)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    recipe: Recipe, save_every: int, saved_step: int, data: Ucf101, tmp_path: Path
) -> None:
    whole = new_trainer(data, recipe)
    train(whole, tmp_path / "whole")

    stopped, out = new_trainer(data, recipe), tmp_path / "stopped"
    stop_in_step(stopped, 5)  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        train(stopped, out, save_every=save_every)
    assert epochs_in(out) == ["1"]
    # nothing half-written
    assert {file.name for file in out.iterdir()} == {"state.pt", "curve.csv", "curve.png", "tensorboard"}

    resumed = new_trainer(data, recipe, seed=123)  # the weights of a new process are others
    assert not torch.equal(resumed.model.stem.conv.weight, whole.model.stem.conv.weight)
    resumed.load(out / "state.pt")
    assert (resumed.steps_done, len(resumed.curve)) == (saved_step, 1)
    train(resumed, out)
    assert_equal_state(resumed.model, whole.model)
    assert_equal_state(resumed.result, whole.result)
    for found, expected in zip(resumed.curve, whole.curve, strict=True):
        assert dataclasses.replace(found, seconds=0) == dataclasses.replace(expected, seconds=0)
    assert epochs_in(out) == epochs_in(tmp_path / "whole")


def test_time_before_the_interruption_counts(data: Ucf101, tmp_path: Path) -> None:
    trainer = new_trainer(data)
    trainer.started -= 1000
    trainer.step = 1
    trainer.save(tmp_path / "state.pt")
    resumed = new_trainer(data)
    resumed.load(tmp_path / "state.pt")
    assert resumed.run_epoch(Progress(disable=True)).seconds > 1000


def test_the_running_mean_is_what_is_kept(data: Ucf101, tmp_path: Path) -> None:
    trainer = new_trainer(data, dataclasses.replace(RECIPE, ema=0.25))
    seen = list[Tensor]()
    trainer.optimizer.register_step_post_hook(lambda *_: seen.append(trainer.model.head.fc.weight.detach().clone()))
    train(trainer, tmp_path)
    mean = seen[0]
    for weight in seen[1:]:
        mean = 0.25 * mean + 0.75 * weight
    torch.testing.assert_close(trainer.result.head.fc.weight.detach(), mean)
    assert trainer.result is not trainer.model
    assert int(trainer.result.stem.norm.num_batches_tracked) > 0


# Refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"epochs": 3},
            r"epochs 2 then, 3 now \(the rate .* no run grows longer\); every step depends on all of it, so resume",
        ),
        ({"seed": 1}, "seed 6666 then, 1 now"),
        ({"ema": 0.9, "repeats": 2}, "repeats 1 then, 2 now; ema 0.0 then, 0.9 now"),
    ],
)
def test_another_recipe_is_not_resumed(change: dict[str, float], message: str, data: Ucf101, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    new_trainer(data).save(path)
    new_trainer(data).load(path)
    with pytest.raises(InputError, match=rf"state\.pt: saved by another run: {message}"):
        new_trainer(data, dataclasses.replace(RECIPE, **change)).load(path)  # type: ignore[arg-type]


def test_another_geometry_or_other_clips_are_not_resumed(data: Ucf101, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    new_trainer(data).save(path)
    with pytest.raises(InputError, match="another run: norm shared then, per_step now"):
        new_trainer(data, config=dataclasses.replace(CONFIG, norm="per_step")).load(path)
    other = Ucf101(root, split=2, train=True, size=32, sampling=data.sampling)
    with pytest.raises(InputError, match="another run: training clips "):
        new_trainer(other).load(path)


def test_what_is_no_state_is_refused(data: Ucf101, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(InputError, match=r"state\.pt: nothing to resume; start without --resume"):
        new_trainer(data).load(path)
    torch.save({"format": "svformer-training/1"}, path)
    with pytest.raises(InputError, match=r"a run of another version \(svformer-training/1\); start anew with --force"):
        new_trainer(data).load(path)
    new_trainer(data).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt: not the state of a training run; start anew with --force"):
        new_trainer(data).load(path)


# Killed

OPTIONS = (
    "--preset",
    "tiny",
    "--dataset",
    "ucf101",
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--save-every",
    "1",
    "--device",
    "cpu",
)
AUGMENTED = ("--augmentation", "video", "--mixup", "0.8", "--repeats", "2", "--ema", "0.5", "--loaders", "1")


def arguments(root: Path, out: Path) -> list[str]:
    return ["--root", str(root), "--out", str(out), *OPTIONS, *AUGMENTED]


def run_apart(root: Path, out: Path, *more: str, kill_in_step: int = 0) -> int:
    """`python -m svformer.train` with the small geometry, in a process of its own; its exit code."""
    environment = {**os.environ, "KILL_IN_STEP": str(kill_in_step)}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{SUPPORT}"
    command = [sys.executable, __file__, *arguments(root, out), *more]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def test_a_killed_run_goes_on_to_the_same_weights(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert run_apart(root, killed, kill_in_step=5) == -signal.SIGKILL
    assert not (killed / "checkpoint.safetensors").exists()
    assert run_apart(root, killed, "--resume") == 0

    monkeypatch.setitem(PRESETS, "tiny", CONFIG)
    assert run_cli(tool.main, arguments(root, whole)) == 0
    found, expected = (load_checkpoint(out / "checkpoint.safetensors") for out in (killed, whole))
    assert_equal_state(found, expected)
    assert epochs_in(killed) == ["1", "2"]
    assert {file.name for file in killed.iterdir()} == {file.name for file in whole.iterdir()}
    sessions = json.loads((killed / "run.json").read_text())["sessions"]
    assert [session["first_step"] for session in sessions] == [0, 4]


def kill_in_step(number: int) -> None:
    """End this process in a step whose gradients have changed the weights already."""
    steps = itertools.count(1)

    def kill(*_: object) -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(kill)


if __name__ == "__main__":
    PRESETS["tiny"] = CONFIG
    kill_in_step(int(os.environ["KILL_IN_STEP"]))
    sys.exit(run_cli(tool.main))
