"""Accuracy of a network over a data set, its confusions and firing rates.

The same network is also run with one frame of each clip repeated, which shows the accuracy without motion.
Legend: B clips of a batch, V views of a clip, T time steps, C channels, H rows, W columns, K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from svformer.common.terminal import track
from svformer.data.clips import as_batch
from svformer.data.loaders import batches
from svformer.evaluation.scores import is_right, mean_scores, top_share
from svformer.evaluation.spike_counter import SpikeCounter
from svformer.evaluation.views import Views, collated

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of clips, from 0 to 1."""

    top1: float  # the class with the largest score is the right one
    top5: float | None  # the right class is among the best five; None where the network has no more than five classes
    one_frame_top1: float  # as top1, with every time step showing the same frame of the clip
    clips: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of a network on held-out clips."""

    accuracy: Accuracy
    views: int  # number of views of every clip; their softmax scores are averaged
    confusion_KK: Tensor  # int64: clips by class (rows) and by prediction (columns)
    firing_rates: dict[str, float]  # share of neurons and time steps with a spike, by layer, over all views


def one_frame(batch_BCTHW: Tensor, first: int = 0) -> Tensor:
    """The batch with every time step replaced by one frame: clip b shows frame b modulo T, so that all T are tried.

    `first` is the number of the batch's first clip in the data set.
    """
    clips, frames = batch_BCTHW.shape[0], batch_BCTHW.shape[2]
    chosen = batch_BCTHW[torch.arange(clips), :, (first + torch.arange(clips)) % frames]
    return chosen.unsqueeze(2).expand_as(batch_BCTHW)


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: Dataset[tuple[Tensor, int]], *, batch_size: int = 32, workers: int = 0
) -> Evaluation:
    """Run a data set of clips [T, C, H, W], or the `Views` of one, and leave the model in evaluation mode.

    No more than `batch_size` views run at once; `workers` processes read clips (0: this one).
    """
    model.eval()
    views = len(dataset.positions) if isinstance(dataset, Views) else 1
    spikes, seen = SpikeCounter(), 0
    logits, still_logits, labels = list[Tensor](), list[Tensor](), list[Tensor]()
    loader = _loaded(dataset, clips=max(1, batch_size // views), workers=workers)
    for clips_BVTCHW, right in _readable(track(loader, "evaluate")):
        with spikes.counting(model):
            logits.append(_logits(model, clips_BVTCHW, batch_size))
        middle = clips_BVTCHW[:, views // 2].to(_device(model))
        still_logits.append(model(one_frame(as_batch(middle), seen)))
        labels.append(right)
        seen += len(right)
    scores, right_N = mean_scores(_array(logits)), _array(labels)
    accuracy = Accuracy(
        top1=top_share(scores, right_N),
        top5=top_share(scores, right_N, best=TOP) if scores.shape[1] > TOP else None,
        one_frame_top1=top_share(_array(still_logits), right_N),
        clips=len(right_N),
    )
    confusion = _confusion(scores, right_N)
    return Evaluation(accuracy=accuracy, views=views, confusion_KK=confusion, firing_rates=spikes.rates())


@torch.no_grad()
def count_right(model: nn.Module, dataset: Dataset[tuple[Tensor, int]], *, batch_size: int) -> tuple[int, int]:
    """How many clips get their class as the prediction, and how many were run; the model stays in evaluation mode."""
    model.eval()
    right, clips = 0, 0
    for clips_BVTCHW, labels in _readable(_loaded(dataset, clips=batch_size, workers=0)):
        scores = mean_scores(_array([_logits(model, clips_BVTCHW, batch_size)]))
        right += int(is_right(scores, _array([labels])).sum())
        clips += len(labels)
    return right, clips


def _loaded(dataset: Dataset[tuple[Tensor, int]], *, clips: int, workers: int) -> Iterator[Any]:
    """Batches in order; its generator is its own, so that evaluation leaves the program's random numbers alone."""
    generator = torch.Generator()
    return batches(dataset, batch_size=clips, num_workers=workers, collate_fn=collated, generator=generator)


def _readable(batches: Iterable[tuple[Tensor, Tensor] | None]) -> Iterator[tuple[Tensor, Tensor]]:
    """Clips [B, V, T, C, H, W] and labels [B] of every batch that has a readable clip."""
    for batch in batches:
        if batch is not None:
            clips, labels = batch
            yield clips if clips.ndim == 6 else clips[:, None], labels


def _logits(model: nn.Module, clips_BVTCHW: Tensor, batch_size: int) -> Tensor:
    """Logits [B, V, K]; no more than `batch_size` views run at once."""
    parts = clips_BVTCHW.flatten(0, 1).split(batch_size)
    return torch.cat([model(as_batch(part.to(_device(model)))) for part in parts]).unflatten(0, clips_BVTCHW.shape[:2])


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _array(parts: Sequence[Tensor]) -> NDArray[Any]:
    return np.asarray(torch.cat(list(parts)).cpu().numpy())


def _confusion(scores_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> Tensor:
    classes = scores_NK.shape[1]
    cells = torch.from_numpy(labels_N * classes + scores_NK.argmax(axis=1))
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes)


def accuracy_line(accuracy: Accuracy, views: int = 1) -> str:
    """The accuracies in one line, in per cent."""
    seen = "" if views == 1 else f", {views} views each"
    top5 = "" if accuracy.top5 is None else f"; top-5 {100 * accuracy.top5:.2f} %"
    one_frame = f"; one repeated frame {100 * accuracy.one_frame_top1:.2f} %"
    return f"top-1 {100 * accuracy.top1:.2f} % on {accuracy.clips} held-out clips{seen}{top5}{one_frame}"
