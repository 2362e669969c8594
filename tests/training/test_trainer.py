"""What a step of training does, what an epoch leaves, and what goes wrong."""

import dataclasses
import errno
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress
from tensorboardX.proto.event_pb2 import Event
from torch import Tensor

from small_training import CONFIG, RECIPE, new_trainer
from svformer import InputError
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import COUNTS, Sampling
from svformer.data.ucf101 import Ucf101
from svformer.training.loop import train
from svformer.training.recipe import AUGMENTATIONS, RECIPES, Recipe
from svformer.training.trainer import Trainer

QUIET = Progress(disable=True)


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
    point = new_trainer(GESTURES, recipe, config=EVENTS).run_epoch(QUIET)
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
        new_trainer(GESTURES, PLANS["video"], config=EVENTS)


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
