"""The spiking neuron of SVFormer; the only file that builds norse neurons.

Shapes: T time steps, `...` any shape of a layer (B, C, H, W).
"""

import math
from typing import Any

import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from norse.torch.module.snn import SNN
from torch import Tensor, nn

from svformer.model import multistep
from svformer.model.qat import DECAY_STEP, THRESHOLD_STEP, rounded


class ArctanSpike(torch.autograd.Function):
    """Heaviside step, `x >= 0`, with the derivative of an arctangent in the backward pass.

    d spike / d x = (alpha / 2) / (1 + (pi / 2 * alpha * x)^2)  (Fang et al., ICCV 2021, eq. 8; alpha = 2 in SVFormer).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        slope = (math.pi / 2 * ctx.alpha) * x
        return grad_outputs[0] * (ctx.alpha / 2) / (1 + slope * slope), None


class LIFBoxTrainable(nn.Module):
    """norse's LIF-box parameters with a trainable membrane time constant: `dt * tau_mem_inv = sigmoid(w)`.

    The time step is 1 frame, so `tau = 1 / sigmoid(w)` is in time steps and always above 1.
    """

    def __init__(self, *, tau: float, v_th: float, alpha: float = 2.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1.0)))
        self.v_leak = 0.0
        self.v_reset = 0.0
        self.v_th = v_th
        self.alpha = alpha

    @property
    def tau_mem_inv(self) -> Tensor:
        return torch.sigmoid(self.w)

    @property
    def threshold(self) -> Tensor | float:
        return self.v_th

    def extra_repr(self) -> str:
        return f"tau={1 / self.tau_mem_inv.item():.4g}, v_th={self.v_th}"


class LIFBoxFixedPoint(LIFBoxTrainable):
    """The same with what a chip stores: a decay of 12 bits, and a threshold on a grid where the potential counts in
    units of the decay (v' = v / decay, so that currents enter without a factor). Gradients pass the rounding.
    """

    @property
    def tau_mem_inv(self) -> Tensor:
        return rounded(super().tau_mem_inv, DECAY_STEP).clamp(min=DECAY_STEP)

    @property
    def threshold(self) -> Tensor:
        decay = self.tau_mem_inv
        return rounded(self.v_th / decay, THRESHOLD_STEP) * decay


def charged(input_tensor: Tensor, state: LIFBoxFeedForwardState, p: LIFBoxTrainable, dt: float) -> Tensor:
    """The potential after one time step's input, before a reset."""
    v: Tensor = state.v + dt * p.tau_mem_inv * (input_tensor + p.v_leak - state.v)
    return v


def plif_step(
    input_tensor: Tensor, state: LIFBoxFeedForwardState, p: LIFBoxTrainable, dt: float
) -> tuple[Tensor, LIFBoxFeedForwardState]:
    """One time step: norse's `lif_box_feed_forward_step` with `>=` at the threshold and a detached hard reset."""
    v = charged(input_tensor, state, p, dt)
    spikes: Tensor = ArctanSpike.apply(v - p.threshold, p.alpha)  # type: ignore[no-untyped-call]
    return spikes, LIFBoxFeedForwardState(v=v.masked_fill(spikes.detach().bool(), p.v_reset))


def _at_rest(input_tensor: Tensor) -> LIFBoxFeedForwardState:
    return LIFBoxFeedForwardState(v=torch.zeros_like(input_tensor[0]))


class PLIF(SNN):
    """Parametric LIF layer over time: currents [T, ...] -> spikes [T, ...] of 0 and 1.

    `v <- v + (x - v) * sigmoid(w)`, spike when `v >= v_th`, then `v <- 0`; `v = 0` before the first time step
    (arXiv 2406.15034, section 3.2). One trainable scalar `w` for the layer. `fixed_point` rounds decay and threshold
    as a chip does.
    """

    def __init__(self, *, tau: float = 2.0, v_th: float = 1.0, fixed_point: bool = False) -> None:
        parameters = LIFBoxFixedPoint if fixed_point else LIFBoxTrainable
        super().__init__(plif_step, _at_rest, parameters(tau=tau, v_th=v_th), dt=1.0)

    @property
    def decay(self) -> float:
        """`sigmoid(w) = 1 / tau`: the share of the distance to the input that v covers in one time step."""
        with torch.no_grad():
            return float(self.p.tau_mem_inv)

    @property
    def threshold(self) -> float:
        """The potential at which the layer fires."""
        with torch.no_grad():
            return float(self.p.threshold)

    def forward(self, input_tensor: Tensor) -> Tensor:
        """Currents [T, ...] -> spikes [T, ...]: the numbers of `step_loop`, at once where that can be done."""
        if not multistep.takes(input_tensor):
            return self.step_loop(input_tensor)
        p = self.p
        threshold = multistep.number(p.threshold, like=input_tensor)
        return multistep.lif_box(
            input_tensor, self.dt * p.tau_mem_inv, threshold, v_leak=p.v_leak, v_reset=p.v_reset, alpha=p.alpha
        )

    def step_loop(self, input_tensor: Tensor) -> Tensor:
        """The definition: norse's cell, one time step after the other.

        `SNN.forward` indexes `input_tensor[t]`, and the gradient of every index fills a tensor of all T steps;
        `unbind` has one gradient for all of them. Same numbers, no T^2 memory traffic.
        """
        state = self.state_fallback(input_tensor)
        spikes = []
        for current in input_tensor.unbind(0):
            fired, state = self.activation(current, state, self.p, self.dt)
            spikes.append(fired)
        return torch.stack(spikes)

    def potentials(self, input_tensor: Tensor) -> Tensor:
        """Currents [T, ...] -> potentials [T, ...] as the threshold sees them: before a reset."""
        state, seen = self.state_fallback(input_tensor), []
        for current in input_tensor.unbind(0):
            seen.append(charged(current, state, self.p, self.dt))
            _, state = self.activation(current, state, self.p, self.dt)
        return torch.stack(seen)
