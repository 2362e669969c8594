"""Training: what a step does, what a run leaves, and what the command line tool refuses."""

import csv
import dataclasses
import errno
import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.progress import Progress
from safetensors import safe_open
from tensorboardX.proto.event_pb2 import Event
from torch import Tensor

from svformer import PRESETS, InputError, SVFormer, SVFormerConfig, load_checkpoint, save_checkpoint
from svformer import train as train_module
from svformer.assets import TINY_CHECKPOINT
from svformer.common.cli import run_cli
from svformer.config import Norm
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import COUNTS, Sampling
from svformer.data.procedural import CLASSES, generate
from svformer.data.ucf101 import Ucf101
from svformer.evaluation.accuracy import evaluate
from svformer.evaluation.curve import Point
from svformer.training import session
from svformer.training.loop import train
from svformer.training.recipe import AUGMENTATIONS, FINE_TUNING, RECIPES, Recipe
from svformer.training.request import TrainingRequest
from svformer.training.session import new_network, starting_point
from svformer.training.trainer import Trainer

CONFIG = SVFormerConfig(
    num_classes=len(CLASSES), image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
)
RECIPE = Recipe(epochs=2, batch_size=8)  # 24 clips: 3 steps an epoch
QUIET = Progress(disable=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 classes, three groups of one clip: 24 clips train, 12 test."""
    return generate(tmp_path_factory.mktemp("procedural"), groups=3, clips_per_group=1, workers=1)


@pytest.fixture(scope="module")
def data(root: Path) -> Ucf101:
    return Ucf101(root, train=True, size=32, sampling=Sampling(frames=CONFIG.frames), cache=True)


def new_trainer(data: ClipDataset, recipe: Recipe = RECIPE, config: SVFormerConfig = CONFIG, seed: int = 0) -> Trainer:
    torch.manual_seed(seed)
    return Trainer(SVFormer(config), data, recipe)


def assert_equal_state(found: SVFormer, expected: SVFormer) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Steps and epochs


def test_training_changes_every_kernel_and_counts_its_steps(data: Ucf101, tmp_path: Path) -> None:
    trainer, before = new_trainer(data), new_trainer(data).model.state_dict()
    train(trainer, tmp_path)
    assert [(point.epoch, point.step) for point in trainer.curve] == [(1, 3), (2, 6)]
    for name, parameter in trainer.model.named_parameters():
        if parameter.ndim > 1:
            assert not torch.equal(parameter, before[name]), name
    assert int(trainer.model.stem.norm.num_batches_tracked) == 6
    left = sorted(tmp_path.rglob("*"))
    train(trainer, tmp_path)  # nothing left to do
    assert len(trainer.curve) == 2
    assert sorted(tmp_path.rglob("*")) == left


def test_a_point_of_the_curve_by_hand(data: Ucf101, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, results = new_trainer(data), iter([[1.0, 8], [2.0, 0], [6.0, 4]])
    monkeypatch.setattr(trainer, "train_step", lambda batches, mix: torch.tensor(next(results), dtype=torch.float64))
    point = trainer.run_epoch(QUIET)
    assert point.loss == (1 + 2 + 6) / 3
    assert point.train_top1 == (8 + 0 + 4) / 24
    assert trainer.curve == [point]


def test_every_epoch_shows_every_clip_once_in_an_order_and_views_of_its_own(data: Ucf101) -> None:
    def epochs(recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Labels and brightness of the clips of two epochs, each [2, 24] in the order in which they are shown."""
        trainer = new_trainer(data, recipe)
        shown = [batch for epoch in range(2) for batch in trainer.batches(epoch)]
        assert {tuple(clips.shape) for clips, _ in shown} == {(8, 4, 3, 32, 32)}
        brightness = [clips.double().mean(dim=(1, 2, 3, 4)) for clips, _ in shown]
        return torch.cat([labels for _, labels in shown]).reshape(2, 24), torch.cat(brightness).reshape(2, 24)

    labels, brightness = epochs(RECIPE)
    for epoch in (0, 1):
        assert sorted(labels[epoch].tolist()) == sorted(entry.label for entry in data.entries)
    assert not torch.equal(labels[0], labels[1])
    assert not torch.equal(brightness[0].sort().values, brightness[1].sort().values)  # other starts and crops
    again, again_brightness = epochs(RECIPE)
    assert torch.equal(again, labels)
    assert torch.equal(again_brightness, brightness)
    other, other_brightness = epochs(dataclasses.replace(RECIPE, seed=1))
    assert not torch.equal(other[0], labels[0])  # the seed reaches the order, and starts and crops
    assert not torch.equal(other_brightness[0].sort().values, brightness[0].sort().values)


def test_an_epoch_trains_in_training_mode(data: Ucf101) -> None:
    trainer = new_trainer(data)
    trainer.model.eval()  # as an evaluation between epochs does
    trainer.run_epoch(QUIET, after_step=lambda: None)
    assert trainer.model.training


def test_a_step_counts_hits_and_clips_the_gradient(data: Ucf101) -> None:
    trainer = new_trainer(data, dataclasses.replace(RECIPE, gradient_norm=1e-3))
    with torch.no_grad():
        trainer.model.head.fc.weight.zero_()
        trainer.model.head.fc.bias.copy_(torch.eye(12)[5])  # class 5 whatever the clip is
    trainer.model.train()
    clips = torch.randint(0, 256, (4, 4, 3, 32, 32), dtype=torch.uint8)
    loss, right = trainer.train_step(iter([(clips, torch.tensor([5, 0, 5, 5]))])).tolist()
    assert right == 3
    # Logits 1 for class 5 and 0 for 11 others: -log softmax is log(e + 11) - 1 for a hit, log(e + 11) for a miss.
    assert loss == pytest.approx(float(torch.tensor(torch.e + 11).log()) - 3 / 4)
    gradients = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    assert torch.cat(gradients).norm() == pytest.approx(1e-3, rel=1e-3)


def test_fewer_clips_than_a_batch_are_refused(data: Ucf101) -> None:
    assert new_trainer(data, dataclasses.replace(RECIPE, batch_size=24, epochs=6)).steps_per_epoch == 1
    with pytest.raises(InputError, match="24 training clips are fewer than one batch of 25"):
        new_trainer(data, dataclasses.replace(RECIPE, batch_size=25))


@pytest.mark.parametrize("epochs", [1, 5])
def test_too_few_steps_for_the_schedule_are_refused(data: Ucf101, epochs: int) -> None:
    """One step an epoch; with a warm-up of 20 % of 5 steps the rate would have to rise within none."""
    refused = f"{epochs} steps are too few for a rate that rises for 20% of them; allowed: 6 or more"
    with pytest.raises(InputError, match=refused):
        new_trainer(data, Recipe(epochs=epochs, batch_size=24, warm_up=0.2))


@dataclass(frozen=True)
class Gesture:
    """Counts of events, different for every clip."""

    label: int
    channels = 2
    path = Path("none.npy")

    @property
    def name(self) -> str:
        return str(self.label)

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float = 0.5) -> Tensor:
        counts = np.random.default_rng(self.label).poisson(0.3, size=(sampling.frames, 2, size, size))
        return torch.from_numpy(counts).to(COUNTS)


class Gestures(ClipDataset):
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        return clip_TCHW


GESTURES = Gestures(
    [str(i) for i in range(12)], [Gesture(i) for i in range(12)], train=True, size=32, sampling=Sampling(frames=4)
)
EVENTS = dataclasses.replace(CONFIG, in_channels=2)
PLANS = {kind: dataclasses.replace(RECIPE, augmentation=AUGMENTATIONS[kind]) for kind in ("video", "events")}


def test_events_are_trained_with_their_own_augmentation() -> None:
    recipe = dataclasses.replace(RECIPES["dvs128_gesture"], epochs=20, batch_size=6)
    point = new_trainer(GESTURES, recipe, EVENTS).run_epoch(QUIET)
    assert 0 < point.loss < 5
    assert point.step == 2


def test_networks_recipes_and_data_of_other_kinds_are_refused(data: Ucf101) -> None:
    with pytest.raises(InputError, match=r"takes 3 channels, the data have 2; choose a --preset for events"):
        new_trainer(GESTURES)
    with pytest.raises(InputError, match="takes 2 channels, the data have 3; choose a --preset for videos"):
        new_trainer(data, config=EVENTS)
    with pytest.raises(InputError, match="augmentation of events, but the data are video; --augmentation video"):
        new_trainer(data, PLANS["events"])
    with pytest.raises(InputError, match="augmentation of video, but the data are events; --augmentation events"):
        new_trainer(GESTURES, PLANS["video"], EVENTS)


# What goes wrong


def test_a_diverged_run_says_so_and_keeps_the_last_good_state(data: Ucf101, tmp_path: Path) -> None:
    trainer = new_trainer(data)
    original = trainer.train_step

    def broken(*arguments: object) -> Tensor:
        sums = original(*arguments)
        return sums * torch.nan if trainer.steps_done == 4 else sums

    trainer.train_step = broken  # type: ignore[method-assign]
    with pytest.raises(InputError, match="no longer a number in epoch 2: the training diverged; start anew with"):
        train(trainer, tmp_path, save_every=1)
    resumed = new_trainer(data)
    resumed.load(tmp_path / "state.pt")
    assert resumed.steps_done == 4


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            r"out of memory with 8 clips x 1 at once on cpu; raise --accumulate",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory with 8 clips"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), r"lower --loaders \(now 0\)"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk is full after step 0; free .* [kM]B and go on from",
        ),
    ],
)
def test_too_little_memory_or_disk_is_one_line_that_says_what_to_change(
    error: Exception, message: str, data: Ucf101, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    trainer = new_trainer(data)
    monkeypatch.setattr(trainer, "train_step", fail)
    with pytest.raises(InputError, match=message) as raised:
        train(trainer, tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "broken disk")])
def test_other_errors_stay_what_they_are(error: Exception, data: Ucf101, tmp_path: Path) -> None:
    def fail() -> None:
        raise error

    trainer = new_trainer(data)
    with pytest.raises(type(error), match=r"a bug|broken disk"):
        train_with(trainer, fail, tmp_path)


def train_with(trainer: Trainer, after_step: object, out: Path) -> None:
    trainer.save = lambda path: after_step()  # type: ignore[method-assign, operator, assignment, misc]
    train(trainer, out)


def test_a_disk_without_room_is_refused_before_the_first_step(
    data: Ucf101, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = new_trainer(data)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    needed = parameters * 4 * 3 * 3  # float32; weights and two moments; the old state, the new one and the rest
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    with pytest.raises(InputError, match=r"B are free, a run of this size takes .*B; free space, or choose"):
        train(trainer, tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    assert trainer.steps_done == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    train(trainer, tmp_path / "new")


# Logs


def logged(folder: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of every scalar in TensorBoard's files: length, checksum, event, checksum and so on."""
    found = []
    for path in sorted(folder.iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack("<Q", content[place : place + 8])
            event = Event.FromString(content[place + 12 : place + 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            place += 16 + length
    return found


def test_every_epoch_is_logged_for_tensorboard(data: Ucf101, tmp_path: Path) -> None:
    trainer = new_trainer(data)
    train(trainer, tmp_path)
    found = logged(tmp_path / "tensorboard")
    for name in ("loss", "train_top1", "lr", "seconds"):
        expected = [(point.step, pytest.approx(getattr(point, name), rel=1e-6)) for point in trainer.curve]
        assert [(step, value) for step, tag, value in found if tag == name] == expected


# The command line tool


def run_main(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, *arguments: str) -> int:
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(CONFIG, num_classes=3))  # the data has the last word
    options = ["--dataset", "ucf101", "--root", str(root), "--out", str(out), "--batch-size", "8", "--device", "cpu"]
    return run_cli(train_module.main, [*options, *arguments])


def test_a_run_leaves_checkpoint_curve_logs_and_record(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2") == 0
    files = {"checkpoint.safetensors", "curve.csv", "curve.png", "run.json", "state.pt", "tensorboard"}
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
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs 2 and 3 of 3: every second, and the last, whose accuracy is that of the whole run."""
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--evaluate-every", "2") == 0
    first, second, last = (row["test_top1"] for row in table(tmp_path / "curve.csv"))
    assert first == ""
    assert float(second) in {i / 12 for i in range(13)}
    assert float(last) == json.loads((tmp_path / "run.json").read_text())["accuracy"]["top1"]


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


def test_fine_tuning_with_rounded_weights(
    root: Path, data: Ucf101, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = new_trainer(data)
    train(trainer, tmp_path / "float")
    start = tmp_path / "float" / "checkpoint.safetensors"
    save_checkpoint(trainer.model, start)
    options = ["--qat", "--weight-bits", "3", "--checkpoint", str(start), "--epochs", "2"]
    assert run_main(monkeypatch, root, tmp_path / "qat", *options) == 0
    before, after = load_checkpoint(start), load_checkpoint(tmp_path / "qat" / "checkpoint.safetensors")
    assert after.config == dataclasses.replace(before.config, weight_bits=3)
    tuned = after.state_dict()
    changed = {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, tuned[name])}
    assert not any("running" in name or "tracked" in name for name in changed)  # statistics stay
    assert {name for name, parameter in after.named_parameters() if parameter.ndim > 1} <= changed

    record = json.loads((tmp_path / "qat" / "run.json").read_text())
    assert record["config"]["weight_bits"] == 3
    assert record["recipe"] == dataclasses.asdict(dataclasses.replace(FINE_TUNING, epochs=2, batch_size=8))
    accuracy = evaluate(after, Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))).accuracy
    assert record["accuracy"] == dataclasses.asdict(accuracy)  # with the rounding in evaluation, too
    assert run_main(monkeypatch, root, tmp_path / "qat", *options, "--resume") == 0
    assert run_main(monkeypatch, root, tmp_path / "bf16", *options, "--precision", "bf16") == 2


def test_fine_tuning_starts_from_the_network_that_ships() -> None:
    shipped = load_checkpoint(TINY_CHECKPOINT)
    config, state = starting_point(TrainingRequest(qat=True))
    assert config == dataclasses.replace(shipped.config, weight_bits=8)
    assert state is not None
    assert_equal_state(new_network(config, state, classes=12, channels=3), shipped)
    assert starting_point(TrainingRequest(qat=True, weight_bits=4))[0].weight_bits == 4
    assert starting_point(TrainingRequest()) == (PRESETS["tiny"], None)


def test_a_network_of_other_classes_is_not_fine_tuned() -> None:
    state = SVFormer(CONFIG).state_dict()
    with pytest.raises(InputError, match="the checkpoint tells 12 classes apart, the data have 11; fine-tune on"):
        new_network(CONFIG, state, classes=11, channels=3)


@pytest.mark.parametrize(
    ("norm", "arguments", "message"),
    [
        ("shared", ["--weight-bits", "4"], "belong to --qat"),
        ("shared", ["--checkpoint", "CHECKPOINT"], "belong to --qat"),
        ("shared", ["--qat"], "none ships for preset tiny on ucf101; train one without --qat, then give it as"),
        (
            "shared",
            ["--qat", "--checkpoint", "CHECKPOINT", "--norm", "shared"],
            "leave out --norm, --activation, --attention",
        ),
        (
            "shared",
            ["--qat", "--checkpoint", "CHECKPOINT", "--head-dim", "4"],
            "leave out --norm, --activation, --attention",
        ),
        ("shared", ["--qat", "--checkpoint", "CHECKPOINT", "--weight-bits", "9"], "--weight-bits 9; allowed: 2 to 8"),
        ("shared", ["--qat", "--checkpoint", "CHECKPOINT", "--weight-bits", "0"], "--weight-bits 0; allowed: 2 to 8"),
        ("shared", ["--qat", "--checkpoint", "nowhere.safetensors"], "no such checkpoint"),
        ("per_step", ["--qat", "--checkpoint", "CHECKPOINT"], "weight_bits needs norm='shared'"),
    ],
)
def test_what_cannot_be_fine_tuned_is_one_line_and_leaves_nothing(
    norm: Norm,
    arguments: list[str],
    message: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = tmp_path / "start.safetensors"
    save_checkpoint(SVFormer(dataclasses.replace(CONFIG, norm=norm)), checkpoint)
    given = [str(checkpoint) if argument == "CHECKPOINT" else argument for argument in arguments]
    assert run_main(monkeypatch, root, tmp_path / "out", *given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


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
