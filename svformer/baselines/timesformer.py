"""A video transformer with divided attention, over time and then over space: TimeSformer (arXiv 2102.05095).

MLPs have ReLU instead of GELU, so that the zeros of their activations are counted as those of the other networks are;
there is no class token: the classifier takes the mean of all tokens.
"""

import torch
from torch import Tensor, nn

from svformer.baselines.base import Baseline
from svformer.config import SVFormerConfig
from svformer.model.attention.product import SoftmaxProduct
from svformer.model.layers import Conv

SMALL_PATCH, LARGE_PATCH = (
    8,
    16,
)  # pixels; the paper's 16 leave 14 x 14 tokens of 224 pixels, and too few of a small one
LARGE_IMAGE = 128  # pixels, from which the patches are large


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every token of [T, B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """The normalised tokens, of the same shape."""
        return super().forward(x.movedim(2, -1)).movedim(-1, 2)


class Attention(nn.Module):
    """`proj(softmax(q k^T / sqrt(d)) v)` along one axis: over the frames at every place, or the places of a frame."""

    def __init__(self, width: int, heads: int, *, over_time: bool) -> None:
        super().__init__()
        self.heads, self.over_time = heads, over_time
        self.qkv, self.proj = Conv(width, 3 * width, 1), Conv(width, width, 1)
        self.product = SoftmaxProduct()

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        qkv = self.qkv(x_TBCHW).flatten(3).unflatten(2, (3, self.heads, -1))  # [T, B, 3, heads, d, H W]
        if self.over_time:
            q, k, v = qkv.permute(2, 1, 5, 3, 0, 4)  # each [B, H W, heads, T, d]
            mixed = self.product(q, k, v).permute(3, 0, 2, 4, 1)
        else:
            q, k, v = qkv.permute(2, 0, 1, 3, 5, 4)  # each [T, B, heads, H W, d]
            mixed = self.product(q, k, v).transpose(-1, -2)
        projected: Tensor = self.proj(mixed.reshape(x_TBCHW.shape))
        return projected


class DividedBlock(nn.Module):
    """Attention over time, attention over space and an MLP, each behind a layer norm and with a shortcut."""

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__()
        heads, hidden = width // config.head_dim, width * config.mlp_ratio
        self.norm1, self.time = ChannelNorm(width), Attention(width, heads, over_time=True)
        self.norm2, self.space = ChannelNorm(width), Attention(width, heads, over_time=False)
        self.norm3 = ChannelNorm(width)
        self.mlp = nn.Sequential(Conv(width, hidden, 1), nn.ReLU(), Conv(hidden, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.time(self.norm1(x))
        x = x + self.space(self.norm2(x))
        return x + self.mlp(self.norm3(x))


class TimeSformer(Baseline):
    """Tokens of the last stage's width through one block less than SVFormer has in all its stages: logits [B, K].

    So it has about as many parameters.
    """

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        patch = LARGE_PATCH if config.image_size >= LARGE_IMAGE else SMALL_PATCH
        width, side = config.embed_dims[3], config.image_size // patch
        self.patches = Conv(config.in_channels, width, patch, patch)
        self.place = nn.Parameter(torch.zeros(1, 1, width, side, side))
        self.moment = nn.Parameter(torch.zeros(config.frames, 1, width, 1, 1))
        for embedding in (self.place, self.moment):
            nn.init.trunc_normal_(embedding, std=0.02)
        self.blocks = nn.Sequential(*(DividedBlock(width, config) for _ in range(sum(config.depths) - 1)))
        self.norm = ChannelNorm(width)
        self.fc = nn.Linear(width, config.num_classes)

    def features(self, frames_TBCHW: Tensor) -> Tensor:
        """Those of the last block, normalised."""
        found: Tensor = self.norm(self.blocks(self.patches(frames_TBCHW) + self.place + self.moment))
        return found
