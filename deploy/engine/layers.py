"""What one block of the network does in a time step.

A layer first updates its neurons with the currents collected in the step before and sends their messages, then takes
the messages of its sources and works out the next currents. So a synapse takes one time step, as in stock Lava, where
Conv sends what it received a step earlier and LIF answers at once.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from deploy.engine.choice import Kernel
from deploy.engine.kernels import Currents, Messages, compile_kernel
from deploy.engine.neurons import populated
from deploy.engine.ranges import SPIKES, MessageRange
from deploy.ir.integer import STATE_LIMIT, IntGain, IntInput, IntIntegrator, IntLif, IntNetwork, IntPopulation, IntRelay
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
        population: IntRelay | IntLif | IntIntegrator,
        synapses: list[Synapse],
        first_step: int,
        frames: int,
        sources: int,
    ) -> None:
        self.neurons = populated(population, frames)
        self.synapses, self.first_step, self.frames = synapses, first_step, frames
        self.rest = np.zeros(population.shape, dtype=self.neurons.dtype)
        self.no_currents: Currents = np.zeros(population.shape, dtype=np.int32)
        self.currents = self.no_currents
        for kind in (np.int16, np.int32):  # compiled here, so that a process that is forked later has it
            self.neurons.update(self.no_currents.astype(kind), 0)
        self.neurons.reset()
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
        # a clip does not see the one before it
        active = [synapse for synapse in self.synapses if frame_of_clip >= synapse.delay]
        parts = [synapse(self.lines[synapse.source][-1 - synapse.lag], frame_of_clip) for synapse in active]
        if len(parts) < 2:
            return parts[0] if parts else self.no_currents
        total = np.add(*parts[:2], dtype=np.result_type(np.int32, *parts))
        for part in parts[2:]:
            total += part
        return total


def build_layer(network: IntNetwork, plan: Plan, name: str) -> tuple[Layer, list[str]]:
    """The layer of a population, and the names of its sources in the order of its in-ports."""
    population = network.populations[name]
    assert not isinstance(population, IntInput)
    sources = list(dict.fromkeys(c.source for c in network.into(name)))
    synapses = [
        Synapse(
            source=sources.index(c.source),
            kernel=compile_kernel(c.operation, message_range(network.populations[c.source])),
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


def message_range(population: IntPopulation) -> MessageRange:
    """Smallest and largest value that a population can send."""
    if isinstance(population, IntLif):
        return SPIKES
    if isinstance(population, IntInput):
        return MessageRange(low=population.low, high=population.high)
    return MessageRange(low=-STATE_LIMIT, high=STATE_LIMIT)
