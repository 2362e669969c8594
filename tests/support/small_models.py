"""A small SVFormer with every kind of layer, and the graph that it becomes. Imports torch."""

from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray

from deploy.frontend.from_svformer import export
from svformer import SVFormer, SVFormerConfig
from tensors import random_clips

SMALL = SVFormerConfig(
    num_classes=5, image_size=64, frames=4, embed_dims=(8, 12, 16, 24), depths=(1, 1, 2, 1), head_dim=8
)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A float64 model, its NIR graph, and clips of real numbers."""

    model: SVFormer
    graph: nir.NIRGraph
    frames_NTCHW: NDArray[Any]


def as_if_trained(config: SVFormerConfig, *, seed: int = 0) -> SVFormer:
    """A float64 model in evaluation mode, with the statistics of a batch, so that all layers fire, and decays apart."""
    torch.manual_seed(seed)
    model = SVFormer(replace(config, weight_bits=None)).double()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.momentum = 1.0
            torch.nn.init.constant_(module.bias, 1.0 if name.endswith("attn.norm1") else 0.7)
    for name, parameter in model.named_parameters():
        if name.endswith(".p.w"):
            torch.nn.init.normal_(parameter, 0, 0.5)
    with torch.no_grad():
        model(random_clips(config, 4, seed=seed))
    trained = SVFormer(config).double()
    trained.load_state_dict(model.state_dict())
    return trained.eval()


def small_export() -> Exported:
    """Norms and time constants are as training could leave them."""
    torch.manual_seed(1)
    model = SVFormer(SMALL)
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.02, 0.1)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            # q, k and v have to fire together for attention to send anything
            torch.nn.init.normal_(module.bias, 1.0 if name.endswith("attn.norm1") else 0.3, 0.3)
    for name, parameter in model.named_parameters():
        if name.endswith(".p.w"):
            torch.nn.init.normal_(parameter, 0, 0.5)
    model.double().eval()
    frames = np.random.default_rng(1).normal(size=(2, SMALL.frames, 3, 64, 64))
    return Exported(model=model, graph=export(model), frames_NTCHW=frames)
