"""What a population of the network does in a time step.

A layer sends its messages of the step, takes those of its sources, works out the currents that they bring, and updates
its neurons with them: what these send is for the next step. So a synapse takes one time step, as in stock Lava, where
Conv sends what it received a step earlier and LIF answers at once.
"""

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.autotune import Kernel
from deploy.engine.kernels import Currents, Messages, compile_kernel
from deploy.engine.neurons import populated
from deploy.engine.ranges import message_range
from deploy.ir.integer import IntGain, IntNetwork
from deploy.ir.plan import Plan
from deploy.ir.populations.base import IntReceiver


@dataclass(frozen=True, kw_only=True)
class Synapse:
    """One connection: it looks `lag` steps back into what its source sent, `delay` of them within the clip."""

    source: int  # which of the layer's sources
    kernel: Kernel
    lag: int
    delay: int
    gain: IntGain | None

    def __call__(self, messages: Messages, frame_of_clip: int) -> Currents:
        currents = self.kernel(messages)
        return currents if self.gain is None else self.gain.at(frame_of_clip, currents)


class Entry:
    """The input population: sends frame f, int32 [C, H, W], at step f + 1, and zeros when all are sent."""

    sources: tuple[str, ...] = ()
    first_step = 1

    def __init__(self, frames_FCHW: NDArray[np.int32]) -> None:
        self.frames_FCHW, self.rest = frames_FCHW, np.zeros_like(frames_FCHW[0])
        self.messages: Messages = frames_FCHW[0]

    def advance(self, step: int, received: list[Messages]) -> None:
        self.messages = self.frames_FCHW[step] if step < len(self.frames_FCHW) else self.rest


class Layer:
    """State of one population while it runs: neurons and delay lines.

    Attributes:
        sources: Names of the populations that send to it, in the order in which `advance` takes their messages.
        first_step: Time step (counted from 1) at which it sends frame 0.
        messages: What it sends in this step; at rest before the first frame and after the last. They stay as they are
            for `longest_lag` time steps more.
    """

    def __init__(
        self,
        *,
        population: IntReceiver,
        synapses: list[Synapse],
        sources: tuple[str, ...],
        first_step: int,
        frames: int,
        clips: int,
        longest_lag: int,
    ) -> None:
        self.neurons = populated(population, frames)
        self.synapses, self.sources, self.first_step = synapses, sources, first_step
        self.frames, self.all_frames = frames, clips * frames
        shape, dtype = population.shape, self.neurons.dtype
        self.rest, self.no_currents = np.full(shape, self.neurons.at_rest, dtype), np.zeros(shape, np.int32)
        self.total = zeros(shape, np.int32)
        self.buffers = itertools.cycle([zeros(shape, dtype) for _ in range(longest_lag + 2)])
        depth = max((s.lag for s in synapses), default=0) + 1
        self.lines: list[deque[Messages]] = [deque(maxlen=depth) for _ in sources]
        for kind in (np.int16, np.int32):  # compiled here, so that a process that is forked later has it
            self.neurons.update([self.no_currents.astype(kind)], 0, next(self.buffers))
        self.messages = self.rest
        self._begin(1)  # a population without a source has its first frame at once

    def advance(self, step: int, received: list[Messages]) -> None:
        """Take what the sources sent in this step; `messages` are then those of the next."""
        for line, message in zip(self.lines, received, strict=True):
            line.append(message)
        self._begin(step + 1)

    def _begin(self, step: int) -> None:
        frame = step - self.first_step
        if not 0 <= frame < self.all_frames:
            self.messages = self.rest
            return
        frame_of_clip = frame % self.frames
        if frame_of_clip == 0:
            self.neurons.reset()
        self.messages = self.neurons.update(self._collect(frame_of_clip), frame_of_clip, next(self.buffers))

    def warm_up(self, messages: list[Messages]) -> None:
        """A time step within a clip, with these messages in all delay lines; the layer is at rest after it."""
        for line, message in zip(self.lines, messages, strict=True):
            line.extend([message] * (line.maxlen or 0))
        self.neurons.update(self._collect(self.frames - 1), self.frames - 1, next(self.buffers))
        for line in self.lines:
            line.clear()
        self.neurons.reset()

    def _collect(self, frame_of_clip: int) -> list[Currents]:
        """The currents of the step, in at most two parts, whose types do not change from step to step."""
        # a clip does not see the one before it
        active = [synapse for synapse in self.synapses if frame_of_clip >= synapse.delay]
        parts = [synapse(self.lines[synapse.source][-1 - synapse.lag], frame_of_clip) for synapse in active]
        if not parts:
            return [self.no_currents]
        if len(self.synapses) <= 2 and len(active) == len(self.synapses):
            return parts
        kind = np.result_type(np.int32, *parts)
        total = self.total if kind == np.int32 else np.empty(self.total.shape, kind)
        np.add(parts[0], 0, out=total, dtype=kind)
        for part in parts[1:]:
            total += part
        return [total]


Layers = Mapping[str, Entry | Layer]  # by population, in the order of the network


def step_of(layers: Layers, step: int, received: Mapping[str, Messages] | None = None) -> Callable[[str], None]:
    """What every layer, by its name, has to do in a time step, in any order or at the same time.

    `received` are the messages of populations that are not among the layers.
    """
    messages = {name: layer.messages for name, layer in layers.items()} | dict(received or {})

    def advance(name: str) -> None:
        layer = layers[name]
        layer.advance(step, [messages[source] for source in layer.sources])

    return advance


def build_layers(network: IntNetwork, plan: Plan, frames_FCHW: NDArray[np.int32]) -> dict[str, Entry | Layer]:
    """All layers of a network, for these frames of whole clips back to back."""
    clips = len(frames_FCHW) // plan.frames
    return {
        name: build_layer(network, plan, name, clips=clips) if name in network.receivers else Entry(frames_FCHW)
        for name in network.populations
    }


def build_layer(network: IntNetwork, plan: Plan, name: str, *, clips: int) -> Layer:
    """The layer of a population that is not the input, for `clips` clips back to back."""
    sources = tuple(dict.fromkeys(c.source for c in network.into(name)))
    synapses = [
        Synapse(
            source=sources.index(c.source),
            kernel=compile_kernel(c.operation, message_range(network.populations[c.source])),
            lag=plan.lag(c),
            delay=c.delay,
            gain=c.gain,
        )
        for c in network.into(name)
    ]
    return Layer(
        population=network.receivers[name],
        synapses=synapses,
        sources=sources,
        first_step=plan.first_step(name),
        frames=plan.frames,
        clips=clips,
        longest_lag=plan.longest_lag_from(name),
    )
