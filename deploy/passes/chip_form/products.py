"""Products of values and spikes of coincidences and gates: neurons that a chip has, and the same integers.

Every pair of a value and a spike that meet is a neuron. Two spikes are a coincidence. A value c of either sign, at most
m, times a spike q is a gate (`deploy.ir.populations.gate`): with A = 2^a above 2 m, the sum c + A q is larger than m
only where q is 1, and synapses from the spikes take the A off again behind it. That is a neuron a pair, so products of
large signals have no chip form.

Legend: P pairs, M neurons that send into the product, S of them spikes, O outputs.
"""

from dataclasses import dataclass, replace

import numpy as np

from deploy.ir.integer import IntConnection
from deploy.ir.intervals import Interval
from deploy.ir.machine import CURRENT_LIMIT, STATE_LIMIT
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.product import IntProduct
from deploy.ir.populations.gate import IntGate
from deploy.ir.types import IntArray, Shape
from deploy.passes.chip_form.factors import wire_held
from deploy.passes.chip_form.wiring import (
    LARGEST_EXPONENT,
    LARGEST_WEIGHT,
    Wiring,
    coincidences,
    relay,
    synapses,
)
from hardware import ProductGeometry

MOST_WEIGHTS = 1 << 23  # of a kernel of pairs, zeros included, which are kept while the network is made
LARGEST_STEP = 6 + LARGEST_EXPONENT  # the largest power of two that a synapse multiplies by


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What meets what: of every pair its value, its spike (counted from the first one) and the output, [P] each."""

    value: IntArray
    spike: IntArray
    output: IntArray

    @classmethod
    def of(cls, g: ProductGeometry) -> "Pairs":
        axes = np.indices(g.sizes).reshape(len(g.sizes), -1)
        value, spike, output = (
            np.ravel_multi_index(tuple(axes[list(row)]), g.shape(row)) if row else 0 * axes[0]
            for row in (g.left, g.right, g.output)
        )
        return cls(value=np.asarray(value), spike=np.asarray(spike), output=np.asarray(output))

    def __len__(self) -> int:
        return len(self.value)


def has_form(connection: IntConnection, sent: Interval) -> bool:
    """Whether there is one: kernels that can be kept, no negative message in the place of a spike, gates of 24 bits."""
    operation = connection.operation
    assert isinstance(operation, IntProduct)
    g = operation.geometry
    kept = g.dense_ops() * max(g.inputs, int(np.prod(g.out_shape))) <= MOST_WEIGHTS
    spikes = sent.low[g.values :].min() >= 0 and sent.high[g.values :].max() < CURRENT_LIMIT
    return kept and bool(spikes) and 4 * _most(g, sent) < STATE_LIMIT


def _most(g: ProductGeometry, sent: Interval) -> int:
    """The largest magnitude of a value."""
    return int(max(abs(sent.low[: g.values]).max(), abs(sent.high[: g.values]).max(), 1))


def wire_product(wiring: Wiring, connection: IntConnection, sent: Interval) -> None:
    """Put in the populations and connections that give what a product gives; `sent` is the range of what enters."""
    operation, target = connection.operation, connection.target
    assert isinstance(operation, IntProduct)
    g, sign = operation.geometry, -1 if operation.multiplier < 0 else 1
    stem, outputs = target.rpartition(".")[0] or target, int(np.prod(g.out_shape))
    scale = wiring.network.populations[target].scale / (abs(operation.multiplier) * 2.0**operation.exponent)
    counted = replace(operation, multiplier=sign, exponent=0).sum_interval(sent)
    low, high = (np.repeat(end, outputs // len(end)) for end in (counted.low, counted.high))
    sums = wiring.add(stem, "sums", relay((outputs, 1, 1), scale), Interval(low=low, high=high))
    wire = _coincidences if wiring.network.spiking(connection.source) else _gates
    wire(wiring, stem, connection, sent, (sums, sign))
    passed = IntIdentity(
        in_shape=(outputs, 1, 1),
        out_shape=g.out_shape,
        multiplier=abs(operation.multiplier),
        exponent=operation.exponent,
    )
    wire_held(wiring, replace(connection, source=sums, operation=passed, delay=0))


def _coincidences(wiring: Wiring, stem: str, connection: IntConnection, sent: Interval, into: tuple[str, int]) -> None:
    """Of two spikes: a neuron for every pair, which needs both."""
    operation = connection.operation
    assert isinstance(operation, IntProduct)
    g, pairs = operation.geometry, Pairs.of(operation.geometry)
    found = wiring.add(stem, "coincidences", coincidences((len(pairs), 1, 1)))
    both = _one_hot(pairs.value, g.inputs) + _one_hot(g.values + pairs.spike, g.inputs)
    _join(wiring, connection.source, found, both, delay=connection.delay)
    _join(wiring, found, into[0], into[1] * _one_hot(pairs.output, int(np.prod(g.out_shape))).T)


def _gates(wiring: Wiring, stem: str, connection: IntConnection, sent: Interval, into: tuple[str, int]) -> None:
    """Of values of either sign and spikes: a gate for every pair, which a spike opens.

    Where the sum of all that gates send could leave 24 bits, relays take the A off each before it is added.
    """
    operation, (sums, sign) = connection.operation, into
    assert isinstance(operation, IntProduct)
    g, pairs, most = operation.geometry, Pairs.of(operation.geometry), _most(operation.geometry, sent)
    image, spikes, step = (len(pairs), 1, 1), g.inputs - g.values, (2 * most).bit_length()
    opened = _opened(wiring, stem, connection, step=step)
    gates = wiring.add(stem, "gates", IntGate(shape=image, scale=1.0, threshold=most))
    of_spike = _one_hot(pairs.spike, spikes)
    of_output = sign * _one_hot(pairs.output, int(np.prod(g.out_shape))).T
    _join(wiring, connection.source, gates, _one_hot(pairs.value, g.inputs), delay=connection.delay)
    _join(wiring, opened, gates, of_spike)
    terms, less = len(pairs) // len(of_output), _added(pairs, (len(of_output), spikes))
    if terms * (most + (1 << step)) < STATE_LIMIT and less.max() <= LARGEST_WEIGHT:
        _join(wiring, gates, sums, of_output)
        _join(wiring, opened, sums, -sign * less)
        return
    low, high = (end[pairs.value] for end in (np.minimum(sent.low, 0), np.maximum(sent.high, 0)))
    chosen = wiring.add(stem, "chosen", relay(image), Interval(low=low, high=high))
    same = IntIdentity(in_shape=image, out_shape=image)
    wiring.connect(gates, chosen, same)
    _join(wiring, opened, chosen, -of_spike)
    _join(wiring, chosen, sums, of_output)


def _added(pairs: Pairs, shape: tuple[int, int]) -> IntArray:
    """Pairs of every output and spike."""
    found = np.zeros(shape, dtype=np.int64)
    np.add.at(found, (pairs.output, pairs.spike), 1)
    return found


def _opened(wiring: Wiring, stem: str, connection: IntConnection, *, step: int) -> str:
    """Relays that send 2^step for every spike among the messages of the source."""
    operation = connection.operation
    assert isinstance(operation, IntProduct)
    values, spikes = operation.geometry.values, operation.geometry.inputs - operation.geometry.values
    fired = wiring.add(stem, "fired", replace(coincidences((spikes, 1, 1)), threshold=np.zeros((1, 1, 1), np.int64)))
    chosen = _one_hot(values + np.arange(spikes), operation.geometry.inputs)
    _join(wiring, connection.source, fired, chosen, delay=connection.delay)
    return wire_step(wiring, stem, fired, (spikes, 1, 1), step)


def wire_step(wiring: Wiring, stem: str, spikes: str, shape: Shape, step: int) -> str:
    """Relays that send 2^step for every spike of neurons of this shape."""
    last, left = spikes, step
    while left:
        now = min(left, LARGEST_STEP)
        exponent = min(now, LARGEST_EXPONENT)
        name = wiring.add(stem, "opened", relay(shape))
        same = IntIdentity(in_shape=shape, out_shape=shape, multiplier=1 << (now - exponent), exponent=exponent)
        wiring.connect(last, name, same)
        last, left = name, left - now
    return last


def _one_hot(places: IntArray, size: int) -> IntArray:
    """[len(places), size] with a one in every row."""
    found = np.zeros((len(places), size), dtype=np.int64)
    found[np.arange(len(places)), places] = 1
    return found


def _join(wiring: Wiring, source: str, target: str, weight_OI: IntArray, *, delay: int = 0) -> None:
    """Synapses between vectors; where a weight is 0, there is none."""
    wiring.connect(source, target, synapses(weight_OI[:, :, None, None], (weight_OI.shape[1], 1, 1)), delay=delay)
