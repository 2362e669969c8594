"""What the models of the zoo have in common: their size, layers of one frame, heads, and norms that have seen clips."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo_models.neuron import LIF

ATTENTION_THRESHOLD = 0.5  # of the neurons behind attention, as in all four papers
ATTENTION_SCALE = 0.125
GAIN = 2.0  # of every norm: the standard deviation of what neurons receive, in thresholds
POOLED_SHIFT = -GAIN  # of a norm in front of a max pool, since the largest of nine lies 1.5 deviations above the mean


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size for all families; transformers see the image at a quarter of its side, in `depth` blocks."""

    image: int = 32  # pixels
    frames: int = 4
    width: int = 64  # channels of the last stage
    depth: int = 2  # blocks: of a transformer in all, of a convolutional network in each of its three stages
    heads: int = 4
    mlp_ratio: int = 4
    classes: int = 10


class PerFrame(nn.Module):
    """A layer of single frames [B, C, H, W], for all frames [T, B, C, H, W] at once."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, pool: bool = False) -> PerFrame:
    """Convolution and batch norm; with `pool` the currents behind them are max pooled to half the size."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    norm = nn.BatchNorm2d(outputs)
    nn.init.constant_(norm.weight, GAIN)
    nn.init.constant_(norm.bias, POOLED_SHIFT if pool else 0.0)
    return PerFrame(conv, norm, *([max_pool()] if pool else []))


def conv_spikes(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, pool: bool = False) -> nn.Module:
    """Convolution, batch norm and neurons; with `pool` a max pool between the last two."""
    return nn.Sequential(conv_norm(inputs, outputs, kernel, stride, pool=pool), LIF())


def spikes_conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """Neurons, convolution and batch norm: the order of membrane shortcuts."""
    return nn.Sequential(LIF(), conv_norm(inputs, outputs, kernel, stride))


def max_pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, padding=1)


def to_heads(x: Tensor, heads: int) -> Tensor:
    """Images [T, B, C, H, W] as tokens of each head [T, B, heads, N, C / heads]."""
    return x.flatten(3).unflatten(2, (heads, -1)).transpose(3, 4)


def to_images(x: Tensor, like: Tensor) -> Tensor:
    """The way back."""
    return x.transpose(3, 4).flatten(2, 3).reshape(like.shape)


class Readout(nn.Module):
    """The mean over pixels and a linear layer: logits of every time step, whose mean is the result."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.linear = nn.Linear(size.width, size.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((3, 4)))


def settle(model: nn.Module, x: Tensor) -> nn.Module:
    """The model in float64 and evaluation mode, its norms with the statistics of x [T, B, C, H, W].

    So no layer is silent or fires all the time, whatever the weights are.
    """
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the running statistics are those of the last pass
    with torch.no_grad():
        model.train()(x)
    return model.eval()
