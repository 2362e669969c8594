"""What all kinds of attention share: neurons, a 1x1 convolution to two or three parts, an operator, a projection."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from svformer.config import SVFormerConfig
from svformer.model.layers import Conv
from svformer.model.weighted import Weighted, neuron, norm

HALF = 0.5  # a neuron inside an operator fires at this share of the other neurons' threshold, as in the published code


class SelfAttention(Weighted, ABC):
    """Self-attention over the positions of one frame; time steps are mixed by nothing but neurons.

    Currents [T, B, C, H, W] in and out. The first convolution is named after its parts ("qkv", "qk"): C channels for
    each letter, and each has a neuron layer `plif_LETTER`.
    """

    parts: ClassVar[str]

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__(config)
        self.heads = width // config.head_dim
        self.plif_in = neuron(config)
        self.add_module(self.parts, Conv(width, len(self.parts) * width, 1))
        self.norm1 = norm(len(self.parts) * width, config)
        self.add_neurons(config)
        self.proj = Conv(width, width, 1)
        self.norm2 = norm(width, config)

    @property
    def to_parts(self) -> Conv:
        """The convolution whose output channels are those of the parts, one part after the other."""
        conv = self.get_submodule(self.parts)
        assert isinstance(conv, Conv)
        return conv

    def forward(self, x: Tensor) -> Tensor:
        currents = self.current(self.plif_in(x), self.to_parts, norm=self.norm1).chunk(len(self.parts), dim=2)
        return self.current(self.attend(*currents), self.proj, norm=self.norm2)

    @abstractmethod
    def add_neurons(self, config: SVFormerConfig) -> None:
        """Construct the neuron layers between the convolutions."""

    @abstractmethod
    def attend(self, *currents: Tensor) -> Tensor:
        """The spikes that are projected, for the currents of the parts; all [T, B, C, H, W]."""

    @abstractmethod
    def macs(self, channels: int, tokens: int) -> int:
        """Multiply-accumulates of the operator in one time step of one clip, if all of its inputs were other than 0."""
