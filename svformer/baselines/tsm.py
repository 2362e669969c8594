"""A 2-D CNN with a temporal shift: TSM in its online form (Lin et al., ICCV 2019, arXiv 1811.08383)."""

import torch
from torch import Tensor, nn

from svformer.baselines.base import Baseline, residual_stages
from svformer.config import STEM_KERNEL, STEM_PADDING, STEM_STRIDE, SVFormerConfig
from svformer.model.layers import Conv
from svformer.model.weighted import neuron, norm

SHIFTED = 4  # one channel in four comes from the frame before: as many as the paper moves in both directions together


def shifted(x_TBCHW: Tensor, steps: int = 1) -> Tensor:
    """The first quarter of the channels `steps` frames late, zeros at first; the other channels as they are."""
    moved = x_TBCHW.shape[2] // SHIFTED
    late = torch.cat([torch.zeros_like(x_TBCHW[:steps, :, :moved]), x_TBCHW[:-steps, :, :moved]])
    return torch.cat([late, x_TBCHW[:, :, moved:]], dim=2)


class ResidualBlock(nn.Module):
    """`relu(shortcut(x) + norm(conv(relu(norm(conv(shifted(x)))))))` with 3x3 convolutions, the first with the stride.

    Where width or stride change, the shortcut is a 1x1 convolution and a norm.
    """

    def __init__(self, in_width: int, width: int, stride: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.steps = config.steps_per_frame
        self.conv1, self.norm1 = Conv(in_width, width, 3, stride, 1), norm(width, config)
        self.relu1 = neuron(config)
        self.conv2, self.norm2 = Conv(width, width, 3, 1, 1), norm(width, config)
        changes = (in_width, stride) != (width, 1)
        self.shortcut = nn.Sequential(Conv(in_width, width, 1, stride), norm(width, config)) if changes else None
        self.relu2 = neuron(config)

    def forward(self, x: Tensor) -> Tensor:
        direct = x if self.shortcut is None else self.shortcut(x)
        hidden = self.relu1(self.norm1(self.conv1(shifted(x, self.steps))))
        return self.relu2(direct + self.norm2(self.conv2(hidden)))


class TemporalShift(Baseline):
    """A residual network of every frame whose blocks see channels of the frame before: logits [B, K].

    Stem, widths and depths are those of SVFormer; the logits are means over the frames, as in TSN.
    """

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        widths = config.embed_dims
        self.conv = Conv(config.in_channels, widths[0], STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        self.norm, self.relu = norm(widths[0], config), neuron(config)
        self.blocks = residual_stages(ResidualBlock, config)
        self.fc = nn.Linear(widths[3], config.num_classes)

    def features(self, frames_TBCHW: Tensor) -> Tensor:
        """Those of the last stage."""
        found: Tensor = self.blocks(self.relu(self.norm(self.conv(frames_TBCHW))))
        return found
