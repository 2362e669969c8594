# PYTHON_ARGCOMPLETE_OK
"""Accuracy on held-out clips, and on the same clips with one frame repeated (what is left without motion).

    python -m svformer.evaluate                                              # the shipped network
    python -m svformer.evaluate --checkpoint runs/tiny/checkpoint.safetensors --out runs/tiny
    python -m svformer.evaluate --checkpoint FILE --dataset ucf101 --root DIR --views 5x3
    python -m svformer.evaluate --json | jq .top1

DIR receives evaluation.json (accuracies, every class, confusion matrix, firing rate of every layer) and confusion.png.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from svformer.assets import TINY_CHECKPOINT
from svformer.checkpoint import load_checkpoint
from svformer.cli import ArgumentParser, run_cli
from svformer.config import SVFormerConfig
from svformer.confusion import class_table, draw_confusion, layer_table, per_class
from svformer.data.clips import normalise
from svformer.data.dataset import ClipDataset
from svformer.data.datasets import add_dataset_arguments, open_dataset
from svformer.devices import add_device_argument, choose_device
from svformer.errors import InputError
from svformer.files import atomic_path
from svformer.memory import shortage_explained
from svformer.neurons import PLIF
from svformer.terminal import new_console, say, track
from svformer.views import DEFAULT_VIEWS, Views, collated, parse_views

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of clips whose best class is the right one."""

    top1: float
    top5: float  # the right one is among the best five
    one_frame_top1: float  # every time step shows the same frame of the clip, another for every clip
    clips: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network makes of held-out clips."""

    accuracy: Accuracy
    views: int  # of every clip; their softmax scores are averaged
    confusion_KK: Tensor  # clips by class (rows) and by prediction (columns)
    firing_rates: dict[str, float]  # share of neurons and time steps with a spike, by layer, over all views


def as_batch(clips_BTCHW: Tensor) -> Tensor:
    """uint8 or int16 clips [B, T, C, H, W] -> what a network takes, float32 [B, C, T, H, W]."""
    return normalise(clips_BTCHW).transpose(1, 2)


def one_frame(batch_BCTHW: Tensor, first: int = 0) -> Tensor:
    """Every time step replaced by one frame: clip b shows frame b modulo T, so that all frames are tried alike.

    `first` is the number of the batch's first clip.
    """
    clips, frames = batch_BCTHW.shape[0], batch_BCTHW.shape[2]
    chosen = batch_BCTHW[torch.arange(clips), :, (first + torch.arange(clips)) % frames]
    return chosen.unsqueeze(2).expand_as(batch_BCTHW)


# Counting


@dataclass
class SpikeCounter:
    """Spikes of every neuron layer, added up where they are computed: nothing here waits for a device."""

    model: nn.Module
    fired: dict[str, Tensor] = field(default_factory=dict)
    size: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count what the model fires inside the block."""
        layers = {name: module for name, module in self.model.named_modules() if isinstance(module, PLIF)}
        handles = [module.register_forward_hook(self._hook(name)) for name, module in layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def add(_module: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            total = spikes.sum(dtype=torch.float64)
            self.fired[name] = self.fired[name] + total if name in self.fired else total
            self.size[name] = self.size.get(name, 0) + spikes.numel()

        return add

    def rates(self) -> dict[str, float]:
        return {name: float(total) / self.size[name] for name, total in self.fired.items()}


@torch.no_grad()
def measure(
    model: nn.Module, dataset: Dataset[tuple[Tensor, int]], *, batch_size: int = 32, workers: int = 0
) -> Evaluation:
    """Run a data set of clips [T, C, H, W], or the `Views` of one; no more than `batch_size` views are run at once."""
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    views = len(dataset.places) if isinstance(dataset, Views) else 1
    spikes = SpikeCounter(model)
    classes, none = 1, torch.zeros((), dtype=torch.int64)
    counts, hits, one_frame_hits, seen = none, none, none, 0
    loader = DataLoader(dataset, batch_size=max(1, batch_size // views), num_workers=workers, collate_fn=collated)
    for batch in track(loader, "evaluate"):
        if batch is None:  # none of its files can be read
            continue
        clips, labels = batch
        right, clips = labels.to(device), clips.to(device)
        clips_BVTCHW = clips if isinstance(dataset, Views) else clips[:, None]
        with spikes.counting():
            parts = [model(as_batch(part)).softmax(1) for part in clips_BVTCHW.flatten(0, 1).split(batch_size)]
        scores = torch.cat(parts).unflatten(0, (-1, views)).mean(1)
        classes = scores.shape[1]
        counts = counts + torch.bincount(right * classes + scores.argmax(1), minlength=classes**2)
        hits = hits + (scores.topk(min(TOP, classes)).indices == right[:, None]).any(1).sum()
        middle = as_batch(clips_BVTCHW[:, views // 2])
        one_frame_hits = one_frame_hits + (model(one_frame(middle, seen)).argmax(1) == right).sum()
        seen += len(labels)
    confusion = counts.reshape(classes, classes).cpu()
    total = int(confusion.sum())
    accuracy = Accuracy(
        top1=int(confusion.trace()) / total,
        top5=int(hits) / total,
        one_frame_top1=int(one_frame_hits) / total,
        clips=total,
    )
    return Evaluation(accuracy=accuracy, views=views, confusion_KK=confusion, firing_rates=spikes.rates())


def evaluate(model: nn.Module, dataset: Dataset[tuple[Tensor, int]], *, batch_size: int = 32) -> Accuracy:
    """Accuracy over a data set of clips [T, C, H, W]."""
    return measure(model, dataset, batch_size=batch_size).accuracy


# The command line tool


def describe(accuracy: Accuracy, views: int = 1) -> str:
    top1, top5, one = (100 * share for share in (accuracy.top1, accuracy.top5, accuracy.one_frame_top1))
    seen = "" if views == 1 else f", {views} views each"
    clips = f"{accuracy.clips} held-out clips{seen}"
    return f"top-1 {top1:.2f} % on {clips}; top-5 {top5:.2f} %; one repeated frame {one:.2f} %"


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", default=TINY_CHECKPOINT, help="default: the one that ships")
    parser.add_argument("--head-dim", type=int, default=64, help="of an authors' .pyth; ours hold it")
    add_dataset_arguments(parser)
    parser.add_argument("--views", help="temporal x spatial views of every clip (default: the data set's, 5x3 or 1x1)")
    parser.add_argument("--batch-size", type=int, default=32, help="clips x views at once (default: 32)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read clips (default: this one)")
    add_device_argument(parser)
    parser.add_argument("--out", type=Path, help="folder for evaluation.json and confusion.png")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    if arguments.batch_size < 1 or arguments.workers < 0:
        raise InputError(f"--batch-size {arguments.batch_size} --workers {arguments.workers}; allowed: from 1, from 0")
    return arguments


def as_json(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        **dataclasses.asdict(evaluation.accuracy),
        "views": evaluation.views,
        "firing_rates": evaluation.firing_rates,
        "classes": per_class(evaluation.confusion_KK, classes),
        "confusion": evaluation.confusion_KK.tolist(),
    }


def check_fit(config: SVFormerConfig, data: ClipDataset) -> None:
    """Raise `InputError` for data that the network was not made for."""
    if (config.num_classes, config.in_channels) != (len(data.classes), data.channels):
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart by {config.in_channels} channels, the data have "
            f"{len(data.classes)} and {data.channels}; evaluate on what it was trained on (--dataset, --root)"
        )


def main() -> None:
    arguments = parse_arguments()
    grid = parse_views(arguments.views) if arguments.views else DEFAULT_VIEWS.get(arguments.dataset, (1, 1))
    device = choose_device(arguments.device)
    model = load_checkpoint(arguments.checkpoint, head_dim=arguments.head_dim).to(device)
    data = open_dataset(arguments, size=model.config.image_size, frames=model.config.frames, train=False)
    check_fit(model.config, data)
    batch_size, workers = arguments.batch_size, arguments.workers
    advice = "lower --batch-size, or compute on another --device"
    with shortage_explained(f"--batch-size {batch_size} views at once on {device}", advice, workers=workers):
        evaluation = measure(model, Views(data, grid), batch_size=batch_size, workers=workers)
    facts = as_json(evaluation, data.classes)
    if arguments.out:
        with atomic_path(arguments.out / "evaluation.json") as temporary:
            temporary.write_text(json.dumps({"checkpoint": str(arguments.checkpoint), **facts}, indent=2) + "\n")
        with atomic_path(arguments.out / "confusion.png") as temporary:
            draw_confusion(evaluation.confusion_KK, data.classes, temporary)
    if arguments.json:
        print(json.dumps(facts))
        return
    new_console().print(class_table(facts["classes"]), layer_table(evaluation.firing_rates))
    say(describe(evaluation.accuracy, evaluation.views))


if __name__ == "__main__":
    sys.exit(run_cli(main))
