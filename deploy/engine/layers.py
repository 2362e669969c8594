"""What one block of the network does in a time step.

A layer first updates its neurons with the currents collected in the step before and sends their messages, then takes
the messages of its sources and works out the next currents. So a synapse takes one time step, as in stock Lava, where
Conv sends what it received a step earlier and LIF answers at once.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.kernels import Currents, Kernel, Messages, compile_kernel
from deploy.ir.integer import (
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    IntGain,
    IntInput,
    IntLif,
    IntNetwork,
    IntRelay,
    bias_by_step,
    wrapped,
)
from deploy.passes.schedule import Plan


@dataclass(frozen=True, kw_only=True)
class Synapse:
    """One connection: it looks `lag` steps back into what its source sent, `delay` of them within the clip."""

    source: int  # which in-port
    kernel: Kernel
    lag: int
    delay: int
    gain: IntGain | None

    def __call__(self, messages: Messages, frame_of_clip: int) -> Currents:
        currents = self.kernel(messages)
        return currents if self.gain is None else self.gain.at(frame_of_clip, currents)


class Layer:
    """State of one population while it runs: neurons, delay lines, and the recording of what it sent."""

    def __init__(
        self,
        *,
        population: IntRelay | IntLif,
        synapses: list[Synapse],
        first_step: int,
        frames: int,
        sources: int,
    ) -> None:
        self.neurons = _Relay(population, frames) if isinstance(population, IntRelay) else _Neurons(population, frames)
        self.synapses, self.first_step, self.frames = synapses, first_step, frames
        self.rest = np.zeros(population.shape, dtype=self.neurons.dtype)
        self.currents: Currents = np.zeros(population.shape, dtype=np.int64)
        depth = max((s.lag for s in synapses), default=0) + 1
        self.lines: list[deque[Messages]] = [deque(maxlen=depth) for _ in range(sources)]

    def send(self, step: int) -> Messages:
        """Update the neurons with the frame that is due at this step (counted from 1); silent before the first."""
        frame = step - self.first_step
        if frame < 0:
            return self.rest
        if frame % self.frames == 0:
            self.neurons.reset()
        return self.neurons.update(self.currents, frame % self.frames)

    def receive(self, step: int, messages: list[Messages]) -> None:
        """Take what the sources sent in this step and collect the currents of the next."""
        for line, message in zip(self.lines, messages, strict=True):
            line.append(message)
        frame = step + 1 - self.first_step
        if frame >= 0:
            self.currents = self._collect(frame % self.frames)

    def _collect(self, frame_of_clip: int) -> Currents:
        total = np.zeros(self.rest.shape, dtype=np.int64)
        for synapse in self.synapses:
            if frame_of_clip >= synapse.delay:  # a clip does not see the one before it
                total += synapse(self.lines[synapse.source][-1 - synapse.lag], frame_of_clip)
        return total


class _Relay:
    dtype = np.dtype(np.int32)

    def __init__(self, relay: IntRelay, frames: int) -> None:
        self.bias = bias_by_step(relay, frames)

    def reset(self) -> None:
        """A relay keeps nothing."""

    def update(self, currents: Currents, frame_of_clip: int) -> NDArray[np.int32]:
        return (currents + self.bias[frame_of_clip]).astype(np.int32)


class _Neurons:
    dtype = np.dtype(np.int8)

    def __init__(self, lif: IntLif, frames: int) -> None:
        self.bias = bias_by_step(lif, frames)
        self.keep, self.threshold = DECAY_ONE - lif.decay, lif.threshold << STATE_SHIFT
        self.v = np.zeros(lif.shape, dtype=np.int64)

    def reset(self) -> None:
        self.v[:] = 0

    def update(self, currents: Currents, frame_of_clip: int) -> NDArray[np.int8]:
        kept = np.sign(self.v) * ((np.abs(self.v) * self.keep) >> 12)
        current = wrapped(currents << STATE_SHIFT) + self.bias[frame_of_clip]
        v = np.clip(kept + current, -STATE_LIMIT + 1, STATE_LIMIT - 1)
        fired = v > self.threshold
        v[fired] = 0
        self.v = v
        return fired.astype(np.int8)


def build_layer(network: IntNetwork, plan: Plan, name: str) -> tuple[Layer, list[str]]:
    """The layer of a population, and the names of its sources in the order of its in-ports."""
    population = network.populations[name]
    assert not isinstance(population, IntInput)
    sources = list(dict.fromkeys(c.source for c in network.into(name)))
    synapses = [
        Synapse(
            source=sources.index(c.source),
            kernel=compile_kernel(c.operation, largest_message=largest_message(network, c.source)),
            lag=lag,
            delay=c.delay,
            gain=c.gain,
        )
        for c, lag in zip(network.connections, plan.lags, strict=True)
        if c.target == name
    ]
    layer = Layer(
        population=population,
        synapses=synapses,
        first_step=plan.first_step(name),
        frames=plan.frames,
        sources=len(sources),
    )
    return layer, sources


def largest_message(network: IntNetwork, name: str) -> int:
    """Bound on the absolute value of what a population sends."""
    population = network.populations[name]
    if isinstance(population, IntLif):
        return 1
    if isinstance(population, IntInput):
        return max(abs(population.low), abs(population.high))
    return STATE_LIMIT


def message_type(population: Any) -> np.dtype[Any]:
    """int8 spikes, int32 graded messages."""
    return _Neurons.dtype if isinstance(population, IntLif) else _Relay.dtype
