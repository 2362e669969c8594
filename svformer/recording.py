"""Spikes of every neuron layer, as returned values: the model itself keeps nothing."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from svformer.errors import InputError
from svformer.model import SVFormer
from svformer.neurons import PLIF

Spikes = dict[str, NDArray[np.uint8]]


@contextlib.contextmanager
def _collecting(model: nn.Module, collected: Spikes) -> Iterator[None]:
    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            collected[name] = spikes.to(torch.uint8).cpu().numpy()

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name, module in model.named_modules() if isinstance(module, PLIF)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_recorded(model: SVFormer, clip_BCTHW: Tensor) -> tuple[Tensor, Spikes]:
    """Logits [B, K] and, for every neuron layer in order of execution, its spikes, uint8 [T, B, C, H, W].

    Raises `InputError` for a model without spiking neurons.
    """
    if model.config.activation != "spiking":
        raise InputError("this model has activation='relu' and no spikes to record; allowed: activation='spiking'")
    spikes: Spikes = {}
    with torch.no_grad(), _collecting(model, spikes):
        logits = model(clip_BCTHW)
    return logits, spikes


def record_spikes(model: SVFormer, clip_BCTHW: Tensor) -> Spikes:
    """Spikes of every neuron layer for a clip [B, C, T, H, W]: layer name -> uint8 [T, B, C, H, W].

    Raises `InputError` for a model without spiking neurons.
    """
    return run_recorded(model, clip_BCTHW)[1]


def firing_rates(spikes: Spikes) -> dict[str, float]:
    """Share of (neuron, time step) pairs with a spike, for every layer."""
    return {name: float(layer.mean()) for name, layer in spikes.items()}
