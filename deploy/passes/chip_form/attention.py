"""Attention `q (k^T v)` of coincidences, counts and gates: neurons that a chip has, and the same integers.

A coincidence of two spikes is a neuron without memory that needs both; a count is a sum over coincidences. A count c
from 0 to A - 1 times a spike q is a gate (`deploy.ir.populations.gate`): the sum c + A q is above A - 1 only where q is
1, and a synapse from q takes the A off again behind it. Either product can come first, q^T k with its N x N counts a
head or k^T v with its d x d: the one that takes fewer neurons.

Legend: N tokens, the pixels of an image (H, W); C channels of q, of k and of v; h heads; d = C / h channels of a head.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import IntConnection
from deploy.ir.intervals import Interval
from deploy.ir.machine import STATE_LIMIT
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.populations.gate import IntGate
from deploy.passes.chip_form.wiring import Wiring, as_weight, coincidences, relay, spread, synapses


@dataclass(frozen=True, kw_only=True)
class Products:
    """An attention, its sizes, and where it is put.

    Attributes:
        stem: What the names of its populations begin with.
        connection: What is replaced.
    """

    wiring: Wiring
    stem: str
    connection: IntConnection
    heads: int
    head_dim: int
    height: int
    width: int

    @property
    def channels(self) -> int:
        return self.heads * self.head_dim

    @property
    def tokens(self) -> int:
        return self.height * self.width

    def image(self, channels: int) -> tuple[int, int, int]:
        """So many channels of every token."""
        return channels, self.height, self.width

    def ones(self, channels: int) -> NDArray[np.int64]:
        """A kernel as large as the image for every channel: sums over tokens, or spreads over them."""
        return np.ones((channels, 1, self.height, self.width), dtype=np.int64)

    def part(self, number: int, what: str) -> str:
        """Q (0), k (1) or v (2) of the source, held for a time step by relays."""
        weight = np.zeros((self.channels, 3 * self.channels, 1, 1), dtype=np.int64)
        chosen = np.arange(self.channels)
        weight[chosen, number * self.channels + chosen] = 1
        name = self.wiring.add(self.stem, what, relay(self.image(self.channels)), Interval.spikes(self.channels))
        self.enter(name, weight)
        return name

    def enter(self, name: str, weight: NDArray[np.int64]) -> None:
        """Connect the source, its 3C channels of a token with `name`."""
        operation = synapses(weight, self.image(3 * self.channels))
        self.wiring.connect(self.connection.source, name, operation, delay=self.connection.delay)

    def by_token(self, number: int, what: str) -> str:
        """The same with a channel (c, m) for every channel c and token m, in one place."""
        held, pairs = self.part(number, f"{what}_held"), self.channels * self.tokens
        one_hot = np.eye(self.tokens, dtype=np.int64).reshape(1, self.tokens, 1, self.height, self.width)
        weight = np.broadcast_to(one_hot, (self.channels, *one_hot.shape[1:])).reshape(
            pairs, 1, self.height, self.width
        )
        name = self.wiring.add(self.stem, what, relay((pairs, 1, 1)), Interval.spikes(pairs))
        self.wiring.connect(held, name, synapses(weight, self.image(self.channels), groups=self.channels))
        return name


def wire_attention(wiring: Wiring, connection: IntConnection) -> None:
    """Put in the populations and connections that give what an attention gives."""
    operation = connection.operation
    assert isinstance(operation, IntAttention)
    _, height, width = operation.in_shape
    products = Products(
        wiring=wiring,
        stem=connection.target.rpartition(".")[0] or connection.target,
        connection=connection,
        heads=operation.geometry.heads,
        head_dim=operation.geometry.head_dim,
        height=height,
        width=width,
    )
    wire = _keys_with_values if neurons(products, "kv") <= neurons(products, "qk") else _queries_with_keys
    wire(products)


def neurons(sizes: Products, first: str) -> int:
    """Neurons that the form takes whose first product is k^T v ("kv") or q^T k ("qk"), without delay lines."""
    n, c, d, h = sizes.tokens, sizes.channels, sizes.head_dim, sizes.heads
    return 2 * n * c * d + c * d + n * c if first == "kv" else 2 * n * n * c + h * n * n + 5 * n * c


def _keys_with_values(at: Products) -> None:
    """k^T v first: a coincidence and a gate for every token n and pair (i, j) of a head's channels, a count a pair."""
    c, d = at.channels, at.head_dim
    pairs = c * d
    image, step, every = at.image(pairs), _above(at.tokens), np.arange(pairs)
    head, i, j = np.unravel_index(every, (at.heads, d, d))
    both, opened = np.zeros((pairs, 3 * c, 1, 1), dtype=np.int64), np.zeros((pairs, d, 1, 1), dtype=np.int64)
    both[every, c + head * d + i] = both[every, 2 * c + head * d + j] = opened[every, i] = 1
    found = at.wiring.add(at.stem, "coincidences", coincidences(image))
    at.enter(found, both)
    counts = at.wiring.add(at.stem, "counts", relay((pairs, 1, 1)))
    at.wiring.connect(found, counts, synapses(at.ones(pairs), image, groups=pairs))
    queries = at.part(0, "queries")

    gates = at.wiring.add(at.stem, "gates", IntGate(shape=image, scale=1.0, threshold=step - 1))
    at.wiring.connect(counts, gates, spread(at.ones(pairs), image, groups=pairs))
    mantissa, exponent = _weight(step)
    opening = synapses(mantissa * opened, at.image(c), exponent=exponent, groups=at.heads)
    at.wiring.connect(queries, gates, opening)

    target, factor = _target(at, largest=d * 2 * step, step=step)
    mantissa, exponent = _weight(factor)
    summed = np.tile(np.eye(d, dtype=np.int64), (at.heads, d))[:, :, np.newaxis, np.newaxis]
    at.wiring.connect(gates, target, synapses(mantissa * summed, image, exponent=exponent, groups=at.heads))
    mantissa, exponent = _weight(step * factor)
    less = np.full((c, d, 1, 1), -mantissa)
    at.wiring.connect(queries, target, synapses(less, at.image(c), exponent=exponent, groups=at.heads))


def _queries_with_keys(at: Products) -> None:
    """q^T k first: a coincidence and a gate for every pair of tokens (n, m) and channel, a count a pair and head."""
    c, n = at.channels, at.tokens
    pairs = c * n  # a channel for every channel and token m; the pixels are the tokens n
    image, step = at.image(pairs), _above(at.head_dim)
    queries, keys, values = at.part(0, "queries"), at.by_token(1, "keys"), at.by_token(2, "values")
    found = at.wiring.add(at.stem, "coincidences", coincidences(image))
    at.wiring.connect(queries, found, synapses(np.ones((pairs, 1, 1, 1), dtype=np.int64), at.image(c), groups=c))
    at.wiring.connect(keys, found, spread(at.ones(pairs), image, groups=pairs))
    counts = at.wiring.add(at.stem, "counts", relay(at.image(at.heads * n)))
    over_channels = np.tile(np.eye(n, dtype=np.int64), (at.heads, at.head_dim))[:, :, np.newaxis, np.newaxis]
    at.wiring.connect(found, counts, synapses(over_channels, image, groups=at.heads))

    gates = at.wiring.add(at.stem, "gates", IntGate(shape=image, scale=1.0, threshold=step - 1))
    of_head = np.tile(np.eye(n, dtype=np.int64), (c, 1))[:, :, np.newaxis, np.newaxis]
    at.wiring.connect(counts, gates, synapses(of_head, at.image(at.heads * n), groups=at.heads))
    mantissa, exponent = _weight(step)
    at.wiring.connect(values, gates, spread(mantissa * at.ones(pairs), image, exponent=exponent, groups=pairs))

    target, factor = _target(at, largest=n * 2 * step, step=step)
    mantissa, exponent = _weight(factor)
    summed = np.full((c, n, 1, 1), mantissa)
    at.wiring.connect(gates, target, synapses(summed, image, exponent=exponent, groups=c))
    mantissa, exponent = _weight(step * factor)
    less = np.full((c, n, at.height, at.width), -mantissa)
    at.wiring.connect(values, target, spread(less, at.image(c), exponent=exponent, groups=c))


def _target(at: Products, *, largest: int, step: int) -> tuple[str, int]:
    """Where the gates send, and the factor of their synapses: the target of the attention and its own factor.

    Where no synapse holds the factor, or `largest`, what the gates of a sum send at most, times the factor could leave
    24 bits on the way, the gates send to relays that sum, which pass on what is left.
    """
    connection, operation = at.connection, at.connection.operation
    assert isinstance(operation, IntAttention)
    factor = operation.multiplier << max(operation.exponent, 0)
    held = operation.exponent >= 0 and None not in (as_weight(factor), as_weight(step * factor))
    if held and largest * factor < STATE_LIMIT:
        return connection.target, factor
    shape = at.image(at.channels)
    scale = at.wiring.network.populations[connection.target].scale / (operation.multiplier * 2.0**operation.exponent)
    counted = Interval.constant(0.0, float(at.tokens * at.head_dim), at.channels)
    sums = at.wiring.add(at.stem, "sums", relay(shape, scale), counted)
    passed = IntIdentity(in_shape=shape, out_shape=shape, multiplier=operation.multiplier, exponent=operation.exponent)
    at.wiring.connect(sums, connection.target, passed)
    return sums, 1


def _above(largest: int) -> int:
    """The power of two above a count: A."""
    return 1 << largest.bit_length()


def _weight(factor: int) -> tuple[int, int]:
    """A factor that is known to be held by a synapse, as mantissa and exponent."""
    found = as_weight(factor)
    assert found is not None, factor
    return found
