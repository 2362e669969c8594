"""lava-dl blocks of the network: synapses and neurons of a layer fused into one Lava process.

A block is an `AbstractBlock` of lava-dl's netx with an in-port for every source and one out-port; spikes travel as
int8, graded messages as int32. Its process model only moves messages; what it computes is a `Layer`.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from lava.lib.dl.netx.blocks.process import AbstractBlock
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray

from deploy.engine.layers import Layer
from deploy.lava_network.recording import Recording

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class InputSpec:
    """Shape and message type of one in-port."""

    shape: Shape
    dtype: np.dtype[Any]


class FramesBlock(AbstractBlock):
    """Where frames enter: sends frame f, int32 [C, H, W], at time step f + 1, and zeros when all are sent."""

    def __init__(self, *, name: str, frames_FCHW: NDArray[np.int32]) -> None:
        super().__init__(name=name, shape=frames_FCHW.shape[1:], neuron_params={}, frames=frames_FCHW)
        self.out = OutPort(shape=self.shape)


class LayerBlock(AbstractBlock):
    """A layer of neurons, or a graded relay, with all its synapses; `recording` takes what it sends."""

    def __init__(self, *, name: str, layer: Layer, inputs: tuple[InputSpec, ...], recording: Recording) -> None:
        super().__init__(
            name=name,
            shape=recording.shape,
            neuron_params={},
            layer=layer,
            inputs=inputs,
            recording=recording,
        )
        for index, spec in enumerate(inputs):
            setattr(self, f"in_{index}", InPort(shape=spec.shape))
        self.out = OutPort(shape=self.shape)

    def in_port(self, index: int) -> InPort:
        return getattr(self, f"in_{index}")


class _FramesModel(PyLoihiProcessModel):
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.frames = proc_params["frames"]
        self.rest = np.zeros_like(self.frames[0])

    def run_spk(self) -> None:
        frame = self.time_step - 1
        self.out.send(self.frames[frame] if frame < len(self.frames) else self.rest)


class _LayerModel(PyLoihiProcessModel):
    """Sends before it receives: one time step for every synapse, and all layers work at the same time."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.layer: Layer = proc_params["layer"]
        self.recording = proc_params["recording"]
        self.sources = len(proc_params["inputs"])

    def run_spk(self) -> None:
        messages = self.layer.send(self.time_step)
        self.out.send(messages)
        frame = self.time_step - self.layer.first_step
        if 0 <= frame < len(self.recording):
            self.recording.keep(frame, messages)
        # Each in-port has one source: its channel is read directly, without Lava's sum over channels.
        received = [getattr(self, f"in_{i}").csp_ports[0].recv() for i in range(self.sources)]
        self.layer.receive(self.time_step, received)


def registered(model: type, process: type) -> type:
    """Declare a process model as Lava's decorators do."""
    return implements(proc=process, protocol=LoihiProtocol)(requires(CPU)(tag("fixed_pt")(model)))


@functools.cache
def layer_model(inputs: tuple[np.dtype[Any], ...], out: np.dtype[Any]) -> tuple[type, type]:
    """Process class and model class for a layer with these message types; Lava reads ports off the class."""
    ports = {f"in_{i}": LavaPyType(PyInPort.VEC_DENSE, dtype.type) for i, dtype in enumerate(inputs)}
    ports["out"] = LavaPyType(PyOutPort.VEC_DENSE, out.type)
    process = type("LayerBlock", (LayerBlock,), {})
    return process, registered(type("LayerModel", (_LayerModel,), ports), process)


FRAMES_MODEL = registered(_FramesModel, FramesBlock)
