"""Small networks that SVFormer is compared with, as training could leave them. Imports torch."""

import torch

from svformer.baselines.ann2snn import ConvertedCnn, converted
from svformer.baselines.tsm import TemporalShift
from svformer.config import ACTIVATIONS, Model, SVFormerConfig
from svformer.model.network import Network
from svformer.networks import build
from tensors import random_clips


def small_config(model: Model, *, frames: int = 4) -> SVFormerConfig:
    """32 x 32 pixels, a block in each stage."""
    activation = ACTIVATIONS[model]
    return SVFormerConfig(
        num_classes=5,
        image_size=32,
        frames=frames,
        embed_dims=(8, 8, 16, 16),
        depths=(1, 1, 1, 1),
        head_dim=8,
        model=model,
        activation=activation,
        attention_order="qk_first" if activation == "relu" else "kv_first",
    )


def small_baseline(model: Model, *, frames: int = 4) -> Network:
    """A float64 network in evaluation mode with the statistics of a batch, so that its layers are active."""
    torch.manual_seed(0)
    network = build(small_config(model, frames=frames)).double()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            torch.nn.init.constant_(module.bias, 0.7)
    with torch.no_grad():
        network(random_clips(network.config, 4))
    return network.eval()


def small_conversion(*, steps_per_frame: int, frames: int = 4) -> ConvertedCnn:
    """The spiking network of a small `tsm`, float64."""
    trained = small_baseline("tsm", frames=frames)
    assert isinstance(trained, TemporalShift)
    spiking = converted(trained, [random_clips(trained.config, 4)], steps_per_frame=steps_per_frame)
    return spiking.double()
