"""Layers that treat every time step alike: convolution of every frame, batch norm, readout.

Shapes: T time steps, B clips of a batch, C channels, H rows, W columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svformer.config import Norm


class Conv(nn.Conv2d):
    """A 2-D convolution applied to every frame: [T, B, C, H, W] -> [T, B, C', H', W'].

    A linear layer over tokens is a 1 x 1 convolution, so tokens keep their (C, H, W) shape.
    """

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        """The convolution of every frame, [T, B, C', H', W']."""
        frames, batch = x_TBCHW.shape[:2]
        return super().forward(x_TBCHW.flatten(0, 1)).unflatten(0, (frames, batch))


class TemporalConv(nn.Conv2d):
    """A convolution over three frames at every place: [T, B, C, H, W] -> [T, B, C', H, W].

    It is a 2-D one, with a kernel of one column, on images that have frames for rows and places for columns.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__(in_width, width, (3, 1), padding=(1, 0))

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        """The convolution over time, [T, B, C', H, W]."""
        size = x_TBCHW.shape[3:]
        return super().forward(self.images(x_TBCHW)).unflatten(3, size).permute(2, 0, 1, 3, 4)

    @staticmethod
    def images(x_TBCHW: Tensor) -> Tensor:
        """What the 2-D convolution takes: [B, C, T, H * W]."""
        return x_TBCHW.permute(1, 2, 0, 3, 4).flatten(3)


class TimeNorm(nn.BatchNorm2d):
    """Batch norm of a sequence [T, B, C, H, W].

    With `mode="shared"` a channel has one mean, variance, gain and shift for all time steps. With `mode="per_step"`
    every (time step, channel) has its own, index `t * C + c`, as in the paper.
    """

    def __init__(self, channels: int, *, frames: int, mode: Norm) -> None:
        super().__init__(channels * (frames if mode == "per_step" else 1), eps=1e-5)
        self.mode = mode
        self.channels = channels

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        """The normalised sequence, of the same shape."""
        frames, batch = x_TBCHW.shape[:2]
        if self.mode == "shared":
            return super().forward(x_TBCHW.flatten(0, 1)).unflatten(0, (frames, batch))
        by_step = super().forward(x_TBCHW.transpose(0, 1).flatten(1, 2))
        return by_step.unflatten(1, (frames, self.channels)).transpose(0, 1)


def gain_and_shift(norm: nn.BatchNorm2d | nn.BatchNorm3d, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """The norm with its running statistics as `gain * x + shift`; both [channels], a per-step norm [T * channels].

    They are computed in `dtype` (default: the norm's own); gradients reach the norm's trainable weight and bias.
    """
    assert norm.running_mean is not None  # every norm of the model tracks its statistics
    assert norm.running_var is not None
    weight, bias, mean, variance = (
        tensor.to(dtype or norm.weight.dtype)
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    gain = weight / torch.sqrt(variance + norm.eps)
    return gain, bias - mean * gain


def readout_convolution(x_TBCHW: Tensor, conv: nn.Conv3d) -> Tensor:
    """A depthwise 3-D convolution whose kernel covers the whole clip: [T, B, C, H, W] -> [B, C', 1, 1, 1]."""
    return F.conv3d(x_TBCHW.permute(1, 2, 0, 3, 4), conv.weight, conv.bias, groups=conv.groups)
