"""A network in chip form as Lava's own processes: LIF neurons, graded relays and gates, synapses, nothing of our own.

Which model runs them is a choice of the run configuration: Lava's on a CPU, those of `fast_models`, or Intel's on a
board. A population is a LIFReset or a GradedVec; a connection is a Conv or a Sparse, which takes one time step; what
waits for a longer path waits in relays of the source, one for each time step, which all connections of the source
share.

A delay of the model must not carry what a neuron sent before its clip into it: neurons with a bias fire before their
first frame reaches them, and clips follow each other without a pause. So such a delay is a line of neurons without
memory, which are all silenced in the time step in which the first frame of a clip reaches the line, by one neuron that
fires once a clip.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.graded.process import GradedVec
from lava.proc.lif.process import LIF
from numpy.typing import NDArray

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import STATE_SHIFT
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.plan import Plan
from deploy.ir.types import Shape
from deploy.lava_network.endpoints import Frames, Recorder
from deploy.lava_network.neurons import NO_MEMORY, neurons
from deploy.lava_network.recording import Recording
from deploy.lava_network.synapses import channels_last, synapse
from deploy.passes.chip_form.wiring import spread
from deploy.passes.mapping import mapping, obstacles
from svformer.common.errors import InputError

Through = Callable[[OutPort], OutPort]  # an adapter between chip and CPU


def _direct(port: OutPort) -> OutPort:
    return port


def build_chip_processes(
    network: IntNetwork,
    plan: Plan,
    frames_FCHW: NDArray[np.int32],
    recordings: Mapping[str, Recording],
    *,
    enter: Through = _direct,
    leave: Through = _direct,
) -> Recorder:
    """Frames of whole clips, back to back, through Lava's own processes into recorders; returns one of these.

    `enter` and `leave` put adapters between the frames, the recorders and the network, where a chip needs them.
    Raises `InputError` that lists every part which Lava's processes cannot hold.
    """
    require_held(network, plan)
    built = _Built(network, plan, frames_FCHW, enter)
    for name in network.populations:
        built.add_population(name)
    for connection in network.connections:
        built.connect(connection)
    recorders: list[Recorder] = []
    for name, recording in recordings.items():
        shape, first_step = channels_last(recording.shape), plan.first_step(name)
        recorders.append(Recorder(shape=shape, recording=recording, first_step=first_step))
        leave(built.out[name]).connect(recorders[-1].s_in)
    return recorders[-1]


def require_held(network: IntNetwork, plan: Plan) -> None:
    """Raise `InputError` with every part of a network that Lava's own processes cannot hold."""
    problems = obstacles(mapping(network, plan))
    problems += [f"{name}: {what}" for name, p in network.receivers.items() for what in p.beyond_stock()]
    if problems:
        raise InputError(f"Lava's own processes cannot hold this network: {'; '.join(problems)}; use --form fused")


@dataclass
class _Built:
    """What has been built so far.

    Attributes:
        into: Ports that receive, by population.
        out: Ports that send, by population.
        held: What a port sent so many time steps before, by port and number.
        silenced: The same within a clip: 0 before its first frame.
        clocks: Neurons that fire once a clip, by the time step after.
    """

    network: IntNetwork
    plan: Plan
    frames_FCHW: NDArray[np.int32]
    enter: Through
    into: dict[str, InPort] = field(default_factory=dict)
    out: dict[str, OutPort] = field(default_factory=dict)
    held: dict[tuple[str, int], OutPort] = field(default_factory=dict)
    silenced: dict[tuple[str, int, int], OutPort] = field(default_factory=dict)
    clocks: dict[int, OutPort] = field(default_factory=dict)

    def add_population(self, name: str) -> None:
        if name == self.network.input_name:
            entry = Frames(frames_FHWC=np.ascontiguousarray(np.moveaxis(self.frames_FCHW, 1, -1)))
            self.out[name] = self.enter(entry.s_out)
            return
        process = neurons(self.network, name, self.plan)
        self.into[name], self.out[name] = process.a_in, process.s_out

    def connect(self, connection: IntConnection) -> None:
        lag = self.plan.lag(connection)
        plain = lag - connection.delay
        source = (
            self.within_clip(connection.source, plain, lag) if connection.delay else self.hold(connection.source, lag)
        )
        apply(connection.operation, source, self.into[connection.target])

    def hold(self, name: str, steps: int) -> OutPort:
        """What a population sent `steps` time steps before."""
        if steps == 0:
            return self.out[name]
        if (name, steps) not in self.held:
            before = self.hold(name, steps - 1)
            relay = GradedVec(shape=before.shape, vth=0)
            apply(_identity(before.shape), before, relay.a_in)
            self.held[name, steps] = relay.s_out
        return self.held[name, steps]

    def within_clip(self, name: str, plain: int, steps: int) -> OutPort:
        """What a population sent `steps` time steps before, 0 where that was before the clip.

        The first `plain` are in step with the clip: the line behind them is silenced when its first frame comes.
        """
        if steps == plain:
            return self.hold(name, plain)
        if (name, plain, steps) not in self.silenced:
            before = self.within_clip(name, plain, steps - 1)
            line = LIF(shape=before.shape, du=NO_MEMORY, dv=NO_MEMORY, vth=0, bias_mant=0, bias_exp=0)
            apply(_identity(before.shape), before, line.a_in)
            height, width, channels = before.shape
            silence = spread(np.full((channels, 1, height, width), -1), (channels, height, width))
            apply(silence, self.clock(self.plan.first_step(name) + plain), line.a_in)
            self.silenced[name, plain, steps] = line.s_out
        return self.silenced[name, plain, steps]

    def clock(self, step: int) -> OutPort:
        """What arrives in every time step in which a clip begins where one begins in this one.

        A neuron without a leak takes as many time steps to its threshold as a clip has, and its potential begins so
        that it gets there in time. It fires a time step before, as its synapses take one.
        """
        frames = self.plan.frames
        if step not in self.clocks:
            begun = frames - 1 - (step - 2) % frames
            neuron = LIF(
                shape=(1, 1, 1),
                du=NO_MEMORY,
                dv=0,
                v=begun << STATE_SHIFT,
                vth=frames - 1,
                bias_mant=1,
                bias_exp=STATE_SHIFT,
            )
            self.clocks[step] = neuron.s_out
        return self.clocks[step]


def apply(operation: IntOperation, source: OutPort, target: InPort) -> None:
    """Connect two ports by the synapses of an operation."""
    process: AbstractProcess = synapse(operation)
    ports: Any = process
    (source if source.shape == ports.s_in.shape else source.reshape(ports.s_in.shape)).connect(ports.s_in)
    given = ports.a_out
    (given if given.shape == target.shape else given.reshape(target.shape)).connect(target)


def _identity(shape_HWC: Shape) -> IntIdentity:
    shape = (shape_HWC[-1], *shape_HWC[:-1])
    return IntIdentity(in_shape=shape, out_shape=shape)
