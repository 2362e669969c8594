"""Readers that would make a whole shortcut stream coarse get a copy of it, rounded once."""

from typing import cast

import numpy as np

import residual_networks
from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network, run_float
from deploy.ir.populations.lif import IntLif
from deploy.passes.calibrate import calibrate
from deploy.passes.quantize import quantize_calibrated
from deploy.passes.refine_first_layers import refine_first_layers
from deploy.passes.split_streams import split_streams

CLIPS = residual_networks.clips(3)


def network(*, layers: int = 3, gain: float = 0.5) -> Network:
    exact = residual_networks.residual((1, 1, 1), width=16, gain=gain)
    return refine_first_layers(exact, layers=layers)


def rounded(exact: Network) -> IntNetwork:
    return quantize_calibrated(exact, calibrate(exact, CLIPS), search=False)


def threshold(found: IntNetwork, name: str) -> float:
    return float(np.median(cast(IntLif, found.populations[name]).threshold))


def test_strided_readers_get_a_copy_and_nothing_changes_in_real_numbers() -> None:
    before = network()
    after = split_streams(before)
    copies = [name for name in after.populations if name not in before.populations]
    assert copies == ["stage0.0.coarse", "stage1.0.coarse"]
    assert [c.target for c in after.out_of("stage0.0.coarse")] == ["stage1.0.pool"]
    assert [c.source for c in after.into("stage0.0.coarse")] == ["stage0.0"]
    assert {c.target for c in after.out_of("stage0.0")} == {"stage0.0.coarse", "stage1.0.a"}
    signals, split = run_float(before, CLIPS), run_float(after, CLIPS)
    for name, signal in signals.items():
        np.testing.assert_array_equal(split[name], signal)


def test_neurons_of_the_stream_get_finer_thresholds() -> None:
    before, after = rounded(network()), rounded(split_streams(network()))
    for name in ("stage0.0.a", "stage1.0.a"):
        assert threshold(after, name) > 2 * threshold(before, name)


def test_a_stream_that_is_fine_enough_for_8_bit_weights_stays() -> None:
    before = network(layers=0)
    assert split_streams(before) is before


def test_the_end_of_a_network_has_no_reader_to_give_a_copy() -> None:
    assert "output.coarse" not in split_streams(network()).populations
