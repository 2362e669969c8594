"""Signals inside a network during a clip, as returned values: the model itself stores nothing.

Legend: T time steps, B clips, C channels, H rows, W columns; of attention, d channels a head.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from svformer.common.errors import InputError
from svformer.model.attention import QkvAttention
from svformer.model.network import Network
from svformer.model.neurons import SpikingLayer
from svformer.model.svformer import SVFormer

Spikes = dict[str, NDArray[np.uint8]]
Look = Callable[
    [str, SpikingLayer, Tensor, Tensor], None
]  # arguments: layer name, layer, currents, spikes [T, B, C, H, W]


@dataclass(frozen=True, kw_only=True)
class MembraneTrace:
    """Input current, membrane potential and spikes of one neuron layer; arrays are [T, B, C, H, W]."""

    current: NDArray[np.floating]
    potential: NDArray[np.floating]  # the value that is compared with the threshold: before a reset to 0
    spikes: NDArray[np.uint8]
    threshold: float
    decay: float  # 1 / tau, tau in time steps


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """Spiking attention of one block, as whole numbers: `selected = q (k^T v)`, before its scale of d^-1/2."""

    q: NDArray[np.uint8]  # [T, B, heads, d, H, W], as k and v
    k: NDArray[np.uint8]
    v: NDArray[np.uint8]
    coincidences: NDArray[np.int64]  # k^T v, [T, B, heads, d, d]: positions at which a channel of k and one of v fire
    selected: NDArray[np.int64]  # [T, B, heads, d, H, W]: sums of the rows of `coincidences` that q's spikes choose


@contextlib.contextmanager
def watching(model: nn.Module, look: Look, layers: Iterable[str]) -> Iterator[None]:
    """Call `look` for each of these neuron layers whenever the layer has computed, inside the block."""

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            assert isinstance(layer, SpikingLayer)
            look(name, layer, inputs[0], spikes)

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [watch(name) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def plif_layers(model: nn.Module) -> list[str]:
    """Names of the spiking neuron layers of any module, in order of construction; empty where it has none."""
    return [name for name, module in model.named_modules() if isinstance(module, SpikingLayer)]


def neuron_layers(model: Network) -> list[str]:
    """Names of the neuron layers; raises `InputError` for a model without spikes."""
    if model.config.activation != "spiking":
        raise InputError("this model has activation='relu' and no spikes to record; allowed: activation='spiking'")
    return plif_layers(model)


def run_recorded(model: Network, clip_BCTHW: Tensor) -> tuple[Tensor, Spikes]:
    """Logits [B, K] and, for every neuron layer in order of execution, its spikes, uint8 [T, B, C, H, W].

    Raises `InputError` for a model without spiking neurons.
    """
    collected: Spikes = {}

    def record(name: str, _layer: SpikingLayer, _currents: Tensor, spikes: Tensor) -> None:
        collected[name] = spikes.to(torch.uint8).cpu().numpy()

    with watching(model, record, neuron_layers(model)), torch.no_grad():
        logits = model(clip_BCTHW)
    return logits, collected


def record_spikes(model: Network, clip_BCTHW: Tensor) -> Spikes:
    """Spikes of every neuron layer for a clip [B, C, T, H, W]: layer name -> uint8 [T, B, C, H, W].

    Raises `InputError` for a model without spiking neurons.
    """
    return run_recorded(model, clip_BCTHW)[1]


def record_membranes(model: Network, clip_BCTHW: Tensor, layers: Iterable[str]) -> dict[str, MembraneTrace]:
    """Currents, potentials and spikes of these neuron layers for a clip [B, C, T, H, W].

    Raises `InputError` for a name that is no neuron layer, and for a model without spiking neurons.
    """
    wanted, known = list(layers), neuron_layers(model)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(f"{', '.join(unknown)}: no neuron layers of this model; allowed: {', '.join(known)}")
    traces: dict[str, MembraneTrace] = {}

    def record(name: str, layer: SpikingLayer, currents: Tensor, spikes: Tensor) -> None:
        traces[name] = MembraneTrace(
            current=currents.cpu().numpy(),
            potential=layer.potentials(currents).cpu().numpy(),
            spikes=spikes.to(torch.uint8).cpu().numpy(),
            threshold=layer.threshold,
            decay=layer.decay,
        )

    with watching(model, record, wanted), torch.no_grad():
        model(clip_BCTHW)
    return traces


def attention_maps(model: SVFormer, spikes: Mapping[str, NDArray[np.uint8]]) -> dict[str, AttentionMap]:
    """Coincidences and sums of every attention block, by its name, from the spikes of `record_spikes`.

    Raises `InputError` for a model of another attention than `q (k^T v)`.
    """
    if model.config.attention != "qkv":
        raise InputError(f"this model has attention={model.config.attention!r}; maps are of attention='qkv' only")
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, QkvAttention)}
    return {name: _attention_map(spikes, name, block.heads) for name, block in blocks.items()}


def _attention_map(spikes: Mapping[str, NDArray[np.uint8]], block: str, heads: int) -> AttentionMap:
    q, k, v = (_by_head(spikes[f"{block}.plif_{part}"], heads) for part in "qkv")
    coincidences = np.einsum("...ihw,...jhw->...ij", k, v, dtype=np.int64)
    selected = np.einsum("...ihw,...ij->...jhw", q, coincidences, dtype=np.int64)
    return AttentionMap(q=q, k=k, v=v, coincidences=coincidences, selected=selected)


def _by_head(spikes_TBCHW: NDArray[np.uint8], heads: int) -> NDArray[np.uint8]:
    """[T, B, C, H, W] -> [T, B, heads, C / heads, H, W]."""
    steps, clips, _, height, width = spikes_TBCHW.shape
    return spikes_TBCHW.reshape(steps, clips, heads, -1, height, width)
