"""Spike-driven self-attention: no count leaves the operator, every signal is a spike.

Source: Yao et al., Spike-driven Transformer, arXiv 2307.01694, `SDSA(Q, K, V) = SN(SUM_c(Q * K)) * V`; `*` is the
product of elements and SUM_c the sum over tokens. Here the letters are those of the authors' code (module/ms_conv.py of
BICLab/Spike-Driven-Transformer): `q * SN(sum(k * v))`. So is the threshold of SN, half of the others', and that the
product is projected without a neuron layer of its own, since it consists of spikes.
"""

from torch import Tensor

from svformer.config import SVFormerConfig
from svformer.model.attention.base import HALF, SelfAttention
from svformer.model.weighted import neuron


class SpikeDrivenAttention(SelfAttention):
    """`q * SN(sum over tokens of k * v)` in every channel; SN is a neuron layer of C neurons, `plif_kv`.

    The heads of the configuration change nothing: no channel meets another.
    """

    parts = "qkv"

    def add_neurons(self, config: SVFormerConfig) -> None:
        self.plif_q = neuron(config)
        self.plif_k = neuron(config)
        self.plif_v = neuron(config)
        self.plif_kv = neuron(config, thresholds=HALF)

    def attend(self, *currents: Tensor) -> Tensor:
        q, k, v = currents
        return self.plif_q(q) * self.plif_kv(coincidences(self.plif_k(k), self.plif_v(v)))

    def macs(self, channels: int, tokens: int) -> int:
        """A product of k and v, and one with q, for every token and channel."""
        return 2 * channels * tokens


def coincidences(k_TBCHW: Tensor, v_TBCHW: Tensor) -> Tensor:
    """Number of tokens at which both fire in a channel: spikes [T, B, C, H, W] -> whole numbers [T, B, C, 1, 1]."""
    return (k_TBCHW * v_TBCHW).sum((-2, -1), keepdim=True)
