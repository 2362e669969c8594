"""Sums of many spikes for many readers: made fine, and rounded once."""

from dataclasses import replace

import nir
import numpy as np
import pytest

import graphs
from deploy.ir.integer import run_integer
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import Convolution, IntConvolution
from deploy.ir.populations.relay import IntRelay, Relay
from deploy.passes import quantize as quantization
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.split_relays import split_relays

CHANNELS, SIDE, CLASSES, FRAMES = 512, 28, 10, 4


def head(channels: int = CHANNELS, classes: int = CLASSES) -> nir.NIRGraph:
    """Neurons whose spikes a depthwise kernel as large as the image adds up, and a dense layer that reads the sums."""
    rng = np.random.default_rng(0)
    shape = (channels, SIDE, SIDE)
    options = {"stride": 1, "padding": 0, "dilation": 1}
    nodes = {
        "input": graphs.entry(3, SIDE, SIDE),
        "enter": nir.Conv2d(
            (SIDE, SIDE), rng.normal(size=(channels, 3, 1, 1)), **options, groups=1, bias=np.zeros(channels)
        ),
        "spikes": graphs.lif(*shape),
        "sum": nir.Conv2d(
            (SIDE, SIDE),
            rng.normal(size=(channels, 1, SIDE, SIDE)),
            **options,
            groups=channels,
            bias=rng.normal(size=channels),
        ),
        "read": nir.Conv2d(
            (1, 1), rng.normal(size=(classes, channels, 1, 1)), **options, groups=1, bias=rng.normal(size=classes)
        ),
        "output": graphs.result(classes, 1, 1),
    }
    return graphs.chain(nodes)


def clips(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, FRAMES, 3, SIDE, SIDE))


def joined(network: Network) -> Network:
    """The network with the two relays as one again."""
    connections = [c for c in network.connections if c.source != "sum.fine"]
    return replace(
        network,
        populations={
            name: network.populations["sum.fine"] if name == "sum" else population
            for name, population in network.populations.items()
            if name != "sum.fine"
        },
        connections=tuple(replace(c, target="sum") if c.target == "sum.fine" else c for c in connections),
    )


@pytest.fixture(scope="module")
def network() -> Network:
    return lower(head(), frames=FRAMES, dt_s=1e-3, merge="never")


def error_of_results(network: Network) -> float:
    """Of integers, as a share of what the results vary; of spikes that are the same in both."""
    calibration = calibrate(network, clips())
    rounded = quantization.quantize_calibrated(network, calibration, search=False)
    exact = run_float(network, clips())
    spikes = run_integer(rounded, clips(), record=["spikes", rounded.output])
    readout = spikes[rounded.output] / rounded.populations[rounded.output].scale  # type: ignore[union-attr]
    # what the float network's head makes of the integer network's spikes
    names = [name for name in network.populations if name not in ("input", "spikes")]
    signals = {"spikes": spikes["spikes"].astype(float)}
    for name in names:
        population = network.populations[name]
        assert isinstance(population, Relay)
        signals[name] = sum(c(signals[c.source]) for c in network.into(name)) + population.bias
    return float(np.std(readout - signals[network.output]) / np.std(exact[network.output]))


def test_sums_are_split_and_nothing_changes_in_real_numbers(network: Network) -> None:
    assert list(network.populations) == ["input", "spikes", "sum.fine", "sum", "output"]
    (passed_on,) = network.into("sum")
    assert isinstance(passed_on.operation, Convolution)
    assert (passed_on.operation.weight == 1).all()
    split, before = run_float(network, clips()), run_float(joined(network), clips())
    for name, signal in before.items():
        np.testing.assert_array_equal(split[name], signal)
    assert list(split_relays(joined(network)).populations) == list(network.populations)


def test_results_are_three_times_closer(network: Network) -> None:
    assert 3 * error_of_results(network) < error_of_results(joined(network))


def test_messages_are_the_sums_rounded_to_the_nearest(network: Network) -> None:
    """(sum + half) * m >> -e, where half is 2^(-e - 1) / m: within half a bit of sum * m * 2^e, and without a bias."""
    rounded = quantization.quantize_calibrated(network, calibrate(network, clips()), search=False)
    (passed_on,) = rounded.into("sum")
    assert isinstance(passed_on.operation, IntConvolution)
    factor, exponent = int(passed_on.operation.mantissa.flat[0]), passed_on.operation.exponent
    assert exponent < 0 < factor
    fine = rounded.populations["sum.fine"]
    assert isinstance(fine, IntRelay)
    half = round(2 ** (-exponent - 1) / factor)
    signals = run_integer(rounded, clips())
    exact = (signals["sum.fine"].astype(float) - half) * factor * 2.0**exponent
    errors = signals["sum"] - exact
    assert np.abs(errors).max() <= 0.5 + factor * 2.0**exponent
    assert abs(errors.mean()) < 0.05


def test_other_relays_stay_as_they_are(network: Network) -> None:
    """Few channels leave room for fine messages: the relay holds its weights by itself."""
    few = lower(head(channels=4, classes=1), frames=FRAMES, dt_s=1e-3, merge="never")
    assert "sum.fine" not in few.populations
    assert "output.fine" not in network.populations, "nobody reads it"
