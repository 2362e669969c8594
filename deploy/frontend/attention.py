"""Attention of a model in NIR: a function for each kind, and the table of them.

NIR has what sdsa and qkta need: a product of two spikes is a `Threshold` at 1.5 of their sum, a sum over tokens a
depthwise `Conv2d` as large as the image, and a `Conv2d` also brings one value to all tokens or channels. So they are
plain NIR. `q (k^T v)` multiplies a spike by a count, and is a node of ours (`SpikingAttention`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from deploy.frontend.builder import Builder, Rows
from deploy.ir.operations.attention import SpikingAttention
from svformer.model.attention import QkvAttention, SelfAttention, SpikeDrivenAttention, TokenAttention


def attention(graph: Builder, source: str, attn: SelfAttention) -> str:
    """Add the nodes between the neurons of the input `source` and the projection; returns the last, which spikes."""
    return EXPORTS[type(attn)](graph, source, attn)


def _qkv(graph: Builder, source: str, attn: QkvAttention) -> str:
    """One LIF node of 3C channels, which holds the neurons of q, k and v, and one `SpikingAttention` node."""
    name, width = graph.names[attn], attn.to_parts.in_channels
    x = graph.current(source, attn.to_parts, norm=attn.norm1)
    x = graph.neurons(x, attn.plif_q, attn.plif_k, attn.plif_v, name=f"{name}.plif_qkv")
    scale = float(width // attn.heads) ** -0.5
    node = SpikingAttention(np.array(graph.shapes[x]), heads=attn.heads, scale=scale)
    return graph.neurons(graph.add(f"{name}.attention", node, x), attn.plif_proj)


def _sdsa(graph: Builder, source: str, attn: SpikeDrivenAttention) -> str:
    """Q and SN(sum over tokens of (k and v)), both at every pixel."""
    name = graph.names[attn]
    q = graph.neurons(_part(graph, source, attn, "q"), attn.plif_q)
    k = graph.neurons(_part(graph, source, attn, "k"), attn.plif_k)
    v = graph.neurons(_part(graph, source, attn, "v"), attn.plif_v)
    channels, *image = graph.shapes[q]
    kv = graph.both(f"{name}.kv", k, v)
    count = graph.ones(kv, f"{name}.kv_sum", channels, kernel=image, groups=channels)
    fired = graph.neurons(count, attn.plif_kv)
    border = tuple(size - 1 for size in image)
    spread = graph.ones(fired, f"{name}.kv_spread", channels, kernel=image, groups=channels, padding=border)
    return graph.both(f"{name}.gated", q, spread)


def _qkta(graph: Builder, source: str, attn: TokenAttention) -> str:
    """K and SN(sum over the channels of a head of q), both in every channel."""
    name, heads = graph.names[attn], attn.heads
    q = graph.neurons(_part(graph, source, attn, "q"), attn.plif_q)
    k = graph.neurons(_part(graph, source, attn, "k"), attn.plif_k)
    fired = graph.neurons(graph.ones(q, f"{name}.q_sum", heads, groups=heads), attn.plif_token)
    spread = graph.ones(fired, f"{name}.token_spread", graph.shapes[k][0], groups=heads)
    return graph.both(f"{name}.gated", k, spread)


def _part(graph: Builder, source: str, attn: SelfAttention, letter: str) -> str:
    """The current of one part: its channels of the first convolution and of the norm behind it."""
    width, index = attn.to_parts.in_channels, attn.parts.index(letter)
    rows = Rows(channels=slice(index * width, (index + 1) * width), part=letter)
    return graph.current(source, attn.to_parts, norm=attn.norm1, rows=rows)


EXPORTS: dict[type[SelfAttention], Callable[[Builder, str, Any], str]] = {
    QkvAttention: _qkv,
    SpikeDrivenAttention: _sdsa,
    TokenAttention: _qkta,
}
