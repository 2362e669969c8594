"""Held-out accuracy while a run is under way."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from svformer import InputError, SVFormer, SVFormerConfig
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import Sampling
from svformer.evaluation.accuracy import evaluate
from svformer.evaluation.curve import Point, best_point, read_curve
from svformer.training.distributed import Processes
from svformer.training.held_out import held_out_top1
from svformer.training.loop import train
from svformer.training.recipe import Recipe
from svformer.training.trainer import Trainer

CONFIG = SVFormerConfig(
    num_classes=2, image_size=32, embed_dims=(4, 4, 4, 4), depths=(1, 1, 1, 1), head_dim=4, frames=2
)
RECIPE = Recipe(epochs=4, batch_size=2, warm_up=0.5)


@dataclass(frozen=True)
class Noise:
    """A clip of noise that follows from its number; class 1 is brighter."""

    number: int
    label: int
    readable: bool = True

    channels: ClassVar[int] = 3
    path = Path("none.avi")

    @property
    def name(self) -> str:
        return str(self.number)

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        if not self.readable:
            raise InputError(f"clip {self.number}: not a readable video")
        rng = np.random.default_rng(self.number)
        pixels = rng.integers(0, 128, size=(sampling.frames, 3, size, size)) + 127 * self.label
        return torch.from_numpy(pixels.astype(np.uint8))


class NoiseClips(ClipDataset):
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        return clip_TCHW


def clips(*entries: Noise, train: bool = False) -> NoiseClips:
    sampling = Sampling(frames=CONFIG.frames)
    return NoiseClips(["dark", "bright"], entries, train=train, size=32, sampling=sampling, max_unreadable=0.5)


TRAINING = clips(*(Noise(i, label=i % 2) for i in range(4)), train=True)
HELD_OUT = clips(*(Noise(10 + i, label=i % 2) for i in range(5)), Noise(20, label=0, readable=False))


def new_trainer(recipe: Recipe = RECIPE, processes: Processes | None = None) -> Trainer:
    torch.manual_seed(0)
    return Trainer(SVFormer(CONFIG), TRAINING, recipe, processes=processes)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_curve_has_the_held_out_accuracy_of_every_second_epoch_and_the_last(ema: float, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=3, ema=ema)
    trainer = new_trainer(recipe)
    train(trainer, tmp_path, held_out=HELD_OUT, evaluate_every=2)
    found = [point.test_top1 for point in trainer.curve]
    assert found[0] is None
    assert found[2] == evaluate(trainer.result, HELD_OUT).accuracy.top1  # of 5 clips: the sixth cannot be read
    assert found[1] in {i / 5 for i in range(6)}
    assert read_curve(tmp_path / "curve.csv") == trainer.curve
    resumed = new_trainer(recipe)
    resumed.load(tmp_path / "state.pt")
    assert resumed.curve == trainer.curve


def test_the_best_epoch_is_the_first_with_the_highest_accuracy() -> None:
    def curve(*shares: float | None) -> list[Point]:
        known = {"lr": 0.1, "loss": 1.0, "train_top1": 0.5, "seconds": 1.0}
        return [Point(epoch=i + 1, step=i + 1, test_top1=share, **known) for i, share in enumerate(shares)]

    for shares, epoch in (((0.2, 0.4, 0.4), 2), ((None, 0.0, None), 2), ((0.5, None, 0.4), 1)):
        found = best_point(curve(*shares))
        assert found is not None
        assert found.epoch == epoch
    assert best_point(curve(None, None)) is None


def test_better_epochs_are_told_as_they_come(tmp_path: Path) -> None:
    told, trainer = list[Point](), new_trainer(dataclasses.replace(RECIPE, epochs=3))
    train(trainer, tmp_path, held_out=HELD_OUT, on_best=told.append)
    shares = [point.test_top1 or 0.0 for point in trainer.curve]
    better = [i for i, share in enumerate(shares) if all(share > earlier for earlier in shares[:i])]
    assert [point.epoch for point in told] == [i + 1 for i in better]


def test_held_out_clips_leave_the_training_as_it_is(tmp_path: Path) -> None:
    alone, watched = new_trainer(), new_trainer()
    torch.manual_seed(1)
    train(alone, tmp_path / "alone")
    drawn = torch.rand(())
    torch.manual_seed(1)
    train(watched, tmp_path / "watched", held_out=HELD_OUT)
    assert torch.rand(()) == drawn
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(watched.model.state_dict()[name], tensor), name
    assert [point.loss for point in watched.curve] == [point.loss for point in alone.curve]


def test_an_evaluation_that_fails_loses_no_training(tmp_path: Path) -> None:
    unreadable = clips(Noise(0, label=0, readable=False), Noise(1, label=1, readable=False))
    with pytest.raises(InputError, match="2 of 2 files cannot be read"):
        train(new_trainer(), tmp_path, held_out=unreadable)
    resumed = new_trainer()
    resumed.load(tmp_path / "state.pt")
    assert [point.epoch for point in resumed.curve] == [1]
    assert read_curve(tmp_path / "curve.csv") == resumed.curve


def test_processes_share_the_held_out_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips 0, 2, 4 in one process, 1, 3 and the unreadable one in the other: their counts are those of one process."""
    whole, counted = held_out_top1(new_trainer(), HELD_OUT), list[Tensor]()

    def total(_: Processes, sums: Tensor) -> Tensor:
        counted.append(sums)
        return sums

    monkeypatch.setattr(Processes, "total", total)
    trainer = new_trainer()
    for rank in (0, 1):
        trainer.processes = Processes(count=2, rank=rank)
        held_out_top1(trainer, HELD_OUT)
    (right_0, clips_0), (right_1, clips_1) = (sums.tolist() for sums in counted)
    assert (clips_0, clips_1) == (3, 2)
    assert (right_0 + right_1) / 5 == whole
