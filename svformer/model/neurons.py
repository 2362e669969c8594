"""The spiking neuron of SVFormer, a parametric LIF neuron; the only file that imports norse.

Shapes: T time steps, `...` the shape of a layer, here (B, C, H, W).
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
    """Heaviside step, `x >= 0`, with an arctangent's derivative as its surrogate gradient.

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

    A time step is one frame (dt = 1), so `tau = 1 / sigmoid(w)` is in time steps and always above 1; `tau` is its value
    at the start of training.
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
        """1 / tau, from 0 to 1, a scalar tensor with a gradient."""
        return torch.sigmoid(self.w)

    @property
    def threshold(self) -> Tensor | float:
        """The membrane potential at which a neuron fires."""
        return self.v_th

    def extra_repr(self) -> str:
        return f"tau={1 / self.tau_mem_inv.item():.4g}, v_th={self.v_th}"


class LIFBoxFixedPoint(LIFBoxTrainable):
    """Parameters rounded to values that a chip stores: a decay of 12 bits, and a threshold on a grid.

    The grid is that of the rescaled potential v' = v / decay, to which currents are added without a factor. Gradients
    pass the rounding unchanged.
    """

    @property
    def tau_mem_inv(self) -> Tensor:
        """1 / tau, a whole multiple of 2^-12 and at least one."""
        return rounded(super().tau_mem_inv, DECAY_STEP).clamp(min=DECAY_STEP)

    @property
    def threshold(self) -> Tensor:
        """The membrane potential at which a neuron fires: a whole multiple of 2^-6 / tau."""
        decay = self.tau_mem_inv
        return rounded(self.v_th / decay, THRESHOLD_STEP) * decay


def charged(input_tensor: Tensor, state: LIFBoxFeedForwardState, p: LIFBoxTrainable, dt: float) -> Tensor:
    """The membrane potential after the input of one time step, before a reset."""
    v: Tensor = state.v + dt * p.tau_mem_inv * (input_tensor + p.v_leak - state.v)
    return v


def plif_step(
    input_tensor: Tensor, state: LIFBoxFeedForwardState, p: LIFBoxTrainable, dt: float
) -> tuple[Tensor, LIFBoxFeedForwardState]:
    """One time step: norse's `lif_box_feed_forward_step` with `>=` at the threshold and a hard reset.

    The reset passes no gradient. Returns spikes (0 or 1) and the state after the step, both of the input's shape.
    """
    v = charged(input_tensor, state, p, dt)
    spikes: Tensor = ArctanSpike.apply(v - p.threshold, p.alpha)  # type: ignore[no-untyped-call]
    return spikes, LIFBoxFeedForwardState(v=v.masked_fill(spikes.detach().bool(), p.v_reset))


class SubtractiveLIF(nn.Module):
    """LIF neurons whose spikes take 1 off their potential: currents [T, ...] -> spikes [T, ...] of 0 and 1.

    `v <- (1 - decay) v + x`, spike when `v >= 1/2`, then `v <- v - 1`; `v = 0` before the first time step. Without a
    decay the number of spikes is the sum of the currents, rounded, as long as that grows by no more than 1 in a time
    step (Deng and Gu, ICLR 2021).
    """

    threshold = 0.5

    def __init__(self, *, tau: float) -> None:
        super().__init__()
        self.decay = 1 / tau

    def forward(self, input_tensor: Tensor) -> Tensor:
        """The spikes of all time steps."""
        return (self.potentials(input_tensor) >= self.threshold).to(input_tensor.dtype)

    def potentials(self, input_tensor: Tensor) -> Tensor:
        """Membrane potentials [T, ...] that are compared with the threshold: before a reset."""
        v, seen = torch.zeros_like(input_tensor[0]), []
        for current in input_tensor.unbind(0):
            v = (1 - self.decay) * v + current
            seen.append(v)
            v = v - (v >= self.threshold).to(v.dtype)
        return torch.stack(seen)

    def extra_repr(self) -> str:
        return f"tau={1 / self.decay:.4g}"


def _at_rest(input_tensor: Tensor) -> LIFBoxFeedForwardState:
    return LIFBoxFeedForwardState(v=torch.zeros_like(input_tensor[0]))


class PLIF(SNN):
    """Parametric LIF layer over time: currents [T, ...] -> spikes [T, ...] of 0 and 1.

    `v <- v + (x - v) * sigmoid(w)`, spike when `v >= v_th`, then `v <- 0`; `v = 0` before the first time step
    (arXiv 2406.15034, section 3.2). The layer has one trainable scalar `w`; `tau` is the membrane time constant at the
    start, in time steps. `fixed_point` rounds decay and threshold to values that a chip stores.
    """

    def __init__(self, *, tau: float = 2.0, v_th: float = 1.0, fixed_point: bool = False) -> None:
        parameters = LIFBoxFixedPoint if fixed_point else LIFBoxTrainable
        super().__init__(plif_step, _at_rest, parameters(tau=tau, v_th=v_th), dt=1.0)

    @property
    def decay(self) -> float:
        """`sigmoid(w) = 1 / tau`: the share of the distance to the input that v covers in one time step, 0 to 1."""
        with torch.no_grad():
            return float(self.p.tau_mem_inv)

    @property
    def threshold(self) -> float:
        """The membrane potential at which the layer fires."""
        with torch.no_grad():
            return float(self.p.threshold)

    def forward(self, input_tensor: Tensor) -> Tensor:
        """Currents [T, ...] -> spikes [T, ...] as in `step_loop`, in one call where `multistep` supports it."""
        if not multistep.takes(input_tensor):
            return self.step_loop(input_tensor)
        p = self.p
        threshold = multistep.number(p.threshold, like=input_tensor)
        return multistep.lif_box(
            input_tensor, self.dt * p.tau_mem_inv, threshold, v_leak=p.v_leak, v_reset=p.v_reset, alpha=p.alpha
        )

    def step_loop(self, input_tensor: Tensor) -> Tensor:
        """Currents [T, ...] -> spikes [T, ...]. The definition: norse's cell, one time step after the other.

        `SNN.forward` indexes `input_tensor[t]`, and the gradient of every index fills a tensor of all T steps. `unbind`
        has one gradient for all of them: the results are the same, the memory traffic does not grow with T squared.
        """
        state = self.state_fallback(input_tensor)
        spikes = []
        for current in input_tensor.unbind(0):
            fired, state = self.activation(current, state, self.p, self.dt)
            spikes.append(fired)
        return torch.stack(spikes)

    def potentials(self, input_tensor: Tensor) -> Tensor:
        """Currents [T, ...] -> membrane potentials [T, ...] that are compared with the threshold: before a reset."""
        state, seen = self.state_fallback(input_tensor), []
        for current in input_tensor.unbind(0):
            seen.append(charged(current, state, self.p, self.dt))
            _, state = self.activation(current, state, self.p, self.dt)
        return torch.stack(seen)


SpikingLayer = PLIF | SubtractiveLIF  # what sends spikes; `isinstance` takes it, too
