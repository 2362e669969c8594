"""Sums along a shortcut stream are bounded as one function of the spikes that enter it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
import reals
import residual_networks
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.intervals import Interval
from deploy.ir.network import Network, apply_over_time, run_float
from deploy.ir.populations.input import Input
from deploy.passes import linear_sums
from deploy.passes.bounds import float_bounds, float_ranges, prove
from deploy.passes.calibrate import calibrate
from deploy.passes.quantize import quantize_calibrated

TWICE, LESS = [[1.0], [1.0]], [[1.0, -1.0]]


def copies_subtracted(*, bias: float = 0.0, gain: Any = None, delay: int = 0) -> Network:
    """A value from 0 to 1 and a bias, twice; then the one less the other, which is 0 whatever the value is."""
    return reals.network(
        {"in": Input(shape=reals.ONE), "copies": reals.relay((2, 1, 1), bias), "less": reals.relay()},
        reals.link("in", "copies", reals.dense(TWICE)),
        reals.link("copies", "less", reals.dense(LESS), gain=gain, delay=delay),
        frames=3,
    )


def limits(found: Interval) -> tuple[float, float]:
    return float(found.low[0]), float(found.high[0])


def test_what_cancels_is_known_to_cancel() -> None:
    """Copies of 0..1 and a bias of 4 are 4..5 each: one less the other -5..5 in parts, 0 as a whole."""
    found = float_bounds(copies_subtracted(bias=4), (0.0, 1.0))["less"]
    assert (limits(found.parts), limits(found.range)) == ((-5, 5), (0, 0))


def test_values_of_different_time_steps_do_not_cancel() -> None:
    """The value now less the value one step ago, through two paths: -1..1."""
    network = reals.network(
        {"in": Input(shape=reals.ONE), "now": reals.relay(), "late": reals.relay(), "less": reals.relay()},
        reals.link("in", "now", reals.same()),
        reals.link("in", "late", reals.same(), delay=1),
        reals.link("now", "less", reals.dense([[1.0]])),
        reals.link("late", "less", reals.dense([[-1.0]])),
        frames=3,
    )
    assert limits(float_ranges(network, (0.0, 1.0))["less"]) == (-1, 1)


def test_a_bias_that_comes_late_is_there_or_not() -> None:
    """Copies of 4..5 one step late: nothing before they arrive. They cancel, their biases at unlike times would not."""
    assert limits(float_ranges(copies_subtracted(bias=4, delay=1), (0.0, 1.0))["less"]) == (0, 0)
    one = copies_subtracted(bias=4, delay=1)
    alone = reals.link("copies", "less", reals.dense([[1.0, 0.0]]), delay=1)
    one = reals.network(one.populations, one.connections[0], alone, frames=3)
    assert limits(float_ranges(one, (0.0, 1.0))["less"]) == (0, 5)


def test_a_gain_of_every_time_step_is_bounded_in_parts() -> None:
    gain = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1)
    assert limits(float_ranges(copies_subtracted(gain=gain), (0.0, 1.0))["less"]) == (-3, 3)


def test_products_that_are_too_large_are_bounded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 x 1 weight is the product; none may have as many."""
    monkeypatch.setattr(linear_sums, "LARGEST", 0)
    assert limits(float_ranges(copies_subtracted(), (0.0, 1.0))["less"]) == (-1, 1)


def test_padding_inside_a_chain_is_no_exact_product() -> None:
    """Kernels of 3 x 3 on 2 x 2 pixels with a border: one kernel of 5 x 5 would see beyond the border of the first."""
    kernel = np.ones((1, 1, 3, 3))
    conv = reals.conv(kernel, (1, 2, 2), padding=(1, 1))
    network = reals.network(
        {"in": Input(shape=(1, 2, 2)), "a": reals.relay((1, 2, 2)), "b": reals.relay((1, 2, 2))},
        reals.link("in", "a", conv),
        reals.link("a", "b", conv),
        frames=1,
    )
    assert limits(float_ranges(network, (0.0, 1.0))["b"]) == (0, 81)


def test_rounding_down_on_the_way_is_part_of_the_bound() -> None:
    """Copies of 0..7, each times 3 and shifted down by 2: they differ by nothing, or by what the shifts cut off."""
    network = ints.network(
        {"in": ints.entry(high=7), "copies": ints.relay((2, 1, 1)), "less": ints.relay()},
        ints.link("in", "copies", ints.dense([[3], [3]], exponent=-2)),
        ints.link("copies", "less", ints.dense([[1, -1]])),
        frames=1,
    )
    (message,) = [h.worst for h in prove(network) if (h.where, h.what) == ("less", "graded message")]
    assert message == 1  # each is up to 1 too low


def test_the_sum_on_the_way_has_to_fit_in_any_order() -> None:
    """2^23 - 1 and its negative cancel, but half of the sum alone fills the register; a little more is refused."""

    def network(most: int) -> IntNetwork:
        return ints.network(
            {"in": ints.entry(high=most), "copies": ints.relay((2, 1, 1)), "sum": ints.relay()},
            ints.link("in", "copies", ints.dense([[1], [1]])),
            ints.link("copies", "sum", ints.dense([[2, -2]])),
            frames=1,
        )

    registers = {(h.where, h.what): h.worst for h in prove(network(2**22 - 1))}
    assert registers["sum", "graded message"] == 0
    assert registers["sum", "synaptic sum"] == 2**23 - 2
    with pytest.raises(Exception, match="copies -> sum: synaptic sum up to 8388608, allowed 8388607"):
        prove(network(2**22))


@given(seed=st.integers(0, 2**32 - 1), gain=st.floats(0.2, 3.0))
@settings(max_examples=15)
def test_no_run_of_a_residual_network_leaves_its_bounds(seed: int, gain: float) -> None:
    network = residual_networks.residual((1, 2), width=4, gain=gain, size=4, seed=seed % 1000)
    frames: NDArray[Any] = (np.random.default_rng(seed).random((3, 4, 3, 4, 4)) > 0.5) * 1.0  # both ends of the range
    signals = run_float(network, frames)
    for name, found in float_ranges(network, (0.0, 1.0)).items():
        current = network.receivers[name].bias + sum(
            apply_over_time(c.operation, signals[c.source], c.delay) for c in network.into(name)
        )
        by_channel = np.moveaxis(current, 2, 0).reshape(len(found.low), -1)
        assert (by_channel.min(axis=1) >= found.low - 1e-9).all(), name
        assert (by_channel.max(axis=1) <= found.high + 1e-9).all(), name


def test_no_run_in_integers_leaves_what_is_proven() -> None:
    network = residual_networks.residual((1, 1, 1), width=4, size=8)
    clips = residual_networks.clips(3, size=8)
    rounded = quantize_calibrated(network, calibrate(network, clips), search=False)
    proven = {(h.where, h.what): h.worst for h in prove(rounded)}
    signals = run_integer(rounded, np.round(clips))
    for name, population in rounded.receivers.items():
        if population.kind == "relay":
            assert np.abs(signals[name]).max() <= proven[name, "graded message"]


def test_a_bound_does_not_multiply_from_stage_to_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream grows with what is added to it; bounded kernel by kernel it grows many times as far."""
    network = residual_networks.residual((1, 1, 1, 1), width=16)
    whole = [float_ranges(network, (0.0, 1.0))[f"stage{stage}.0"].magnitude for stage in range(4)]
    assert whole[3] < 8 * whole[0]
    monkeypatch.setattr(linear_sums, "LARGEST", 0)
    assert float_ranges(network, (0.0, 1.0))["stage3.0"].magnitude > 10 * whole[3]


def test_no_threshold_of_a_deep_network_is_rounded_to_a_few_units() -> None:
    network = residual_networks.residual((1, 1, 1, 1))
    clips = residual_networks.clips(4)
    rounded = quantize_calibrated(network, calibrate(network, clips), search=False)
    thresholds = [int(np.median(rounded.populations[name].threshold)) for name in rounded.neuron_layers]  # type: ignore[union-attr]
    assert min(thresholds) > 100
    exact, signals = run_float(network, clips), run_integer(rounded, clips)
    same = [float((exact[name] == signals[name]).mean()) for name in network.neuron_layers]
    assert np.mean(same) > 0.9
