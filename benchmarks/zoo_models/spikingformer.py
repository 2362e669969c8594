"""Spikingformer (Zhou et al., 2023, arXiv 2304.11954): Spikformer with neurons in front of every convolution.

What shortcuts add up are then membrane currents, real numbers, and every convolution hears spikes.
"""

from torch import Tensor, nn

from zoo_models.layers import (
    ATTENTION_SCALE,
    ATTENTION_THRESHOLD,
    PerFrame,
    Readout,
    Size,
    conv_norm,
    conv_spikes,
    max_pool,
    spikes_conv,
    to_heads,
    to_images,
)
from zoo_models.neuron import LIF


class PreActivationAttention(nn.Module):
    """`BN(conv(LIF(q k^T v * 0.125)))` of the spikes of x."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.input = heads, LIF()
        self.q, self.k, self.v = (conv_spikes(width, width, 1) for _ in range(3))
        self.attention = LIF(ATTENTION_THRESHOLD)
        self.out = conv_norm(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.input(x)
        q, k, v = (to_heads(part(spikes), self.heads) for part in (self.q, self.k, self.v))
        return self.out(self.attention(to_images(q @ k.transpose(3, 4) @ v * ATTENTION_SCALE, x)))


class MembraneBlock(nn.Module):
    """`x + attention(x)`, then `x + mlp(x)`: sums of currents. The attention is given."""

    def __init__(self, attention: nn.Module, width: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = nn.Sequential(spikes_conv(width, mlp_ratio * width, 1), spikes_conv(mlp_ratio * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class Spikingformer(nn.Module):
    """A tokenizer of `BN(conv(LIF(x)))` with max pools of spikes, blocks, and the mean of the currents."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.stem = nn.Sequential(
            conv_norm(3, width // 8),
            spikes_conv(width // 8, width // 4),
            spikes_conv(width // 4, width // 2),
            *(LIF(), PerFrame(max_pool()), conv_norm(width // 2, width)),
            *(LIF(), PerFrame(max_pool()), conv_norm(width, width)),
        )
        attentions = (PreActivationAttention(width, size.heads) for _ in range(size.depth))
        self.blocks = nn.Sequential(*(MembraneBlock(each, width, size.mlp_ratio) for each in attentions))
        self.readout = Readout(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.blocks(self.stem(x)))
