"""Spike-driven Transformer (Yao et al., NeurIPS 2023, arXiv 2307.01694): attention of masks and sums, no product."""

from torch import Tensor, nn

from zoo_models.layers import (
    ATTENTION_THRESHOLD,
    PerFrame,
    Readout,
    Size,
    conv_norm,
    conv_spikes,
    max_pool,
    spikes_conv,
)
from zoo_models.neuron import LIF
from zoo_models.spikingformer import MembraneBlock


class SpikeDrivenAttention(nn.Module):
    """`BN(conv(q * LIF(sum of k * v over all tokens)))` of the spikes of x: a mask of channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = LIF()
        self.q, self.k, self.v = (conv_spikes(width, width, 1) for _ in range(3))
        self.mask = LIF(ATTENTION_THRESHOLD)
        self.out = conv_norm(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.input(x)
        mask = self.mask((self.k(spikes) * self.v(spikes)).sum((3, 4), keepdim=True))
        return self.out(self.q(spikes) * mask)


class SpikeDrivenTransformer(nn.Module):
    """Four convolutions, the last one's currents max pooled, a position by a membrane shortcut, blocks."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.stem = nn.Sequential(
            conv_spikes(3, width // 8),
            conv_spikes(width // 8, width // 4),
            conv_spikes(width // 4, width // 2),
            PerFrame(max_pool()),
            conv_norm(width // 2, width, pool=True),
        )
        self.position = spikes_conv(width, width)
        self.blocks = nn.Sequential(
            *(MembraneBlock(SpikeDrivenAttention(width), width, size.mlp_ratio) for _ in range(size.depth))
        )
        self.last, self.readout = LIF(), Readout(size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.readout(self.last(self.blocks(x + self.position(x))))
