"""What the networks to compare with share: a classifier behind the mean of the features, stages of residual blocks."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from svformer.config import SVFormerConfig
from svformer.model.network import Network

Block = Callable[[int, int, int, SVFormerConfig], nn.Module]  # of widths in and out, stride and configuration


class Baseline(Network, ABC):
    """Logits [B, K]: `fc` of the mean of the features over frames, rows and columns."""

    fc: nn.Linear

    @abstractmethod
    def features(self, frames_TBCHW: Tensor) -> Tensor:
        """Features [T, B, C, H, W] of the frames of a clip."""

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """Logits [B, K] of a clip [B, C, T, H, W]."""
        logits: Tensor = self.fc(self.features(self.frames_first(clip_BCTHW)).mean(dim=(0, 3, 4)))
        return logits


def residual_stages(block: Block, config: SVFormerConfig) -> nn.Sequential:
    """Stages of the widths and depths of the configuration, each but the first with half the rows and columns."""
    blocks = list[nn.Module]()
    widths = config.embed_dims
    for (in_width, width), depth in zip(itertools.pairwise((widths[0], *widths)), config.depths, strict=True):
        blocks.append(block(in_width, width, 2 if blocks else 1, config))
        blocks += [block(width, width, 1, config) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
