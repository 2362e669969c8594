"""A short training of a network of the zoo on a data set of videos, so that its predictions mean something.

Legend: T time steps, B clips of a batch, N clips of the data set, (C, H, W) of a frame.
"""

import json

import nir
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo_models import FAMILIES, LIF, Size, describe, settle

import deploy
from deploy.clips.choose import dataset_clips, spread
from deploy.clips.read import load_clips
from deploy.clips.source import InputFormat
from deploy.ir.readout import READOUT
from svformer.common.terminal import counting
from svformer.data.choice import DatasetChoice
from svformer.model.neurons import ArctanSpike

ALPHA = 2.0  # of the surrogate gradient, as in SVFormer's training
BATCH, LEARNING_RATE, SETTLING, CHECKED = 32, 2e-3, 32, 2


def trained_graph(family: str, dataset: DatasetChoice, *, epochs: int, size: Size | None = None) -> nir.NIRGraph:
    """A family trained for some epochs on the training clips of a data set, from seed 0, as a NIR graph.

    With 0 epochs its weights are random, norms have the statistics of some clips, and the graph says no classes.
    Every spike of the graph is compared with the model's; raises `GateError` where one differs.
    """
    sources = dataset_clips(dataset, train=True)
    classes = sorted({str(source.label) for source in sources})
    size = size or Size(classes=len(classes))
    wanted = InputFormat(frames=size.frames, shape=(3, size.image, size.image), pixels=True)
    some_NTCHW = load_clips(spread(sources, SETTLING), wanted)
    torch.manual_seed(0)
    model = settle(FAMILIES[family](size), _batch(some_NTCHW).double())
    if epochs:
        labels_N = torch.tensor([classes.index(str(source.label)) for source in sources])
        train(model, load_clips(sources, wanted), labels_N, epochs=epochs)
    example = _batch(some_NTCHW[:CHECKED]).double()
    imported = deploy.from_torch(model, example, axes="TBCHW", neurons={LIF: describe})
    imported.check(example)
    imported.graph.metadata |= {READOUT: "mean"} | ({"classes": json.dumps(classes)} if epochs else {})
    return imported.graph


def train(model: nn.Module, clips_NTCHW: np.ndarray, labels_N: Tensor, *, epochs: int) -> None:
    """Cross entropy of the mean logits, AdamW, one rising and falling rate; ends in float64 and evaluation mode."""
    neurons = [module for module in model.modules() if isinstance(module, LIF)]
    model.float().train()
    for neuron in neurons:
        neuron.fire = surrogate
    steps = epochs * (len(clips_NTCHW) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps + 1)
    order = np.random.default_rng(0)
    with counting(steps, "training") as on_steps:
        for step in range(steps):
            places = order.choice(len(clips_NTCHW), BATCH, replace=False)
            loss = F.cross_entropy(model(_batch(clips_NTCHW[places])).mean(0), labels_N[places], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            on_steps(step + 1)
    for neuron in neurons:
        del neuron.fire
    model.double().eval()


def surrogate(over: Tensor) -> Tensor:
    """A spike where the potential is at its threshold or above, with an arctangent's gradient."""
    spikes: Tensor = ArctanSpike.apply(over, ALPHA)  # type: ignore[no-untyped-call]
    return spikes


def _batch(clips_NTCHW: np.ndarray) -> Tensor:
    """The clips as the models take them, [T, B, C, H, W], float32."""
    return torch.from_numpy(np.ascontiguousarray(clips_NTCHW)).float().transpose(0, 1)
