"""Why integers fire otherwise than real numbers: one part of the network rounded at a time, layer by layer.

A network whose weights alone are rounded, say, is a network of real numbers that can be run. So are one with all parts
rounded, and one with all but the weights: what each part flips by itself, and what would be won without it. What is
left between all parts and the integers are the registers, which round every sum, message and leak. Flipped spikes
reach hundreds of neurons, so the shares of several parts do not add up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.ir.integer import IntConnection, IntNetwork, run_integer
from deploy.ir.network import Connection, Network, run_float
from deploy.ir.populations.base import IntReceiver, Population, Receiver
from deploy.ir.rounding import round_gain
from deploy.ir.types import Signals, Values
from deploy.passes.statistics import Count, chunks

WEIGHTS, FACTORS, GAINS, INPUT = "weights", "factors", "gains", "input"
FIELDS = {  # of populations, by part; biases take back what rounded weights add on average, so they come with these
    WEIGHTS: ("bias",),
    "thresholds": ("threshold", "subtract"),
    "leaks": ("decay", "current_decay"),
    "starts": ("start", "start_current"),
}
PARTS = (WEIGHTS, "thresholds", "leaks", "starts", FACTORS, GAINS, INPUT)
INTEGERS, ALL = "integers", "all parts"
ALONE, WITHOUT = "{} alone", "all but {}"

Run = Callable[[Values], Signals]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What one way to round leaves equal to real numbers.

    Attributes:
        equal: Share of spikes, by layer.
        result_error: Root mean square difference of the results, as a share of what they vary; None where they do not.
    """

    equal: Mapping[str, float]
    result_error: float | None

    @property
    def mean(self) -> float:
        """Share of equal spikes, the mean of the layers."""
        return float(np.mean(list(self.equal.values())))


def precision(
    exact: Network, rounded: IntNetwork, frames_NTCHW: Values, *, at_once: int | None = None
) -> dict[str, Agreement]:
    """The integers, all parts rounded in real numbers, each part alone, and all but each, compared on these clips.

    `rounded` is what quantisation made of `exact`; parts that the network does not have are left out. At most `at_once`
    clips run at the same time (None: all).
    """
    parts = [part for part in PARTS if _has(exact, part)]
    record = [*exact.neuron_layers, exact.output]
    runs: dict[str, Run] = {
        INTEGERS: lambda clips: run_integer(rounded, clips, record=record),
        ALL: _runner(exact, rounded, parts, record),
    }
    runs |= {ALONE.format(part): _runner(exact, rounded, [part], record) for part in parts}
    runs |= {WITHOUT.format(part): _runner(exact, rounded, [p for p in parts if p != part], record) for part in parts}
    tallies = {name: _Tally(exact, rounded if name == INTEGERS else None) for name in runs}
    for clips in chunks(frames_NTCHW, at_once):
        wanted = run_float(exact, clips, record=record)
        for name, run in runs.items():
            tallies[name].add(wanted, run(clips))
    return {name: tally.agreement() for name, tally in tallies.items()}


class _Tally:
    """Equal spikes and differences of the results, added up over clips."""

    def __init__(self, exact: Network, integers: IntNetwork | None) -> None:
        self._exact, self._integers = exact, integers
        self._equal = dict.fromkeys(exact.neuron_layers, Count())
        self._wanted: list[Values] = []
        self._found: list[Values] = []

    def add(self, wanted: Signals, found: Signals) -> None:
        for name in self._equal:
            same = wanted[name] == found[name]
            self._equal[name] += Count(found=int(same.sum()), of=same.size)
        output = self._exact.output
        unit = 1.0 if self._integers is None else self._integers.populations[output].message_unit
        self._wanted.append(wanted[output])
        self._found.append(found[output] / unit)

    def agreement(self) -> Agreement:
        wanted, found = np.concatenate(self._wanted), np.concatenate(self._found)
        varied = float(wanted.std())
        error = float(np.sqrt(np.mean((found - wanted) ** 2))) / varied if varied else None
        return Agreement(equal={name: count.share for name, count in self._equal.items()}, result_error=error)


def _has(network: Network, part: str) -> bool:
    connections, receivers = network.connections, network.receivers.values()
    match part:
        case "weights":
            return any(c.operation.weights for c in connections)
        case "factors":
            return any(c.operation.factor is not None for c in connections)
        case "gains":
            return any(c.gain is not None for c in connections)
        case "input":
            return True
    return any(getattr(receiver, name, None) is not None for receiver in receivers for name in FIELDS[part])


def _runner(exact: Network, rounded: IntNetwork, parts: list[str], record: list[str]) -> Run:
    network = with_rounded(exact, rounded, parts)
    if INPUT not in parts:
        return lambda clips: run_float(network, clips, record=record)
    entry = rounded.input
    return lambda clips: run_float(network, entry.quantize(clips) / entry.message_unit, record=record)


def with_rounded(exact: Network, rounded: IntNetwork, parts: list[str]) -> Network:
    """The network of real numbers with these parts as they came out in integers; its input is for the caller."""
    receivers = rounded.receivers
    populations: dict[str, Population] = {
        **exact.populations,
        **{name: _population(receiver, receivers[name], parts) for name, receiver in exact.receivers.items()},
    }
    pairs = zip(exact.connections, rounded.connections_beside(exact.connections), strict=True)
    connections = tuple(_connection(before, after, rounded, parts) for before, after in pairs)
    return replace(exact, populations=populations, connections=connections)


def _population(exact: Receiver, rounded: IntReceiver, parts: list[str]) -> Receiver:
    found, names = vars(rounded.exact(rounded.scale)), [name for part in parts for name in FIELDS.get(part, ())]
    changed: dict[str, Any] = {name: found[name] for name in names if name in found}
    return replace(exact, **changed)  # type: ignore[type-var]


def _connection(exact: Connection, rounded: IntConnection, network: IntNetwork, parts: list[str]) -> Connection:
    gain = exact.gain
    exponent = rounded.operation.exponent
    if exact.gain is not None and rounded.gain is not None:  # the shift stands behind the gain
        _, own = round_gain(exact.gain)
        exponent = rounded.gain.exponent - own
        gain = rounded.gain.multiplier.astype(np.float64) * 2.0**own if GAINS in parts else gain
    operation = exact.operation
    if (WEIGHTS if operation.weights else FACTORS) in parts:
        step = network.populations[exact.source].message_unit / network.populations[exact.target].scale
        operation, factor = rounded.operation.with_exponent(exponent).exact(1 / step)
        if factor != 1:
            gain = np.full((1, 1, 1, 1), factor) if gain is None else gain * factor
    return replace(exact, operation=operation, gain=gain)
