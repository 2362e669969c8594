"""Spiking attention as a process of a Lava network that is not ours, by Lava's models and by the fast ones."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploy.lava_network import FastLoihi2SimCfg, SpikingAttention
from deploy.lava_network.watchdog import LavaRun
from processes import HANG_S
from svformer.common.errors import InputError

# isort: split
from lava.magma.core.run_configs import Loihi2SimCfg, RunConfig
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF

STEPS = 12


def by_hand(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    """Attention of spikes [T, rows, columns, C], sum by sum."""
    d = q.shape[-1] // heads
    out = np.zeros(q.shape, int)
    for h in range(heads):
        for i in range(h * d, h * d + d):
            for j in range(h * d, h * d + d):
                counts = (k[..., i] * v[..., j]).sum(axis=(1, 2))
                out[..., j] += q[..., i] * counts[:, np.newaxis, np.newaxis]
    return out


def sent(
    process: SpikingAttention, spikes: tuple[np.ndarray, ...], run_cfg: RunConfig, steps: int = STEPS
) -> np.ndarray:
    """What a process sends for q, k and v [T, rows, columns, C], from Lava's ring buffers to Lava's ring buffers."""
    for port, given in zip((process.q, process.k, process.v), spikes, strict=True):
        Source(data=np.moveaxis(given, 0, -1)).s_out.connect(port)
    sink = Sink(shape=process.s_out.shape, buffer=steps)
    process.s_out.connect(sink.a_in)
    with LavaRun(sink, run_cfg=run_cfg, timeout_s=HANG_S) as run:
        run.step(steps)
        return np.moveaxis(sink.data.get(), -1, 0).astype(int)


@pytest.mark.parametrize("run_cfg", [lambda: Loihi2SimCfg(select_tag="fixed_pt"), FastLoihi2SimCfg])
@pytest.mark.parametrize(
    ("shape", "heads", "time_steps"),
    [((3, 2, 4), 2, 4), ((1, 3, 2), 1, 4), ((2, 2, 16), 1, 6), ((12, 12, 2), 1, 4)],
)
def test_sums_done_by_hand(
    shape: tuple[int, int, int], heads: int, time_steps: int, run_cfg: Callable[[], RunConfig]
) -> None:
    """K^T V first, a single row, Q^T K first, and 144 tokens, whose factors need an exponent."""
    rng = np.random.default_rng(0)
    spikes = tuple((rng.random((STEPS, *shape)) < 0.7).astype(int) for _ in range(3))
    process = SpikingAttention(shape=shape, heads=heads)
    assert process.time_steps == time_steps
    found = sent(process, spikes, run_cfg())
    expected = by_hand(*spikes, heads)
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(found[time_steps:], expected[:-time_steps])
    assert not found[:time_steps].any()


def test_between_neurons_of_a_network() -> None:
    """Q fires where its current is above 1; a Dense and a LIF behind take the sums."""
    shape = (2, 1, 2)
    current = np.random.default_rng(1).integers(0, 4, (*shape, STEPS))
    source = Source(data=current)
    layers = [LIF(shape=shape, du=4095, dv=4095, vth=1, bias_mant=0, bias_exp=0) for _ in range(3)]
    attention = SpikingAttention(shape=shape, heads=1, name="attention")
    for layer, port in zip(layers, (attention.q, attention.k, attention.v), strict=True):
        source.s_out.connect(layer.a_in)
        layer.s_out.connect(port)
    dense = Dense(weights=np.full((1, 4), 2), num_message_bits=24)
    sink = Sink(shape=(1,), buffer=STEPS)
    attention.s_out.flatten().connect(dense.s_in)
    dense.a_out.connect(sink.a_in)
    with LavaRun(dense, run_cfg=FastLoihi2SimCfg(), timeout_s=HANG_S) as run:
        run.step(STEPS)
        found = sink.data.get()[0].astype(int)
    spikes = np.moveaxis(current > 1, -1, 0).astype(int)
    later = attention.time_steps + 1  # and the Dense
    expected = 2 * by_hand(spikes, spikes, spikes, 1).sum(axis=(1, 2, 3))
    assert expected.any()
    np.testing.assert_array_equal(found[later:], expected[:-later])


@pytest.mark.parametrize(
    ("shape", "heads", "said"),
    [((2, 2), 1, "expected \\(rows, columns, channels\\)"), ((2, 2, 6), 4, "4 heads do not share 6 channels")],
)
def test_shapes_that_make_no_heads_are_refused(shape: tuple[int, ...], heads: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        SpikingAttention(shape=shape, heads=heads)


def test_the_example_of_the_docs() -> None:
    """Six time steps of an image of 4 x 4 and 6 channels; a head of 3 channels and 16 tokens sums 48 at most."""
    page = (Path(__file__).parents[2] / "docs" / "lava_library.md").read_text("utf-8")
    example = re.findall("^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    ran = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=HANG_S, check=True)
    shape, _, largest = ran.stdout.strip().rpartition(" ")
    assert shape == "(4, 4, 6, 6)"
    assert 0 < int(largest) <= 48
