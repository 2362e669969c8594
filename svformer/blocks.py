"""The blocks of SVFormer (arXiv 2406.15034, figure 2). All take and give membrane currents [T, B, C, H, W].

Shortcuts carry currents (real numbers); only the outputs of `PLIF` are spikes. Attribute names are the layer names
that the NIR file, the reports and the table of published firing rates use.
"""

import torch
from torch import Tensor, nn

from svformer.config import (
    DOWN_KERNEL,
    DOWN_PADDING,
    DOWN_STRIDE,
    STEM_KERNEL,
    STEM_PADDING,
    STEM_STRIDE,
    SVFormerConfig,
)
from svformer.layers import Conv, TimeNorm, readout_convolution, spiking_attention
from svformer.neurons import PLIF


def neuron(config: SVFormerConfig) -> PLIF:
    return PLIF(tau=config.initial_tau, v_th=config.threshold)


def norm(channels: int, config: SVFormerConfig) -> TimeNorm:
    """A norm whose gain starts at tau times the threshold: a neuron takes in 1 / tau of its input, and would hardly
    ever fire (and learn) at the start with a gain of 1.
    """
    layer = TimeNorm(channels, frames=config.frames, mode=config.norm)
    nn.init.constant_(layer.weight, config.initial_tau * config.threshold)
    return layer


class Stem(nn.Module):
    """Frames enter as real numbers: convolution and norm, no neuron in front."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__()
        width = config.embed_dims[0]
        self.conv = Conv(config.in_channels, width, STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        self.norm = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Down(nn.Module):
    """Patch embedding between two stages: half the height and width."""

    def __init__(self, in_width: int, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.plif = neuron(config)
        self.conv = Conv(in_width, width, DOWN_KERNEL, DOWN_STRIDE, DOWN_PADDING)
        self.norm = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.plif(x)))


class LocalMixer(nn.Module):
    """1x1, depthwise 5x5, 1x1 convolution in a row, with one neuron in front and none between."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.plif = neuron(config)
        self.conv1 = Conv(width, width, 1)
        self.dwconv = Conv(width, width, 5, padding=2, groups=width)
        self.conv2 = Conv(width, width, 1)
        self.norm = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv2(self.dwconv(self.conv1(self.plif(x)))))


class Attention(nn.Module):
    """Spiking self-attention over the positions of one frame; it never mixes time steps."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.heads = width // config.head_dim
        self.plif_in = neuron(config)
        self.qkv = Conv(width, 3 * width, 1)
        self.norm1 = norm(3 * width, config)
        self.plif_q = neuron(config)
        self.plif_k = neuron(config)
        self.plif_v = neuron(config)
        self.plif_proj = neuron(config)
        self.proj = Conv(width, width, 1)
        self.norm2 = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.norm1(self.qkv(self.plif_in(x))).chunk(3, dim=2)
        a = spiking_attention(self.plif_q(q), self.plif_k(k), self.plif_v(v), heads=self.heads)
        return self.norm2(self.proj(self.plif_proj(a)))


class Mlp(nn.Module):
    """Two 1x1 layers with a neuron in front of each."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        hidden = width * config.mlp_ratio
        self.plif1 = neuron(config)
        self.fc1 = Conv(width, hidden, 1)
        self.norm1 = norm(hidden, config)
        self.plif2 = neuron(config)
        self.fc2 = Conv(hidden, width, 1)
        self.norm2 = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm1(self.fc1(self.plif1(x)))
        return self.norm2(self.fc2(self.plif2(hidden)))


class LocalBlock(nn.Module):
    """Block of stages 1 and 2."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.local = LocalMixer(width, config)
        self.mlp = Mlp(width, config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.local(x)
        return x + self.mlp(x)


class GlobalBlock(nn.Module):
    """Block of stages 3 and 4."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.attn = Attention(width, config)
        self.mlp = Mlp(width, config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class LocalPath(nn.Module):
    """Depthwise 3x3 and 1x1 convolution from the third patch embedding to the head."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__()
        in_width, width = config.embed_dims[2:]
        self.plif = neuron(config)
        self.dwconv = Conv(in_width, in_width, 3, stride=2, padding=1, groups=in_width)
        self.pwconv = Conv(in_width, width, 1)
        self.norm = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pwconv(self.dwconv(self.plif(x))))


class Head(nn.Module):
    """Local path and stage 4 side by side, one neuron layer, then a linear readout of the whole clip."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__()
        width, size = 2 * config.embed_dims[3], config.stage_sizes[3]
        self.plif = neuron(config)
        self.conv3d = nn.Conv3d(width, width, (config.frames, size, size), groups=width // 2)
        self.bn3d = nn.BatchNorm3d(width)
        self.fc = nn.Linear(width, config.num_classes)

    def forward(self, local: Tensor, x: Tensor) -> Tensor:
        spikes = self.plif(torch.cat([local, x], dim=2))
        summed = self.bn3d(readout_convolution(spikes, self.conv3d))
        return self.fc(summed.flatten(1))
