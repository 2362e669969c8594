"""The blocks of SVFormer (arXiv 2406.15034, figure 2). Inputs and outputs are input currents [T, B, C, H, W].

Shortcuts carry currents (real numbers); only the outputs of `PLIF` are spikes. Attribute names are the layer names
in the NIR file, the reports and the table of published firing rates.
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
from svformer.model.attention import ATTENTIONS
from svformer.model.layers import Conv, readout_convolution
from svformer.model.qat import input_step, quantised_classifier, quantised_readout
from svformer.model.weighted import Weighted, neuron, norm


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
        self.attn = ATTENTIONS[config.attention](width, config)
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
