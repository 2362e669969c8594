"""Accuracy over a data set, and what is left of it with one frame repeated; firing rates and confusions beside it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from svformer.common.terminal import track
from svformer.data.clips import as_batch
from svformer.evaluation.views import Views, collated
from svformer.model.neurons import PLIF

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


def describe(accuracy: Accuracy, views: int = 1) -> str:
    top1, top5, one = (100 * share for share in (accuracy.top1, accuracy.top5, accuracy.one_frame_top1))
    seen = "" if views == 1 else f", {views} views each"
    clips = f"{accuracy.clips} held-out clips{seen}"
    return f"top-1 {top1:.2f} % on {clips}; top-5 {top5:.2f} %; one repeated frame {one:.2f} %"
