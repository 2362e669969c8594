"""Networks of real numbers, of the same geometry: accuracy and multiply-accumulates, counted in PyTorch.

They have graded activations or a softmax, so they are not deployed; they are what a spiking network has to be cheaper
than: SVFormer with `activation="relu"`, and the baselines without spikes.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deploy.clips.read import batches
from deploy.clips.source import ClipSource, InputFormat
from deploy.comparison.relu_counts import ProductCounter, Products, attach
from hardware import OpCounts
from svformer.evaluation.scores import top_share
from svformer.model.network import Network

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class ReluRun:
    """Counts of all clips together, layer by layer; products are those with a non-zero activation.

    Attention is apart: weighted layers alone, what papers report, leave it out for spiking networks, too.
    """

    clips: int
    top1: float | None
    layers: tuple[Products, ...]
    attention: tuple[Products, ...]
    active_share: float  # share of activations behind a ReLU that are not zero
    weights: int

    def dense(self) -> "ReluRun":
        """Every product done, zero or not, borders exact: what hardware without zero-skipping does."""
        return dataclasses.replace(
            self,
            layers=tuple(layer.dense() for layer in self.layers),
            attention=tuple(layer.dense() for layer in self.attention),
        )

    def per_clip(self, *, weight_bits: int, attention: bool) -> OpCounts:
        """Counts of the mean clip, where each product with a weight fetches one of `weight_bits`."""
        layers = (*self.layers, *self.attention) if attention else self.layers
        return sum((layer.counts(weight_bits) for layer in layers), OpCounts()).mean(self.clips).rounded()


def run_relu(
    model: Network,
    clips: Sequence[ClipSource],
    wanted: InputFormat,
    *,
    classes: Sequence[str],
    on_clips: Callable[[float], None] = lambda clips: None,
) -> ReluRun:
    """Run clips through a network of real numbers in PyTorch, float32; `on_clips` is called with how many are done."""
    counter, done = ProductCounter(), 0
    logits, labels = list[NDArray[np.float32]](), list[int]()  # of the clips whose class the network has
    handles = attach(model, counter)
    try:
        for part, frames in batches(clips, wanted, BATCH):
            with torch.no_grad():
                found = model(torch.from_numpy(frames).transpose(1, 2)).numpy()
            labelled = [(row, classes.index(c.label)) for row, c in zip(found, part, strict=True) if c.label in classes]
            logits += [row for row, _ in labelled]
            labels += [label for _, label in labelled]
            done += len(part)
            on_clips(done)
    finally:
        for handle in handles:
            handle.remove()
    return ReluRun(
        clips=len(clips),
        top1=top_share(np.stack(logits), labels) if labels else None,
        layers=tuple(counter.layers.values()),
        attention=tuple(counter.attention.values()),
        active_share=counter.active / counter.values,
        weights=sum(math.prod(p.shape) for p in model.parameters() if p.ndim > 1),
    )
