"""Thresholds that no input reaches: the neuron never fires, and the others of its layer keep their steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reals
from deploy.gates.fidelity import fidelity, warnings
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.machine import DECAY_ONE, POTENTIAL_LIMIT
from deploy.ir.network import Network, run_float
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import IntLif, Lif
from deploy.passes.bounds import float_ranges, prove
from deploy.passes.calibrate import calibrate
from deploy.passes.quantize import quantize_calibrated
from deploy.passes.silent_neurons import mark_silent
from svformer.common.errors import InputError

T = 40
INPUTS = (0.0, 1.0)


def layer(thresholds: Any, *, weight: float = 1.0, decay: float = 0.5) -> Network:
    """Neurons with the same two weights each."""
    dense = reals.dense(np.full((len(thresholds), 2), weight))
    return reals.network(
        {"input": Input(shape=(2, 1, 1)), "lif": reals.lif((len(thresholds), 1, 1), threshold=thresholds, decay=decay)},
        reals.link("input", "lif", dense),
        frames=T,
    )


def spikes() -> NDArray[np.float64]:
    return (np.random.default_rng(0).random((2, T, 2, 1, 1)) < 0.4) * 1.0


def silent(net: Network) -> Any:
    found = mark_silent(net, float_ranges(net, INPUTS)).populations["lif"]
    assert isinstance(found, Lif)
    return None if found.silent is None else found.silent.ravel().tolist()


def quantized(net: Network) -> tuple[IntNetwork, IntLif]:
    integers = quantize_calibrated(net, calibrate(net, spikes()))
    lif = integers.populations["lif"]
    assert isinstance(lif, IntLif)
    return integers, lif


def test_what_no_input_can_reach_is_silent() -> None:
    """2 in a step, half of it kept: 4 at most. Far beyond that is 16 times 2, the largest that the others need."""
    assert silent(layer([1.0, 33.0])) == [False, True]
    assert silent(layer([1.0, 31.0])) is None, "a register has room for it"
    assert silent(layer([1.0, np.inf])) == [False, True]


def test_what_an_input_can_reach_is_not() -> None:
    """Without a leak 40 steps of 2 are 80; the others need registers for 79, too."""
    assert silent(layer([1.0, 79.0], decay=0.0)) is None
    assert silent(layer([1.0, 16 * 2.0 + 49], decay=0.0)) == [False, True]


@pytest.mark.parametrize("far", [1e2, 1e6, 1e30, np.inf])
def test_the_others_keep_their_steps(far: float) -> None:
    """Thresholds of 1.5 and 2.5 as without the third, in thousands of steps; every spike is that of real numbers."""
    net = layer([1.5, 2.5, far])
    integers, lif = quantized(net)
    alone, others = quantized(layer([1.5, 2.5]))
    assert lif.threshold.ravel()[:2].tolist() == others.threshold.ravel().tolist()
    assert lif.threshold.min() > 1000
    assert lif.threshold.ravel()[2] == POTENTIAL_LIMIT - 1
    assert lif.decay.ravel()[2] == DECAY_ONE
    found = run_integer(integers, spikes())["lif"]
    assert found[:, :, :2].any(axis=(0, 1)).all()
    np.testing.assert_array_equal(found, run_float(net, spikes())["lif"])
    np.testing.assert_array_equal(found[:, :, :2], run_integer(alone, spikes())["lif"])


def test_that_it_never_fires_is_proven_and_no_warning() -> None:
    net = layer([1.5, 2.5, 1e6])
    integers, _ = quantized(net)
    headroom = prove(integers)
    (never,) = (found for found in headroom if found.what == "potential of neurons that never fire")
    assert 0 < never.share < 1
    assert warnings(fidelity(net, integers, headroom, spikes()).layers) == []


def test_a_silent_neuron_whose_current_could_fire_it_is_refused() -> None:
    """A current of more than 2^17 - 1 units would pass the largest threshold."""
    integers, _ = quantized(layer([1.5, 2.5, 1e6]))
    (connection,) = integers.into("lif")
    loud = replace(connection, operation=connection.operation.with_exponent(11))
    over = replace(integers, connections=(loud,))
    with pytest.raises(
        InputError, match=f"potential of neurons that never fire up to .* allowed {POTENTIAL_LIMIT - 1}"
    ):
        prove(over)


def test_a_layer_that_never_fires_at_all_is_quantised() -> None:
    net = layer([1e6, 1e9])
    integers, _ = quantized(net)
    assert not run_integer(integers, spikes())["lif"].any()
    assert warnings(fidelity(net, integers, prove(integers), spikes()).layers) == []


def test_a_threshold_is_never_rounded_to_nothing() -> None:
    """1 beside 1e-7: one unit, not none, and the error is told."""
    net = layer([1.0, 1e-7])
    integers, lif = quantized(net)
    assert lif.threshold.min() == 1
    layers = fidelity(net, integers, prove(integers), spikes()).layers
    assert all(np.isfinite(found.peak) for found in layers if found.peak is not None)
    assert any(line.startswith("lif: threshold off by") for line in warnings(layers))
