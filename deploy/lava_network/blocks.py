"""lava-dl blocks of the network: neighbouring layers, each synapses and neurons in one, in a Lava process.

A block is an `AbstractBlock` of lava-dl's netx. It has an in-port for every population elsewhere that sends to its
layers and an out-port for each of its own that sends elsewhere; spikes travel as int8, graded messages as int32. Its
process model only moves messages; what it computes are `Layer`s. A synapse takes one time step, within a block as
between two, so how the layers are placed changes no message and no time step.
"""

import functools
from collections.abc import Mapping
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

from deploy.engine.layers import Layers, step_of
from deploy.engine.workers import Workers
from deploy.lava_network.recording import Recording

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PortSpec:
    """Shape and message type of a port."""

    shape: Shape
    dtype: np.dtype[Any]


Ports = Mapping[str, PortSpec]  # by the name of the population that sends


class LayersBlock(AbstractBlock):
    """Layers that share a process and its threads; `recordings` take what they send.

    `inputs` names the populations elsewhere that send to them, `outputs` their own that send elsewhere.
    """

    def __init__(
        self,
        *,
        name: str,
        layers: Layers,
        recordings: Mapping[str, Recording],
        inputs: Ports,
        outputs: Ports,
        threads: int = 1,
    ) -> None:
        shape = list(layers.values())[-1].rest.shape
        super().__init__(
            name=name,
            shape=shape,
            neuron_params={},
            layers=layers,
            recordings=recordings,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            threads=threads,
        )
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        for index, spec in enumerate(inputs.values()):
            setattr(self, f"in_{index}", InPort(shape=spec.shape))
        for index, spec in enumerate(outputs.values()):
            setattr(self, f"out_{index}", OutPort(shape=spec.shape))

    def in_port(self, source: str) -> InPort:
        return getattr(self, f"in_{self.inputs.index(source)}")

    def out_port(self, source: str) -> OutPort:
        return getattr(self, f"out_{self.outputs.index(source)}")


class _LayersModel(PyLoihiProcessModel):
    """Sends before it receives: one time step for every synapse, and all blocks work at the same time."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.layers: Layers = proc_params["layers"]
        self.recordings: Mapping[str, Recording] = proc_params["recordings"]
        self.inputs: tuple[str, ...] = proc_params["inputs"]
        self.outputs: tuple[str, ...] = proc_params["outputs"]
        self.workers = Workers(proc_params["threads"])
        for name, recording in self.recordings.items():
            recording.populate()
            self._record(name, 1)

    def run_spk(self) -> None:
        """The next step is got ready while Lava ends this one."""
        self.workers.finish()
        step = self.time_step
        for index, name in enumerate(self.outputs):
            getattr(self, f"out_{index}").send(self.layers[name].messages)
        # Each in-port has one source: its channel is read directly, without Lava's sum over channels.
        received = {name: getattr(self, f"in_{i}").csp_ports[0].recv() for i, name in enumerate(self.inputs)}
        advance = step_of(self.layers, step, received)

        def advance_and_record(name: str) -> None:
            advance(name)
            self._record(name, step + 1)

        self.workers.begin(advance_and_record, self.layers)

    def _record(self, name: str, step: int) -> None:
        layer = self.layers[name]
        if name in self.recordings:
            self.recordings[name].store(step - layer.first_step, layer.messages)


def registered(model: type, process: type) -> type:
    """Declare a process model as Lava's decorators do."""
    return implements(proc=process, protocol=LoihiProtocol)(requires(CPU)(tag("fixed_pt")(model)))


@functools.cache
def layers_model(inputs: tuple[np.dtype[Any], ...], outputs: tuple[np.dtype[Any], ...]) -> tuple[type, type]:
    """Process class and model class for these message types; Lava reads ports off the class."""
    ports = {f"in_{i}": LavaPyType(PyInPort.VEC_DENSE, dtype.type) for i, dtype in enumerate(inputs)}
    ports |= {f"out_{i}": LavaPyType(PyOutPort.VEC_DENSE, dtype.type) for i, dtype in enumerate(outputs)}
    process = type("LayersBlock", (LayersBlock,), {})
    return process, registered(type("LayersModel", (_LayersModel,), ports), process)
