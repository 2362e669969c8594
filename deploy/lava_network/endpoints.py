"""The two ends of a network: where frames enter, and what keeps the messages of a population."""

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from numpy.typing import NDArray

from deploy.engine.layers import Entry
from deploy.lava_network.blocks import registered
from deploy.lava_network.recording import Recording

Shape = tuple[int, ...]


class Frames(AbstractProcess):
    """Where frames enter."""

    def __init__(self, *, frames_FHWC: NDArray[np.int32]) -> None:
        super().__init__(entry=Entry(frames_FHWC))
        self.s_out = OutPort(shape=frames_FHWC.shape[1:])


class Recorder(AbstractProcess):
    """Keeps what a population sends, frame by frame."""

    def __init__(self, *, shape: Shape, recording: Recording, first_step: int) -> None:
        super().__init__(shape=shape, recording=recording, first_step=first_step)
        self.s_in = InPort(shape=shape)


class _FramesModel(PyLoihiProcessModel):
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        entry: Entry = self.proc_params["entry"]
        self.s_out.send(entry.messages)
        entry.advance(self.time_step, [])


class _RecorderModel(PyLoihiProcessModel):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        recording = self.proc_params["recording"]
        received, frame = self.s_in.recv(), self.time_step - self.proc_params["first_step"]
        image = np.ascontiguousarray(np.moveaxis(received, -1, 0))
        recording.store(frame, image.astype(recording.dtype))


ENDS: dict[type, type] = {Frames: registered(_FramesModel, Frames), Recorder: registered(_RecorderModel, Recorder)}
