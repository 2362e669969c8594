"""Networks in chip form as Lava's own processes, run by Lava's models and by ours: the integers, bit for bit."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, reject, settings

import ints
import random_networks
from deploy.ir.chip import SYNAPSES
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.permutation import IntPermutation
from deploy.ir.operations.product import IntProduct
from deploy.ir.operations.segment import IntSegment
from deploy.lava_network.chip_processes import require_held
from deploy.lava_network.chip_wiring import ChipWiring
from deploy.lava_network.simulate import simulate
from deploy.lava_network.synapses import channels_last
from deploy.passes.chip_form import chip_form
from deploy.passes.lowering import lower
from deploy.passes.mapping import mapping
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from hardware import ConvGeometry, ProductGeometry
from processes import HANG_S
from small_models import small_export
from svformer.common.errors import InputError

# isort: split
from lava.proc.graded.process import GradedVec as Relays

FRAMES = 6
ROOT = Path(__file__).parents[2]

Models = Literal["fast", "lava"]


def require_parity(network: IntNetwork, frames: np.ndarray, models: Models) -> dict[str, np.ndarray]:
    expected = run_integer(network, frames)
    found = simulate(network, schedule(network), frames, blocks="chip", models=models, timeout_s=HANG_S)
    for name in network.populations:
        np.testing.assert_array_equal(found.signals[name], expected[name], err_msg=name)
    assert found.processes > len(network.populations)
    assert found.channel_messages > 0
    return expected


def delayed(bias: int, taps: tuple[int, ...]) -> IntNetwork:
    """Neurons with a bias, which fire before their first frame, read late by neurons with a memory."""
    shape = (2, 1, 2)
    weight = ints.conv([[[[3]], [[1]]], [[[2]], [[3]]]], shape)
    neurons = ints.lif(shape, threshold=3, bias_mantissa=bias, bias_exponent=6, decay=2048)
    return ints.network(
        {"input": ints.entry(shape), "first": neurons, "second": neurons, "late": ints.lif(shape, threshold=4)},
        ints.link("input", "first", weight),
        ints.link("first", "second", weight),
        ints.link("second", "late", weight),
        *(ints.link("first", "late", weight, delay=tap) for tap in taps),
        frames=FRAMES,
    )


@pytest.mark.parametrize("models", ["fast", "lava"])
@pytest.mark.parametrize("taps", [(1,), (2, 4), (1, 5)])
def test_a_delay_carries_nothing_into_a_clip_that_was_sent_before_it(taps: tuple[int, ...], models: Models) -> None:
    """A bias of 4 is above the threshold of 3: both neurons fire in every time step, also before the first frame, and
    three clips follow each other without a pause.
    """
    network = delayed(4, taps)
    frames = np.random.default_rng(0).integers(0, 2, (3, FRAMES, 2, 1, 2))
    expected = require_parity(network, frames, models)
    assert expected["first"].all()
    assert 0 < expected["late"].mean() < 1


@pytest.mark.parametrize("models", ["fast", "lava"])
def test_attention_in_both_orders(models: Models) -> None:
    """Four tokens and 2 channels a head (k^T v first), and 8 channels a head (q^T k first)."""
    for head_dim in (2, 8):
        qkv, out = (3 * head_dim, 2, 2), (head_dim, 2, 2)
        network = ints.network(
            {"input": ints.entry(qkv), "qkv": ints.lif(qkv), "out": ints.relay(out, [5] * head_dim)},
            ints.link("input", "qkv", ints.same(qkv)),
            ints.link("qkv", "out", ints.attention(qkv, multiplier=5, exponent=1)),
            frames=FRAMES,
        )
        frames = np.random.default_rng(1).integers(0, 2, (2, FRAMES, *qkv))
        expected = require_parity(chip_form(network).network, frames, models)
        assert len(np.unique(expected["out"])) > 3


def test_kernels_that_a_conv_does_not_hold_are_spelled_out() -> None:
    """130 groups, which Lava keeps in 8 bits, a flattened image, and a shift to the right behind a sum."""
    many = ConvGeometry(
        in_shape=(130, 3, 3), out_channels=130, kernel=(2, 2), groups=130, stride=(2, 1), padding=(1, 0)
    )
    rng = np.random.default_rng(0)
    network = ints.network(
        {
            "input": ints.entry(many.in_shape, low=-9, high=9),
            "sum": ints.relay(many.out_shape),
            "flat": ints.relay((int(np.prod(many.out_shape)), 1, 1)),
        },
        ints.link("input", "sum", ints.drawn(many, rng, 127, exponent=-3)),
        ints.link("sum", "flat", ints.same(many.out_shape, (int(np.prod(many.out_shape)), 1, 1))),
        frames=FRAMES,
    )
    frames = rng.integers(-9, 10, (1, FRAMES, *many.in_shape))
    for models in ("fast", "lava"):
        require_parity(network, frames, models)


def test_values_that_go_to_other_places_are_spelled_out() -> None:
    """Two segments of a vector, which a permutation puts into another order; times 3, and half of it."""
    network = ints.network(
        {
            "input": ints.entry((2, 2, 3), low=-9, high=9),
            "vector": ints.relay((6, 2, 2)),
            "turned": ints.relay((2, 4, 3)),
        },
        *(
            ints.link("input", "vector", IntSegment(in_shape=(2, 2, 3), out_shape=(6, 2, 2), first=k, multiplier=m))
            for k, m in ((0, 1), (11, 3))
        ),
        ints.link(
            "vector",
            "turned",
            IntPermutation(
                in_shape=(6, 2, 2), out_shape=(2, 4, 3), sizes=(2, 3, 4), order=(0, 2, 1), multiplier=3, exponent=-1
            ),
        ),
        frames=FRAMES,
    )
    frames = np.random.default_rng(0).integers(-9, 10, (1, FRAMES, 2, 2, 3))
    for models in ("fast", "lava"):
        require_parity(network, frames, models)


@pytest.mark.parametrize("models", ["fast", "lava"])
def test_products_of_values_and_spikes(models: Models) -> None:
    """Gates of values of both signs, k^T v of three tokens, and a factor of -5."""
    g = ProductGeometry(sizes=(3, 2, 2), left=(0, 1), right=(0, 2), output=(1, 2), out_shape=(2, 2, 1))
    values, spikes, vector = (6, 1, 1), (6, 1, 1), (12, 1, 1)
    rng = np.random.default_rng(2)
    network = ints.network(
        {
            "input": ints.entry(vector, low=-9, high=9),
            "values": ints.relay(values),
            "spikes": ints.lif(spikes, threshold=0),
            "vector": ints.relay(vector),
            "out": ints.relay((2, 2, 1)),
        },
        ints.link("input", "values", ints.dense(rng.integers(-60, 60, size=(6, 12)))),
        ints.link("input", "spikes", ints.dense(rng.integers(-60, 60, size=(6, 12)))),
        ints.link("values", "vector", IntSegment(in_shape=values, out_shape=vector, first=0)),
        ints.link("spikes", "vector", IntSegment(in_shape=spikes, out_shape=vector, first=6, multiplier=37)),
        ints.link("vector", "out", IntProduct(geometry=g, multiplier=-5, exponent=0)),
        frames=FRAMES,
    )
    frames = rng.integers(-9, 10, (2, FRAMES, *vector))
    expected = require_parity(chip_form(network).network, frames, models)
    assert len(np.unique(expected["out"])) > 3


def test_a_max_pool_of_values_of_both_signs() -> None:
    """Windows of three pixels over the border of the image, times 3, and half of it."""
    pool = ints.max_pool((2, 2, 3), (1, 3), stride=(1, 2), padding=(0, 1), multiplier=3, exponent=-1)
    network = ints.network(
        {"input": ints.entry(pool.in_shape, low=-9, high=9), "out": ints.relay(pool.out_shape)},
        ints.link("input", "out", pool),
        frames=FRAMES,
    )
    frames = np.random.default_rng(0).integers(-9, 10, (2, FRAMES, *pool.in_shape))
    form = chip_form(network).network
    for models in ("fast", "lava"):
        require_parity(form, frames, models)


@settings(max_examples=8, deadline=None)
@given(case=random_networks.int_networks())
def test_random_networks_in_chip_form(case: tuple[IntNetwork, np.ndarray]) -> None:
    """Those that have a chip form, without graded delays and loops, which `require_held` refuses."""
    network, frames = case
    try:
        form = chip_form(network).network
        require_held(form, schedule(form))
    except InputError:
        return
    require_parity(form, frames, "fast")


def require_counted(network: IntNetwork) -> None:
    """The mapping says how many neurons of each of Lava's processes there are, delay lines and clocks included."""
    plan = schedule(network)
    wiring = ChipWiring(network, plan)
    wiring.out[network.input_name] = Relays(shape=channels_last(network.input.shape)).s_out
    for name in network.receivers:
        wiring.add_population(name)
    for connection in network.connections:
        wiring.connect(connection)
    built: Counter[str] = Counter()
    for process in wiring.processes:
        kind = type(process).__name__
        if kind not in SYNAPSES:
            built[kind] += int(np.prod(process.out_ports.s_out.shape))
    said: Counter[str] = Counter()
    for row in mapping(network, plan):
        said[row.process] += row.neurons
    assert +said == built


@settings(max_examples=40, deadline=None)
@given(case=random_networks.int_networks())
def test_neurons_of_random_networks_are_counted(case: tuple[IntNetwork, np.ndarray]) -> None:
    try:
        form = chip_form(case[0]).network
        require_held(form, schedule(form))
    except InputError:
        reject()
    require_counted(form)


def test_neurons_of_lines_that_share_relays_are_counted() -> None:
    """Taps of 2 and 4 share a line of 4 neurons each; what balances the longer path shares its relays, too."""
    network = delayed(4, (2, 4))
    require_counted(network)
    rows = [(row.what, row.process, row.neurons) for row in mapping(network, schedule(network)) if "delay" in row.what]
    assert rows == [
        ("delay of 1 time steps", "GradedVec", 4),
        ("delay of 2 time steps within a clip", "LIF", 8),
        ("delay of 1 time steps", "GradedVec", 0),
        ("delay of 4 time steps within a clip", "LIF", 8),
    ]


def test_a_whole_svformer() -> None:
    """In an interpreter of its own: each of Lava's 480 processes copies what it touches of the one that starts them,
    and one that has run other tests is large.
    """
    places = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "lava")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    code = "import test_chip_processes; test_chip_processes.check_a_whole_svformer()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_a_whole_svformer() -> None:
    """Every kind of layer, the delays of the readout, two clips back to back."""
    exported = small_export()
    integer = chip_form(quantize(lower(exported.graph), exported.frames_NTCHW)).network
    require_parity(integer, exported.frames_NTCHW, "fast")
    require_counted(integer)


def test_delays_that_nothing_silences_are_refused() -> None:
    network = delayed(0, (1,))
    graded = replace(network, populations={**network.populations, "first": ints.relay((2, 1, 2))})
    with pytest.raises(
        InputError, match=r"first -> late \(delay of 1 time steps within a clip\): graded messages that"
    ):
        require_held(graded, schedule(graded))
    loop = ints.link("late", "late", ints.same((2, 1, 2)), delay=1)
    looped = replace(network, connections=(*network.connections, loop))
    with pytest.raises(InputError, match=r"late -> late \(delay of 1 .*\): a loop as fast as its synapses"):
        require_held(looped, schedule(looped))


def test_a_fused_attention_is_refused() -> None:
    qkv = (3, 1, 1)
    network = ints.network(
        {"input": ints.entry(qkv), "qkv": ints.lif(qkv), "out": ints.relay((1, 1, 1))},
        ints.link("input", "qkv", ints.same(qkv)),
        ints.link("qkv", "out", ints.attention(qkv)),
        frames=2,
    )
    with pytest.raises(InputError, match=r"Lava's own processes cannot hold this network: qkv -> out \(attention"):
        require_held(network, schedule(network))
