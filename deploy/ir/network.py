"""The lowered network: populations joined by connections, in real numbers.

A population is an input, a layer of neurons, a layer of integrators that send their potential, or a relay that passes
on the sum of what it receives (`deploy.ir.populations`). A connection applies an operation (`deploy.ir.operations`),
with a delay in whole time steps. Populations stand in an order in which each comes after its sources, but for loops,
which have a delay.

Shapes: every population is (C, H, W); a signal is [N clips, T time steps, C, H, W].
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack, cast

import numpy as np

from deploy.ir.loops import grouped, is_loop
from deploy.ir.operations.base import Operation
from deploy.ir.populations.base import Population, Receiver
from deploy.ir.populations.input import Input
from deploy.ir.readout import Readout
from deploy.ir.running import Begin, ExecuteOptions, Running, execute
from deploy.ir.types import Array, Signals, Values


@dataclass(frozen=True, kw_only=True)
class Connection:
    """`operation` from source to target; its input is `delay` time steps old, and 0 before the first frame.

    `gain` multiplies what arrives at frame t with `gain[t]`: a norm of its own for every time step, which no static
    weight can hold. A `fine` connection has every weight held by two synapses (`deploy.passes.refine_first_layers`).
    """

    source: str
    target: str
    operation: Operation
    delay: int = 0
    gain: Array | None = None  # broadcasts to [T, C, H, W] of the target
    fine: bool = False

    def __call__(self, x_NTCHW: Values) -> Values:
        """What arrives at the target when the source sends x."""
        arrived = apply_over_time(self.operation, x_NTCHW, self.delay)
        return arrived if self.gain is None else arrived * self.gain

    def at(self, frame: int, x_NCHW: Values) -> Values:
        """What arrives at one frame when the source sent x `delay` time steps before.

        Clip by clip, as `execute` does it.
        """
        arrived = np.concatenate([self.operation(x_NCHW[clip : clip + 1]) for clip in range(len(x_NCHW))])
        return arrived if self.gain is None else arrived * self.gain[frame % len(self.gain)]


@dataclass(frozen=True, kw_only=True)
class Network:
    """Populations stand after those that they need in the same time step; loops have a delay.

    `output` names the population whose messages over a clip give its result, by `readout`.
    """

    populations: dict[str, Population]
    connections: tuple[Connection, ...]
    output: str
    frames: int  # T
    notes: tuple[str, ...] = ()  # what the passes decided, for the report
    readout: Readout = "last"

    def into(self, name: str) -> list[Connection]:
        """Connections that end in a population."""
        return [c for c in self.connections if c.target == name]

    def out_of(self, name: str) -> list[Connection]:
        """Connections that begin at a population."""
        return [c for c in self.connections if c.source == name]

    def spiking(self, name: str) -> bool:
        """Whether the messages of a population are spikes (0 or 1) or graded."""
        return self.populations[name].spiking

    @property
    def neuron_layers(self) -> list[str]:
        """Names of the populations that spike, in order of execution."""
        return [name for name, population in self.populations.items() if population.spiking]

    @property
    def input_name(self) -> str:
        """The population where a clip enters."""
        return input_name(self.populations)

    @property
    def input(self) -> Input:
        """The population where a clip enters."""
        found = self.populations[self.input_name]
        assert isinstance(found, Input)
        return found

    @property
    def receivers(self) -> dict[str, Receiver]:
        """Every population but the input, in order."""
        return {name: cast(Receiver, p) for name, p in self.populations.items() if p.kind != "input"}

    def begin(self, name: str, clips: int, frames: int) -> Running:
        """A population, by its name, at the beginning of `clips` clips of `frames` time steps."""
        return self.receivers[name].begin(clips, frames)

    def without(self, name: str, connections: Iterable[Connection], biased: Iterable[tuple[str, Array]]) -> "Network":
        """The network with population `name` and all its connections replaced by `connections`.

        `biased` says what other populations receive as a constant input in its place.
        """
        populations, receivers = {n: p for n, p in self.populations.items() if n != name}, self.receivers
        for target, bias in biased:
            receivers[target] = populations[target] = receivers[target].with_input_bias(bias, self.frames)
        untouched = tuple(c for c in self.connections if name not in (c.source, c.target))
        return replace(self, populations=populations, connections=(*untouched, *connections))


def input_name(populations: Mapping[str, Any]) -> str:
    """The name of the only input; `deploy.ir.contracts` checks that there is one."""
    return next(name for name, population in populations.items() if population.kind == "input")


def endless_loops(network: Network) -> list[tuple[str, ...]]:
    """Loops in which no population spikes, so that their values could grow without end."""
    graded = [name for name in network.populations if not network.spiking(name)]
    edges = {(c.source, c.target) for c in network.connections if {c.source, c.target} <= set(graded)}
    return [group for group in grouped(graded, edges) if is_loop(group, edges)]


def apply_over_time(operation: Callable[[Any], Any], x_NTCHW: Values, delay: int) -> Values:
    """An operation on every frame of a delayed signal; what has not arrived yet is zero."""
    y = operation(delayed(x_NTCHW, delay).reshape(-1, *x_NTCHW.shape[2:]))
    return y.reshape(*x_NTCHW.shape[:2], *y.shape[1:])


def delayed(x_NT: Values, steps: int) -> Values:
    """A signal [N, T, ...] `steps` time steps later; zeros enter, also when that is longer than the clip."""
    late = np.zeros_like(x_NT)
    late[:, steps:] = x_NT[:, : max(x_NT.shape[1] - steps, 0)]
    return late


def run_float(
    network: Network, frames_NTCHW: Values, begin: Begin | None = None, **options: Unpack[ExecuteOptions]
) -> Signals:
    """Messages of every population for a batch of clips: spikes (0.0 or 1.0) or graded values, [N, T, C, H, W].

    `begin` replaces `network.begin`, so that a probe can see potentials; the options are those of `execute`.
    """
    entry = (network.input_name, np.asarray(frames_NTCHW, dtype=np.float64))
    return execute(network.populations, network.connections, entry, begin or network.begin, **options)
