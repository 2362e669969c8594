"""Spiking attention by neurons that stock simulators have: coincidences, and counts in thermometer code.

For one head with d channels and N tokens, spikes q, k, v of a time step (0 or 1), the result is

    A[n, j] = scale * sum_i q[n, i] c[i, j],    c[i, j] = sum_m k[m, i] v[m, j]    (a count, 0 to N)

1. Coincidences  kv[m, i, j]:  a spike where k[m, i] + v[m, j] > 1.5. Both spiked.
2. Thermometer   at_least_t[n, i, j], t = 1 .. N:  a spike where  c[i, j] + N q[n, i] > N + t - 0.5.
   Without q the sum is at most N, so none fires; with it those fire for which t <= c[i, j]. They are c[i, j] in number.
3. The sum of all thermometer spikes over t and i, times scale, is A[n, j].

All neurons are memoryless, every sum is a whole number and every threshold lies half-way between two: no arithmetic,
however few bits it has, gets them wrong. Tokens are the pixels, so i and j are d * d channels, c is a convolution of
ones that sees the whole image from every pixel, and all other steps are 1x1 convolutions. d * d * N * (1 + N) neurons.
"""

import numpy as np

from deploy.frontend.standard import COINCIDENCE, Signal, StandardGraph, one_hot
from deploy.ir.operations.attention import SpikingAttention


def neurons_of(node: SpikingAttention) -> int:
    """Neurons that `expand_attention` needs."""
    _, height, width = node.input_shape.tolist()
    tokens, head_dim = height * width, _head_dim(node)
    return int(node.heads) * head_dim**2 * tokens * (1 + tokens)


def expand_attention(
    graph: StandardGraph, name: str, node: SpikingAttention, q: Signal, k: Signal, v: Signal
) -> Signal:
    """Add the neurons that give what the node gives for the spikes q, k and v, [C, H, W] each."""
    return tuple(part for head in range(int(node.heads)) for part in _head(graph, name, node, head, q, k, v))


def _head(
    graph: StandardGraph, name: str, node: SpikingAttention, head: int, q: Signal, k: Signal, v: Signal
) -> Signal:
    channels, size, _ = graph.shape(q)
    head_dim, tokens, at = _head_dim(node), size * size, f"{name}.head{head}"
    own = head * head_dim + np.arange(head_dim)  # the head's channels
    of_i, of_j = one_hot(np.repeat(own, head_dim), channels), one_hot(np.tile(own, head_dim), channels)
    both = graph.gates(
        f"{at}.kv", graph.pick(f"{at}.k", of_i, k), graph.pick(f"{at}.v", of_j, v), threshold=COINCIDENCE
    )
    everywhere = np.broadcast_to(np.eye(head_dim**2)[:, :, None, None], (head_dim**2,) * 2 + (2 * size - 1,) * 2)
    count = graph.conv(f"{at}.count", everywhere.copy(), both, padding=(size - 1, size - 1))
    gate = graph.pick(f"{at}.q", tokens * of_i, q)
    thermometer = [
        graph.gates(f"{at}.at_least_{t}", count, gate, threshold=tokens + t - 0.5) for t in range(1, tokens + 1)
    ]
    return graph.pick(f"{at}.sum", float(node.scale) * of_j.T, *thermometer)


def _head_dim(node: SpikingAttention) -> int:
    return int(node.input_shape[0]) // 3 // int(node.heads)
