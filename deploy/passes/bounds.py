"""Worst cases, proven from the weights: no message, current or potential can leave its register.

An interval holds the smallest and largest value of every channel of a population, over all inputs that can occur:
spikes are 0 or 1, relays the sum of their inputs' intervals, attention at most tokens x head_dim. What a neuron keeps
of T inputs is a geometric series: (1 - (1 - decay)^T) / decay times the largest, or T times without a decay.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import (
    IntConnection,
    IntConvolution,
    IntIdentity,
    IntInput,
    IntLif,
    IntMembrane,
    IntNetwork,
    IntPopulation,
    IntRelay,
)
from deploy.ir.loops import grouped, is_loop
from deploy.ir.machine import BIAS_MANTISSA_LIMIT, CURRENT_LIMIT, DECAY_ONE, STATE_LIMIT, STATE_SHIFT
from deploy.ir.network import Attention, Convolution, Identity, Input, Integrator, Membrane, Network
from hardware.geometry import ConvGeometry
from svformer.common.errors import InputError

Values = NDArray[np.float64]
STATE_UNIT = 1 << STATE_SHIFT
POTENTIAL_LIMIT = STATE_LIMIT >> STATE_SHIFT  # in the unit of the weights


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Smallest and largest value of every channel, [C]."""

    low: Values
    high: Values

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(low=self.low + other.low, high=self.high + other.high)

    @property
    def magnitude(self) -> float:
        return float(max(np.abs(self.low).max(), np.abs(self.high).max()))

    def scaled(self, factor: float) -> "Interval":
        return Interval(low=self.low * factor, high=self.high * factor)


def spikes(channels: int) -> Interval:
    return Interval(low=np.zeros(channels), high=np.ones(channels))


def of_bias(bias: NDArray[Any], channels: int) -> Interval:
    """Range of a bias that broadcasts to (C, H, W), or of one for every time step, [T, C, H, W]."""
    low, high = _by_channel(bias)
    return Interval(low=np.broadcast_to(low, channels) * 1.0, high=np.broadcast_to(high, channels) * 1.0)


def through_convolution(weight_OIHW: NDArray[Any], geometry: ConvGeometry, x: Interval) -> Interval:
    """Range of every output channel; padding gives zeros, so 0 is always in the range of an input."""
    groups = geometry.groups
    low, high = np.minimum(x.low, 0).reshape(groups, 1, -1), np.maximum(x.high, 0).reshape(groups, 1, -1)
    weight = weight_OIHW.astype(np.float64).reshape(groups, len(weight_OIHW) // groups, weight_OIHW.shape[1], -1)
    positive, negative = np.maximum(weight, 0).sum(-1), np.minimum(weight, 0).sum(-1)  # [G, O / G, C / G]
    return Interval(
        low=(positive * low + negative * high).sum(-1).ravel(),
        high=(positive * high + negative * low).sum(-1).ravel(),
    )


def through_gain(gain: NDArray[Any] | None, x: Interval) -> Interval:
    """Range behind a gain for every time step: the widest that any of them leaves."""
    if gain is None:
        return x
    products = [limit * factor for limit in (x.low, x.high) for factor in _by_channel(gain)]
    return Interval(low=np.minimum.reduce(products), high=np.maximum.reduce(products))


def _by_channel(values: NDArray[Any]) -> tuple[Values, Values]:
    """Smallest and largest value of every channel over positions and, where there are any, time steps."""
    by_step = values.reshape(-1, *values.shape[-3:])
    return by_step.min(axis=(0, 2, 3)) * 1.0, by_step.max(axis=(0, 2, 3)) * 1.0


def through_identity(identity: Identity | IntIdentity, x: Interval) -> Interval:
    """A flattened image has one channel for every value; a delay lets zeros in before the first frame."""
    repeats = identity.out_shape[0] // identity.in_shape[0]
    return Interval(low=np.repeat(np.minimum(x.low, 0), repeats), high=np.repeat(np.maximum(x.high, 0), repeats))


def attention_range(channels: int, tokens: int, head_dim: int) -> Interval:
    """K^T V counts at most every token; a row of Q adds at most head_dim of the counts."""
    return Interval(low=np.zeros(channels), high=np.full(channels, float(tokens * head_dim)))


def accumulated(x: Interval, decay: NDArray[Any] | None, frames: int) -> Interval:
    """Range of a state that keeps 1 - decay of itself and takes x in each of so many time steps, from 0.

    Without a decay it has no memory.
    """
    if decay is None:
        return x
    slowest = np.broadcast_to(decay.min(axis=(1, 2)), x.low.shape)
    series = np.where(slowest > 0, (1 - (1 - slowest) ** frames) / np.where(slowest > 0, slowest, 1), frames)
    return Interval(low=np.minimum(x.low, 0) * series, high=np.maximum(x.high, 0) * series)


def _begun(x: Interval, start: NDArray[Any] | None) -> Interval:
    """Range of a state that a clip does not begin with 0, but with a value that decays."""
    if start is None:
        return x
    low, high = _by_channel(start)
    return x + Interval(low=np.minimum(low, 0), high=np.maximum(high, 0))


def float_ranges(network: Network, input_range: tuple[float, float]) -> dict[str, Interval]:
    """Range of the current of every layer of neurons (with its bias), and of what all others send, but the input."""
    ranges: dict[str, Interval] = {}
    for name in graded_order(network):
        population, channels = network.populations[name], network.populations[name].shape[0]
        if isinstance(population, Input):
            low, high = (np.full(channels, limit) for limit in input_range)
            ranges[name] = Interval(low=low, high=high)
            continue
        current = Interval(low=np.zeros(channels), high=np.zeros(channels))
        for c in network.into(name):
            sent = spikes(network.populations[c.source].shape[0]) if network.spiking(c.source) else ranges[c.source]
            current += through_gain(c.gain, _through(c.operation, sent))
        if isinstance(population, Membrane):
            current = _begun(accumulated(current, population.current_decay, network.frames), population.start_current)
        current += of_bias(population.bias, channels)
        if isinstance(population, Integrator):
            current = _begun(accumulated(current, population.decay, network.frames), population.start)
        ranges[name] = current
    return {name: found for name, found in ranges.items() if not isinstance(network.populations[name], Input)}


def graded_order(network: Network | IntNetwork) -> list[str]:
    """Populations so that each comes after those that send it graded messages; spikes are bounded as they are.

    Raises `InputError` for a loop of graded messages, which nothing bounds.
    """
    graded = [(c.source, c.target) for c in network.connections if not network.spiking(c.source)]
    groups = grouped(network.populations, graded)
    loops = [", ".join(group) for group in groups if is_loop(group, graded)]
    if loops:
        raise InputError(f"loops of graded values, which nothing bounds: {'; '.join(loops)}; put neurons into them")
    return [name for (name,) in groups]


def _through(operation: Convolution | Identity | Attention, x: Interval) -> Interval:
    if isinstance(operation, Convolution):
        return through_convolution(operation.weight, operation.geometry, x)
    if isinstance(operation, Identity):
        return through_identity(operation, x)
    g = operation.geometry
    return attention_range(g.channels, g.tokens, g.head_dim).scaled(operation.scale)


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """How much of its register a value can fill in the worst case."""

    where: str
    what: str
    worst: float
    limit: int

    @property
    def share(self) -> float:
        return self.worst / self.limit

    def __str__(self) -> str:
        return f"{self.where}: {self.what} up to {self.worst:.0f}, allowed {self.limit} ({self.share:.2f} x)"


def prove(network: IntNetwork) -> list[Headroom]:
    """Worst case of every register of an integer network.

    Raises `InputError` that names every layer which could overflow, with its margin.
    """
    found, messages = list[Headroom](), dict[str, Interval]()
    for name in graded_order(network):
        messages[name] = _message_range(network, name, network.populations[name], messages, found)
    order = list(network.populations)
    found.sort(key=lambda headroom: order.index(headroom.where.split(" -> ")[-1]))
    over = [headroom for headroom in found if headroom.share > 1]
    if over:
        offenders = "; ".join(str(headroom) for headroom in over)
        raise InputError(f"the integer network could overflow: {offenders}; use a smaller scale or fewer weight bits")
    return found


def _message_range(
    network: IntNetwork,
    name: str,
    population: IntPopulation,
    messages: dict[str, Interval],
    found: list[Headroom],
) -> Interval:
    channels = population.shape[0]
    if isinstance(population, IntInput):
        return Interval(low=np.full(channels, population.low), high=np.full(channels, population.high))
    current = Interval(low=np.zeros(channels), high=np.zeros(channels))
    for c in network.into(name):
        where = f"{c.source} -> {name}"
        sent = spikes(network.populations[c.source].shape[0]) if network.spiking(c.source) else messages[c.source]
        current += _int_through(where, c, sent, found)
    if isinstance(population, IntRelay):
        total = current + of_bias(population.bias, channels)
        found.append(Headroom(where=name, what="graded message", worst=total.magnitude, limit=STATE_LIMIT - 1))
        return total
    current = _begun(
        accumulated(current, _share(population.current_decay), network.frames), _in_units(population.start_current)
    )
    found += _neuron_headroom(name, population, current)
    if isinstance(population, IntLif):
        return spikes(channels)
    potential = current + of_bias(population.bias_mantissa, channels).scaled(2.0**population.bias_exponent / STATE_UNIT)
    potential = _begun(
        accumulated(potential, population.decay / DECAY_ONE, network.frames), _in_units(population.start)
    )
    found.append(Headroom(where=name, what="potential", worst=potential.magnitude, limit=POTENTIAL_LIMIT - 1))
    return Interval(low=np.floor(potential.low), high=np.ceil(potential.high))


def _neuron_headroom(name: str, neurons: IntMembrane, current: Interval) -> list[Headroom]:
    mantissa = int(np.abs(neurons.bias_mantissa).max())
    found = [
        Headroom(where=name, what="input current", worst=current.magnitude, limit=CURRENT_LIMIT - 1),
        Headroom(where=name, what="bias mantissa", worst=mantissa, limit=BIAS_MANTISSA_LIMIT - 1),
    ]
    if isinstance(neurons, IntLif):
        threshold = int(neurons.threshold.max())
        found.insert(1, Headroom(where=name, what="threshold", worst=threshold, limit=POTENTIAL_LIMIT - 1))
    return found


def _share(decay: NDArray[Any] | None) -> Values | None:
    return None if decay is None else decay / DECAY_ONE


def _in_units(state: NDArray[Any] | None) -> Values | None:
    """A state in the unit of the weights."""
    return None if state is None else state / STATE_UNIT


def _int_through(where: str, connection: IntConnection, x: Interval, found: list[Headroom]) -> Interval:
    operation = connection.operation
    if isinstance(operation, IntIdentity):
        total = through_identity(operation, x).scaled(operation.multiplier)
    elif isinstance(operation, IntConvolution):
        total = through_convolution(operation.mantissa, operation.geometry, x)
    else:
        g = operation.geometry
        total = attention_range(g.channels, g.tokens, g.head_dim).scaled(operation.multiplier)
    if not isinstance(operation, IntIdentity) or operation.multiplier != 1:  # else nothing is multiplied or summed
        found.append(Headroom(where=where, what="synaptic sum", worst=total.magnitude, limit=STATE_LIMIT - 1))
    shift = 2.0**operation.exponent
    arrived = Interval(low=np.floor(total.low * shift), high=np.floor(total.high * shift))
    if connection.gain is None:
        return arrived
    product = through_gain(connection.gain.multiplier, arrived).scaled(2.0**connection.gain.exponent)
    return Interval(low=np.floor(product.low), high=np.ceil(product.high))
