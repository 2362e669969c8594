"""Firing rates: spikes of every neuron layer, added up over batches."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from svformer.evaluation.recording import plif_layers, watching
from svformer.model.neurons import SpikingLayer


@dataclass
class SpikeCounter:
    """Sums over neurons, time steps and clips, for every layer by its name.

    The sums stay on the device that computed the spikes: nothing waits for a GPU before `rates` or `rate` is called.
    """

    fired: dict[str, Tensor] = field(default_factory=dict)  # spikes, float64 []
    size: dict[str, int] = field(default_factory=dict)  # values that were counted: neurons x time steps x clips

    def add(self, layer: str, spikes: Tensor) -> None:
        """Count the spikes of a layer: zeros and ones (or booleans) of any shape."""
        total = spikes.sum(dtype=torch.float64)
        self.fired[layer] = self.fired[layer] + total if layer in self.fired else total
        self.size[layer] = self.size.get(layer, 0) + spikes.numel()

    @contextlib.contextmanager
    def counting(self, model: nn.Module) -> Iterator[None]:
        """Count the spikes of every neuron layer whenever the model runs inside the block."""

        def add(layer: str, _module: SpikingLayer, _currents: Tensor, spikes: Tensor) -> None:
            self.add(layer, spikes)

        with watching(model, add, plif_layers(model)):
            yield

    def rates(self) -> dict[str, float]:
        """The share of (neuron, time step, clip) with a spike, from 0 to 1, for every layer."""
        return {layer: float(total) / self.size[layer] for layer, total in self.fired.items()}

    def rate(self) -> float:
        """The same share over all layers together; raises `ZeroDivisionError` where nothing was counted."""
        return sum(map(float, self.fired.values())) / sum(self.size.values())


def firing_rates(spikes: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """The share of (neuron, time step) with a spike, from 0 to 1, for every layer of `record_spikes`."""
    counter = SpikeCounter()
    for layer, fired in spikes.items():
        counter.add(layer, torch.from_numpy(fired))
    return counter.rates()
