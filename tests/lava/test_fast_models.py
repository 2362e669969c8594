"""The fast models of Lava's own processes against Lava's, in any Lava network, with what overflows, too."""

from typing import Any

import numpy as np
import pytest

from deploy.lava_network.compat import ModelMap
from deploy.lava_network.endpoints import Frames, Recorder
from deploy.lava_network.fast_models import FAST_MODELS, FastLoihi2SimCfg
from deploy.lava_network.lava_models import LAVA_MODELS
from deploy.lava_network.recording import Recording
from deploy.lava_network.watchdog import LavaRun
from processes import HANG_S

# isort: split
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF, LIFReset

STEPS = 12


def sent(process: AbstractProcess, into: Any, out: Any, frames: np.ndarray, *, fast: bool) -> np.ndarray:
    """What a process sends for frames [T, ...], by Lava's models or by ours."""
    entry = Frames(frames_FHWC=frames.astype(np.int32))
    entry.s_out.connect(into)
    recording = Recording(len(frames), (out.shape[-1], *out.shape[:-1]), np.dtype(np.int32))
    recorder = Recorder(shape=out.shape, recording=recording, first_step=1)
    out.connect(recorder.s_in)
    lava = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=ModelMap(LAVA_MODELS))
    with LavaRun(process, run_cfg=FastLoihi2SimCfg() if fast else lava, timeout_s=HANG_S) as run:
        run.step(len(frames))
    return recording.take(1)[0]


def neurons(kind: type, seed: int, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {
        "shape": shape,
        "du": int(rng.choice([0, 1, 700, 4095])),
        "dv": int(rng.choice([0, 3, 2048, 4095, 4096])),
        "vth": int(rng.choice([0, 5, 4000, 131_071])),
        "bias_mant": rng.integers(-4096, 4096, shape),
        "bias_exp": int(rng.choice([-2, 0, 6])),
        "u": int(rng.integers(-(2**20), 2**20)),
        "v": int(rng.integers(-(2**20), 2**20)),
    }
    if kind is LIFReset:
        options |= {"reset_interval": 5, "reset_offset": 7}
    return kind(**options)


@pytest.mark.parametrize("kind", [LIF, LIFReset])
@pytest.mark.parametrize("seed", range(4))
def test_neurons_are_lavas(kind: type, seed: int) -> None:
    """Currents small and large: up to 2^18, which wraps in u."""
    shape = (3, 2, 4)
    rng = np.random.default_rng(seed)
    scale = rng.choice([10, 3000, 2**18], (STEPS, *shape))
    frames = (rng.uniform(-1, 1, (STEPS, *shape)) * scale).astype(np.int32)
    one, two = (
        sent(process, process.a_in, process.s_out, frames, fast=fast)
        for fast, process in ((False, neurons(kind, seed, shape)), (True, neurons(kind, seed, shape)))
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": (2, 1), "padding": (1, 2)},
        {"groups": 2, "dilation": (2, 1)},
        {"groups": 4, "weight_exp": -3},
        {"weight_exp": 4},
        {"num_message_bits": 0},
    ],
)
def test_convolutions_are_lavas(options: dict[str, Any]) -> None:
    """Sums beyond 24 bits, which wrap, too."""
    rng = np.random.default_rng(0)
    groups = options.get("groups", 1)
    frames = rng.integers(-(2**17), 2**17, (STEPS, 6, 5, 4)) * rng.integers(0, 2, (STEPS, 6, 5, 4))
    weight = rng.integers(-127, 128, (8, 3, 2, 4 // groups))

    def conv() -> Conv:
        return Conv(weight=weight, input_shape=(6, 5, 4), **{"num_message_bits": 24, **options})

    one, two = (
        sent(process, process.s_in, process.a_out, frames, fast=fast)
        for fast, process in ((False, conv()), (True, conv()))
    )
    assert np.abs(one).max() > 0
    np.testing.assert_array_equal(one, two)


def test_a_network_of_lavas_own_takes_them_by_its_run_configuration() -> None:
    """Ring buffers and a Dense are run by Lava's models, the neurons by ours."""
    data = np.random.default_rng(0).integers(0, 2, (4, STEPS))
    source, sink = Source(data=data), Sink(shape=(3,), buffer=STEPS)
    dense = Dense(weights=np.random.default_rng(1).integers(-60, 60, (3, 4)) * 2)
    lif = LIF(shape=(3,), du=4095, dv=1000, vth=50, bias_mant=0, bias_exp=0)
    source.s_out.connect(dense.s_in)
    dense.a_out.connect(lif.a_in)
    lif.s_out.connect(sink.a_in)
    with LavaRun(lif, run_cfg=FastLoihi2SimCfg(), timeout_s=HANG_S) as run:
        run.step(STEPS)
        spikes = sink.data.get()
    weights = np.random.default_rng(1).integers(-60, 60, (3, 4)) * 2
    v, expected = np.zeros(3, int), np.zeros((3, STEPS), int)
    for t in range(1, STEPS):
        decayed = np.sign(v) * ((np.abs(v) * (4096 - 1000)) >> 12)
        v = decayed + ((weights @ data[:, t - 1]) << 6)
        expected[:, t] = v > 50 << 6
        v[expected[:, t] == 1] = 0
    np.testing.assert_array_equal(spikes, expected)
    assert 0 < expected.mean() < 1
    assert FAST_MODELS[LIF] is not FAST_MODELS[LIFReset]
