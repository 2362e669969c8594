"""The product of softmax attention as a module, so that hooks see its factors."""

import torch.nn.functional as F
from torch import Tensor, nn


class SoftmaxProduct(nn.Module):
    """`softmax(q k^T / sqrt(d)) v` for q, k, v [..., L, d] of L tokens; it has no weights."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The sums of v, of the same shape."""
        return F.scaled_dot_product_attention(q, k, v)

    @staticmethod
    def macs(q: Tensor) -> int:
        """Multiply-accumulates of both products, `q k^T` and that with v, for q [..., L, d]."""
        return 2 * q.numel() * q.shape[-2]
