"""QKFormer (Zhou et al., NeurIPS 2024, arXiv 2403.16552): Q-K token attention first, then that of Spikformer."""

from torch import Tensor, nn

from zoo_models.layers import ATTENTION_THRESHOLD, Readout, Size, conv_spikes
from zoo_models.neuron import LIF
from zoo_models.spikformer import Block, SpikingSelfAttention


class TokenAttention(nn.Module):
    """`LIF(BN(conv(k * LIF(sum of q over the channels of a head))))`: a mask of tokens for each head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = (conv_spikes(width, width, 1) for _ in range(2))
        self.mask = LIF(ATTENTION_THRESHOLD)
        self.out = conv_spikes(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k = (part(x).unflatten(2, (self.heads, -1)) for part in (self.q, self.k))  # [T, B, heads, d, H, W]
        return self.out((self.mask(q.sum(3, keepdim=True)) * k).flatten(2, 3))


class Embedding(nn.Module):
    """Half the image with twice the channels: two convolutions, currents max pooled, and a 1x1 beside them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv_spikes(inputs, outputs), conv_spikes(outputs, outputs, pool=True))
        self.beside = conv_spikes(inputs, outputs, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x) + self.beside(x)


class FirstEmbedding(nn.Module):
    """The same of an image of real numbers, whose first convolution stands in front of both ways."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.conv = conv_spikes(inputs, half), conv_spikes(half, outputs, pool=True)
        self.beside = conv_spikes(half, outputs, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.conv(x) + self.beside(x)


class QKFormer(nn.Module):
    """Two stages: half of the blocks (at least one) with Q-K token attention, the others with Spikformer's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        narrow, width, heads = size.width // 2, size.width, size.heads
        first = max(1, size.depth // 2)
        self.stages = nn.Sequential(
            FirstEmbedding(3, narrow),
            *(Block(TokenAttention(narrow, heads), narrow, size.mlp_ratio) for _ in range(first)),
            Embedding(narrow, width),
            *(Block(SpikingSelfAttention(width, heads), width, size.mlp_ratio) for _ in range(size.depth - first)),
        )
        self.readout = Readout(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.stages(x))
