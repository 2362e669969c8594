"""The integer network means what stock Lava computes: its own Conv and LIFReset send the same, step for step."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

import ints
import random_networks
import residual_networks
from deploy.execution.backends import Blocks
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.populations.lif import IntLif
from deploy.lava_network.simulate import simulate
from deploy.passes.lowering import lower
from deploy.passes.refine_first_layers import refine_first_layers
from deploy.passes.schedule import schedule
from deploy.passes.split_streams import split_streams
from deploy.pipeline import quantize
from hardware import ConvGeometry
from processes import HANG_S
from svformer.common.errors import InputError

FRAMES, CLIPS = 6, 3


def random_network(rng: np.random.Generator) -> IntNetwork:
    """Two convolutions with stride, padding and exponents, each with neurons behind it."""
    first = ConvGeometry(in_shape=(2, 6, 5), out_channels=3, kernel=(3, 2), stride=(2, 1), padding=(1, 0))
    second = ConvGeometry(in_shape=first.out_shape, out_channels=4, kernel=(2, 2), padding=(1, 1))
    return ints.network(
        {
            "input": ints.entry(first.in_shape),
            "hidden": random_neurons(first, rng),
            "out": random_neurons(second, rng),
        },
        ints.link("input", "hidden", ints.drawn(first, rng, 127, exponent=int(rng.integers(0, 5)))),
        ints.link("hidden", "out", ints.drawn(second, rng, 127, exponent=int(rng.integers(0, 5)))),
        frames=FRAMES,
    )


def random_neurons(geometry: ConvGeometry, rng: np.random.Generator) -> IntLif:
    """Decays and thresholds of every channel: Lava broadcasts what it means for one value."""
    per_channel = (geometry.out_channels, 1, 1)
    return ints.lif(
        geometry.out_shape,
        bias_mantissa=rng.integers(-300, 300, per_channel),
        bias_exponent=int(rng.integers(0, 7)),
        decay=rng.integers(0, 4097, per_channel),
        threshold=rng.integers(1, 900, per_channel),
    )


def require_parity(network: IntNetwork, frames: np.ndarray) -> dict[str, np.ndarray]:
    expected = run_integer(network, frames)
    found = simulate(network, schedule(network), frames, blocks="stock", timeout_s=HANG_S).signals
    for name in network.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    return expected


@pytest.mark.parametrize("seed", range(3))
def test_stock_conv_and_lif_give_the_same_spikes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    expected = require_parity(network, rng.integers(0, 2, (CLIPS, FRAMES, 2, 6, 5)))
    assert 0 < expected["out"].mean() < 1


@settings(max_examples=6)
@given(case=random_networks.int_networks())
def test_random_networks_of_stock_processes(case: tuple[IntNetwork, np.ndarray]) -> None:
    """With what stock Lava lacks beside it: relays, identities, attention, delays, gains of every time step."""
    network, frames = case
    assume(not any(isinstance(p, IntLif) and p.bias_mantissa.ndim > 3 for p in network.populations.values()))
    require_parity(network, frames)


def test_a_whole_svformer_of_stock_processes(exported: Any) -> None:
    """Every kind of layer, the delays of the readout, two clips back to back."""
    integer = quantize(lower(exported.graph), exported.frames_NTCHW)
    require_parity(integer, exported.frames_NTCHW)


def test_what_stock_lava_cannot_hold_is_refused() -> None:
    network = random_network(np.random.default_rng(0))
    hidden = network.populations["hidden"]
    assert isinstance(hidden, IntLif)
    by_step = replace(hidden, bias_mantissa=np.ones((FRAMES, 3, 1, 1), dtype=np.int64))
    changed = replace(network, populations={**network.populations, "hidden": by_step})
    with pytest.raises(InputError, match=r"hidden: a bias \w+ every time step; use --blocks fused"):
        simulate(changed, schedule(changed), np.zeros((1, FRAMES, 2, 6, 5)), blocks="stock")


@pytest.mark.parametrize("blocks", ["fused", "stock"])
def test_two_synapses_a_weight_and_copies_of_a_stream_are_the_same_on_lava(blocks: Blocks) -> None:
    """A residual network with fine first layers, whose strided shortcut reads a copy of the stream."""
    exact = residual_networks.residual((1, 1), width=16, size=8)
    exact = split_streams(refine_first_layers(exact, layers=3))
    assert "stage0.0.coarse" in exact.populations
    clips = residual_networks.clips(2, size=8)
    network = quantize(exact, clips, search=False)
    expected = run_integer(network, clips)
    found = simulate(network, schedule(network), clips, blocks=blocks, timeout_s=HANG_S).signals
    for name in network.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
