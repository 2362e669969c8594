"""Random tensors in float64, where no rounding decides. Imports torch."""

import torch
from torch import Tensor

from svformer import SVFormerConfig


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_clips(config: SVFormerConfig, batch: int, seed: int = 0) -> Tensor:
    """[B, C, T, H, W] for a network of this configuration."""
    return normal(batch, config.in_channels, config.frames, config.image_size, config.image_size, seed=seed)
