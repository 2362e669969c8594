"""A recurrent spiking network: convolutional layers of LIF neurons that also receive their spikes of the last frame."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from svformer.baselines.base import Baseline
from svformer.config import (
    DOWN_KERNEL,
    DOWN_PADDING,
    DOWN_STRIDE,
    STEM_KERNEL,
    STEM_PADDING,
    STEM_STRIDE,
    SVFormerConfig,
)
from svformer.model.layers import Conv
from svformer.model.neurons import PLIF, charged
from svformer.model.weighted import norm


class RecurrentPLIF(PLIF):
    """`PLIF` whose input in each time step also has a 3x3 convolution of its spikes in the step before.

    Currents [T, B, C, H, W] -> spikes of the same shape; no spike precedes the first time step.
    """

    def __init__(self, channels: int, *, tau: float, v_th: float) -> None:
        super().__init__(tau=tau, v_th=v_th)
        self.recurrent = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, input_tensor: Tensor) -> Tensor:
        """The spikes of all time steps, one step after the other."""
        return torch.stack([fired for _, fired in self._steps(input_tensor)])

    def potentials(self, input_tensor: Tensor) -> Tensor:
        """The membrane potentials [T, ...] that are compared with the threshold: before a reset."""
        return torch.stack([potential for potential, _ in self._steps(input_tensor)])

    def _steps(self, input_tensor: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The potential and the spikes of every time step."""
        state, fired = self.state_fallback(input_tensor), torch.zeros_like(input_tensor[0])
        for current in input_tensor.unbind(0):
            drive = current + self.recurrent(fired)
            potential = charged(drive, state, self.p, self.dt)
            fired, state = self.activation(drive, state, self.p, self.dt)
            yield potential, fired


class RecurrentLayer(nn.Module):
    """Convolution and norm of every frame, then recurrent neurons."""

    def __init__(self, conv: Conv, config: SVFormerConfig) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm(conv.out_channels, config)
        self.plif = RecurrentPLIF(conv.out_channels, tau=config.initial_tau, v_th=config.threshold)

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.plif(self.norm(self.conv(x)))
        return spikes


class RecurrentSnn(Baseline):
    """One recurrent layer for each of SVFormer's stages, its stem and patch embeddings in front: logits [B, K].

    The logits are a linear function of the mean spikes of the last layer.
    """

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        widths = config.embed_dims
        convs = [Conv(config.in_channels, widths[0], STEM_KERNEL, STEM_STRIDE, STEM_PADDING)]
        convs += [Conv(a, b, DOWN_KERNEL, DOWN_STRIDE, DOWN_PADDING) for a, b in itertools.pairwise(widths)]
        self.layers = nn.Sequential(*(RecurrentLayer(conv, config) for conv in convs))
        self.fc = nn.Linear(widths[3], config.num_classes)

    def features(self, frames_TBCHW: Tensor) -> Tensor:
        """The spikes of the last layer."""
        spikes: Tensor = self.layers(frames_TBCHW)
        return spikes
