"""A fused network of Lava's own processes as far as they go: Conv for weights, LIFReset for neurons; slow, and a proof.

Lava has no process for some of what a fused network needs. Those are the small ones below: lines (delays, shortcuts),
sums (junctions with a bias), gains and attention. A network in chip form needs none of them (`chip_processes`). Images
are (H, W, C) here, as Lava's Conv wants them.

A Conv and a `Line` send what they received a time step earlier or more; neurons, sums and shifts answer at once. So
every population sees a frame at the same time step as in the blocks (deploy/passes/schedule.py).
"""

from collections import deque
from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.lif.process import LIFReset
from numpy.typing import NDArray

from deploy.ir.integer import IntConnection, IntGain, IntNetwork
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.plan import Plan
from deploy.ir.populations.lif import IntLif
from deploy.lava_network.blocks import registered
from deploy.lava_network.endpoints import Frames, Recorder
from deploy.lava_network.neurons import lif_process
from deploy.lava_network.recording import Recording
from deploy.lava_network.synapses import channels_last, conv
from svformer.common.errors import InputError

Shape = tuple[int, ...]


class Map(AbstractProcess):
    """A process with one input and one output; `work` says what it does in a time step."""

    def __init__(self, *, in_shape: Shape, out_shape: Shape, work: Any) -> None:
        super().__init__(in_shape=in_shape, out_shape=out_shape, work=work)
        self.s_in = InPort(shape=in_shape)
        self.s_out = OutPort(shape=out_shape)


class DelayedMap(Map):
    """Sends before it receives: one time step of latency, more where its work holds back."""


class _WorkModel(PyLoihiProcessModel):
    """What both kinds share; Lava lets no model that is registered have subclasses."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.work = proc_params["work"]


class _MapModel(_WorkModel):
    def run_spk(self) -> None:
        self.s_out.send(self.work(self.s_in.recv(), self.time_step).astype(np.int32))


class _DelayedMapModel(_WorkModel):
    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.next = np.zeros(proc_params["out_shape"], dtype=np.int32)

    def run_spk(self) -> None:
        self.s_out.send(self.next)
        self.next = self.work(self.s_in.recv(), self.time_step).astype(np.int32)


HELPER_MODELS: dict[type, type] = {
    Map: registered(_MapModel, Map),
    DelayedMap: registered(_DelayedMapModel, DelayedMap),
}


class DelayLine:
    """A delay line: what came `lag` time steps ago, and nothing that belongs to the clip before."""

    def __init__(self, shape: Shape, *, lag: int, silent_frames: int, first_step: int, frames: int) -> None:
        self.line = deque([np.zeros(shape, dtype=np.int32)] * lag)
        self.silent_frames, self.first_step, self.frames = silent_frames, first_step, frames

    def __call__(self, message: NDArray[Any], time_step: int) -> NDArray[Any]:
        """The message that is delivered to the target in the next time step."""
        self.line.append(message)
        due = self.line.popleft()
        frame = time_step + 1 - self.first_step
        return due if frame % self.frames >= self.silent_frames else np.zeros_like(due)


class Operated:
    """An operation that Lava has no process for (an identity, attention), behind a delay line."""

    def __init__(self, operation: IntOperation, line: DelayLine) -> None:
        self.operation, self.line = operation, line

    def __call__(self, message: NDArray[Any], time_step: int) -> NDArray[Any]:
        image = np.moveaxis(self.line(message, time_step), -1, 0)
        return np.moveaxis(self.operation(image[np.newaxis])[0], 0, -1)


class Gain:
    """What Lava's Conv has not: a gain of its own for every time step."""

    def __init__(self, gain: IntGain, first_step: int, frames: int) -> None:
        self.gain, self.first_step, self.frames = gain, first_step, frames

    def __call__(self, total: NDArray[Any], time_step: int) -> NDArray[Any]:
        image = np.moveaxis(total.astype(np.int64), -1, 0)
        return np.moveaxis(self.gain.at((time_step - self.first_step) % self.frames, image), 0, -1)


class BiasedSum:
    """A junction: Lava sums what arrives at a port, the bias is added here."""

    def __init__(self, bias_THWC: NDArray[np.int64], first_step: int) -> None:
        self.bias, self.first_step = bias_THWC, first_step

    def __call__(self, total: NDArray[Any], time_step: int) -> NDArray[Any]:
        frame = time_step - self.first_step
        return total + self.bias[frame % len(self.bias)] if frame >= 0 else np.zeros_like(total)


def build_stock(
    network: IntNetwork, plan: Plan, frames_FCHW: NDArray[np.int32], recordings: dict[str, Recording]
) -> AbstractProcess:
    """A recorded process for every population, connected; one of the recorders.

    Raises `InputError` for what Lava's processes cannot hold.
    """
    _refuse(network)
    populations = {name: _population(network, plan, name, frames_FCHW) for name in network.populations}
    recorders: list[Recorder] = []
    for connection in network.connections:
        source, target = populations[connection.source], populations[connection.target]
        _connect(connection, plan, source.s_out, target)
    for name, recording in recordings.items():
        shape = channels_last(recording.shape)
        recorder = Recorder(shape=shape, recording=recording, first_step=plan.first_step(name))
        populations[name].s_out.connect(recorder.s_in)
        recorders.append(recorder)
    return recorders[-1]


def _refuse(network: IntNetwork) -> None:
    problems = [f"{name}: {what}" for name, p in network.receivers.items() for what in p.beyond_stock()]
    problems += [f"{', '.join(sorted(part))}: no connection joins it with {network.output}" for part in network.apart]
    if problems:
        raise InputError(f"Lava's own processes cannot hold this network: {'; '.join(problems)}; use --blocks fused")


def _population(network: IntNetwork, plan: Plan, name: str, frames_FCHW: NDArray[np.int32]) -> AbstractProcess:
    population, first_step = network.populations[name], plan.first_step(name)
    if name == network.input_name:
        return Frames(frames_FHWC=np.ascontiguousarray(np.moveaxis(frames_FCHW, 1, -1)))
    if isinstance(population, IntLif):
        return lif_process(population, frames=plan.frames, first_step=first_step)
    bias = network.receivers[name].stored_bias  # of a relay: all other kinds are refused
    by_step, shape = bias.reshape(-1, *bias.shape[-3:]), channels_last(population.shape)
    return Map(in_shape=shape, out_shape=shape, work=BiasedSum(np.moveaxis(by_step, 1, -1), first_step))


def _connect(connection: IntConnection, plan: Plan, source: OutPort, target: AbstractProcess) -> None:
    """Line, Conv and shift between a source and a target, as far as they are needed."""
    first_step, operation, lag = plan.first_step(connection.target), connection.operation, plan.lag(connection)
    line = DelayLine(source.shape, lag=lag, silent_frames=connection.delay, first_step=first_step, frames=plan.frames)
    if isinstance(operation, IntConvolution):
        if lag:
            source = _behind(source, Map(in_shape=source.shape, out_shape=source.shape, work=line))
        synapses = conv(operation)
        source.connect(synapses.s_in)
        out = synapses.a_out
    else:
        work = Operated(operation, line)
        out = _behind(source, DelayedMap(in_shape=source.shape, out_shape=_in_port(target).shape, work=work))
    if connection.gain is not None:
        finish = Gain(connection.gain, first_step, plan.frames)
        out = _behind(out, Map(in_shape=out.shape, out_shape=out.shape, work=finish))
    out.connect(_in_port(target))


def _behind(source: OutPort, step: Map) -> OutPort:
    source.connect(step.s_in)
    return step.s_out


def _in_port(target: AbstractProcess) -> InPort:
    return target.a_in if isinstance(target, LIFReset) else target.s_in
