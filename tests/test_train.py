"""Training and evaluation: a resumed run is the uninterrupted one, what is written, accuracies counted by hand."""

import csv
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.data import Dataset

from svformer import PRESETS, InputError, SVFormer, SVFormerConfig, load_checkpoint, save_checkpoint
from svformer import train as train_module
from svformer.assets import TINY_CHECKPOINT
from svformer.cli import run_cli
from svformer.config import Norm
from svformer.data.clips import Sampling
from svformer.data.procedural import CLASSES, generate
from svformer.data.ucf101 import Ucf101
from svformer.evaluate import as_batch, evaluate, one_frame
from svformer.train import (
    FINE_TUNING,
    Recipe,
    Trainer,
    build,
    parameter_groups,
    parse_arguments,
    starting_point,
    train,
)

CONFIG = SVFormerConfig(
    num_classes=len(CLASSES), image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
)
RECIPE = Recipe(epochs=2, batch_size=8)  # 24 clips: 3 steps an epoch


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


def new_trainer(data: Ucf101, recipe: Recipe = RECIPE, config: SVFormerConfig = CONFIG, seed: int = 0) -> Trainer:
    torch.manual_seed(seed)
    return Trainer(SVFormer(config), data, recipe)


def assert_equal_state(found: nn.Module, expected: nn.Module) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Training


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    data: Ucf101, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_trainer(data)
    train(whole, tmp_path / "whole")

    stopped, steps = new_trainer(data), 0
    original = stopped._step

    def interrupted(batch: Tensor, labels: Tensor) -> tuple[float, int]:
        nonlocal steps
        steps += 1
        if steps == 5:  # in the middle of the second epoch, whose first step has changed the weights already
            raise KeyboardInterrupt
        return original(batch, labels)

    monkeypatch.setattr(stopped, "_step", interrupted)
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(stopped, out)
    assert [row["epoch"] for row in table(out / "curve.csv")] == ["1"]
    assert {file.name for file in out.iterdir()} == {"state.pt", "curve.csv", "curve.png"}  # nothing half-written

    resumed = new_trainer(data, seed=123)  # the weights of a new process are others
    assert not torch.equal(resumed.model.stem.conv.weight, whole.model.stem.conv.weight)
    resumed.load(out / "state.pt")
    assert [point.epoch for point in resumed.curve] == [1]
    train(resumed, out)
    assert_equal_state(resumed.model, whole.model)
    assert dataclasses.replace(resumed.curve[1], seconds=0) == dataclasses.replace(whole.curve[1], seconds=0)
    assert [row["loss"] for row in table(out / "curve.csv")] == [str(point.loss) for point in whole.curve]


def test_training_changes_every_kernel_and_counts_its_steps(data: Ucf101, tmp_path: Path) -> None:
    trainer, before = new_trainer(data), new_trainer(data).model.state_dict()
    train(trainer, tmp_path)
    assert [(point.epoch, point.step) for point in trainer.curve] == [(1, 3), (2, 6)]
    for name, parameter in trainer.model.named_parameters():
        if parameter.ndim > 1:
            assert not torch.equal(parameter, before[name]), name
    assert int(trainer.model.stem.norm.num_batches_tracked) == 6
    train(trainer, tmp_path)  # nothing left to do
    assert len(trainer.curve) == 2


def test_a_point_of_the_curve_by_hand(data: Ucf101, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, results = new_trainer(data), iter([(1.0, 8), (2.0, 0), (6.0, 4)])
    monkeypatch.setattr(trainer, "_step", lambda batch, labels: next(results))
    point = trainer.run_epoch(Progress(disable=True))
    assert point.loss == (1 + 2 + 6) / 3
    assert point.train_top1 == (8 + 0 + 4) / 24
    assert trainer.curve == [point]


def test_every_epoch_shows_every_clip_once_in_an_order_and_views_of_its_own(
    data: Ucf101, monkeypatch: pytest.MonkeyPatch
) -> None:
    def epochs(recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Labels and brightness of the clips of two epochs, each [2, 24] in the order in which they are shown."""
        trainer, labels_shown, brightness = new_trainer(data, recipe), [], []

        def look(batch: Tensor, labels: Tensor) -> tuple[float, int]:
            assert batch.shape == (8, 3, 4, 32, 32)
            assert trainer.model.training
            labels_shown.append(labels)
            brightness.append(batch.mean(dim=(1, 2, 3, 4)))
            return 0.0, 0

        monkeypatch.setattr(trainer, "_step", look)
        for _ in range(2):
            trainer.run_epoch(Progress(disable=True))
            trainer.model.eval()  # as an evaluation between epochs does
        return torch.cat(labels_shown).reshape(2, 24), torch.cat(brightness).reshape(2, 24)

    labels, brightness = epochs(RECIPE)
    for epoch in (0, 1):
        assert sorted(labels[epoch].tolist()) == sorted(entry.label for entry in data.entries)
    assert not torch.equal(labels[0], labels[1])
    assert not torch.equal(brightness[0].sort().values, brightness[1].sort().values)  # other starts and crops
    again, again_brightness = epochs(RECIPE)
    assert torch.equal(again, labels)
    assert torch.equal(again_brightness, brightness)
    assert not torch.equal(epochs(dataclasses.replace(RECIPE, seed=1))[0], labels)


def test_a_step_counts_hits_and_clips_the_gradient(data: Ucf101) -> None:
    trainer = new_trainer(data, dataclasses.replace(RECIPE, gradient_norm=1e-3))
    with torch.no_grad():
        trainer.model.head.fc.weight.zero_()
        trainer.model.head.fc.bias.copy_(torch.eye(12)[5])  # class 5 whatever the clip is
    trainer.model.train()
    loss, right = trainer._step(torch.randn(4, 3, 4, 32, 32), torch.tensor([5, 0, 5, 5]))
    assert right == 3
    # Logits 1 for class 5 and 0 for 11 others: -log softmax is log(e + 11) - 1 for a hit, log(e + 11) for a miss.
    assert loss == pytest.approx(float(torch.tensor(torch.e + 11).log()) - 3 / 4)
    gradients = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    assert torch.cat(gradients).norm() == pytest.approx(1e-3, rel=1e-3)


def test_only_kernels_and_matrices_decay() -> None:
    model = SVFormer(CONFIG)
    model.stem.conv.weight.requires_grad_(False)
    decayed, kept = parameter_groups(model, 0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p] for p in decayed["params"] + kept["params"]} == set(names.values()) - {"stem.conv.weight"}
    assert {"head.fc.weight", "head.conv3d.weight", "down2.conv.weight"} <= {names[p] for p in decayed["params"]}
    assert {names[p].rsplit(".")[-1] for p in decayed["params"]} == {"weight"}
    kept_names = {names[p] for p in kept["params"]}
    assert {"head.plif.p.w", "stem.norm.weight", "stem.norm.bias", "head.fc.bias", "head.bn3d.weight"} <= kept_names

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in names:
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW([decayed, kept], lr=0.1).step()
    torch.testing.assert_close(model.head.fc.weight.detach(), before["head.fc.weight"] * (1 - 0.1 * 0.5))
    for name in kept_names:
        assert torch.equal(model.state_dict()[name], before[name]), name


def test_fewer_clips_than_a_batch_are_refused(data: Ucf101) -> None:
    assert new_trainer(data, dataclasses.replace(RECIPE, batch_size=24, epochs=6)).steps_per_epoch == 1
    with pytest.raises(InputError, match="24 training clips are fewer than one batch of 25"):
        new_trainer(data, dataclasses.replace(RECIPE, batch_size=25))


def test_only_the_same_run_is_resumed(data: Ucf101, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    new_trainer(data).save(path)
    new_trainer(data).load(path)
    for recipe in (dataclasses.replace(RECIPE, epochs=3), dataclasses.replace(RECIPE, seed=1)):
        with pytest.raises(InputError, match=r"state\.pt: saved with another recipe or preset"):
            new_trainer(data, recipe).load(path)
    with pytest.raises(InputError, match="another recipe or preset"):
        new_trainer(data, config=dataclasses.replace(CONFIG, norm="per_step")).load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt: not the state of a training run; start without --resume"):
        new_trainer(data).load(path)
    with pytest.raises(InputError, match=r"nowhere\.pt: nothing to resume; start without --resume"):
        new_trainer(data).load(tmp_path / "nowhere.pt")


def test_a_run_on_other_clips_is_not_resumed(data: Ucf101, root: Path, tmp_path: Path) -> None:
    new_trainer(data).save(tmp_path / "state.pt")
    other = Ucf101(root, split=2, train=True, size=32, sampling=data.sampling)
    with pytest.raises(InputError, match="other data"):
        new_trainer(other).load(tmp_path / "state.pt")


@pytest.mark.parametrize(("epochs", "batch_size"), [(0, 8), (-1, 8), (1, 0), (1, -1)])
def test_a_recipe_without_work_is_refused(epochs: int, batch_size: int) -> None:
    with pytest.raises(InputError, match=f"{epochs} epochs with batches of {batch_size}; allowed: 1 or more"):
        Recipe(epochs=epochs, batch_size=batch_size)


@pytest.mark.parametrize("epochs", [1, 5])
def test_too_few_steps_for_the_schedule_are_refused(data: Ucf101, epochs: int) -> None:
    """One step an epoch; with a warm-up of 20 % of 5 steps the rate would have to rise within none."""
    with pytest.raises(InputError, match=f"{epochs} steps are too few"):
        new_trainer(data, Recipe(epochs=epochs, batch_size=24, warm_up=0.2))


# The command line tool


def run_main(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, *arguments: str) -> int:
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(CONFIG, num_classes=3))  # the data has the last word
    options = ["--dataset", "ucf101", "--root", str(root), "--out", str(out), "--batch-size", "8", *arguments]
    monkeypatch.setattr(sys, "argv", ["svformer/train.py", *options])
    return run_cli(train_module.main)


def test_a_run_leaves_checkpoint_curve_and_record(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2") == 0
    files = {"checkpoint.safetensors", "curve.csv", "curve.png", "run.json", "state.pt"}
    assert {file.name for file in tmp_path.iterdir()} == files
    assert [row["step"] for row in table(tmp_path / "curve.csv")] == ["3", "6"]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")

    model, record = (
        load_checkpoint(tmp_path / "checkpoint.safetensors"),
        json.loads((tmp_path / "run.json").read_text()),
    )
    assert model.config == CONFIG  # with the 12 classes of the data
    assert record["command"].startswith("python -m svformer.train --dataset ucf101 --root ")
    assert (record["recipe"]["epochs"], record["recipe"]["batch_size"]) == (2, 8)
    assert record["config"] == json.loads(CONFIG.to_json())
    assert record["classes"] == list(CLASSES)
    held_out = Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))
    accuracy = evaluate(model, held_out)
    assert record["accuracy"] == dataclasses.asdict(accuracy)
    assert accuracy.clips == 12
    assert f"top-1 {100 * accuracy.top1:.2f} % on 12 held-out clips" in capsys.readouterr().out
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["command"] == record["command"]
    assert json.loads(metadata["accuracy"]) == record["accuracy"]

    assert run_main(monkeypatch, root, tmp_path, "--epochs", "2", "--resume") == 0  # no epoch is left
    assert_equal_state(load_checkpoint(tmp_path / "checkpoint.safetensors"), model)
    assert run_main(monkeypatch, root, tmp_path, "--epochs", "3", "--resume") == 2
    assert_equal_state(load_checkpoint(tmp_path / "checkpoint.safetensors"), model)


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
    accuracy = evaluate(after, Ucf101(root, train=False, size=32, sampling=Sampling(frames=4)))
    assert record["accuracy"] == dataclasses.asdict(accuracy)  # with the rounding in evaluation, too
    assert run_main(monkeypatch, root, tmp_path / "qat", *options, "--resume") == 0


def test_fine_tuning_starts_from_the_network_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: str) -> tuple[SVFormerConfig, dict[str, Tensor] | None]:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        return starting_point(parse_arguments())

    shipped = load_checkpoint(TINY_CHECKPOINT)
    config, state = start("--qat")
    assert config == dataclasses.replace(shipped.config, weight_bits=8)
    assert state is not None
    assert_equal_state(build(config, state, classes=12), shipped)
    assert start("--qat", "--weight-bits", "4")[0].weight_bits == 4
    assert start() == (PRESETS["tiny"], None)


def test_a_network_of_other_classes_is_not_fine_tuned() -> None:
    state = SVFormer(CONFIG).state_dict()
    with pytest.raises(InputError, match="the checkpoint tells 12 classes apart, the data have 11; fine-tune on"):
        build(CONFIG, state, classes=11)


@pytest.mark.parametrize(
    ("norm", "arguments", "message"),
    [
        ("shared", ["--weight-bits", "4"], "belong to --qat"),
        ("shared", ["--checkpoint", "CHECKPOINT"], "belong to --qat"),
        ("shared", ["--qat"], "none ships for preset tiny on ucf101; train one without --qat, then give it as"),
        ("shared", ["--qat", "--checkpoint", "CHECKPOINT", "--norm", "shared"], "leave out --norm and --activation"),
        ("shared", ["--qat", "--checkpoint", "CHECKPOINT", "--weight-bits", "9"], "must be 2 to 8"),
        ("shared", ["--qat", "--checkpoint", "CHECKPOINT", "--weight-bits", "0"], "must be 2 to 8"),
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


# Evaluation


class Clips(Dataset[tuple[Tensor, int]]):
    """Given clips, uint8 [N, T, C, H, W], with given labels."""

    def __init__(self, clips: Tensor, labels: list[int]) -> None:
        self.clips, self.labels = clips, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.clips[index], self.labels[index]


def random_clips(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_accuracy_of_a_rigged_classifier_by_hand(batch_size: int) -> None:
    model = SVFormer(CONFIG).train()
    with torch.no_grad():
        model.head.fc.weight.zero_()
        model.head.fc.bias.copy_(torch.eye(12)[7])
    accuracy = evaluate(model, Clips(random_clips(5), [7, 7, 0, 7, 11]), batch_size=batch_size)
    assert (accuracy.top1, accuracy.one_frame_top1, accuracy.clips) == (3 / 5, 3 / 5, 5)
    assert not model.training
    assert model.stem.norm.running_mean.eq(0).all()  # evaluation moves no statistics


class MotionDetector(nn.Module):
    """Class 1 where anything changes over time, else class 0."""

    def forward(self, batch_BCTHW: Tensor) -> Tensor:
        moves = batch_BCTHW.ne(batch_BCTHW[:, :, :1]).flatten(1).any(1)
        return torch.stack([~moves, moves], dim=1).float()


def test_one_repeated_frame_takes_the_motion_away() -> None:
    clips = random_clips(6)
    clips[5] = clips[5, 0]  # this one stands still
    # Seen moving: 1 1 1 1 1 0, right but for clip 3. One frame: all 0, right for clips 3 and 5.
    accuracy = evaluate(MotionDetector(), Clips(clips, [1, 1, 1, 0, 1, 0]), batch_size=4)  # type: ignore[arg-type]
    assert (accuracy.top1, accuracy.one_frame_top1, accuracy.clips) == (5 / 6, 2 / 6, 6)


def test_one_frame_shows_frame_b_modulo_t_of_clip_b() -> None:
    clips, frames = 6, 4
    batch = 100 * torch.arange(clips)[:, None] + torch.arange(frames)  # [B, T]: value 100 b + t
    shown = one_frame(batch[:, None, :, None, None].expand(clips, 3, frames, 2, 2))
    assert shown.shape == (clips, 3, frames, 2, 2)
    expected = torch.tensor([0, 101, 202, 303, 400, 501])
    assert torch.equal(shown, expected[:, None, None, None, None].expand(clips, 3, frames, 2, 2))


def test_a_batch_is_normalised_with_channels_before_time() -> None:
    clips = torch.zeros(2, 4, 3, 5, 5, dtype=torch.uint8)
    clips[1, 2, 0] = 255
    batch = as_batch(clips)
    assert batch.shape == (2, 3, 4, 5, 5)
    assert batch.dtype == torch.float32
    # (0 / 255 - 0.45) / 0.225 = -2 and (1 - 0.45) / 0.225 = 22 / 9.
    torch.testing.assert_close(batch[1, 0, 2], torch.full((5, 5), 22 / 9))
    torch.testing.assert_close(batch[0], torch.full((3, 4, 5, 5), -2.0))
