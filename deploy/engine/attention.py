"""Spiking attention `q (k^T v)`: both operands of every product are spikes, so nothing is multiplied.

The result of a kernel lies in a buffer that its next call overwrites.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.events import LARGEST_IN_16_BITS, EventList, Rows, Window, flat_spikes, for_sums, gather, list_events
from deploy.engine.ranges import IntType, exact_type, scaled, sum_type
from deploy.engine.simd import NARROW, WIDE, WORD, jit, pack, popcount
from deploy.ir.operations.attention import IntAttention

Array = NDArray[Any]

MOST_TOKENS = LARGEST_IN_16_BITS  # which k^T v counts


class PackedAttention:
    """k^T v counts the tokens at which two channels fire: AND and popcount of 64 tokens at a time.

    Its rows, added up where q fires, are the result: a 1x1 convolution of q with k^T v for weights.
    """

    by_spike = True

    def __init__(self, operation: IntAttention) -> None:
        g = operation.geometry
        self.multiplier, self.exponent = operation.multiplier, operation.exponent
        self.window = Window(g.head_dim, 1, g.tokens, g.head_dim, 1, g.tokens, 1, 1, 1, 1, 0, 0, 1, 1)
        width = NARROW if g.head_dim <= NARROW else WIDE
        tiles, words = -(-g.head_dim // width), -(-g.tokens // WORD)
        self.counts = Rows(zeros((tiles * g.head_dim * width,), np.int16), width, LARGEST_IN_16_BITS // g.tokens)
        self.keys = np.zeros((g.head_dim, words), np.uint64)
        self.values = np.zeros((words, g.head_dim), np.uint64)
        self.queries = EventList.for_up_to(g.head_dim, g.tokens)
        kind = sum_type(g.tokens * g.head_dim, 0)
        self.sums, self.attended = for_sums((g.heads, g.head_dim * g.tokens), width, kind)
        channels, *size = operation.in_shape
        self.out = zeros((channels // 3, *size), _out_type(operation))

    def __call__(self, messages: Array) -> Array:
        spikes = flat_spikes(messages)
        attend(spikes, self.window, self.keys, self.values, self.counts, self.queries, self.sums, self.attended)
        return scaled(self.attended.reshape(self.out.shape), self.multiplier, self.exponent, self.out)


class FloatAttention:
    """BLAS, in the narrowest float type that holds every sum exactly."""

    by_spike = False

    def __init__(self, operation: IntAttention) -> None:
        g = operation.geometry
        self.multiplier, self.exponent = operation.multiplier, operation.exponent
        self.split, self.dtype = (3, g.heads, g.head_dim, g.tokens), exact_type(g.tokens * g.head_dim)
        channels, *size = operation.in_shape
        self.out = zeros((channels // 3, *size), _out_type(operation))

    def __call__(self, messages: Array) -> Array:
        qkv: Array = messages.reshape(self.split).astype(self.dtype)
        q, k, v = qkv
        attended = (v @ k.transpose(0, 2, 1)) @ q
        np.copyto(self.out, attended.reshape(self.out.shape), casting="unsafe")
        return scaled(self.out, self.multiplier, self.exponent, self.out)


def _out_type(operation: IntAttention) -> IntType:
    g = operation.geometry
    return sum_type(g.tokens * g.head_dim * abs(operation.multiplier), operation.exponent)


@jit
def attend(
    spikes: Array,
    window: Window,
    keys: Array,
    values: Array,
    counts: Rows,
    queries: EventList,
    sums: Array,
    out: Array,
) -> None:
    """out[head] = q (k^T v) of spikes that lie flat as [q k v, heads, head_dim, tokens]."""
    heads, size = out.shape
    for head in range(heads):
        pack_head(spikes, (heads + head) * size, (2 * heads + head) * size, window.width, keys, values)
        count_coincidences(keys, values, counts)
        list_events(spikes, head * size, window.channels, 1, window.width, queries)
        gather(queries, counts, window, sums, out[head], 0, 0)


@jit
def pack_head(spikes: Array, keys_at: int, values_at: int, tokens: int, keys: Array, values: Array) -> None:
    """Fill keys [channel, word] and values [word, channel], with 64 tokens in a word."""
    channels, words = keys.shape
    rest = tokens - (words - 1) * WORD
    last = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(WORD - rest)
    for channel in range(channels):
        for word in range(words):
            at = channel * tokens + word * WORD
            keys[channel, word], values[word, channel] = pack(spikes, keys_at + at), pack(spikes, values_at + at)
        keys[channel, words - 1] &= last  # the word goes on into the next channel


@jit
def count_coincidences(keys: Array, values: Array, counts: Rows) -> None:
    """counts[j, i] = tokens at which key channel j and value channel i both fired, as rows of weights."""
    channels, words = keys.shape
    for first in range(0, channels, counts.width):
        outputs = min(counts.width, channels - first)
        for j in range(channels):
            start = (first // counts.width * channels + j) * counts.width
            row = counts.flat[start : start + outputs]
            row[:] = 0
            for word in range(words):
                key, others = keys[j, word], values[word, first : first + outputs]
                for i in range(outputs):
                    row[i] += popcount(key & others[i])
