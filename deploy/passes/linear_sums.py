"""Sums along a shortcut stream as one linear function of what enters it, so that a worst case does not multiply.

Bounding a stream block by block takes every value of it at its worst at the same time, behind every kernel anew: a
bound grows by the sum of a kernel's magnitudes, ten times or more from stage to stage. But all of them are sums of the
same spikes. Here kernels that follow each other without a neuron between are multiplied, and the product is bounded:

    s1 = A x,  s2 = B s1 + C y      |s2| <= |B| |A| |x| + |C| |y|    block by block
                                    |s2| <= |B A| |x| + |C| |y|      as one function of the spikes x and y

Where a product is not exact (padding inside a chain) or larger than `LARGEST`, the chain is bounded in parts, as it
always was. Rounding down on the way adds its own range.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from deploy.ir.integer import IntNetwork
from deploy.ir.intervals import Interval
from deploy.ir.network import Connection, Network
from deploy.ir.operations.base import Operation
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.populations.relay import IntRelay, Relay
from deploy.ir.types import Shape, Values
from deploy.passes.compose import composable, compose, composed_geometry
from hardware.geometry import ConvGeometry

LARGEST = 2**22  # weights of a product of kernels; larger ones are bounded in parts


@dataclass(frozen=True, kw_only=True)
class Link:
    """A connection as bounds see it.

    Attributes:
        source: The population that sends.
        delay: In time steps.
        operation: What is done to its messages; None where that is not linear.
        interval: What arrives of messages in a range, in the unit of the target.
        slack: How far below the exact sum rounding can bring a value.
    """

    source: str
    delay: int
    operation: Operation | None
    interval: Callable[[Interval], Interval]
    slack: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Term:
    """What one source adds to a sum: a linear operation on its messages, which lie in the range `sent`."""

    operation: Operation
    sent: Interval

    @cached_property
    def range(self) -> Interval:
        """Range of what arrives, by output channel."""
        return self.operation.interval(self.sent)

    def through(self, operation: Operation, delay: int) -> "Term | None":
        """The term behind one more operation; None where that is no exact product, or too large a one."""
        if not composable(_connection(self.operation), _connection(operation)):
            return None
        geometry = composed_geometry([self.operation, operation])
        if isinstance(geometry, ConvGeometry) and geometry.weights > LARGEST:
            return None
        return Term(operation=compose(self.operation, operation), sent=delayed(self.sent, delay))

    def plus(self, other: "Term") -> "Term | None":
        """Two terms of one source as one; None where they are no kernels of one geometry."""
        a, b = self.operation, other.operation
        if not (isinstance(a, Convolution) and isinstance(b, Convolution) and a.geometry == b.geometry):
            return None
        return Term(operation=replace(a, weight=a.weight + b.weight), sent=self.sent)


@dataclass(frozen=True, kw_only=True)
class LinearSum:
    """A sum of terms, a constant and a rest of which only the range is known.

    Attributes:
        terms: By source and the time steps for which its messages are held back on the way.
        constant: [1 or T, C, H, W], or what broadcasts to it.
        rest: Range of what is known no closer.
    """

    rest: Interval
    terms: Mapping[tuple[str, int], Term] = field(default_factory=dict)
    constant: Values = field(default_factory=lambda: np.zeros((1, 1, 1, 1)))

    @classmethod
    def of_source(cls, name: str, shape: Shape, sent: Interval) -> "LinearSum":
        """The messages of a population themselves."""
        term = Term(operation=Identity(in_shape=shape, out_shape=shape), sent=sent)
        return cls(terms={(name, 0): term}, rest=Interval.zero(shape[0]))

    @property
    def range(self) -> Interval:
        """Range of every channel."""
        total = self.rest + Interval.of(self.constant, len(self.rest.low))
        for term in self.terms.values():
            total += term.range
        return total

    def plus(self, other: "LinearSum") -> "LinearSum":
        """The sum of two sums; what both have of one source is bounded together."""
        terms = dict(self.terms)
        rest = self.rest + other.rest
        for key, term in other.terms.items():
            if key not in terms:
                terms[key] = term
            elif (both := terms[key].plus(term)) is not None:
                terms[key] = both
            else:
                rest += term.range
        return LinearSum(terms=terms, constant=self.constant + other.constant, rest=rest)

    def plus_constant(self, constant: Values) -> "LinearSum":
        """The sum with a bias, which broadcasts to (C, H, W), or to [T, C, H, W]."""
        by_step = constant if constant.ndim > 3 else np.atleast_3d(constant)[np.newaxis]
        return LinearSum(terms=self.terms, constant=self.constant + by_step, rest=self.rest)

    def through(self, link: Link) -> "LinearSum":
        """What arrives of the sum behind a linear connection."""
        operation = link.operation
        assert operation is not None
        rest = operation.interval(delayed(self.rest, link.delay))
        rest += Interval(low=np.full(len(rest.low), -link.slack), high=np.zeros(len(rest.low)))
        terms: dict[tuple[str, int], Term] = {}
        for (source, delay), term in self.terms.items():
            if (product := term.through(operation, link.delay)) is None:
                rest += operation.interval(delayed(term.range, link.delay))
            else:
                terms[source, delay + link.delay] = product
        if not self.constant.any():
            return LinearSum(terms=terms, rest=rest)
        image = np.broadcast_to(self.constant, (len(self.constant), *operation.in_shape))
        constant = operation(image)
        if link.delay:  # it begins later than the clip
            rest += Interval.of(constant, len(rest.low)).with_zero()
            constant = np.zeros((1, 1, 1, 1))
        return LinearSum(terms=terms, constant=constant, rest=rest)


def delayed(sent: Interval, delay: int) -> Interval:
    """Range of what arrives: before the first frame has come, that is 0."""
    return sent.with_zero() if delay else sent


def _connection(operation: Operation) -> Connection:
    return Connection(source="", target="", operation=operation)


class Arriving:
    """What arrives at the populations of a network, one after the other, each behind those that send to it."""

    def __init__(self, network: Network | IntNetwork) -> None:
        self._network = network
        self._unread = Counter(c.source for c in network.connections)
        self._sent: dict[str, Interval] = {}
        self._sums: dict[str, LinearSum] = {}

    def at(self, name: str, links: Sequence[Link]) -> tuple[Interval, Interval]:
        """Range of what arrives with every part at its own worst, and the range of the whole.

        Parts that are not there yet count as 0, so the first holds whatever order they are added in.
        """
        arrivals = [link.interval(self._range(link.source)) for link in links]
        parts = sum(arrivals, Interval.zero(self._network.populations[name].shape[0]))
        if not self._is_relay(name) and not any(self._is_relay(link.source) for link in links):
            return parts, parts
        total = LinearSum(rest=Interval.zero(len(parts.low)))
        for link, arrived in zip(links, arrivals, strict=True):
            total = total.plus(LinearSum(rest=arrived) if link.operation is None else self._behind(link))
        self._sums[name] = total
        self._forget([link.source for link in links])
        return parts, total.range.within(parts)

    def sends(self, name: str, sent: Interval, *, known: bool = False) -> None:
        """What a population sends that does not spike; a `known` range does not follow from what arrives there."""
        self._sent[name] = sent
        population = self._network.populations[name]
        if isinstance(population, Relay | IntRelay) and not known:
            self._sums[name] = self._sums[name].plus_constant(population.bias)
        else:
            self._sums.pop(name, None)

    def _range(self, source: str) -> Interval:
        """Of messages; spikes are 0 or 1 whatever their neurons receive, and whether these were looked at or not."""
        population = self._network.populations[source]
        return Interval.spikes(population.shape[0]) if population.spiking else self._sent[source]

    def _is_relay(self, name: str) -> bool:
        return isinstance(self._network.populations[name], Relay | IntRelay)

    def _behind(self, link: Link) -> LinearSum:
        if (found := self._sums.get(link.source)) is None:
            shape = self._network.populations[link.source].shape
            found = LinearSum.of_source(link.source, shape, self._range(link.source))
        return found.through(link)

    def _forget(self, sources: Sequence[str]) -> None:
        """Drop the sums of relays that nobody else reads; products of kernels are large."""
        self._unread.subtract(sources)
        for source in sources:
            if not self._unread[source]:
                self._sums.pop(source, None)
