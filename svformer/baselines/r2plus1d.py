"""A 3-D CNN, each of whose kernels is one over space and then one over time: R(2+1)D (Tran et al., CVPR 2018)."""

from torch import Tensor, nn

from svformer.baselines.base import Baseline, residual_stages
from svformer.config import STEM_KERNEL, STEM_PADDING, STEM_STRIDE, SVFormerConfig
from svformer.model.layers import Conv, TemporalConv
from svformer.model.weighted import neuron, norm


class SpaceTime(nn.Module):
    """`temporal(relu(norm(spatial(x))))`: a 3x3 convolution of every frame, then one over three frames, and a norm."""

    def __init__(self, in_width: int, width: int, stride: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.spatial, self.norm1 = Conv(in_width, width, 3, stride, 1), norm(width, config)
        self.relu = neuron(config)
        self.temporal, self.norm2 = TemporalConv(width, width), norm(width, config)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm2(self.temporal(self.relu(self.norm1(self.spatial(x)))))
        return normed


class ResidualBlock(nn.Module):
    """`relu(shortcut(x) + second(relu(first(x))))`, two `SpaceTime` convolutions, the first with the stride.

    Where width or stride change, the shortcut is a 1x1 convolution and a norm.
    """

    def __init__(self, in_width: int, width: int, stride: int, config: SVFormerConfig) -> None:
        super().__init__()
        self.first, self.relu1 = SpaceTime(in_width, width, stride, config), neuron(config)
        self.second, self.relu2 = SpaceTime(width, width, 1, config), neuron(config)
        changes = (in_width, stride) != (width, 1)
        self.shortcut = nn.Sequential(Conv(in_width, width, 1, stride), norm(width, config)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        direct = x if self.shortcut is None else self.shortcut(x)
        return self.relu2(direct + self.second(self.relu1(self.first(x))))


class R2Plus1D(Baseline):
    """A residual network of (2+1)-D convolutions that keeps all frames up to the mean in front of its classifier.

    Stem, widths and depths are those of SVFormer; the published network halves the number of frames three times.
    """

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        widths = config.embed_dims
        self.conv = Conv(config.in_channels, widths[0], STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        self.norm1, self.relu1 = norm(widths[0], config), neuron(config)
        self.temporal = TemporalConv(widths[0], widths[0])
        self.norm2, self.relu2 = norm(widths[0], config), neuron(config)
        self.blocks = residual_stages(ResidualBlock, config)
        self.fc = nn.Linear(widths[3], config.num_classes)

    def features(self, frames_TBCHW: Tensor) -> Tensor:
        """Those of the last stage."""
        x = self.relu1(self.norm1(self.conv(frames_TBCHW)))
        found: Tensor = self.blocks(self.relu2(self.norm2(self.temporal(x))))
        return found
