"""Spiking networks without attention: SEW-ResNet (Fang et al., NeurIPS 2021, arXiv 2102.04159), MS-ResNet (Hu et al.,
arXiv 2112.08954) and a VGG with batch norms; three stages, each half as large and twice as wide as the one before.
"""

from collections.abc import Callable

from torch import Tensor, nn

from zoo_models.layers import PerFrame, Readout, Size, conv_norm, conv_spikes, max_pool, spikes_conv
from zoo_models.neuron import LIF


class SEWBlock(nn.Module):
    """Two convolutions with neurons behind them; spikes are added at the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv_spikes(inputs, outputs, stride=stride), conv_spikes(outputs, outputs))
        self.shortcut = nn.Identity() if stride == 1 else conv_spikes(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x) + self.shortcut(x)


class MSBlock(nn.Module):
    """Two convolutions with neurons in front of them; currents are added at the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(spikes_conv(inputs, outputs, stride=stride), spikes_conv(outputs, outputs))
        self.shortcut = nn.Identity() if stride == 1 else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x) + self.shortcut(x)


def stages(size: Size, block: Callable[[int, int, int], nn.Module]) -> nn.Sequential:
    """Three stages of `depth` blocks; the first block of the second and third has a stride."""
    narrow, middle, wide = size.width // 4, size.width // 2, size.width
    blocks: list[nn.Module] = []
    for inputs, outputs, stride in ((narrow, narrow, 1), (narrow, middle, 2), (middle, wide, 2)):
        blocks += [block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(size.depth - 1))]
    return nn.Sequential(*blocks)


def sew_resnet(size: Size) -> nn.Module:
    return nn.Sequential(conv_spikes(3, size.width // 4), stages(size, SEWBlock), Readout(size))


def ms_resnet(size: Size) -> nn.Module:
    return nn.Sequential(conv_norm(3, size.width // 4), stages(size, MSBlock), LIF(), Readout(size))


def spiking_vgg(size: Size) -> nn.Module:
    """`depth` + 1 convolutions in each of three stages, max pools of spikes between them."""
    layers, inputs = list[nn.Module](), 3
    for width in (size.width // 4, size.width // 2, size.width):
        layers += [PerFrame(max_pool())] if layers else []
        for _ in range(size.depth + 1):
            layers.append(conv_spikes(inputs, width))
            inputs = width
    return nn.Sequential(*layers, Readout(size))
