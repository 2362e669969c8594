"""Evaluation: accuracies, views, confusion and firing rates, counted by hand."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from svformer import InputError, SVFormer, SVFormerConfig, record_spikes, save_checkpoint
from svformer import evaluate as evaluate_module
from svformer.common.cli import run_cli
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import Sampling, as_batch
from svformer.data.procedural import CLASSES, generate
from svformer.evaluation import accuracy
from svformer.evaluation.accuracy import evaluate, one_frame
from svformer.evaluation.confusion import draw_confusion, per_class
from svformer.evaluation.spike_counter import firing_rates
from svformer.evaluation.views import Views, evenly_spaced

CONFIG = SVFormerConfig(
    num_classes=12, image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


# Accuracy


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_accuracy_of_a_rigged_classifier_by_hand(batch_size: int) -> None:
    model = SVFormer(CONFIG).train()
    with torch.no_grad():
        model.head.fc.weight.zero_()
        model.head.fc.bias.copy_(-(torch.arange(12.0) - 7).abs())  # 7 first, then 6 and 8, then 5 and 9
    accuracy = evaluate(model, Clips(random_clips(5), [7, 7, 0, 9, 11]), batch_size=batch_size).accuracy
    assert (accuracy.top1, accuracy.top5, accuracy.one_frame_top1, accuracy.clips) == (2 / 5, 3 / 5, 2 / 5, 5)
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
    evaluation = evaluate(MotionDetector(), Clips(clips, [1, 1, 1, 0, 1, 0]), batch_size=4)
    accuracy = evaluation.accuracy
    assert (accuracy.top1, accuracy.one_frame_top1, accuracy.clips) == (5 / 6, 2 / 6, 6)
    assert evaluation.confusion_KK.tolist() == [[1, 1], [0, 4]]
    assert evaluation.firing_rates == {}  # nothing spikes in it


def test_one_frame_shows_frame_b_modulo_t_of_clip_b() -> None:
    clips, frames = 6, 4
    batch = 100 * torch.arange(clips)[:, None] + torch.arange(frames)  # [B, T]: value 100 b + t
    shown = one_frame(batch[:, None, :, None, None].expand(clips, 3, frames, 2, 2))
    assert shown.shape == (clips, 3, frames, 2, 2)
    expected = torch.tensor([0, 101, 202, 303, 400, 501])
    assert torch.equal(shown, expected[:, None, None, None, None].expand(clips, 3, frames, 2, 2))


def test_one_frame_goes_on_counting_over_batches() -> None:
    """Clips of 3 frames with the values 0, 1, 2, in batches of 1: the frames shown are 0, 1, 2, 0."""
    seen: list[float] = []

    class Seeing(nn.Module):
        def forward(self, batch_BCTHW: Tensor) -> Tensor:
            frames = batch_BCTHW[:, 0, :, 0, 0]
            if (frames == frames[:, :1]).all():
                seen.extend(((frames[:, 0] * 0.225 + 0.45) * 255).tolist())
            return torch.zeros(len(batch_BCTHW), 2)

    clip = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    evaluate(Seeing(), [(clip, 0)] * 4, batch_size=1)  # type: ignore[arg-type]
    assert seen == pytest.approx([0, 1, 2, 0], abs=1e-4)


def test_a_batch_is_normalised_with_channels_before_time() -> None:
    clips = torch.zeros(2, 4, 3, 5, 5, dtype=torch.uint8)
    clips[1, 2, 0] = 255
    batch = as_batch(clips)
    assert batch.shape == (2, 3, 4, 5, 5)
    assert batch.dtype == torch.float32
    # (0 / 255 - 0.45) / 0.225 = -2 and (1 - 0.45) / 0.225 = 22 / 9.
    torch.testing.assert_close(batch[1, 0, 2], torch.full((5, 5), 22 / 9))
    torch.testing.assert_close(batch[0], torch.full((3, 4, 5, 5), -2.0))


def test_firing_rates_are_those_of_the_recorded_spikes() -> None:
    torch.manual_seed(0)
    model, clips = SVFormer(CONFIG).eval(), random_clips(5)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.constant_(module.bias, 0.7)  # so that every layer fires
    found = evaluate(model, Clips(clips, [0] * 5), batch_size=2).firing_rates
    expected = firing_rates(record_spikes(model, as_batch(clips)))
    assert found == pytest.approx(expected)
    assert sum(rate > 0 for rate in found.values()) > 12
    assert not any(module._forward_hooks for module in model.modules())


# Views


@dataclass(frozen=True)
class View:
    """A clip whose pixels say from where it was taken: 100 start + 10 crop, plus a number of its own."""

    number: int
    label: int
    readable: bool = True

    channels = 3
    path = Path("none.avi")

    @property
    def name(self) -> str:
        return str(self.number)

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float = 0.5) -> Tensor:
        if not self.readable:
            raise InputError(f"clip {self.number}: not a readable video")
        value = round(100 * start + 10 * crop + self.number)
        return torch.full((sampling.frames, 3, size, size), value, dtype=torch.uint8)


class FakeVideos(ClipDataset):
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        return clip_TCHW


def fake_videos(*entries: View) -> FakeVideos:
    names = [str(label) for label in range(4)]
    return FakeVideos(names, entries, train=False, size=2, sampling=Sampling(frames=1), max_unreadable=1.0)


def test_views_are_spread_evenly() -> None:
    assert (evenly_spaced(1), evenly_spaced(2), evenly_spaced(3), evenly_spaced(5)) == (
        [0.5],
        [0, 1],
        [0, 0.5, 1],
        [0, 0.25, 0.5, 0.75, 1],
    )
    clips, label = Views(fake_videos(View(3, label=1)), (5, 3))[0]
    assert label == 1
    assert clips.shape == (15, 1, 3, 2, 2)
    # starts 0, 25, 50, 75, 100 each with crops 0, 5, 10, and 3 of its own
    assert clips[:, 0, 0, 0, 0].tolist() == [s + c + 3 for s in (0, 25, 50, 75, 100) for c in (0, 5, 10)]


class Brightness(nn.Module):
    """Softmax scores of two classes: the share of class 1 is the pixel's value in hundredths."""

    def forward(self, batch_BCTHW: Tensor) -> Tensor:
        share = (batch_BCTHW[:, 0, 0, 0, 0] * 0.225 + 0.45) * 255 / 100
        return torch.stack([1 - share, share], dim=1).clamp(1e-9, 1).log()


def test_softmax_scores_are_averaged_over_the_views() -> None:
    # Starts 0 and 1, crop in the middle (5): clip 20 is seen as 0.25 and 1.25 -> 1, on average 0.63: class 1, though
    # half of its views say 0. Clip 0 is 0.05 and 1: 0.53, class 1. One frame takes the view in the middle, the second.
    data = fake_videos(View(20, label=1), View(0, label=0))
    evaluation = evaluate(Brightness(), Views(data, (2, 1)), batch_size=1)
    assert evaluation.views == 2
    assert evaluation.confusion_KK.tolist() == [[0, 1], [0, 1]]
    one = evaluate(Brightness(), Views(data, (1, 1)))  # 0.75 and 0.55
    assert one.confusion_KK.tolist() == [[0, 1], [0, 1]]
    first = evaluate(Brightness(), Views(fake_videos(View(0, label=0)), (3, 1)))  # 0.05, 0.55 and 1: 0.53
    assert first.confusion_KK.tolist() == [[0, 1], [0, 0]]


def test_one_frame_is_taken_from_the_view_in_the_middle() -> None:
    # Starts 0, 0.5, 1: 0.05, 0.55 and 1, so class 0 in the first view and class 1 in the middle one.
    evaluation = evaluate(Brightness(), Views(fake_videos(View(0, label=1)), (3, 1)))
    assert evaluation.accuracy.one_frame_top1 == 1


def test_a_clip_that_cannot_be_read_is_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    data = fake_videos(View(20, label=1), View(0, label=0, readable=False), View(10, label=0))
    evaluation = evaluate(Brightness(), Views(data, (2, 1)), batch_size=4)
    assert evaluation.accuracy.clips == 2
    assert data.unreadable.count == 1
    assert "left out: clip 0: not a readable video" in capsys.readouterr().err


def test_a_batch_of_nothing_is_passed_over() -> None:
    data = fake_videos(View(0, label=0, readable=False), View(10, label=0))
    assert evaluate(Brightness(), Views(data, (2, 1)), batch_size=2).accuracy.clips == 1
    nothing = fake_videos(View(0, label=0, readable=False), View(10, label=0, readable=False))
    with pytest.raises(InputError, match="2 of 2 files cannot be read"):
        evaluate(Brightness(), Views(nothing, (2, 1)), batch_size=2)


class Sizes(Brightness):
    """Remembers how many views it saw at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, batch_BCTHW: Tensor) -> Tensor:
        self.sizes.append(len(batch_BCTHW))
        return super().forward(batch_BCTHW)


def test_no_more_views_than_the_batch_size_are_run_at_once() -> None:
    """Six views of each of two clips, four at once: 4 + 2 and one repeated frame for each clip."""
    data, network = fake_videos(View(20, label=1), View(0, label=0)), Sizes()
    small = evaluate(network, Views(data, (2, 3)), batch_size=4)
    assert network.sizes == [4, 2, 1, 4, 2, 1]
    assert small.confusion_KK.tolist() == evaluate(Sizes(), Views(data, (2, 3))).confusion_KK.tolist()


# Confusion


def test_classes_by_hand() -> None:
    confusion = torch.tensor([[3, 0, 1], [2, 2, 0], [0, 0, 0]])
    assert per_class(confusion, ["a", "b", "c"]) == [
        {"name": "a", "clips": 4, "top1": 3 / 4, "taken_for": "c"},
        {"name": "b", "clips": 4, "top1": 2 / 4, "taken_for": "a"},
        {"name": "c", "clips": 0, "top1": None, "taken_for": None},  # none was tested
    ]
    assert per_class(torch.eye(2, dtype=torch.int64), ["a", "b"])[0]["taken_for"] is None


def test_the_picture_is_a_picture(tmp_path: Path) -> None:
    draw_confusion(torch.tensor([[3, 1], [0, 0]]), ["a", "b"], tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


# The command line tool


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 classes, two groups of one clip: 12 clips test."""
    return generate(tmp_path_factory.mktemp("procedural"), groups=2, clips_per_group=1, workers=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "checkpoint.safetensors"
    save_checkpoint(SVFormer(CONFIG), path)
    return path


def run_main(*arguments: object) -> int:
    return run_cli(evaluate_module.main, ["--device", "cpu", *map(str, arguments)])


def test_figures_and_picture_are_written(
    root: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--checkpoint", checkpoint, "--dataset", "ucf101", "--root", root, "--views", "2x1")
    assert run_main(*options, "--out", tmp_path, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert {file.name for file in tmp_path.iterdir()} == {"evaluation.json", "confusion.png"}
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert {"checkpoint": str(checkpoint), **printed} == written
    assert (printed["views"], printed["clips"]) == (2, 12)
    assert [row["name"] for row in printed["classes"]] == list(CLASSES)
    confusion = np.array(printed["confusion"])
    assert confusion.sum(1).tolist() == [1] * 12
    assert printed["top1"] == confusion.trace() / 12
    assert len(printed["firing_rates"]) == 25  # 3 in each local block, 7 in each global one, 3 + 1 + 1 between

    assert run_main(*options, "--out", tmp_path) == 2
    assert "evaluation.json: exists; choose another --out, or --force to overwrite it" in capsys.readouterr().err
    assert json.loads((tmp_path / "evaluation.json").read_text()) == written
    assert run_main(*options, "--out", tmp_path, "--force") == 0
    text = capsys.readouterr().out
    assert "most often taken for" in text
    assert "on 12 held-out clips, 2 views each; top-5" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--views", "3"], "allowed: temporal x spatial counts"),
        (["--batch-size", "0"], "--batch-size 0; allowed: 1 or more"),
        (["--loaders", "-1"], "--loaders -1; allowed: 0 or more"),
        (["--device", "cuda:99"], "--device cuda:99: torch finds "),
        (["--checkpoint", "nowhere.safetensors"], "no such checkpoint"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main("--dataset", "ucf101", "--root", root, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_network_of_other_classes_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "three.safetensors"
    save_checkpoint(SVFormer(SVFormerConfig(**{**vars(CONFIG), "num_classes": 3})), path)
    assert run_main("--checkpoint", path, "--dataset", "ucf101", "--root", root) == 2
    assert (
        "the checkpoint tells 3 classes apart by 3 channels, the data have 12 and 3; evaluate on"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory with --batch-size 4 views at once on cpu; lower"),
        (MemoryError(), "out of memory with --batch-size 4 views at once"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "lower --loaders (now 0)"),
    ],
)
def test_too_little_memory_is_one_line(
    error: Exception,
    message: str,
    root: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(accuracy, "evaluate", fail)
    options = ("--checkpoint", checkpoint, "--dataset", "ucf101", "--root", root, "--batch-size", 4)
    assert run_main(*options) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


def test_other_errors_stay_what_they_are(root: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(accuracy, "evaluate", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run_main("--checkpoint", checkpoint, "--dataset", "ucf101", "--root", root)
