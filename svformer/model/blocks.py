"""The blocks of SVFormer (arXiv 2406.15034, figure 2). Inputs and outputs are input currents [T, B, C, H, W].

Shortcuts carry currents (real numbers); only the outputs of `PLIF` are spikes. Attribute names are the layer names
in the NIR file, the reports and the table of published firing rates.
"""

import functools

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
from svformer.model.layers import Conv, TimeNorm, readout_convolution, softmax_attention, spiking_attention
from svformer.model.neurons import PLIF
from svformer.model.qat import input_step, quantised_chain, quantised_classifier, quantised_readout


def neuron(config: SVFormerConfig) -> PLIF | nn.ReLU:
    """A neuron layer of the geometry: `PLIF`, or ReLU where `config.activation` is "relu"."""
    if config.activation == "relu":
        return nn.ReLU()
    return PLIF(tau=config.initial_tau, v_th=config.threshold, fixed_point=config.weight_bits is not None)


def norm(channels: int, config: SVFormerConfig) -> TimeNorm:
    """A norm whose gain starts at tau times the threshold.

    A neuron integrates only 1 / tau of its input in one time step. With a gain of 1 it would hardly ever fire at the
    start of training, and so would not learn.
    """
    layer = TimeNorm(channels, frames=config.frames, mode=config.norm)
    if config.activation == "spiking":
        nn.init.constant_(layer.weight, config.initial_tau * config.threshold)
    return layer


class Weighted(nn.Module):
    """A block with weights, which are rounded to `config.weight_bits` bits where that is not None."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__()
        self.weight_bits = config.weight_bits

    def current(self, x: Tensor, *convs: Conv, norm: TimeNorm, base_step: float = 1.0) -> Tensor:
        """`norm(...convs[1](convs[0](x)))`, as one rounded connection with `weight_bits`; see `quantised_chain`."""
        if self.weight_bits is None:
            for conv in convs:
                x = conv(x)
            return norm(x)
        size, bits = x.shape[-1], self.weight_bits
        return quantised_chain(convs, norm, size=size, weight_bits=bits, base_step=base_step)(x)


class Stem(Weighted):
    """Convolution and norm of the clip's frames, which are real numbers: there is no neuron in front."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        width = config.embed_dims[0]
        self.conv = Conv(config.in_channels, width, STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        self.norm = norm(width, config)
        self.base_step = input_step(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.current(x, self.conv, norm=self.norm, base_step=self.base_step)


class Down(Weighted):
    """Patch embedding between two stages, which halves height and width: neuron, convolution, norm."""

    def __init__(self, in_width: int, width: int, config: SVFormerConfig) -> None:
        super().__init__(config)
        self.plif = neuron(config)
        self.conv = Conv(in_width, width, DOWN_KERNEL, DOWN_STRIDE, DOWN_PADDING)
        self.norm = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.current(self.plif(x), self.conv, norm=self.norm)


class LocalMixer(Weighted):
    """Three convolutions in a row (1x1, depthwise 5x5, 1x1) with one neuron in front and none between.

    With `config.local_neurons` a norm and a neuron follow each of the first two, so that the input of all three
    convolutions is spikes.
    """

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__(config)
        self.local_neurons = config.local_neurons
        self.plif = neuron(config)
        self.conv1 = Conv(width, width, 1)
        self.dwconv = Conv(width, width, 5, padding=2, groups=width)
        self.conv2 = Conv(width, width, 1)
        self.norm = norm(width, config)
        if self.local_neurons:
            self.norm1, self.plif2 = norm(width, config), neuron(config)
            self.norm2, self.plif3 = norm(width, config), neuron(config)

    def forward(self, x: Tensor) -> Tensor:
        x = self.plif(x)
        if not self.local_neurons:
            return self.current(x, self.conv1, self.dwconv, self.conv2, norm=self.norm)
        x = self.plif2(self.current(x, self.conv1, norm=self.norm1))
        x = self.plif3(self.current(x, self.dwconv, norm=self.norm2))
        return self.current(x, self.conv2, norm=self.norm)


class SelfAttention(Weighted):
    """Self-attention over the positions of one frame; time steps are never mixed."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__(config)
        if config.activation == "relu":
            self.attend = softmax_attention
        else:
            self.attend = functools.partial(spiking_attention, order=config.attention_order)
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
        q, k, v = self.current(self.plif_in(x), self.qkv, norm=self.norm1).chunk(3, dim=2)
        a = self.attend(self.plif_q(q), self.plif_k(k), self.plif_v(v), heads=self.heads)
        return self.current(self.plif_proj(a), self.proj, norm=self.norm2)


class Mlp(Weighted):
    """Two 1x1 convolutions, each with a neuron in front and a norm behind it."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__(config)
        hidden = width * config.mlp_ratio
        self.plif1 = neuron(config)
        self.fc1 = Conv(width, hidden, 1)
        self.norm1 = norm(hidden, config)
        self.plif2 = neuron(config)
        self.fc2 = Conv(hidden, width, 1)
        self.norm2 = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.current(self.plif1(x), self.fc1, norm=self.norm1)
        return self.current(self.plif2(hidden), self.fc2, norm=self.norm2)


class LocalBlock(nn.Module):
    """Block of stages 1 and 2: `x + local(x)`, then `x + mlp(x)`."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.local = LocalMixer(width, config)
        self.mlp = Mlp(width, config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.local(x)
        return x + self.mlp(x)


class GlobalBlock(nn.Module):
    """Block of stages 3 and 4: `x + attn(x)`, then `x + mlp(x)`."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.attn = SelfAttention(width, config)
        self.mlp = Mlp(width, config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class LocalPath(Weighted):
    """Depthwise 3x3 and 1x1 convolution that lead from the third patch embedding to the head."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        in_width, width = config.embed_dims[2:]
        self.plif = neuron(config)
        self.dwconv = Conv(in_width, in_width, 3, stride=2, padding=1, groups=in_width)
        self.pwconv = Conv(in_width, width, 1)
        self.norm = norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.current(self.plif(x), self.dwconv, self.pwconv, norm=self.norm)


class Head(Weighted):
    """Local path and stage 4, concatenated; one neuron layer; a linear readout of the whole clip: logits [B, K]."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        width, size = 2 * config.embed_dims[3], config.stage_sizes[3]
        self.plif = neuron(config)
        self.conv3d = nn.Conv3d(width, width, (config.frames, size, size), groups=width // 2)
        self.bn3d = nn.BatchNorm3d(width)
        self.fc = nn.Linear(width, config.num_classes)

    def forward(self, local: Tensor, x: Tensor) -> Tensor:
        spikes = self.plif(torch.cat([local, x], dim=2))
        if self.weight_bits is None:
            summed = self.bn3d(readout_convolution(spikes, self.conv3d))
            return self.fc(summed.flatten(1))
        by_step = quantised_readout(self.conv3d, self.bn3d, weight_bits=self.weight_bits)
        summed = torch.stack([connection(frame) for connection, frame in zip(by_step, spikes, strict=True)]).sum(0)
        return quantised_classifier(self.fc, weight_bits=self.weight_bits)(summed).flatten(1)
