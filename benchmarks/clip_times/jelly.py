"""The same network with the neurons of SpikingJelly 2, from a folder of the user's: it is no dependency.

python -m pip install --no-deps --target DIR spikingjelly loguru
"""

import copy
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip_times.peers import EAGER, Peer, measured
from deploy.errors import GateError
from svformer.common.errors import InputError
from svformer.model.neurons import PLIF
from svformer.model.svformer import SVFormer

FRAMEWORK = "SpikingJelly"
NOT_GIVEN = "no --spikingjelly DIR was given"


class Node(nn.Module):
    """Its parametric LIF neuron with decay and threshold of one of ours, put to rest before every clip."""

    def __init__(self, ours: PLIF) -> None:
        from spikingjelly.activation_based import functional, neuron

        super().__init__()
        self.node: Any = neuron.ParametricLIFNode(init_tau=2.0, v_threshold=ours.threshold, step_mode="m")
        self.node.w.data = ours.p.w.data.clone()
        self.to_rest = functional.reset_net

    def forward(self, x: Tensor) -> Tensor:
        self.to_rest(self.node)
        spikes: Tensor = self.node(x)
        return spikes


def add_folder(folder: Path) -> str:
    """Let Python find SpikingJelly in a folder of `pip install --target`; returns its version.

    Its libraries come last: what this project has, it keeps. Raises `InputError` where the folder holds none.
    """
    sys.path.append(str(folder))
    found = list(metadata.distributions(name="spikingjelly", path=[str(folder)]))
    if not found:
        raise InputError(f"--spikingjelly {folder}: no SpikingJelly there; make it with pip install --target")
    return found[0].version


def with_its_neurons(model: SVFormer) -> nn.Module:
    """A copy of the model, every neuron layer replaced."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, PLIF):
                setattr(module, name, Node(child))
    return model


def its_peers(model: SVFormer, clip_BCTHW: Tensor, version: str) -> Iterator[Peer]:
    """With its neurons, float32 in place of the float64 of model and clip.

    On a processor it has one backend, "torch". Compiled, its network compiles anew at every clip, since its neurons
    hold their state in Python (35.6 s a clip where eager took 1.1).

    Raises `GateError` where its network is not ours, in float64.
    """
    theirs, framework = with_its_neurons(model), f"{FRAMEWORK} {version}"
    with torch.no_grad():
        ours, found = model(clip_BCTHW), theirs(clip_BCTHW)
    if not torch.allclose(found, ours, rtol=1e-6, atol=1e-6):
        raise GateError(f"{framework}: its logits differ from ours by up to {float((found - ours).abs().max()):.2g}")
    yield from measured(theirs.float(), clip_BCTHW.float(), framework, EAGER)
