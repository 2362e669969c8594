"""Spiking attention of SVFormer, `q (k^T v)`, and the softmax attention of its counterpart without spikes.

Shapes: T time steps, B clips of a batch, C channels, H rows, W columns; tokens are the H x W positions.
"""

import functools

import torch.nn.functional as F
from torch import Tensor

from svformer.config import AttentionOrder, SVFormerConfig
from svformer.model.attention.base import SelfAttention
from svformer.model.weighted import neuron


class QkvAttention(SelfAttention):
    """`SN(q k^T v * head_dim^-0.5)` in every head (arXiv 2406.15034, eq. 8); SN is a neuron layer, `plif_proj`."""

    parts = "qkv"

    def __init__(self, width: int, config: SVFormerConfig) -> None:
        super().__init__(width, config)
        self.order: AttentionOrder = config.attention_order
        if config.activation == "relu":
            self.product = softmax_attention
        else:
            self.product = functools.partial(spiking_attention, order=self.order)

    def add_neurons(self, config: SVFormerConfig) -> None:
        self.plif_q = neuron(config)
        self.plif_k = neuron(config)
        self.plif_v = neuron(config)
        self.plif_proj = neuron(config)

    def attend(self, *currents: Tensor) -> Tensor:
        q, k, v = currents
        return self.plif_proj(self.product(self.plif_q(q), self.plif_k(k), self.plif_v(v), heads=self.heads))

    def macs(self, channels: int, tokens: int) -> int:
        """Both products: k^T v is head_dim x head_dim in every head, q k^T tokens x tokens."""
        return 2 * channels * tokens * (channels // self.heads if self.order == "kv_first" else tokens)


def spiking_attention(
    q_TBCHW: Tensor, k_TBCHW: Tensor, v_TBCHW: Tensor, *, heads: int, order: AttentionOrder = "kv_first"
) -> Tensor:
    """`q k^T v * head_dim^-0.5` in every frame and head, without softmax (arXiv 2406.15034, eq. 8).

    Inputs and result are [T, B, C, H, W]; the C channels are `heads` heads of C / heads channels each. Without softmax
    the order is free: k^T v has a size that does not depend on the number of tokens, q k^T one that does not depend on
    the number of channels.
    """
    q, k, v = (_heads(x, heads) for x in (q_TBCHW, k_TBCHW, v_TBCHW))
    # Columns are tokens here, so every product is the transpose of the paper's: (q k^T v)^T = v^T k q^T.
    products = (v @ k.transpose(-1, -2)) @ q if order == "kv_first" else v @ (k.transpose(-1, -2) @ q)
    return (products * q.shape[-2] ** -0.5).reshape(q_TBCHW.shape)


def softmax_attention(q_TBCHW: Tensor, k_TBCHW: Tensor, v_TBCHW: Tensor, *, heads: int) -> Tensor:
    """`softmax(q k^T * head_dim^-0.5) v` in every frame and head; shapes as in `spiking_attention`."""
    q, k, v = (_heads(x, heads).transpose(-1, -2) for x in (q_TBCHW, k_TBCHW, v_TBCHW))
    return F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(q_TBCHW.shape)


def _heads(x_TBCHW: Tensor, heads: int) -> Tensor:
    """[T, B, C, H, W] -> [T, B, heads, C / heads, H * W]."""
    return x_TBCHW.flatten(3).unflatten(2, (heads, -1))
