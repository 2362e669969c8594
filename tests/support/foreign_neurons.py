"""Neurons as SpikingJelly and snnTorch write them: class names, attributes and equations, without their libraries."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


def of_library(module: str) -> Any:
    """A class that says it comes from this module."""

    def renamed(kind: type) -> type:
        kind.__module__ = module
        return kind

    return renamed


@of_library("spikingjelly.activation_based.neuron.base_node")
class BaseNode(nn.Module):
    """Potential, threshold, reset; `v_reset` None subtracts the threshold. `step_mode` "m": [T, B, ..], "s": a step."""

    def __init__(self, v_threshold: float = 1.0, v_reset: float | None = 0.0, step_mode: str = "m") -> None:
        super().__init__()
        self.v_threshold, self.v_reset, self.step_mode = v_threshold, v_reset, step_mode
        self.surrogate_function = SimpleNamespace(spiking=True)
        self.reset()

    def reset(self) -> None:
        self.v: float | Tensor = 0.0 if self.v_reset is None else self.v_reset

    def neuronal_charge(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def step(self, x: Tensor) -> Tensor:
        v = self.neuronal_charge(x)
        spike = (v >= self.v_threshold).to(x)
        self.v = v - spike * self.v_threshold if self.v_reset is None else (1 - spike) * v + spike * self.v_reset
        return spike

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x) if self.step_mode == "s" else torch.stack([self.step(frame) for frame in x])


@of_library("spikingjelly.activation_based.neuron.integrate_and_fire")
class IFNode(BaseNode):
    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.v + x


@of_library("spikingjelly.activation_based.neuron.lif")
class LIFNode(BaseNode):
    def __init__(self, tau: float = 2.0, decay_input: bool = True, **base: Any) -> None:
        super().__init__(**base)
        self.tau, self.decay_input = tau, decay_input

    def neuronal_charge(self, x: Tensor) -> Tensor:
        rest = self.v_reset or 0.0
        if self.decay_input:
            return self.v + (x - (self.v - rest)) / self.tau
        return self.v - (self.v - rest) / self.tau + x


@of_library("spikingjelly.activation_based.neuron.plif")
class ParametricLIFNode(BaseNode):
    def __init__(self, w: float = 0.0, **base: Any) -> None:
        super().__init__(**base)
        self.w, self.decay_input = nn.Parameter(torch.tensor(w)), True

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.v + (x - (self.v - (self.v_reset or 0.0))) * self.w.sigmoid()


@of_library("spikingjelly.clock_driven.neuron")
class MultiStepLIFNode(LIFNode):
    """Of the versions before step_mode: all time steps in a call, by the name of the class."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        del self.step_mode

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.step(frame) for frame in x])


@of_library("spikingjelly.activation_based.neuron.nonlinear_if")
class QIFNode(BaseNode):
    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.v + x + 0.1 * self.v * (self.v - 1)


class MultiSpike(nn.Module):
    """`round(clip(x, 0, max_value)) / Norm`, as in the files of E-SpikeFormer."""

    def __init__(self, min_value: int = 0, max_value: int = 4, norm: int | None = None) -> None:
        super().__init__()
        self.min_value, self.max_value, self.Norm = min_value, max_value, norm or max_value

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.clamp(x, self.min_value, self.max_value)) / self.Norm


@of_library("snntorch._neurons.neurons")
class SpikingNeuron(nn.Module):
    pass


@of_library("snntorch._neurons.leaky")
class Leaky(SpikingNeuron):
    """`v <- beta v + x`, a spike at v > threshold; the reset comes with the next step. Returns spikes and potential."""

    def __init__(self, beta: float, reset_mechanism: str = "subtract", reset_delay: bool = True) -> None:
        super().__init__()
        self.register_buffer("beta", torch.as_tensor(beta))
        self.register_buffer("threshold", torch.as_tensor(1.0))
        self.register_buffer("mem", torch.zeros(0), persistent=False)
        self.reset_mechanism, self.reset_delay = reset_mechanism, reset_delay

    def reset_mem(self) -> Tensor:
        self.mem = torch.zeros_like(self.mem)
        return self.mem

    def forward(self, x: Tensor, mem: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = self.mem if mem is None else mem
        v = torch.zeros_like(x) if v.shape != x.shape else v
        late = (v > self.threshold).to(x)
        if self.reset_mechanism == "zero":
            v = self.beta * ((1 - late) * v) + x
        else:
            v = self.beta * v + x - late * self.threshold
        self.mem = v
        return (v > self.threshold).to(x), v


@of_library("snntorch._neurons.rleaky")
class RLeaky(Leaky):
    """Leaky that hears its own spikes, through `recurrent`, a time step late. Returns spikes and potential."""

    def __init__(self, recurrent: nn.Module, beta: float, reset_mechanism: str = "subtract") -> None:
        super().__init__(beta, reset_mechanism)
        self.recurrent = recurrent

    def forward(self, x: Tensor, spk: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x + self.recurrent(spk), mem)


class Own(nn.Module):
    """What stands for `recurrent` where each neuron hears itself alone."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.V = torch.tensor(factor)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.V


@of_library("snntorch._neurons.synaptic")
class Synaptic(Leaky):
    """Leaky, with `u <- alpha u + x` in place of x. Returns spikes, current and potential."""

    def __init__(self, alpha: float, beta: float, **options: Any) -> None:
        super().__init__(beta, **options)
        self.register_buffer("alpha", torch.as_tensor(alpha))

    def forward(self, x: Tensor, syn: Tensor, mem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        late = (mem > self.threshold).to(x)
        syn = self.alpha * syn + x
        v = self.beta * mem + syn - late * self.threshold
        return (v > self.threshold).to(x), syn, v
