"""Populations and connections of a network in chip form as Lava's own processes, one after the other.

A connection takes one time step. What waits for a longer path waits in relays of the source, one for each time step,
which all connections of the source share.

A delay of the model must not carry what a neuron sent before its clip into it: neurons with a bias fire before their
first frame reaches them, and clips follow each other without a pause. So such a delay is a line of neurons without
memory, which are all silenced in the time step in which the first frame of a clip reaches the line, by one neuron that
fires once a clip.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.conv.process import Conv
from lava.proc.graded.process import GradedVec
from lava.proc.lif.process import LIF
from lava.proc.sparse.process import Sparse

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import STATE_SHIFT
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.plan import Plan
from deploy.ir.types import Shape
from deploy.lava_network.neurons import NO_MEMORY, neurons
from deploy.lava_network.synapses import synapse
from deploy.passes.chip_form.wiring import spread

Process = TypeVar("Process", bound=AbstractProcess)


@dataclass
class ChipWiring:
    """What has been built so far.

    Attributes:
        synapse: What Lava's synapses for an operation are.
        into: Ports that receive, by population.
        out: Ports that send, by population; whoever builds the network gives that of its input.
        held: What a port sent so many time steps before, by port and number.
        silenced: The same within a clip: 0 before its first frame.
        clocks: Neurons that fire once a clip, by the time step after.
        processes: All of Lava's processes.
    """

    network: IntNetwork
    plan: Plan
    synapse: Callable[[IntOperation], Conv | Sparse] = synapse
    into: dict[str, InPort] = field(default_factory=dict)
    out: dict[str, OutPort] = field(default_factory=dict)
    held: dict[tuple[str, int], OutPort] = field(default_factory=dict)
    silenced: dict[tuple[str, int, int], OutPort] = field(default_factory=dict)
    clocks: dict[int, OutPort] = field(default_factory=dict)
    processes: list[AbstractProcess] = field(default_factory=list)

    def add_population(self, name: str) -> None:
        """Put in a population that is not the input."""
        process = self.put(neurons(self.network, name, self.plan))
        self.into[name], self.out[name] = process.a_in, process.s_out

    def connect(self, connection: IntConnection) -> None:
        lag = self.plan.lag(connection)
        plain = lag - connection.delay
        source = (
            self.within_clip(connection.source, plain, lag) if connection.delay else self.hold(connection.source, lag)
        )
        self.apply(connection.operation, source, self.into[connection.target])

    def hold(self, name: str, steps: int) -> OutPort:
        """What a population sent `steps` time steps before."""
        if steps == 0:
            return self.out[name]
        if (name, steps) not in self.held:
            before = self.hold(name, steps - 1)
            relay = self.put(GradedVec(shape=before.shape, vth=0))
            self.apply(_identity(before.shape), before, relay.a_in)
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
            line = self.put(LIF(shape=before.shape, du=NO_MEMORY, dv=NO_MEMORY, vth=0, bias_mant=0, bias_exp=0))
            self.apply(_identity(before.shape), before, line.a_in)
            height, width, channels = before.shape
            silence = spread(np.full((channels, 1, height, width), -1), (channels, height, width))
            self.apply(silence, self.clock(self.plan.first_step(name) + plain), line.a_in)
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
            memory = {"du": NO_MEMORY, "dv": 0, "v": begun << STATE_SHIFT}
            neuron = LIF(shape=(1, 1, 1), **memory, vth=frames - 1, bias_mant=1, bias_exp=STATE_SHIFT)
            self.put(neuron)
            self.clocks[step] = neuron.s_out
        return self.clocks[step]

    def apply(self, operation: IntOperation, source: InPort | OutPort, target: InPort) -> None:
        """Connect two ports by the synapses of an operation."""
        self.join(self.synapse(operation), source, target)

    def join(self, synapses: Conv | Sparse, source: InPort | OutPort, target: InPort) -> None:
        """Connect two ports by synapses, which may take and give the same values in another shape."""
        ports: Any = self.put(synapses)
        (source if source.shape == ports.s_in.shape else source.reshape(ports.s_in.shape)).connect(ports.s_in)
        given = ports.a_out
        (given if given.shape == target.shape else given.reshape(target.shape)).connect(target)

    def put(self, process: Process) -> Process:
        """Keep a process."""
        self.processes.append(process)
        return process


def _identity(shape_HWC: Shape) -> IntIdentity:
    shape = (shape_HWC[-1], *shape_HWC[:-1])
    return IntIdentity(in_shape=shape, out_shape=shape)
