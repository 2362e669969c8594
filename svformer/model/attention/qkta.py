"""Q-K token attention: q says which tokens of a head pass, k what they send.

Source: Zhou et al., QKFormer, arXiv 2403.16552, `A_t = SN(sum_i Q[i, j])`, `X' = A_t * K`, the sum over the channels of
a head. The threshold of SN, half of the others', and that the product is projected without a neuron layer of its own
are those of the authors' code (`Token_QK_Attention` of zhouchenlin2096/QKFormer).
"""

from torch import Tensor

from svformer.config import SVFormerConfig
from svformer.model.attention.base import HALF, SelfAttention
from svformer.model.weighted import neuron


class TokenAttention(SelfAttention):
    """`SN(sum over the channels of a head of q) * k`; SN is a neuron for every head and token, `plif_token`."""

    parts = "qk"

    def add_neurons(self, config: SVFormerConfig) -> None:
        self.plif_q = neuron(config)
        self.plif_k = neuron(config)
        self.plif_token = neuron(config, thresholds=HALF)

    def attend(self, *currents: Tensor) -> Tensor:
        q, k = currents
        passing = self.plif_token(head_sums(self.plif_q(q), heads=self.heads))
        return passing.repeat_interleave(k.shape[2] // self.heads, dim=2) * self.plif_k(k)

    def macs(self, channels: int, tokens: int) -> int:
        """A sum over q and a product with k, for every token and channel."""
        return 2 * channels * tokens


def head_sums(q_TBCHW: Tensor, *, heads: int) -> Tensor:
    """Spikes of a head's channels at every token: [T, B, C, H, W] -> whole numbers [T, B, heads, H, W]."""
    return q_TBCHW.unflatten(2, (heads, -1)).sum(3)
