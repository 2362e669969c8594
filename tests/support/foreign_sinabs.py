"""Layers of tensors [B, T, ..] as sinabs 3 writes them: class names, attributes and equations, without the library."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foreign_neurons import of_library


class SingleSpike:
    """At most one spike a time step."""


class MultiSpike:
    """As many as the threshold fits into the potential; what sinabs does where nothing is said."""


@dataclass
class MembraneSubtract:
    subtract_value: float | None = None


@dataclass
class MembraneReset:
    reset_value: float = 0.0


@of_library("sinabs.layers.stateful_layer")
class StatefulLayer(nn.Module):
    pass


@of_library("sinabs.layers.lif")
class LIF(StatefulLayer):
    def __init__(self, tau_mem: float = 5.0, tau_syn: float | None = None, **options: Any) -> None:
        super().__init__()
        self.alpha_mem_calculated = torch.exp(-1 / torch.tensor(tau_mem, dtype=torch.float64))
        self.alpha_syn_calculated = None if tau_syn is None else torch.exp(-1 / torch.tensor(tau_syn))
        self.spike_threshold, self.min_v_mem = torch.tensor(1.0), options.get("min_v_mem")
        self.spike_fn, self.norm_input = options.get("spike_fn", SingleSpike), options.get("norm_input", True)
        self.reset_fn = options.get("reset_fn", MembraneSubtract())
        self.reset_states()

    def reset_states(self, randomize: bool = False) -> None:
        self.v_mem: float | Tensor = 0.0
        self.i_syn: float | Tensor = 0.0

    def step(self, x: Tensor) -> Tensor:
        alpha, fast = self.alpha_mem_calculated, self.alpha_syn_calculated
        self.i_syn = x if fast is None else fast * (self.i_syn + x)
        self.v_mem = alpha * self.v_mem + ((1 - alpha) * self.i_syn if self.norm_input else self.i_syn)
        if self.spike_fn is None:
            return self.v_mem
        times = (self.v_mem > 0) * torch.div(self.v_mem, self.spike_threshold, rounding_mode="trunc")
        spikes = times if self.spike_fn is MultiSpike else (self.v_mem >= self.spike_threshold).to(x)
        if isinstance(self.reset_fn, MembraneSubtract):
            value = self.reset_fn.subtract_value
            self.v_mem = self.v_mem - spikes * (self.spike_threshold if value is None else value)
        else:
            self.v_mem = self.v_mem * (spikes == 0) + self.reset_fn.reset_value
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.step(frame) for frame in x.unbind(1)], 1)


@of_library("sinabs.layers.iaf")
class IAF(LIF):
    def __init__(self, **options: Any) -> None:
        super().__init__(norm_input=False, **options)
        self.alpha_mem_calculated = torch.tensor(1.0)


@of_library("sinabs.layers.exp_leak")
class ExpLeak(LIF):
    def __init__(self, tau_mem: float = 5.0) -> None:
        super().__init__(tau_mem, spike_fn=None, norm_input=False)


@of_library("sinabs.layers.iaf")
class IAFSqueeze(IAF):
    """Of tensors [B T, ..]."""

    def __init__(self, batch_size: int = -1, num_timesteps: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.batch_size, self.num_timesteps = batch_size, num_timesteps

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(self.batch_size, self.num_timesteps, *x.shape[1:])).flatten(0, 1)


@of_library("sinabs.layers.alif")
class ALIF(LIF):
    """Its threshold rises with every spike, which no node has."""

    def step(self, x: Tensor) -> Tensor:
        spikes = super().step(x)
        self.spike_threshold = self.spike_threshold + spikes.mean()
        return spikes
