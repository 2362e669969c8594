"""The integer network means what stock Lava computes: its own Conv and LIFReset give the same spikes, step for step."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.ir.integer import IntConnection, IntConvolution, IntInput, IntLif, IntNetwork, run_integer
from deploy.lava_network.actors import shared_zeros
from deploy.lava_network.blocks import FRAMES_MODEL, FramesBlock
from deploy.lava_network.compat import ModelMap
from deploy.lava_network.watchdog import LavaRun
from deploy.passes.schedule import schedule
from hardware import ConvGeometry

# isort: split
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset

FRAMES, CLIPS = 6, 3


class Recorder(AbstractProcess):
    def __init__(self, *, shape: tuple[int, ...], recording: NDArray[Any]) -> None:
        super().__init__(shape=shape, recording=recording)
        self.s_in = InPort(shape=shape)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class RecorderModel(PyLoihiProcessModel):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        self.proc_params["recording"][self.time_step - 1] = self.s_in.recv()


def random_network(rng: np.random.Generator) -> IntNetwork:
    """Two convolutions with stride, padding and exponents, each with neurons behind it."""
    first = ConvGeometry(in_shape=(2, 6, 5), out_channels=3, kernel=(3, 2), stride=(2, 1), padding=(1, 0))
    second = ConvGeometry(in_shape=first.out_shape, out_channels=4, kernel=(2, 2), padding=(1, 1))
    return IntNetwork(
        populations={
            "input": IntInput(shape=first.in_shape, scale=1.0, low=0, high=1),
            "hidden": random_neurons(first, rng),
            "out": random_neurons(second, rng),
        },
        connections=(
            IntConnection(source="input", target="hidden", operation=random_weights(first, rng)),
            IntConnection(source="hidden", target="out", operation=random_weights(second, rng)),
        ),
        output="out",
        frames=FRAMES,
    )


def random_weights(geometry: ConvGeometry, rng: np.random.Generator) -> IntConvolution:
    shape = (geometry.out_channels, geometry.in_shape[0] // geometry.groups, *geometry.kernel)
    mantissa = rng.integers(-127, 128, shape, dtype=np.int16)
    return IntConvolution(mantissa=mantissa, exponent=int(rng.integers(0, 5)), geometry=geometry)


def random_neurons(geometry: ConvGeometry, rng: np.random.Generator) -> IntLif:
    return IntLif(
        shape=geometry.out_shape,
        scale=1.0,
        bias_mantissa=rng.integers(-300, 300, (geometry.out_channels, 1, 1)),
        bias_exponent=int(rng.integers(0, 7)),
        decay=np.full((1, 1, 1), rng.integers(0, 4097)),
        threshold=np.full((1, 1, 1), rng.integers(1, 900)),
    )


def channels_last(values: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(values, -3, -1)


def stock_conv(operation: IntConvolution) -> Conv:
    """Lava's images are (x, y, channels), its kernels (out, x, y, in) and flipped: a convolution, not a correlation.

    Its Conv knows no exponent.
    """
    geometry = operation.geometry
    weight = operation.mantissa[:, :, ::-1, ::-1].astype(np.int32) << operation.exponent
    return Conv(
        weight=np.moveaxis(weight, 1, -1).copy(),
        input_shape=(*geometry.in_shape[1:], geometry.in_shape[0]),
        stride=geometry.stride,
        padding=geometry.padding,
        num_message_bits=0,
    )


def stock_lif(lif: IntLif, first_step: int) -> LIFReset:
    shape = (*lif.shape[1:], lif.shape[0])
    return LIFReset(
        shape=shape,
        du=4095,
        dv=int(lif.decay.item()),
        vth=int(lif.threshold.item()),
        bias_mant=channels_last(np.broadcast_to(lif.bias_mantissa, lif.shape)).astype(np.int32).copy(),
        bias_exp=lif.bias_exponent,
        reset_interval=FRAMES,
        reset_offset=first_step,
    )


def run_stock(network: IntNetwork, frames_FCHW: NDArray[Any], steps: int) -> NDArray[Any]:
    """Spikes of the output population at every time step, from Lava's own processes."""
    plan, (hidden, out) = schedule(network), network.connections
    source = FramesBlock(name="source", frames_FCHW=channels_last(frames_FCHW).astype(np.int32).copy())
    chain = [source.out]
    for connection in (hidden, out):
        conv = stock_conv(connection.operation)
        lif = stock_lif(network.populations[connection.target], plan.first_step(connection.target))
        chain[-1].connect(conv.s_in)
        conv.a_out.connect(lif.a_in)
        chain.append(lif.s_out)
    shape = chain[-1].shape
    recording = shared_zeros((steps, *shape), np.int32)
    recorder = Recorder(shape=shape, recording=recording)
    chain[-1].connect(recorder.s_in)
    models = {
        FramesBlock: FRAMES_MODEL,
        Conv: PyConvModelFixed,
        LIFReset: PyLifResetModelBitAcc,
        Recorder: RecorderModel,
    }
    run_cfg = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=ModelMap(models))
    with LavaRun(recorder, run_cfg=run_cfg, timeout_s=60) as run:
        run.step(steps)
    return np.moveaxis(np.array(recording), -1, -3)


@pytest.mark.parametrize("seed", range(4))
def test_stock_conv_and_lif_give_the_same_spikes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    clips = rng.integers(0, 2, (CLIPS, FRAMES, 2, 6, 5))
    plan = schedule(network)
    found = run_stock(network, clips.reshape(-1, 2, 6, 5), plan.steps(CLIPS))
    first = plan.first_step("out") - 1  # steps count from 1
    expected = run_integer(network, clips)["out"]
    np.testing.assert_array_equal(found[first:].reshape(expected.shape), expected)
    assert 0 < expected.mean() < 1
