"""The neuron of all models in the zoo, with nothing of any library in it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import deploy

TAU = 2.0  # membrane time constant in time steps


class LIF(nn.Module):
    """`v <- v + (x - v) / tau`, a spike at v >= threshold, then v = 0; x is [T, B, ..].

    A training puts a function with a surrogate gradient in the place of `fire`.
    """

    fire: Callable[[Tensor], Tensor] = staticmethod(lambda over: (over >= 0).to(over))

    def __init__(self, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        v, spikes = torch.zeros_like(x[0]), []
        for frame in x:
            v = v + (frame - v) / TAU
            spike = self.fire(v - self.threshold)
            v = v * (1 - spike)
            spikes.append(spike)
        return torch.stack(spikes)


def describe(module: Any) -> deploy.Neuron:
    """The same for `deploy.from_torch`."""
    return deploy.Neuron(tau=TAU, threshold=module.threshold)
