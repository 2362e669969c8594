"""Spikformer (Zhou et al., ICLR 2023, arXiv 2209.15425): spiking self-attention, spikes added at shortcuts."""

from torch import Tensor, nn

from zoo_models.layers import (
    ATTENTION_SCALE,
    ATTENTION_THRESHOLD,
    PerFrame,
    Readout,
    Size,
    conv_spikes,
    max_pool,
    to_heads,
    to_images,
)
from zoo_models.neuron import LIF


class SpikingSelfAttention(nn.Module):
    """`LIF(BN(conv(LIF(q k^T v * 0.125))))`, q, k and v spikes of 1x1 convolutions of x."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (conv_spikes(width, width, 1) for _ in range(3))
        self.attention = LIF(ATTENTION_THRESHOLD)
        self.out = conv_spikes(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (to_heads(part(x), self.heads) for part in (self.q, self.k, self.v))
        return self.out(self.attention(to_images(q @ k.transpose(3, 4) @ v * ATTENTION_SCALE, x)))


class Block(nn.Module):
    """`x + attention(x)`, then `x + mlp(x)`: sums of spikes. The attention is given."""

    def __init__(self, attention: nn.Module, width: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = nn.Sequential(conv_spikes(width, mlp_ratio * width, 1), conv_spikes(mlp_ratio * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class Spikformer(nn.Module):
    """Four convolutions with two max pools of spikes, a convolution for the position, blocks."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.stem = nn.Sequential(
            conv_spikes(3, width // 8),
            conv_spikes(width // 8, width // 4),
            conv_spikes(width // 4, width // 2),
            PerFrame(max_pool()),
            conv_spikes(width // 2, width),
            PerFrame(max_pool()),
        )
        self.position = conv_spikes(width, width)
        self.blocks = nn.Sequential(
            *(Block(SpikingSelfAttention(width, size.heads), width, size.mlp_ratio) for _ in range(size.depth))
        )
        self.readout = Readout(size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.readout(self.blocks(x + self.position(x)))
