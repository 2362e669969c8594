"""The fixed-point report: a warning names what is off with its margin, and slow neurons keep firing."""

from typing import Any

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

import graphs
import reals
from deploy.execution.simulate import simulate
from deploy.gates.fidelity import LayerFidelity, fidelity, summary, warnings
from deploy.ir.integer import IntNetwork, as_images
from deploy.ir.network import Network, run_float
from deploy.ir.populations.input import Input
from deploy.ir.types import Shape
from deploy.passes.balance_rows import balance_rows
from deploy.passes.bounds import prove
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.quantize import quantize_calibrated as quantize_network
from deploy.pipeline import quantize
from deploy.report.fixed_point import fixed_point_table
from deploy.report.network import fixed_point
from svformer.common.errors import InputError

T = 60


def layer(weight_OI: Any, *, threshold: float = 1.0, decay: float = 0.5, **changes: Any) -> Network:
    """A dense layer of neurons, and its spikes as the result."""
    dense = reals.dense(weight_OI)
    shape = dense.geometry.out_shape
    return reals.network(
        {
            "input": Input(shape=dense.geometry.in_shape),
            "lif": reals.lif(shape, threshold=threshold, decay=decay),
            "output": reals.relay(shape),
        },
        reals.link("input", "lif", dense, **changes),
        reals.link("lif", "output", reals.same(shape)),
        frames=T,
    )


def spikes(shape: Shape, rate: float = 0.3, seed: int = 0) -> NDArray[np.float64]:
    return (np.random.default_rng(seed).random((2, T, *shape)) < rate).astype(float)


def compared(net: Network, integers: IntNetwork, frames: NDArray[Any]) -> list[LayerFidelity]:
    return fidelity(net, integers, prove(integers), frames).layers


def report(net: Network, frames: NDArray[Any]) -> dict[str, LayerFidelity]:
    found = compared(net, quantize_network(net, calibrate(net, frames)), frames)
    return {layer.name: layer for layer in found}


def slow(tau_s: float, dt_s: float) -> nir.NIRGraph:
    """Two layers of slow neurons behind weights of about 1."""
    rng = np.random.default_rng(0)
    neurons = {"tau": tau_s, "r": 0.05 * tau_s / dt_s}
    nodes = {
        "input": graphs.entry(20),
        "fc1": nir.Affine(rng.normal(size=(30, 20)), np.zeros(30)),
        "hidden": graphs.lif(30, **neurons),
        "fc2": nir.Affine(rng.normal(0.3, 1, size=(5, 30)), np.zeros(5)),
        "out": graphs.lif(5, **neurons),
        "output": graphs.result(5),
    }
    return graphs.chain(nodes, dt=dt_s, T=300)


def test_neurons_of_30_ms_at_steps_of_a_tenth_of_a_millisecond_fire() -> None:
    """NIR issue 111: `int(256 dt / tau)` is 0 there, a silent layer. 4096 / 300 = 13.65 is 14: 2.5 % too fast."""
    assert int(256 * 1e-4 / 30e-3) == 0
    network = lower(slow(30e-3, 1e-4))
    frames = (np.random.default_rng(1).random((3, 300, 20)) < 0.2).astype(float)
    integers = quantize(network, frames)
    images = as_images(frames, network)
    expected, found = run_float(network, images), simulate(integers, frames, backend="integer").signals
    layers = {found.name: found for found in compared(network, integers, images)}
    for name in ("hidden", "out"):
        assert expected[name].sum() > 10
        assert (found[name] == expected[name]).mean() > 0.995
        assert found[name].sum() == pytest.approx(expected[name].sum(), rel=0.05)
        assert layers[name].decay_error == pytest.approx(14 / 4096 * 300 - 1)
        assert layers[name].saturated == 0
    assert warnings(layers.values()) == []


def test_a_leak_that_12_bits_round_away_is_refused_with_its_margin() -> None:
    with pytest.raises(InputError) as caught:
        quantize(lower(slow(0.9, 1e-4)), np.ones((1, 300, 20)))
    assert "hidden: dt / tau is 1 / 9,000, 0.46 x what 12 bits hold; out: dt / tau" in str(caught.value)
    assert str(caught.value).endswith("use a dt at least 3 times as long")  # 4096 / 9000 = 0.455 fits 2.2 times
    assert "allowed: from 1 / 4096" in str(caught.value)


def test_a_leak_that_is_far_off_is_told() -> None:
    """1.5 / 4096 becomes 2 / 4096, a third too fast."""
    net = layer([[0.7]], decay=1.5 / 4096)
    found = report(net, spikes((1, 1, 1)))["lif"]
    assert found.decay_error == pytest.approx(1 / 3)
    assert warnings([found])[0].startswith("lif: leak off by 33.3 % (1.0 is ")


def test_a_layer_that_falls_silent_is_never_passed_silently() -> None:
    """One weight of 1000 takes all 8 bits; the weight of 1.5 that fires in real numbers rounds to nothing."""
    net = layer([[1.5, 1000.0]], decay=1.0)
    frames = spikes((2, 1, 1))
    frames[:, :, 1] = 0
    found = report(net, frames)
    assert found["lif"].silenced
    assert found["lif"].rate == 0
    assert found["lif"].float_rate == frames[:, :, 0].mean()
    peak = found["lif"].peak
    assert peak is not None
    assert 0 < peak < 1  # the bias that takes back the mean error of rounded weights
    assert found["lif"].float_peak == 1.5
    (line,) = (line for line in warnings(found.values()) if "silent" in line)
    assert line == (
        f"lif: falls silent: {found['lif'].float_rate:.3g} spikes a neuron and step in real numbers, none in integers, "
        f"whose potential reaches {peak:.3g} x the threshold (1.5 x in real numbers)"
    )


def test_a_threshold_of_less_than_half_a_unit_is_told_and_divides_nothing_by_zero() -> None:
    """A shortcut of up to 1e6 leaves at most 2^17 / 1e6 units for 1.0, so a threshold of 0.01 on it is 0.0013 units and
    becomes 1. Warnings of NumPy are errors here.
    """
    net = reals.network(
        {
            "input": Input(shape=(1, 1, 1)),
            "sum": reals.relay(),
            "lif": reals.lif(threshold=0.01),
            "output": reals.relay(),
        },
        reals.link("input", "sum", reals.dense([[1e6]])),
        reals.link("sum", "lif", reals.same()),
        reals.link("lif", "output", reals.same()),
        frames=T,
    )
    found = report(net, spikes((1, 1, 1)))["lif"]
    assert 0.01 * found.scale < 0.0014
    assert found.threshold_error is not None
    assert found.threshold_error == pytest.approx(1 / (0.01 * found.scale) - 1)
    assert found.peak is not None
    assert np.isfinite(found.peak)
    assert any(line.startswith("lif: threshold off by ") for line in warnings([found]))


def test_a_row_of_small_weights_is_judged_by_its_own_size() -> None:
    """Rows of 1000 and 1 into what sends real numbers: a step is 1000 / 127 = 7.9, so all of the second rounds to 0."""
    rows = np.repeat([[1000.0], [1.0]], 3, axis=1) * [[1, -1, 0.7]]
    net = reals.network(
        {"input": Input(shape=(3, 1, 1)), "output": reals.relay((2, 1, 1))},
        reals.link("input", "output", reals.dense(rows)),
        frames=T,
    )
    found = report(net, spikes((3, 1, 1)))["output"]
    assert found.weight_error is not None
    assert found.weight_error < 0.01
    assert found.row_error == pytest.approx(1)
    assert found.worst_row == 1
    (line,) = warnings([found])
    assert line.startswith("output: weights of channel 1 off by 100.0 % (1.0 is ")


def test_an_odd_weight_that_takes_the_bits_of_its_row_is_told() -> None:
    """Nine weights of 0.8 beside one of 1000 are lost: at a rate of 0.3, 0.8 * sqrt(9 * 0.3) = 1.3 a step.

    A current of threshold x decay = 0.5 makes the neuron fire. The odd input is there as often as the others, so of the
    row's currents hardly anything is lost.
    """
    rows = np.full((3, 10), 0.8)
    rows[1, 0] = 1000
    found = report(balance_rows(layer(rows)), spikes((10, 1, 1)))["lif"]
    assert found.row_error is not None
    assert found.row_error < 0.01
    assert found.losing_row == 1
    assert found.lost_current == pytest.approx(0.8 * np.sqrt(9 * 0.3) / 0.5, rel=0.1)
    assert any("weights of channel 1 that rounded to 0, next to far larger ones" in line for line in warnings([found]))


def test_a_channel_that_fires_otherwise_is_named() -> None:
    """The layer's rate hides it: of 20 channels one loses its spikes, whose weight of 1.5 rounds to 0 beside 1000."""
    rows = np.full((20, 2), [1.5, 0.0])
    rows[7, 1] = 1000
    frames = spikes((2, 1, 1))
    frames[:, :, 1] = 0
    found = report(balance_rows(layer(rows, decay=1.0)), frames)["lif"]
    assert not found.silenced
    assert found.shifted_channel == 7
    assert (found.shifted_float_spikes, found.shifted_spikes) == (frames[:, :, 0].sum(), 0)
    told = f"lif: channel 7 fires otherwise: {found.shifted_float_spikes:.0f} spikes in real numbers, 0 in integers"
    assert told in warnings([found])


def test_what_fires_as_before_is_not_named() -> None:
    found = report(layer(np.random.default_rng(0).normal(0.4, 0.5, (20, 6))), spikes((6, 1, 1)))["lif"]
    assert found.rate is not None
    assert found.rate > 0.1
    assert (found.shifted_channel, found.shifted_float_spikes, found.shifted_spikes) == (None, None, None)
    assert warnings([found]) == []


def test_a_layer_that_is_silent_anyway_is_no_warning() -> None:
    found = report(layer([[0.1]]), spikes((1, 1, 1)))["lif"]
    assert (found.float_rate, found.rate, found.silenced) == (0, 0, False)


def test_what_lies_on_the_grid_has_no_error() -> None:
    """Weights of whole 1/64, a decay of 1/2, a threshold of 1, spikes as input."""
    net = layer(np.array([[1.25, -0.5, 0.75], [0.015625, 1, -1]]))
    found = report(net, spikes((3, 1, 1)))
    lif = found["lif"]
    assert (lif.weight_error, lif.weights_clipped, lif.threshold_error, lif.decay_error) == (0, 0, 0, 0)
    assert lif.rate == lif.float_rate
    assert lif.peak == lif.float_peak
    assert warnings(found.values()) == []
    assert found["output"].kind == "relay"
    assert found["output"].threshold_error is None


def test_rounding_of_weights_is_measured_where_a_gain_follows() -> None:
    """The shift that makes weights small stands behind the gain then."""
    rng = np.random.default_rng(0)
    weight, gain = rng.normal(size=(5, 4)), rng.uniform(0.5, 1.5, size=(T, 5, 1, 1))
    plain_error = report(layer(weight), spikes((4, 1, 1)))["lif"].weight_error
    found = report(layer(weight, gain=gain), spikes((4, 1, 1)))["lif"].weight_error
    assert plain_error is not None
    assert found is not None
    assert 0 < found < 3 * plain_error < 0.05


def test_potentials_at_the_end_of_their_register_are_told() -> None:
    """Without a leak, and inhibited in every step: the threshold keeps 1024 steps, so not all of it fits."""
    net = layer([[-400.0]], decay=0.0)
    found = report(net, np.ones((1, T, 1, 1, 1)))["lif"]
    assert found.saturated is not None
    assert 0 < found.saturated < 1
    assert warnings([found]) == [f"lif: {100 * found.saturated:.3g} % of its potentials at the end of their 24 bits"]


def test_the_summary_is_one_line() -> None:
    found = report(layer([[0.7, 1.3]]), spikes((2, 1, 1)))
    assert list(found) == ["lif", "output"]
    line = summary(found.values())
    assert line.startswith("fixed point: weights off by at most ")
    assert "\n" not in line


def test_registers_are_told_by_their_width() -> None:
    """Weights of 127 and -127: 127 of a 24-bit sum; the current is that x 2^exponent, of at most 2^17."""
    net = layer([[1.27, -1.27, 0.01]])
    integers = quantize_network(net, calibrate(net, spikes((3, 1, 1))))
    (found,) = (layer for layer in compared(net, integers, spikes((3, 1, 1))) if layer.name == "lif")
    (dense,) = (c.operation for c in integers.connections if c.target == "lif")
    positive = int(np.maximum(dense.mantissa, 0).sum())
    neurons = integers.populations["lif"]
    fullest_24 = max(positive / (2**23 - 1), neurons.threshold.max() / (2**17 - 1))
    assert found.sum_headroom == pytest.approx(fullest_24)
    assert found.current_headroom == pytest.approx(positive * 2.0**dense.exponent / (2**17 - 1))


def test_the_table_has_a_line_for_every_layer() -> None:
    """A threshold that no rounding reaches, and one layer that falls silent."""
    frames = spikes((2, 1, 1))
    frames[:, :, 1] = 0
    net = layer([[1.5, 1000.0]], decay=1.0)
    integers = quantize_network(net, calibrate(net, frames))
    table = fixed_point_table(fixed_point(fidelity(net, integers, prove(integers), frames)))
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["layer"] == ["lif", "output"]
    assert cells["shift"] == ["falls silent", ""]
    assert cells["rate"] == [f"{100 * frames[:, :, 0].mean():.2f}", ""]
    assert cells["leak"] == ["0", ""]
    assert cells["of 2^17"][1] == ""
